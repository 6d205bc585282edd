#!/usr/bin/python
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

DOCUMENTATION = r"""
module: replication_check
short_description: What one member of a cluster says about its replication
version_added: 0.1.0
author: aza-pg maintainers (@aza-pg)
description:
  - Asks the server behind the instance's Unix socket for its role, timeline, positions in the WAL, the standbys that
    it feeds, the server that feeds it, its slots, and the settings that replication depends on. Without a password.
  - Run it on all members of a cluster in one task. With the same O(sentinel) on all of them, the primary writes one
    row, and each replica waits until the row is there. Which member is primary is observed, not configured.
  - It judges nothing, since one member does not know the others. M(aza.pg.findings_table) does, by
    O(aza.pg.findings_table#module:clusters).
  - It never fails because a server does not answer; RV(error) then says why.
options:
  socket_dir:
    description: Directory of the instance's Unix socket.
    type: path
    required: true
  user:
    description:
      - Role to connect as. Reading needs no more than C(pg_monitor).
      - The row of the O(sentinel) is written by the administrator only.
    type: str
    default: postgres
  sentinel:
    description: Any text, the same for all members and new for each run. Empty writes nothing and waits for nothing.
    type: str
    default: ""
  timeout:
    description: Seconds that a replica waits for the row.
    type: float
    default: 5
  delay:
    description: Seconds by which the replica, or a server that feeds it, is delayed on purpose. It then does not wait.
    type: float
    default: 0
  data_path:
    description: A directory of this host on the disk that holds the data. Empty when none is visible.
    type: path
    default: ""
  image:
    description: Digest of the image that the server runs from, to be compared with that of the other members.
    type: str
    default: ""
attributes:
  check_mode:
    description: Writes no row, waits for none, and returns everything else.
    support: full
  diff_mode:
    description: Nothing to compare.
    support: none
notes:
  - The row is in the table C(aza_pg.sentinel) of the database C(postgres), which is made when it is missing. Only that
    counts as a change.
"""

EXAMPLES = r"""
- name: Ask every member, and see a row go from the primary to each replica
  aza.pg.replication_check:
    socket_dir: "/run/aza-pg/{{ postgres_cluster }}-{{ postgres_stack }}"
    sentinel: "{{ check_token }}"
    image: "{{ observed.container.image }}"
    data_path: /var/lib/docker
  register: replication_result

- name: Print the role
  ansible.builtin.debug:
    msg: "{{ 'replica' if replication_result.facts.in_recovery else 'primary' }}"
"""

RETURN = r"""
error:
  description: Why the server could not be checked. Empty when it was.
  returned: always
  type: str
facts:
  description:
    - What the server said. Empty when it could not be checked. Sizes are bytes, times seconds.
  returned: always
  type: dict
  contains:
    version:
      description: Version of the server.
      type: str
    in_recovery:
      description: Whether it is a standby.
      type: bool
    system_identifier:
      description: The same on all members of one cluster.
      type: str
    timeline:
      description: Number of its timeline.
      type: int
    lsn:
      description: Up to where a primary has written, a standby replayed.
      type: str
    receive_lsn:
      description: Up to where a standby has received.
      type: str
    replay_lsn:
      description: Up to where a standby has replayed.
      type: str
    replay_bytes:
      description: What a standby has received and not replayed.
      type: int
    replay_seconds:
      description: Age of the last replayed transaction; 0 when all that was received is replayed.
      type: float
    replay_paused:
      description: Whether its replay is paused.
      type: bool
    senders:
      description: Each standby that it feeds, with slot, state, sync state, positions, lag and TLS.
      type: list
      elements: dict
    receiver:
      description: The server that feeds it, with status, slot and address, and without a password. Null on a primary.
      type: dict
    slots:
      description: Its replication slots, with what they retain.
      type: list
      elements: dict
    settings:
      description: What a standby may not have less of, C(synchronous_standby_names) and the like.
      type: dict
    sentinel:
      description:
        - On the primary C(written) with C(at) and C(lsn), or C(error).
        - On a replica C(seen) with the C(age) of the row and the C(seconds) that were waited, or C(skipped) and why.
      type: dict
    disk_free:
      description: Free bytes at O(data_path). Null when it is not visible.
      type: int
    image:
      description: O(image).
      type: str
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.aza.pg.plugins.module_utils.checks import proof
from ansible_collections.aza.pg.plugins.module_utils.errors import AzaError
from ansible_collections.aza.pg.plugins.module_utils.plain import plain_data


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "socket_dir": {"type": "path", "required": True},
            "user": {"type": "str", "default": "postgres"},
            "sentinel": {"type": "str", "default": ""},
            "timeout": {"type": "float", "default": 5},
            "delay": {"type": "float", "default": 0},
            "data_path": {"type": "path", "default": ""},
            "image": {"type": "str", "default": ""},
        },
        supports_check_mode=True,
    )
    given = module.params
    if module.check_mode:
        given["sentinel"] = ""
    try:
        answer, made = proof.replication(**given)
    except AzaError as error:
        module.fail_json(**{"msg": error.msg, "reason": error.reason, **error.details})
    module.exit_json(changed=made, **plain_data(answer))


if __name__ == "__main__":
    main()
