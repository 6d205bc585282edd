#!/usr/bin/python
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

DOCUMENTATION = r"""
module: secrets_read
short_description: Read the secret files of an instance on its host
version_added: 0.1.0
author: aza-pg maintainers (@aza-pg)
description:
  - The host's half of M(aza.pg.secrets_fetch), which is what people use. The answer is encrypted with O(key), so that
    no verbosity of Ansible prints a secret.
options:
  cluster:
    description: Name of the cluster.
    type: str
    required: true
  stack:
    description: Name of the stack.
    type: str
    choices: [single, primary, replica]
    default: single
  base_dir:
    description: Directory of all instances. Empty means C(/opt/aza-pg) for root, C(~/.local/share/aza-pg) otherwise.
    type: str
    default: ""
  key:
    description: Key that the answer is encrypted with, as hexadecimal digits. It is used once.
    type: str
    required: true
attributes:
  check_mode:
    description: Changes nothing in any mode.
    support: full
"""

EXAMPLES = r"""
- name: Read the secrets of an instance
  aza.pg.secrets_read:
    cluster: shop
    key: "{{ key_for_this_run }}"
"""

RETURN = r"""
environment:
  description: Which environment the instance belongs to, as its host has recorded it.
  returned: always
  type: dict
sealed:
  description: The secrets by name, encrypted.
  returned: always
  type: str
"""

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.aza.pg.plugins.module_utils.errors import AzaError
from ansible_collections.aza.pg.plugins.module_utils.host import facts as hosts
from ansible_collections.aza.pg.plugins.module_utils.host.docker import Docker
from ansible_collections.aza.pg.plugins.module_utils.instance import ownership_record as record
from ansible_collections.aza.pg.plugins.module_utils.instance import secrets_readback as readback
from ansible_collections.aza.pg.plugins.module_utils.model.names import STACKS, base_directory, identity


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "cluster": {"type": "str", "required": True},
            "stack": {"type": "str", "default": "single", "choices": list(STACKS)},
            "base_dir": {"type": "str", "default": ""},
            "key": {"type": "str", "required": True, "no_log": True},
        },
        supports_check_mode=True,
    )
    given, host = module.params, hosts.host_facts()
    try:
        base = base_directory(given["base_dir"], host["uid"], host["home"])
        names = identity(given["cluster"], given["stack"], base, host["uid"])
        directory = Path(base) / names["instance"]
        volumes = Docker().inspect(names["volume"])
        labels = volumes[0].get("Labels") if volumes else {}
        sealed = readback.seal(readback.secrets_of(readback.read(directory)), given["key"])
        module.exit_json(changed=False, environment=record.read(directory, labels), sealed=sealed)
    except AzaError as error:
        module.fail_json(msg=error.msg, reason=error.reason)


if __name__ == "__main__":
    main()
