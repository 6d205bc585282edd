#!/usr/bin/python
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

DOCUMENTATION = r"""
module: stack_check
short_description: Judge an instance, one finding a line
version_added: 0.1.0
author: aza-pg maintainers (@aza-pg)
description:
  - Drift is the plan of M(aza.pg.stack), each change a finding. Besides that the stages of readiness, the image that
    runs, and whether the tuned values are those that the rules predict.
  - Returns findings and never fails because of one. M(aza.pg.findings_table) prints them and decides.
options:
  result:
    description: What M(aza.pg.stack) returned in check mode, or its failure.
    type: dict
    required: true
  cluster:
    description: Name of the cluster.
    type: str
    required: true
  stack:
    description: Name of the stack.
    type: str
    default: single
  base_dir:
    description: Directory of all instances.
    type: str
    default: ""
  user:
    description: The server's administrator.
    type: str
    default: postgres
  database:
    description: The database that the first write is tried in.
    type: str
    default: postgres
attributes:
  check_mode:
    description: Changes nothing, so check mode is the same.
    support: full
  diff_mode:
    description: Nothing to compare.
    support: none
"""

EXAMPLES = r"""
- name: Judge what was found
  aza.pg.stack_check:
    cluster: shop
    result: "{{ stack_result }}"
  register: stack_findings
"""

RETURN = r"""
findings:
  description: Each with C(what), C(state) (green, yellow or red) and C(said).
  returned: always
  type: list
  elements: dict
"""

# The work is done by the action plugin of the same name.
