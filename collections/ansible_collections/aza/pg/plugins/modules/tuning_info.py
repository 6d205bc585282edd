#!/usr/bin/python
# SPDX-License-Identifier: Apache-2.0
"""Tell what the image would tune itself to."""

from __future__ import annotations

DOCUMENTATION = r"""
module: tuning_info
short_description: Tell what the image would tune itself to
version_added: 0.1.0
description:
  - Works out every setting of the auto-configuration for a size, without a container, with the rule, the inputs and
    the memory budget. The image gives the same values in a container of that size.
  - Runs on the control node, changes nothing and touches no host.
options:
  memory:
    description: Memory in MB (V(2048)) or with a unit (V(512MB), V(2g), V(1TiB)). At least 512 MB.
    type: str
    required: true
  cpus:
    description: Cores; a part of a core counts as one.
    type: str
    required: true
  workload:
    description: What the database mostly does, like E(POSTGRES_WORKLOAD_TYPE).
    type: str
    default: web
  storage:
    description: Storage type of the data directory, like E(POSTGRES_STORAGE_TYPE).
    type: str
    default: ssd
  disk:
    description: Size of the data's file system, in MB or with a unit. Empty means that it is not known.
    type: str
    default: ""
  preload_workers:
    description: Background workers that the preloaded libraries start.
    type: int
    default: 0
  wal_segment_mb:
    description: Size of a WAL segment in MB.
    type: int
    default: 16
  wal_level:
    description: Like E(POSTGRES_WAL_LEVEL).
    type: str
    default: replica
  io_method:
    description: What E(POSTGRES_IO_METHOD) comes to.
    type: str
    default: worker
  minimums:
    description: On a standby, what its primary has.
    type: dict
    default: {}
    suboptions:
      max_connections:
        description: The primary's C(max_connections).
        type: int
      max_worker_processes:
        description: The primary's C(max_worker_processes).
        type: int
      max_wal_senders:
        description: The primary's C(max_wal_senders).
        type: int
      max_prepared_transactions:
        description: The primary's C(max_prepared_transactions).
        type: int
      max_locks_per_transaction:
        description: The primary's C(max_locks_per_transaction).
        type: int
  rules:
    description: The rules. Empty means those of the image, C(image/tuning.yml).
    type: path
attributes:
  check_mode:
    description: Changes nothing, so check mode is the same.
    support: full
  diff_mode:
    description: Nothing to compare.
    support: none
author:
  - aza-pg maintainers (@aza-pg)
"""

EXAMPLES = r"""
- name: What a small virtual machine would get
  aza.pg.tuning_info:
    memory: 2g
    cpus: 2
    workload: oltp
    disk: 40g
  register: tuning

- name: Show it
  ansible.builtin.debug:
    msg: "{{ tuning.text.splitlines() }}"
"""

RETURN = r"""
settings:
  description: PostgreSQL's settings, as C(postgresql.conf) writes them.
  returned: success
  type: dict
  sample: {shared_buffers: 512MB, max_connections: "210"}
outputs:
  description: Other outputs, C(shm_size_mb) and C(active_backends) among them.
  returned: success
  type: dict
values:
  description: Every value with its rule, the expression, its inputs, the reason and where the rule is from.
  returned: success
  type: list
  elements: dict
budget:
  description: What can be in use at once, part by part, in kB, and what all connections sorting at once would take.
  returned: success
  type: dict
warnings:
  description: Where a primary's minimums are more than this size can hold.
  returned: when there are any
  type: list
  elements: str
text:
  description: All of it, ready to print.
  returned: success
  type: str
"""

# The work is done by the action plugin of the same name, on the control node.
