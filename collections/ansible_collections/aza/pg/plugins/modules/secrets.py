#!/usr/bin/python
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

DOCUMENTATION = r"""
module: secrets
short_description: List, renew and remove the secrets of a cluster on the control node
version_added: 0.1.0
author: aza-pg maintainers (@aza-pg)
description:
  - The passwords that M(aza.pg.instance) makes are in C(INVENTORY/secrets/CLUSTER) on the control node. This lists them
    with what they are for, their age and their rights. Never a value.
  - A secret that gets a new value is not in use yet. The next deploy of the cluster brings the value everywhere and
    puts it into its place; until then the old one stays beside it.
options:
  variables:
    description:
      - Variables of the role C(instance) by their names, which win over those of the play. Each is described in the
        role's argument specification (C(ansible-doc -t role aza.pg.instance)).
    type: dict
    default: {}
  rotate:
    description:
      - The secret to give a new value, as V(shop) (a role) or V(postgres_password), or V(all).
      - One that has a new value already, because a deploy was cut off, keeps that one.
    type: str
    default: ""
  remove_unused:
    description: Name of the cluster whose secrets are removed as far as nothing uses them.
    type: str
    default: ""
attributes:
  check_mode:
    description: Nothing is written or removed.
    support: full
"""

EXAMPLES = r"""
- name: Which secrets are there?
  aza.pg.secrets:
    cluster: shop
    roles:
      - name: web

- name: Have a new password for the role web, and deploy it
  aza.pg.secrets:
    cluster: shop
    roles:
      - name: web
    rotate: web
"""

RETURN = r"""
secrets:
  description: Each secret with its name, what it is for, its age in days and its rights. Never a value.
  returned: always
  type: list
  elements: dict
rotating:
  description: Names of the secrets that have a new value now, which a deploy has to bring to where it is used.
  returned: always
  type: list
  elements: str
removed:
  description: Names of the secrets that were removed.
  returned: always
  type: list
  elements: str
"""

# The work is done by the action plugin of the same name, on the control node.
