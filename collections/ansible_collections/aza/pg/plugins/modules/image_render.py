#!/usr/bin/python
# SPDX-License-Identifier: Apache-2.0
"""Documentation of the action aza.pg.image_render, which does the work on the control node."""

from __future__ import annotations

DOCUMENTATION = r"""
module: image_render
author: aza-pg maintainers (@aza-pg)
version_added: 0.1.0
short_description: Write the build context of the images
description:
  - Renders Dockerfile, package lists and root file systems from catalogue, lock and templates. The same input gives the
    same bytes; files that are right are not touched, files that do not belong there are removed.
  - Check mode is the drift check. It reports every file that differs.
options:
  image_dir:
    description: Directory of catalogue, sources, locks and templates.
    type: path
    required: true
  source:
    description: Profile of C(sources).
    type: str
    default: debian
  major:
    description: PostgreSQL major, one of C(manifest.yml). V(0) is the first of them.
    type: int
    default: 0
  flavour:
    description: Flavour of C(manifest.yml).
    type: str
    default: standard
  extensions:
    description: Entries of the catalogue on top of the flavour.
    type: list
    elements: str
    default: []
  dest:
    description: Directory of the build context. It holds nothing else.
    type: path
    required: true
attributes:
  check_mode:
    support: full
    description: Says which files differ, writes none.
  diff_mode:
    support: full
    description: The files' differences.
"""

EXAMPLES = r"""
- name: Render the build context of the default flavour
  aza.pg.image_render:
    image_dir: "{{ lookup('aza.pg.project', 'image') }}"
    dest: "{{ lookup('aza.pg.project', 'build') }}"
"""

RETURN = r"""
files:
  description: Files that were, or in check mode would be, written or removed.
  returned: success
  type: list
  elements: str
extensions:
  description: Entries of the catalogue that the postgres image gets, in dependency order.
  returned: success
  type: list
  elements: str
left_out:
  description: Members of the flavour that the source cannot give, with the reason.
  returned: success
  type: dict
"""
