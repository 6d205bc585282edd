#!/usr/bin/python
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

DOCUMENTATION = r"""
module: findings_table
short_description: Print the findings of all hosts, and write them as reports
version_added: 0.1.0
author: aza-pg maintainers (@aza-pg)
description:
  - Takes what M(aza.pg.instance) with O(aza.pg.instance#module:state=checked) left in C(instance_result) of each host
    of the play that has a C(postgres_cluster), prints it instance by instance, worst first, with one line for the
    fleet, and fails when anything is red.
  - A host without a result was not checked, which is red as well.
  - Of a cluster, what M(aza.pg.replication_check) and M(aza.pg.pgbouncer_check) said of each member is judged as well.
    It is in C(instance_result) too, or where these modules ran by themselves, in C(replication_result) and
    C(pgbouncer_result). Each cluster gets a table of its members, and in the page a
    drawing of its members, their lag and its pools. A member that is not in the play (C(--limit)) is not red.
  - Of several instances only the names of what is well are printed; with C(-v) and in the reports all are shown.
options:
  clusters:
    description: The declared clusters. Empty means those of the inventory.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Its name.
        type: str
        required: true
      members:
        description: Its members.
        type: list
        elements: dict
        required: true
        suboptions:
          host:
            description: The member's host in the inventory.
            type: str
            required: true
          role:
            description: What the inventory says that it is.
            type: str
            required: true
            choices: [primary, replica]
          slot:
            description: Its slot on the server that feeds it, which is also the name that it streams under.
            type: str
            default: ""
          upstream:
            description: The member that feeds it. Empty, or the declared primary, means the primary, whichever it is.
            type: str
            default: ""
          delay:
            description: Seconds by which it is delayed on purpose.
            type: float
            default: 0
      synchronous:
        description: How many replicas must confirm a commit.
        type: int
        default: 0
      lag_bytes:
        description: How many bytes a replica may be behind.
        type: int
        default: 67108864
      lag_seconds:
        description: How many seconds a replica may be behind, in addition to its delay.
        type: float
        default: 30
      sentinel_seconds:
        description: How many seconds the row of M(aza.pg.replication_check) may take to a replica.
        type: float
        default: 5
      tls:
        description: Whether replicas must stream under TLS.
        type: bool
        default: true
  report_html:
    description:
      - File on the control node for the findings as one HTML page. It needs no network and no script.
      - Relative to the working directory. Empty writes none.
    type: str
    default: ""
  report_json:
    description: File on the control node for the findings as JSON, with the whole plan of each instance.
    type: str
    default: ""
attributes:
  check_mode:
    description: Changes nothing on a host, so check mode is the same. Reports are written.
    support: full
  diff_mode:
    description: Nothing to compare.
    support: none
"""

EXAMPLES = r"""
- name: Print the findings of the fleet
  aza.pg.findings_table:
    report_html: fleet.html
  run_once: true

- name: Print the findings of a cluster too
  aza.pg.findings_table:
    clusters:
      - name: shop
        synchronous: 1
        members:
          - {host: db1, role: primary}
          - {host: db2, role: replica, slot: shop_db2}
          - {host: db3, role: replica, slot: shop_db3, upstream: db2, delay: 3600}
  run_once: true
"""

RETURN = r"""
red:
  description: How many findings are red.
  returned: always
  type: int
summary:
  description: The line for the fleet.
  returned: always
  type: str
"""

# The work is done by the action plugin of the same name, on the control node.
