#!/usr/bin/python
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

DOCUMENTATION = r"""
module: instance
short_description: Bring a PostgreSQL instance to its declared state
version_added: 0.1.0
author: aza-pg maintainers (@aza-pg)
description:
  - One instance on one host, through one engine. Observe what is, plan what has to change, apply it, wait until the
    server really works, and observe again. The second plan must be empty.
  - Check mode and C(--diff) print the plan, line by line as the real run would carry it out, and change nothing.
  - The control node renders the files and keeps the secrets; the host never sees more than it needs.
  - Who may not be disturbed is asked first. A restart or a replaced container needs O(allow_restart) or
    O(allow_recreate); without them everything else is applied and the result says what waits.
options:
  state:
    description:
      - V(present) deploys, V(stopped) and V(started) stop and start what was deployed, V(absent) removes it.
      - V(checked) looks, plans and judges as V(present) would find it, and changes nothing, with check mode or without.
      - V(absent) keeps the data unless O(remove_data) names the cluster, and always keeps secrets and backups.
    type: str
    choices: [present, checked, stopped, started, absent]
    default: present
  cluster:
    description: Name of the cluster. With O(stack) it names everything else.
    type: str
    required: true
  stack:
    description: Name of the stack.
    type: str
    choices: [single, primary, replica]
    default: single
  look:
    description: What M(aza.pg.instance_host) said of the host. When it is empty, the host is asked.
    type: dict
    default: {}
  mark:
    description: For V(checked) in a cluster, any text that is new for each run and the same for all members.
    type: str
    default: ""
  synchronous_replicas:
    description: How many replicas must have a transaction before its commit returns.
    type: int
    default: 0
  image:
    description:
      - The record that P(aza.pg.image#lookup) gives, or a reference with a digest (C(NAME:TAG@sha256:…)).
      - Empty means the image that was built last.
    type: raw
    default: ""
  memory:
    description: Memory of the container, as V(2g) or V(1536m). PostgreSQL tunes itself to it.
    type: str
    default: 1g
  cpus:
    description: Processors of the container. V(0) means all of the host's.
    type: float
    default: 0
  workload:
    description: What the tuning favours.
    type: str
    choices: [web, oltp, dw, mixed]
    default: web
  storage:
    description: What the data lies on.
    type: str
    choices: [ssd, hdd, san]
    default: ssd
  autotune:
    description: Whether the server tunes itself to its container.
    type: bool
    default: true
  huge_pages:
    description:
      - Whether the host keeps huge pages for the server's shared memory. Needs root on the host. Nobody else can use
        what is kept, and the container's memory limit does not count it.
    type: bool
    default: false
  shm_size:
    description: Size of C(/dev/shm). Empty means what the tuning says that parallel queries need.
    type: str
    default: ""
  port:
    description: Port on the host.
    type: int
    default: 5432
  publish_address:
    description: Address of the host to publish the port on. Empty means loopback, in a cluster the member's own.
    type: str
    default: ""
  allow_from:
    description: Networks whose clients may connect with a password, besides the container's own network.
    type: list
    elements: str
    default: []
  database:
    description: Database that is created.
    type: str
    default: postgres
  user:
    description: The server's administrator. Chosen at the first start.
    type: str
    default: postgres
  password:
    description: The administrator's password. Empty means that one is made and kept on the control node.
    type: str
    default: ""
  settings:
    description: PostgreSQL settings. They win over the tuned values.
    type: dict
    default: {}
  extra_preload_libraries:
    description: Libraries to preload besides those of the image.
    type: list
    elements: str
    default: []
  initdb_args:
    description: Further arguments of initdb, for the first start.
    type: str
    default: ""
  base_dir:
    description: Directory of all instances. Empty means C(/opt/aza-pg) for root, C(~/.local/share/aza-pg) otherwise.
    type: str
    default: ""
  stop_grace_period:
    description: How long the server may take to stop.
    type: str
    default: 2m
  ready_timeout:
    description: How long to wait for readiness.
    type: str
    default: 3m
  log_max_size:
    description: Size at which the container's log is rotated.
    type: str
    default: 20m
  log_max_files:
    description: How many rotated logs are kept.
    type: int
    default: 5
  allow_restart:
    description: Whether this run may restart the server.
    type: bool
    default: false
  allow_recreate:
    description: Whether this run may replace the container.
    type: bool
    default: false
  roles:
    description: Roles of the server, with the keys of the role's C(postgres_roles).
    type: list
    elements: raw
    default: []
  databases:
    description: Databases of the server and what is in them, with the keys of C(postgres_databases).
    type: list
    elements: raw
    default: []
  hba:
    description: Rules of pg_hba.conf, with the keys of C(postgres_hba).
    type: list
    elements: raw
    default: []
  ident:
    description: Lines of pg_ident.conf, with the keys of C(postgres_ident).
    type: list
    elements: raw
    default: []
  undeclared:
    description: What a check does about objects that nobody declared, by kind.
    type: dict
    default: {}
  allow_loss:
    description: What may be removed although it holds data, as C(database shop).
    type: list
    elements: str
    default: []
  exporter:
    description: Whether a Prometheus exporter runs beside the server.
    type: bool
    default: true
  exporter_port:
    description: Port of the exporter on the host.
    type: int
    default: 9187
  exporter_publish_address:
    description: Address of the host to publish the exporter on.
    type: str
    default: 127.0.0.1
  exporter_image:
    description: The exporter's image, as O(image).
    type: raw
    default: ""
  pgbouncer:
    description: Whether PgBouncer runs beside the server. By default in a cluster, and not with V(single).
    type: bool
  pgbouncer_port:
    description: Port of PgBouncer on the host.
    type: int
    default: 6432
  pgbouncer_publish_address:
    description: Address of the host to publish PgBouncer on.
    type: str
    default: ""
  pgbouncer_settings:
    description: PgBouncer's settings. They win over what the stack derives.
    type: dict
    default: {}
  pgbouncer_exporter_port:
    description: Port on the host of PgBouncer's exporter, which runs with O(pgbouncer) and O(exporter).
    type: int
    default: 9127
  pgbouncer_exporter_publish_address:
    description: Address of the host to publish PgBouncer's exporter on.
    type: str
    default: 127.0.0.1
  pgbouncer_image:
    description: PgBouncer's image, as O(image).
    type: raw
    default: ""
  rotating:
    description:
      - Secrets that M(aza.pg.secrets) has given a new value, as C(postgres_password) or C(roles/shop).
      - Check mode foretells with it what the real run would change.
    type: list
    elements: str
    default: []
  tls:
    description: Whether the server speaks TLS, and clients on the network have to.
    type: bool
    default: true
  tls_certificate:
    description: Your own certificate with its chain, a PEM file on the control node or its text.
    type: str
    default: ""
  tls_key:
    description: The key of O(tls_certificate), a PEM file on the control node or its text.
    type: str
    default: ""
  tls_ca_certificate:
    description: Your own authority, which signs the server's certificate. Otherwise the environment has one of its own.
    type: str
    default: ""
  tls_ca_key:
    description: The key of O(tls_ca_certificate).
    type: str
    default: ""
  tls_names:
    description: Further names and addresses that clients reach the server by.
    type: list
    elements: str
    default: []
  replace_authority:
    description:
      - Whether a member of a cluster gets a certificate from an authority that the other members do not trust yet.
        Replicas cannot reconnect until all are deployed.
    type: bool
    default: false
  renew_certificate:
    description: Whether a new certificate is made although the old one is good.
    type: bool
    default: false
  only:
    description:
      - Kinds of changes to carry out, also with their action (V(restart container)); the others stay undone and unsaid.
      - Empty means all.
    type: list
    elements: str
    default: []
  take_over:
    description:
      - The cluster's name, to deploy an instance that belongs to another environment, or whose secrets the control node
        lacks. Its passwords and certificates are replaced.
    type: str
    default: ""
  confirm:
    description: The cluster's name, to confirm O(state=absent).
    type: str
    default: ""
  remove_data:
    description: The cluster's name, so that O(state=absent) removes its data.
    type: str
    default: ""
  not_primary:
    description:
      - Members of the cluster that cannot be looked at. You have made sure that they do not write and will not.
      - Without it, no server with a primary's data is started while a member is unknown.
    type: list
    elements: str
    default: []
  start_primary:
    description: Of several stopped members with a primary's data, the one that is right and may be started.
    type: str
    default: ""
  accept_loss:
    description:
      - The member whose data O(remove_data) removes although no other member is known to have everything that it holds.
    type: str
    default: ""
attributes:
  check_mode:
    description: Is the plan.
    support: full
  diff_mode:
    description: Is the plan, and the text of each changed file. Never a secret.
    support: full
"""

EXAMPLES = r"""
- name: A small instance
  aza.pg.instance:
    cluster: shop
    memory: 2g
    settings:
      work_mem: 16MB

- name: Remove the instance and keep its data
  aza.pg.instance:
    cluster: shop
    state: absent
    confirm: shop
"""

RETURN = r"""
plan:
  description: Changes with kind, name, action, effect and reason; those that wait for a permission; a summary.
  returned: always
  type: dict
lines:
  description: The plan as a person reads it.
  returned: always
  type: list
  elements: str
held:
  description: Changes that wait for O(allow_restart) or O(allow_recreate).
  returned: state present
  type: list
  elements: dict
ready_seconds:
  description: How long it took until the first write succeeded. Zero when nothing changed.
  returned: state present
  type: float
certificate:
  description:
    - Names, expiry (C(expires), in seconds since 1970) and fingerprint of the server's certificate.
    - C(told) says it in a sentence.
  returned: state present
  type: dict
role:
  description: What the instance is, V(single), V(primary) or V(replica), as its servers say.
  returned: state present
  type: str
notes:
  description: What is not as the inventory says and stays so, as sentences. (Who is the primary, after a promotion.)
  returned: state present
  type: list
  elements: str
connection:
  description: Where the server is reached, and where the password's file is.
  returned: state present
  type: dict
version:
  description: Version of the server.
  returned: state present
  type: str
tuning:
  description: The tuned values that the container will find, each with its rule.
  returned: state present
  type: dict
"""

# The work is done by the action plugin of the same name, which calls aza.pg.instance_apply on the host.
