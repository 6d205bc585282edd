#!/usr/bin/python
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

DOCUMENTATION = r"""
module: instance_host
short_description: What a deploy has to know of a host before it can say what should be there
version_added: 0.1.0
author: aza-pg maintainers (@aza-pg)
description:
  - Who deploys there and with what, its engine, and what its instance is to the cluster, in a fraction of the time that
    M(aza.pg.instance_info) takes. M(aza.pg.instance) begins with it, and so do the other members of the cluster.
  - Never fails because there is nothing. Without an engine or without an instance the facts say so.
options:
  cluster:
    description: Name of the cluster.
    type: str
    required: true
  stack:
    description: Name of the stack.
    type: str
    default: single
    choices: [single, primary, replica]
  base_dir:
    description: Directory of all instances. Empty means C(/opt/aza-pg) for root, C(~/.local/share/aza-pg) otherwise.
    type: str
    default: ""
  user:
    description: The server's administrator, whose name was chosen at the first start.
    type: str
    default: postgres
attributes:
  check_mode:
    description: Changes nothing in any mode.
    support: full
  diff_mode:
    description: Changes nothing, so there is nothing to show.
    support: none
"""

EXAMPLES = r"""
- name: Look at the host
  aza.pg.instance_host:
    cluster: shop
    stack: replica
  register: instance_host
"""

RETURN = r"""
host:
  description: Who deploys (C(uid), C(gid), C(home)), and with what (C(psycopg), C(system_python), C(psql), C(systemd)).
  returned: always
  type: dict
engine:
  description: Memory, processors, disk and version of the Docker Engine. Empty when none answers.
  returned: always
  type: dict
engine_error:
  description: Why no engine answers, in words.
  returned: always
  type: str
environment:
  description: The environment that is recorded as the instance's on the host. Empty if there is no record.
  returned: always
  type: dict
trusts:
  description: Fingerprints of the authorities by which the instance verifies the other members of its cluster.
  returned: always
  type: list
  elements: str
member:
  description:
    - Whether the instance holds data (C(data)) and answers (C(answers)), whether it is a standby (C(in_recovery)), its
      C(system_identifier) and C(timeline), and what a standby may not have less of (C(minimums)). C(error) says why a
      server with data does not answer.
  returned: for a member of a cluster, when an engine answers
  type: dict
"""

from contextlib import suppress
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.aza.pg.plugins.module_utils.errors import AzaError
from ansible_collections.aza.pg.plugins.module_utils.host import facts as hosts
from ansible_collections.aza.pg.plugins.module_utils.host.docker import Docker
from ansible_collections.aza.pg.plugins.module_utils.instance import ownership_record as record
from ansible_collections.aza.pg.plugins.module_utils.model.names import STACKS, base_directory, identity
from ansible_collections.aza.pg.plugins.module_utils.plain import plain_data


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "cluster": {"type": "str", "required": True},
            "stack": {"type": "str", "default": "single", "choices": list(STACKS)},
            "base_dir": {"type": "str", "default": ""},
            "user": {"type": "str", "default": "postgres"},
        },
        supports_check_mode=True,
    )
    given, docker, host = module.params, Docker(), hosts.host_facts()
    base = base_directory(given["base_dir"], host["uid"], host["home"])
    result = {"host": host, "engine": {}, "engine_error": "", "environment": {}, "trusts": [], "member": {}}
    try:
        names = identity(given["cluster"], given["stack"], base, host["uid"])
    except AzaError as error:
        module.fail_json(msg=error.msg, reason=error.reason)
    with suppress(AzaError):  # another user's record: the deploy refuses it with its reason
        result["trusts"] = record.trusts(Path(base) / names["instance"])
        result["environment"] = record.read(Path(base) / names["instance"])
    try:
        result["engine"] = hosts.engine_facts(docker)
        if given["stack"] != "single":
            # Only here, because speaking to a server loads more than all the rest.
            from ansible_collections.aza.pg.plugins.module_utils.replication import membership

            result["member"] = membership.member_facts(names, docker, given["user"])
    except AzaError as error:
        result["engine_error"] = error.msg
    module.exit_json(changed=False, **plain_data(result))


if __name__ == "__main__":
    main()
