#!/usr/bin/python
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

DOCUMENTATION = r"""
module: monitoring_info
short_description: Tell Prometheus what to scrape, from the inventory
version_added: 0.1.0
author: aza-pg maintainers (@aza-pg)
description:
  - Makes the text of a C(prometheus.yml) with one target for each exporter of the inventory, and the labels C(cluster),
    C(instance) (CLUSTER-STACK), C(stack) and C(host), on which C(playbooks/files/alerts.yml) and the dashboards rely.
  - Prints the targets of each job. An exporter that only its own host reaches is left out, and said.
options:
  alertmanager:
    description: Address and port of the Alertmanager that alerts are sent to. Empty sends them nowhere.
    type: str
    default: ""
  blackbox_exporter:
    description:
      - Address and port of a blackbox_exporter with the module of C(playbooks/files/blackbox.yml). With it there is a
        target for the certificate of each server with TLS.
    type: str
    default: ""
  node_exporter_port:
    description: Port of the node_exporter of each host, which tells of its disks. C(0) means that there is none.
    type: int
    default: 0
attributes:
  check_mode:
    description: Changes nothing, so check mode is the same.
    support: full
  diff_mode:
    description: Nothing to compare.
    support: none
"""

EXAMPLES = r"""
- name: What Prometheus scrapes
  aza.pg.monitoring_info:
    node_exporter_port: 9100
  run_once: true
  register: monitoring
"""

RETURN = r"""
prometheus:
  description: The text of C(prometheus.yml).
  returned: always
  type: str
targets:
  description: The targets of each job, as address and port.
  returned: always
  type: dict
  sample: {"postgres": ["10.0.0.5:9187"]}
left_out:
  description: What Prometheus cannot reach, and what to do about it; one sentence each.
  returned: always
  type: list
  elements: str
"""

# The work is done by the action plugin of the same name, on the control node.
