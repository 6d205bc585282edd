#!/usr/bin/python
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

DOCUMENTATION = r"""
module: secrets_fetch
short_description: Read back the secrets of an instance from its host
version_added: 0.1.0
author: aza-pg maintainers (@aza-pg)
description:
  - For a control node that has lost C(INVENTORY/secrets), or a new one. The passwords that the host holds in files are
    written there, with the server's certificate and the identity of the environment. Never shown.
  - What a host does not hold cannot be read back. Of the passwords of other roles a server keeps only verifiers, and
    the key of the environment's authority is on no host. The result names them.
  - A secret that the control node has is never replaced. An instance of another environment is refused.
options:
  variables:
    description:
      - Variables of the role C(instance) by their names, which win over those of the play. Each is described in the
        role's argument specification (C(ansible-doc -t role aza.pg.instance)).
    type: dict
    default: {}
attributes:
  check_mode:
    description: Nothing is written.
    support: full
"""

EXAMPLES = r"""
- name: Read back what the host holds
  aza.pg.secrets_fetch:
    cluster: shop
"""

RETURN = r"""
fetched:
  description: Names of the secrets that were written to the control node. Never a value.
  returned: always
  type: list
  elements: str
different:
  description: Names of the secrets of which the control node has another value, which it keeps.
  returned: always
  type: list
  elements: str
lost:
  description: Names of the secrets that the inventory needs and that cannot be read back.
  returned: always
  type: list
  elements: str
"""

# The work is done by the action plugin of the same name, which reads the host with M(aza.pg.secrets_read).
