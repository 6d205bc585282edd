#!/usr/bin/python
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

DOCUMENTATION = r"""
module: findings_table
short_description: Print the findings of all hosts as one table
version_added: 0.1.0
author: aza-pg maintainers (@aza-pg)
description:
  - Prints one table for all hosts of the play, worst first, and fails when anything is red.
  - A host without findings could not be looked at, which is red as well.
options:
  findings:
    description: Name of host to findings of M(aza.pg.stack_check).
    type: dict
    required: true
attributes:
  check_mode:
    description: Changes nothing, so check mode is the same.
    support: full
  diff_mode:
    description: Nothing to compare.
    support: none
"""

EXAMPLES = r"""
- name: Print one table and judge
  aza.pg.findings_table:
    findings: "{{ dict(ansible_play_hosts_all | zip(ansible_play_hosts_all | map('extract', hostvars, 'found'))) }}"
  run_once: true
"""

RETURN = r"""
red:
  description: How many findings are red.
  returned: always
  type: int
"""

# The work is done by the action plugin of the same name, on the control node.
