# SPDX-License-Identifier: Apache-2.0
"""What an instance is to its cluster: whether it holds data, whether it writes or follows."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible_collections.aza.pg.plugins.module_utils.stack import names, server
from ansible_collections.aza.pg.plugins.module_utils.stack.docker import Docker

_MEMBER = """
select json_build_object(
    'in_recovery', pg_is_in_recovery(),
    'system_identifier', (select system_identifier::text from pg_control_system()),
    'timeline', case when pg_is_in_recovery() then (select timeline_id from pg_control_checkpoint())
        else ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::int end,
    'floor', (select json_object_agg(name, setting::bigint) from pg_settings where name = any(%(floor)s)))
"""


def member_facts(identity: Mapping[str, str], docker: Docker, user: str) -> dict[str, Any]:
    """What the other members of a cluster must know of this one. ``identity``: of ``names.identity``.

    ``data``: whether it holds any; ``standby``, where no server answers, whether that is a standby's (None: unknown).
    ``error`` says why a server with data cannot be asked.
    """
    socket_dir = f"{identity['base_dir']}/{identity['instance']}/run"
    error = ""
    try:
        if (Path(socket_dir) / ".s.PGSQL.5432").exists():
            with server.connect(socket_dir, user) as connection:
                row = connection.execute(_MEMBER, {"floor": list(names.FLOOR)}).fetchone()
                return {"data": True, "answers": True, "error": "", **row[0]}
    except server.failures() as problem:
        error = " ".join(str(problem).split())
    volumes = docker.inspect(identity["volume"])
    data = _holds_data(volumes[0]) if volumes else False
    standby = _is_standby(volumes[0]) if data else None
    error = error or ("its server does not run" if data else "")
    return {"data": data, "answers": False, "standby": standby, "error": error}


def _holds_data(volume: Mapping[str, Any]) -> bool:
    """A first start that was cut off leaves nothing that is data. Who may not look takes it for some."""
    return _exists(volume, "PG_VERSION") is not False


def _is_standby(volume: Mapping[str, Any]) -> bool | None:
    return _exists(volume, "standby.signal")


def _exists(volume: Mapping[str, Any], name: str) -> bool | None:
    """Whether the data has such a file; None for an ordinary user, to whom the engine's directory is closed."""
    directory = Path(str(volume.get("Mountpoint", "")))
    try:
        next(directory.iterdir(), None)
        return (directory / "18" / "docker" / name).exists()
    except OSError:
        return None
