# SPDX-License-Identifier: Apache-2.0
"""What the members of a cluster say of each other."""

from __future__ import annotations

from collections.abc import Mapping

from support.clients import Connection, connect
from support.instances import Instance
from support.plugin import INVENTORY
from support.waiting import until

SECRETS = INVENTORY / "secrets"
_STREAMING = (
    "select application_name from pg_stat_replication join pg_stat_ssl using (pid) "
    "join pg_replication_slots on active_pid = pid and slot_name = application_name where state = 'streaming' and ssl"
)
Members = Mapping[str, Instance]


def pool(at: Instance, user: str = "shop", database: str = "shop", **more: object) -> Connection:
    """A client at the pool of a member."""
    return connect(SECRETS, at, user, database, **more)


def slot(host: str) -> str:
    return host.replace("-", "_")


def until_says(found: Instance, question: str, answer: str, database: str = "postgres") -> None:
    until(lambda: found.sql(question, database) == answer, f"{found.name}: {answer} to {question}")


def until_healthy(found: Instance) -> None:
    for container in (found.container, found.pgbouncer, found.exporter, found.pool_exporter):
        _until_healthy(found, container)


def _until_healthy(found: Instance, container: str) -> None:
    until(
        lambda: found.inspect(container)["State"]["Health"]["Status"] == "healthy",
        f"{found.name}: {container} is healthy",
    )


def streaming(primary: Instance) -> set[str]:
    """Who streams from it: encrypted, as the host that it is, with the slot of that name."""
    return set(primary.sql(_STREAMING).splitlines())


def until_streaming(primary: Instance, replicas: Members) -> None:
    """And until each has what its primary has written up to now."""
    names = {slot(name) for name in replicas}
    until(lambda: streaming(primary) >= names, f"{names} stream from {primary.name}")
    written = primary.sql("select pg_current_wal_lsn()")
    for found in replicas.values():
        until_says(found, f"select pg_last_wal_replay_lsn() >= '{written}'", "t")
