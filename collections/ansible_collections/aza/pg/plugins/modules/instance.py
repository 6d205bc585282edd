#!/usr/bin/python
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

DOCUMENTATION = r"""
module: instance
short_description: Bring a PostgreSQL instance to its declared state
version_added: 0.1.0
author: aza-pg maintainers (@aza-pg)
description:
  - One instance on one host, through one engine. Observe what is, plan what has to change, apply it, wait until the
    server really works, and observe again. The second plan must be empty.
  - Check mode and C(--diff) print the plan, line by line as the real run would carry it out, and change nothing.
  - The control node renders the files and keeps the secrets; the host never sees more than it needs.
  - Disruptive changes need permission. A restart needs C(postgres_allow_restart), a replaced container
    C(postgres_allow_recreate). Without it everything else is applied, and the result lists what is pending.
options:
  state:
    description:
      - V(present) deploys, V(stopped) and V(started) stop and start what was deployed, V(absent) removes it.
      - V(checked) looks, plans and judges as V(present) would find it, and changes nothing, with check mode or without.
      - V(absent) keeps the data unless O(remove_data) names the cluster, and always keeps secrets and backups.
    type: str
    choices: [present, checked, stopped, started, absent]
    default: present
  variables:
    description:
      - Variables of the role C(instance) by their names, which win over those of the play. Each is described in the
        role's argument specification (C(ansible-doc -t role aza.pg.instance)).
    type: dict
    default: {}
  facts:
    description: What M(aza.pg.instance_host) returned for the host. If it is empty, this gathers it.
    type: dict
    default: {}
  mark:
    description: For V(checked) in a cluster, any text that is new for each run and the same for all members.
    type: str
    default: ""
  replace_authority:
    description:
      - Whether a member of a cluster gets a certificate from an authority that the other members do not trust yet.
        Replicas cannot reconnect until all are deployed.
    type: bool
    default: false
  renew_certificate:
    description: Whether a new certificate is made although the old one is good.
    type: bool
    default: false
  rotating:
    description: Secrets that get a new value in this run, for check mode.
    type: list
    elements: str
    default: []
  only:
    description:
      - Kinds of changes to carry out, also with their action (V(restart container)); the others stay undone and unsaid.
      - Empty means all.
    type: list
    elements: str
    default: []
  take_over:
    description:
      - The cluster's name, to deploy an instance that belongs to another environment, or whose secrets the control node
        lacks. Its passwords and certificates are replaced.
    type: str
    default: ""
  confirm:
    description: The cluster's name, to confirm O(state=absent).
    type: str
    default: ""
  remove_data:
    description: The cluster's name, so that O(state=absent) removes its data.
    type: str
    default: ""
  not_primary:
    description:
      - Unreachable members of the cluster. You have made sure that they accept no writes and will not.
      - Without it, no server with a primary's data is started while a member is unknown.
    type: list
    elements: str
    default: []
  start_primary:
    description: Of several stopped members with a primary's data, the one that is right and may be started.
    type: str
    default: ""
  accept_loss:
    description:
      - The member whose data O(remove_data) removes although no other member is known to have everything that it holds.
    type: str
    default: ""
attributes:
  check_mode:
    description: Is the plan.
    support: full
  diff_mode:
    description: Is the plan, and the text of each changed file. Never a secret.
    support: full
"""

EXAMPLES = r"""
- name: Deploy what the variables of the host declare
  aza.pg.instance:

- name: Deploy a small instance
  aza.pg.instance:
    variables:
      postgres_cluster: shop
      postgres_memory: 2g
      postgres_settings:
        work_mem: 16MB

- name: Remove the instance and keep its data
  aza.pg.instance:
    variables:
      postgres_cluster: shop
    state: absent
    confirm: shop
"""

RETURN = r"""
plan:
  description: Changes with kind, name, action, effect and reason; those that wait for a permission; a summary.
  returned: always
  type: dict
lines:
  description: The plan as a person reads it.
  returned: always
  type: list
  elements: str
held:
  description: Changes that wait for C(postgres_allow_restart) or C(postgres_allow_recreate).
  returned: state present
  type: list
  elements: dict
ready_seconds:
  description: How long it took until the first write succeeded. Zero when nothing changed.
  returned: state present
  type: float
certificate:
  description:
    - Names, expiry (C(expires), in seconds since 1970) and fingerprint of the server's certificate.
    - C(summary) is a sentence with both.
  returned: state present
  type: dict
role:
  description: What the instance is, V(single), V(primary) or V(replica), as its servers say.
  returned: state present
  type: str
notes:
  description: What is not as the inventory says and stays so, as sentences. (Who is the primary, after a promotion.)
  returned: state present
  type: list
  elements: str
connection:
  description: Where the server is reached, and where the password's file is.
  returned: state present
  type: dict
version:
  description: Version of the server.
  returned: state present
  type: str
tuning:
  description: The tuned values that the container will find, each with its rule.
  returned: state present
  type: dict
"""

# The work is done by the action plugin of the same name, which calls aza.pg.instance_apply on the host.
