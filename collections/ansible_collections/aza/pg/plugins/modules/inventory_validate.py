#!/usr/bin/python
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

DOCUMENTATION = r"""
module: inventory_validate
short_description: Find every mistake in the inventory before a host is touched
version_added: 0.1.0
author: aza-pg maintainers (@aza-pg)
description:
  - Checks the variables of all hosts of the inventory whose names begin as ours do against the argument_specs of the
    roles. Unknown names with a suggestion, wrong types, values out of range, and values that contradict each other.
  - All problems at once, each with file, line and key. Runs on the control node and touches no host.
options: {}
attributes:
  check_mode:
    description: Changes nothing, so check mode is the same.
    support: full
  diff_mode:
    description: Nothing to compare.
    support: none
"""

EXAMPLES = r"""
- name: Check the inventory before any host is touched
  aza.pg.inventory_validate:
  run_once: true
"""

RETURN = r"""
checked:
  description: How many hosts and how many values of ours were checked.
  returned: always
  type: dict
"""

# The work is done by the action plugin of the same name, on the control node.
