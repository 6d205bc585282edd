# SPDX-License-Identifier: Apache-2.0
"""What an instance is to its cluster: whether it holds data, whether it writes or follows, and how far it has come."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible_collections.aza.pg.plugins.module_utils.host import data_volume
from ansible_collections.aza.pg.plugins.module_utils.host.docker import Docker
from ansible_collections.aza.pg.plugins.module_utils.model import names
from ansible_collections.aza.pg.plugins.module_utils.model.service import SERVER, container_name
from ansible_collections.aza.pg.plugins.module_utils.server import connection as server
from ansible_collections.aza.pg.plugins.module_utils.server.positions import history

# A standby has what it received, which may be more than it has replayed.
_MEMBER = """
with this as (
    select case when pg_is_in_recovery() then greatest(
            (select timeline_id from pg_control_checkpoint()),
            (select min_recovery_end_timeline from pg_control_recovery()),
            (select max(received_tli) from pg_stat_wal_receiver))
        else ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::int end as timeline
)
select json_build_object(
    'in_recovery', pg_is_in_recovery(),
    'system_identifier', (select system_identifier::text from pg_control_system()),
    'timeline', timeline,
    'lsn', case when pg_is_in_recovery() then greatest(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn())
        else pg_current_wal_flush_lsn() end::text,
    'history', coalesce(
        pg_read_file('pg_wal/' || upper(lpad(to_hex(timeline), 8, '0')) || '.history', true), ''),
    'minimums', (select json_object_agg(name, setting::bigint) from pg_settings where name = any(%(minimums)s)))
from this
"""


def member_facts(identity: Mapping[str, str], docker: Docker, user: str) -> dict[str, Any]:
    """What the other members of a cluster must know of this one. ``identity``: of ``names.identity``.

    ``data``: whether it holds any; ``standby``, where no server answers, whether that is a standby's (None: unknown).
    ``timeline``, ``lsn`` and ``history`` are its position, ``exact`` whether nothing lies beyond it. ``error`` says why
    a server with data cannot be asked.
    """
    socket_dir = f"{identity['base_dir']}/{identity['instance']}/run"
    error = ""
    try:
        if (Path(socket_dir) / ".s.PGSQL.5432").exists():
            with server.connect(socket_dir, user) as connection:
                row = connection.execute(_MEMBER, {"minimums": list(names.STANDBY_MINIMUMS)}).fetchone()
                found = {**row[0], "history": history(str(row[0]["history"]))}
                return {"data": True, "answers": True, "exact": True, "error": "", **found}
    except server.failures() as problem:
        error = " ".join(str(problem).split())
    container = container_name(identity["project"], SERVER)
    state = next(
        (
            str(item["State"]["Status"])
            for item in docker.inspect(container)
            if item.get("Name") == f"/{container}" and "State" in item
        ),
        "",
    )
    found = data_volume.observe(docker, identity["volume"], container)
    if found["data"]:
        error = _why(state, error, str(found.get("unreadable", "")))
    return {"answers": False, "state": state, "error": error, **found}


def _why(state: str, error: str, unreadable: str) -> str:
    """Why a server with data cannot be asked."""
    if state == "running":
        message = f"its server runs and does not answer: {error or 'there is no socket'}"
    elif state in ("paused", "restarting"):
        message = f"its container is {state}"
    else:
        message = "its server does not run"
    return f"{message}; the origin of its data is unknown: {unreadable}" if unreadable else message
