#!/usr/bin/python
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

DOCUMENTATION = r"""
module: pgbouncer_check
short_description: Log in through PgBouncer as clients do, and compare it with what was declared
version_added: 0.1.0
author: aza-pg maintainers (@aza-pg)
description:
  - Logs in to each of O(databases) through the pool, and looks whether the server knows the client as itself, whether
    TLS is in use, and whether a prepared statement outlives its transaction, on another server of the pool.
  - Tries a wrong password, which must be refused.
  - Asks PgBouncer's console for its version, pools, databases and configuration.
  - It never fails because something does not work; that is a finding.
options:
  host:
    description: Name or address that clients reach PgBouncer by. It is what its certificate is verified against.
    type: str
    required: true
  port:
    description: Its port there.
    type: int
    default: 6432
  databases:
    description: Databases to log in to.
    type: list
    elements: str
    default: [postgres]
  user:
    description:
      - Role to log in as. A role that no file of PgBouncer names proves that passwords are looked up on the server.
      - It only asks who it is; every name in its queries has its schema.
    type: str
    required: true
  password:
    description: Its password. It goes to libpq, and neither into an argument list nor into the environment.
    type: str
    required: true
  sslmode:
    description: As in libpq.
    type: str
    default: verify-full
    choices: [disable, allow, prefer, require, verify-ca, verify-full]
  sslrootcert:
    description: File on this host with the certificate of the authority. Empty leaves it to libpq.
    type: path
    default: ""
  timeout:
    description: Seconds after which a connection that has got no answer is cut.
    type: int
    default: 5
  socket_dir:
    description: Directory of PgBouncer's own Unix socket, for its console. Empty asks nothing there.
    type: path
    default: ""
  socket_port:
    description: Number of its socket, which is the port that it listens on inside its container.
    type: int
    default: 6432
  admin:
    description: User of the console, admitted over the socket without a password.
    type: str
    default: pgbouncer
  declared:
    description: What the console's answers are compared with. What is not given is not compared.
    type: dict
    default: {}
    suboptions:
      databases:
        description: Database and what its line says, as in C(SHOW DATABASES), like C(pool_size) and C(pool_mode).
        type: dict
        default: {}
      config:
        description: Setting and value, as in C(SHOW CONFIG).
        type: dict
        default: {}
      tls:
        description: Whether clients must use TLS.
        type: bool
        default: true
      wait_seconds:
        description: How long a client may wait for a server.
        type: float
        default: 1
      clients_share:
        description: Share of C(max_client_conn) above which it is too full.
        type: float
        default: 0.8
attributes:
  check_mode:
    description: Changes nothing anyway.
    support: full
  diff_mode:
    description: Nothing to compare.
    support: none
"""

EXAMPLES = r"""
- name: Try the pool as the shop does
  aza.pg.pgbouncer_check:
    host: db1.example.org
    databases: [shop, postgres]
    user: shop
    password: "{{ shop_password }}"
    sslrootcert: /etc/ssl/aza-pg-ca.crt
    socket_dir: /run/aza-pg/shop-primary/pgbouncer
    declared:
      config: {pool_mode: transaction, max_client_conn: 500}
      databases: {shop: {pool_size: 20}}
  register: pgbouncer_result
"""

RETURN = r"""
findings:
  description: One for each subject that was checked, with C(what), C(state), C(message) and C(remedy).
  returned: always
  type: list
  elements: dict
facts:
  description: What was seen.
  returned: always
  type: dict
  contains:
    client:
      description: O(user).
      type: str
    databases:
      description: Database and how the login went, with C(session_user), C(tls), C(prepared), C(seconds) or C(error).
      type: dict
    wrong_password:
      description: Whether it was C(refused), and what was C(message).
      type: dict
    console:
      description: C(version), C(pools), C(databases), C(config) and C(lists), or C(error).
      type: dict
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.aza.pg.plugins.module_utils.checks import pgbouncer, pool, proof
from ansible_collections.aza.pg.plugins.module_utils.errors import AzaError
from ansible_collections.aza.pg.plugins.module_utils.plain import plain_data


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "host": {"type": "str", "required": True},
            "port": {"type": "int", "default": 6432},
            "databases": {"type": "list", "elements": "str", "default": ["postgres"]},
            "user": {"type": "str", "required": True},
            "password": {"type": "str", "required": True, "no_log": True},
            "sslmode": {
                "type": "str",
                "default": "verify-full",
                "choices": ["disable", "allow", "prefer", "require", "verify-ca", "verify-full"],
            },
            "sslrootcert": {"type": "path", "default": ""},
            "timeout": {"type": "int", "default": 5},
            "socket_dir": {"type": "path", "default": ""},
            "socket_port": {"type": "int", "default": 6432},
            "admin": {"type": "str", "default": "pgbouncer"},
            "declared": {
                "type": "dict",
                "default": {},
                "apply_defaults": True,
                "options": {
                    "databases": {"type": "dict", "default": {}},
                    "config": {"type": "dict", "default": {}},
                    "tls": {"type": "bool", "default": True},
                    "wait_seconds": {"type": "float", "default": 1},
                    "clients_share": {"type": "float", "default": 0.8},
                },
            },
        },
        supports_check_mode=True,
    )
    given = module.params
    try:
        answer = proof.logins(
            pool.Door(given["host"], given["port"], given["sslmode"], given["sslrootcert"], given["timeout"]),
            pool.Client(given["user"], given["password"]),
            given["databases"],
            pool.Console(given["socket_dir"], given["admin"], given["socket_port"]),
            pgbouncer.Declared(**given["declared"]),
        )
    except AzaError as error:
        module.fail_json(**{"msg": error.msg, "reason": error.reason, **error.details})
    module.exit_json(changed=False, **plain_data(answer))


if __name__ == "__main__":
    main()
