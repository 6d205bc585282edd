#!/usr/bin/python
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

DOCUMENTATION = r"""
module: stack_host
short_description: Who deploys on a host, where, and with what
version_added: 0.1.0
author: aza-pg maintainers (@aza-pg)
description:
  - The facts of a host that a deploy begins with, in a fraction of the time that M(aza.pg.stack_info) takes.
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
  aza.pg.stack_host:
  register: stack_host
"""

RETURN = r"""
host:
  description: Who deploys (C(uid), C(gid), C(home)), and with what (C(psycopg), C(system_python), C(psql), C(systemd)).
  returned: always
  type: dict
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.aza.pg.plugins.module_utils.stack.host import host_facts


def main() -> None:
    module = AnsibleModule(argument_spec={}, supports_check_mode=True)
    module.exit_json(changed=False, host=host_facts())


if __name__ == "__main__":
    main()
