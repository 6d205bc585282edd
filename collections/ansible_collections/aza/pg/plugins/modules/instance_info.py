#!/usr/bin/python
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

DOCUMENTATION = r"""
module: instance_info
short_description: Look at an instance and its host, and change nothing
version_added: 0.1.0
author: aza-pg maintainers (@aza-pg)
description:
  - Observes one instance, as M(aza.pg.instance) does before it plans. Files, containers, volume, network, images, the
    server behind the socket, and the host, as facts. One call, well below a second.
  - Never fails because there is nothing. Without an engine or without an instance the facts say so.
  - No secret and no fingerprint of one is in the facts.
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
  settings:
    description: PostgreSQL settings to bring along, by name.
    type: list
    elements: str
    default: []
attributes:
  check_mode:
    description: Changes nothing, so check mode is the same.
    support: full
  diff_mode:
    description: Nothing to compare.
    support: none
"""

EXAMPLES = r"""
- name: Look at the instance
  aza.pg.instance_info:
    cluster: shop
  register: shop

- name: Say which version runs
  ansible.builtin.debug:
    msg: "{{ shop.observed.server.version }}"
"""

RETURN = r"""
host:
  description: Who deploys there and with what. C(psql) is empty where it is missing.
  returned: always
  type: dict
engine:
  description: Memory, processors and version of the Docker Engine. Empty when none answers.
  returned: always
  type: dict
engine_error:
  description: Why no engine answers, in words.
  returned: always
  type: str
observed:
  description: Files, containers, volume, network, images and server of the instance.
  returned: when an engine answers
  type: dict
"""

from dataclasses import replace
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.aza.pg.plugins.module_utils.errors import AzaError
from ansible_collections.aza.pg.plugins.module_utils.host.docker import Docker
from ansible_collections.aza.pg.plugins.module_utils.host.facts import engine_facts, host_facts
from ansible_collections.aza.pg.plugins.module_utils.instance.describe import skeleton
from ansible_collections.aza.pg.plugins.module_utils.instance.observe import observe
from ansible_collections.aza.pg.plugins.module_utils.model.names import STACKS
from ansible_collections.aza.pg.plugins.module_utils.plain import plain_data


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "cluster": {"type": "str", "required": True},
            "stack": {"type": "str", "default": "single", "choices": list(STACKS)},
            "base_dir": {"type": "str", "default": ""},
            "user": {"type": "str", "default": "postgres"},
            "settings": {"type": "list", "elements": "str", "default": []},
        },
        supports_check_mode=True,
    )
    given = module.params
    docker, host = Docker(), host_facts()
    result: dict[str, Any] = {"host": host, "engine": {}, "engine_error": "", "observed": None}
    try:
        wanted = skeleton(given["cluster"], given["stack"], given["base_dir"], host, given["user"])
        wanted = replace(wanted, settings=dict.fromkeys(given["settings"], ""))
        try:
            result["engine"] = engine_facts(docker)
        except AzaError as error:
            result["engine_error"] = error.msg
        else:
            result["observed"] = observe(wanted, docker).to_dict()
    except AzaError as error:
        module.fail_json(**{"msg": error.msg, "reason": error.reason, **error.details})
    module.exit_json(changed=False, **plain_data(result))


if __name__ == "__main__":
    main()
