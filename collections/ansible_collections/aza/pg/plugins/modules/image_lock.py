#!/usr/bin/python
# SPDX-License-Identifier: Apache-2.0
"""Documentation of the action aza.pg.image_lock, which does the work on the control node."""

from __future__ import annotations

DOCUMENTATION = r"""
module: image_lock
author: aza-pg maintainers (@aza-pg)
version_added: 0.1.0
short_description: Lock what the images are made of
description:
  - Asks the source's package archives, with apt in a root of its own, for everything that any image, flavour or choice
    of extensions can need, and writes exact versions, checksums and dependencies to C(locks/SOURCE-MAJOR.yml).
  - When the archives serve what is locked already, the lock is not touched.
  - The difference is printed. Where a base can be bootstrapped, it is, and its checksum is part of the lock.
options:
  image_dir:
    description: Directory of catalogue, sources and locks.
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
  cache_dir:
    description: Directory for what can be made again.
    type: path
    required: true
  mirrors:
    description: Addresses of the package archives by name. By default those of this machine's apt.
    type: dict
    default: {}
  base_image:
    description: Reference of the base image in another registry than the source says.
    type: str
    default: ""
  refresh:
    description:
      - V(always) asks the archives. V(never) does nothing.
      - V(auto) asks when a build needs packages that the images on record do not have, and the lock does not serve it,
        because packages are gone, are unknown, or the base's digest is missing.
    type: str
    choices: [never, auto, always]
    required: true
  flavour:
    description: With O(refresh=auto), the flavour that is to be built.
    type: str
    default: standard
  extensions:
    description: With O(refresh=auto), the entries of the catalogue that are to be built on top of it.
    type: list
    elements: str
    default: []
  images:
    description: With O(refresh=auto), the images that are to be built.
    type: list
    elements: str
    default: [postgres, pgbouncer, exporter]
  architectures:
    description: With O(refresh=auto), the Debian architectures that are to be built. By default the engine's.
    type: list
    elements: str
    default: []
  base:
    description: With O(refresh=auto), the base that is to be used.
    type: str
    choices: [auto, bootstrap, registry]
    default: auto
  dist_dir:
    description: Directory of the record of what was built.
    type: path
    required: true
attributes:
  check_mode:
    support: full
    description: Asks the archives and tells the difference, writes no lock.
  diff_mode:
    support: full
    description: The difference, one line a package.
"""

EXAMPLES = r"""
- name: Lock what the archives serve today
  aza.pg.image_lock:
    image_dir: "{{ lookup('aza.pg.project', 'image') }}"
    cache_dir: "{{ lookup('aza.pg.project', 'cache') }}"
    dist_dir: "{{ lookup('aza.pg.project', 'cache') }}/dist"
"""

RETURN = r"""
path:
  description: The lock.
  returned: success
  type: str
because:
  description: Why the archives were asked; empty when they were not.
  returned: success
  type: str
summary:
  description: The difference in one sentence.
  returned: success
  type: str
  sample: "packages: 12 changed, 1 added, 0 removed"
difference:
  description: The difference, one line a package.
  returned: success
  type: list
  elements: str
  sample: ["~ libpq5 18.6-3 → 18.7-1", "+ libfoo1 1.0-1 (amd64)"]
seconds:
  description: How long it took.
  returned: success
  type: float
"""
