# SPDX-License-Identifier: Apache-2.0
"""What only doing shows of an instance: a row comes to each replica, a client comes in through PgBouncer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.aza.pg.plugins.module_utils.checks import member, pgbouncer, pool
from ansible_collections.aza.pg.plugins.module_utils.model.desired import Desired
from ansible_collections.aza.pg.plugins.module_utils.server import connection as server
from ansible_collections.aza.pg.plugins.module_utils.services.pgbouncer import files as pooler
from ansible_collections.aza.pg.plugins.module_utils.services.postgres_exporter import MONITOR
from ansible_collections.aza.pg.plugins.module_utils.services.postgres_exporter import (
    PASSWORD as MONITOR_PASSWORD,
)
from ansible_collections.aza.pg.plugins.module_utils.tls import certificate as tls

# How long a replica may wait for the primary's row; the primary may come to write it a little later.
_SENTINEL_SECONDS = 10


def replication(sentinel: str, timeout: float, image: str, **asked: Any) -> tuple[dict[str, Any], bool]:
    """``facts`` of a member or the ``error`` why there are none, and whether something was made. The arguments are
    those of ``aza.pg.replication_check``."""
    try:
        facts, made = member.observe(token=sentinel, timeout=timeout, **asked)
    except server.ServerError as error:
        return {"facts": {}, "error": f"its server does not answer: {error}"}, False
    return {"facts": {**facts, "image": image}, "error": ""}, made


def logins(
    door: pool.Door,
    client: pool.Client,
    databases: list[str],
    console: pool.Console,
    declared: pgbouncer.Declared,
) -> dict[str, Any]:
    """``facts`` and ``findings`` of a PgBouncer."""
    facts = pool.observe(door, client, databases, console)
    return {"facts": facts, "findings": [item.to_dict() for item in pgbouncer.judge(declared, facts)]}


def prove(
    wanted: Desired, data_path: str, secrets: Mapping[str, str], mark: str, delay: float
) -> dict[str, dict[str, Any]]:
    """Both for one instance. ``mark``: the row's text, new for each run and the same for all members; empty for none.
    Without the monitoring role there is no role to log in with.

    :raises AzaError: this host has no psycopg.
    """
    proofs = {}
    if wanted.stack != "single":
        proofs["replication"], _ = replication(
            mark,
            _SENTINEL_SECONDS,
            wanted.image["digest"],
            socket_dir=wanted.socket_dir,
            user=wanted.superuser,
            delay=delay,
            data_path=data_path,
        )
    service = wanted.service(pooler.NAME)
    if service and MONITOR_PASSWORD in secrets:
        directory, address = wanted.directory, service.publish_address
        present = [item["name"] for item in wanted.objects["databases"] if item["state"] == "present"]
        mode, root = "disable", ""
        if wanted.certificate:
            # A certificate of one's own need not have the address that this host reaches itself by.
            mode = "verify-full" if tls.covers(wanted.certificate["names"], address) else "verify-ca"
            root = f"{directory}/{pooler.AUTHORITY}"
        proofs["pgbouncer"] = logins(
            pool.Door(address, service.port, mode, root),
            pool.Client(MONITOR, secrets[MONITOR_PASSWORD]),
            list(dict.fromkeys(["postgres", wanted.database, *present])),
            pool.Console(f"{directory}/{pooler.SOCKET_DIRECTORY}", pooler.AUTH),
            pgbouncer.Declared(tls=bool(wanted.certificate)),
        )
    return proofs
