#!/usr/bin/python
# SPDX-License-Identifier: Apache-2.0
"""Documentation of the action aza.pg.image_build, which does the work on the control node."""

from __future__ import annotations

DOCUMENTATION = r"""
module: image_build
author: aza-pg maintainers (@aza-pg)
version_added: 0.1.0
short_description: Build the images
description:
  - Builds each image of the build context into an OCI archive, loads it into the engine and notes it in C(images.json).
  - Two builds from one lock give the same digest. An image whose inputs are those on record is not built again.
  - Says while it works which step runs, and since when.
options:
  image_dir:
    description: Directory of sources and locks.
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
  build_dir:
    description: The build context, as M(aza.pg.image_render) writes it.
    type: path
    required: true
  cache_dir:
    description: Directory for the base and the logs.
    type: path
    required: true
  dist_dir:
    description: Directory for the archives and the record.
    type: path
    required: true
  images:
    description: Which images to build.
    type: list
    elements: str
    default: [postgres, pgbouncer, exporter]
  architectures:
    description: Debian architectures. By default the engine's.
    type: list
    elements: str
    default: []
  repository:
    description: First part of the images' names.
    type: str
    default: aza-pg
  base:
    description:
      - V(bootstrap) makes the base with mmdebstrap, V(registry) takes it from a registry by its locked digest, V(auto)
        bootstraps where that is possible.
    type: str
    choices: [auto, bootstrap, registry]
    default: auto
  base_image:
    description: Reference of the base image in another registry than the source says.
    type: str
    default: ""
  mirrors:
    description: Addresses of the package archives by name. By default those of this machine's apt or of the base.
    type: dict
    default: {}
  build_date:
    description: BUILD_DATE. By default the time of the lock.
    type: str
    default: ""
  vcs_ref:
    description: VCS_REF. By default the last commit that touched the build context, C(-dirty) if it was changed.
    type: str
    default: ""
  no_cache:
    description: Build every step again.
    type: bool
    default: false
attributes:
  check_mode:
    support: full
    description: Says which images would be built or loaded.
  diff_mode:
    support: full
    description: The same, as lines.
"""

EXAMPLES = r"""
- name: Build PostgreSQL's image
  aza.pg.image_build:
    image_dir: "{{ lookup('aza.pg.project', 'image') }}"
    build_dir: "{{ lookup('aza.pg.project', 'build') }}"
    cache_dir: "{{ lookup('aza.pg.project', 'cache') }}"
    dist_dir: "{{ lookup('aza.pg.project', 'cache') }}/dist"
    images: [postgres]
"""

RETURN = r"""
actions:
  description: What was done about each image, V(build), V(load) or V(none).
  returned: success
  type: dict
base:
  description: Which base was used.
  returned: success
  type: str
images:
  description: The record of each image.
  returned: success
  type: dict
  contains:
    reference:
      description: Name and tag. With C(@) and RV(images.digest) behind it, exactly this image.
      type: str
      sample: aza-pg/postgres:18-standard
    digest:
      description: Digest of the image's manifest. With the engine's classic image store, the image's id.
      type: str
    id:
      description: The engine's id of the image.
      type: str
    archive:
      description: The OCI archive, which C(docker load) takes.
      type: str
    flavour:
      description: Flavour of the postgres image.
      type: str
    major:
      description: PostgreSQL major of the postgres image; none for the other images.
      type: int
    architectures:
      description: Debian architectures.
      type: list
    sizes:
      description: C(compressed) and C(unpacked), in bytes; the second as the engine counts it.
      type: dict
    layers:
      description: Layers with C(digest) and C(compressed).
      type: list
    steps:
      description: How many build steps there were, and how many of them came from the cache.
      type: dict
    duration:
      description: Seconds that build and loading took.
      type: float
    built_at:
      description: When.
      type: str
    locked_at:
      description: The lock that it was built from.
      type: str
    inputs:
      description: Hash of everything that it was built from.
      type: str
"""
