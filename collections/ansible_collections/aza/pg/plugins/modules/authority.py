#!/usr/bin/python
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

DOCUMENTATION = r"""
module: authority
short_description: Replace the environment's authority in two steps
version_added: 0.1.0
author: aza-pg maintainers (@aza-pg)
description:
  - Works on C(INVENTORY/secrets/ca) of the control node. C(ca.crt) holds all authorities that are trusted, and
    C(ca.key) is the key of the one that signs. C(playbooks/certificates.yml) brings to the hosts what follows from it.
  - Does nothing when the step was taken already.
options:
  step:
    description:
      - V(begin) has another authority made, which is trusted and does not sign yet.
      - V(switch) lets it sign. Refused as long as a member of a cluster does not trust it.
      - V(finish) takes the one before out of what is trusted, once every server has a certificate from the new one.
    type: str
    choices: [begin, switch, finish]
    required: true
attributes:
  check_mode:
    description: Nothing is written.
    support: full
"""

EXAMPLES = r"""
- name: Begin a new authority
  aza.pg.authority:
    step: begin
  run_once: true
"""

RETURN = r"""
stage:
  description: Whether the new authority is on its way (V(begun)), signs (V(switched)), or is trusted alone (V(alone)).
  returned: always
  type: str
"""

# The work is done by the action plugin of the same name, on the control node.
