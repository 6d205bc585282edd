#!/usr/bin/python
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

DOCUMENTATION = r"""
module: instance_summary
short_description: Tell people how to reach an instance
version_added: 0.1.0
author: aza-pg maintainers (@aza-pg)
description:
  - Prints the connection block of a deploy as clean lines. Host, port, database, user, where the password is (never the
    password), a line for psql that works as it is pasted, what was tuned and why, and what to type next.
options:
  result:
    description: What M(aza.pg.instance) returned.
    type: dict
    required: true
  instance:
    description: Name of the instance for the headline.
    type: str
    required: true
attributes:
  check_mode:
    description: Changes nothing, so check mode is the same, except that it prints nothing.
    support: full
  diff_mode:
    description: Nothing to compare.
    support: none
"""

EXAMPLES = r"""
- name: Tell how to connect
  aza.pg.instance_summary:
    instance: shop-single
    result: "{{ instance_result }}"
"""

RETURN = r"""
lines:
  description: What was printed.
  returned: always
  type: list
  elements: str
"""

# The work is done by the action plugin of the same name, on the control node.
