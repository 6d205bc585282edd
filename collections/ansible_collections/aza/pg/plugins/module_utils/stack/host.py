# SPDX-License-Identifier: Apache-2.0
"""What a deploy begins with: who deploys on a host and with what, its engine, and what its instance is to a cluster.

Apart from the rest, so that a first look loads next to nothing.
"""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible_collections.aza.pg.plugins.module_utils.errors import AzaError
from ansible_collections.aza.pg.plugins.module_utils.stack import names, server
from ansible_collections.aza.pg.plugins.module_utils.stack.docker import Docker


def host_facts() -> dict[str, Any]:
    """Who deploys, where, and with what. Needs no engine."""
    uid = os.geteuid()
    try:
        home = pwd.getpwuid(uid).pw_dir
    except KeyError:
        home = os.environ.get("HOME", "")
    return {
        "uid": uid,
        "gid": os.getegid(),
        "home": home,
        "psycopg": server.psycopg_version(),
        "system_python": sys.executable.startswith("/usr/bin/"),
        "psql": shutil.which("psql") or "",
        "hostname": socket.gethostname(),
        "time": time.time(),
        "systemd": Path("/run/systemd/system").is_dir(),
    }


def engine_facts(docker: Docker) -> dict[str, Any]:
    info = docker.info()
    root = Path(str(info["root"]))
    try:
        disk = shutil.disk_usage(root)
    except OSError:
        disk = None  # an ordinary user, or an engine elsewhere: not ours to see
    return {
        "memory_mb": int(info["memory"]) // 2**20,
        "cpus": int(info["cpus"]),
        "root": str(root),
        "disk_mb": disk.total // 2**20 if disk else None,
        "disk_free_mb": disk.free // 2**20 if disk else None,
        "engine": info["version"],
        "containerd_store": any("containerd" in str(value) for _, value in info["store"] or []),
    }


_FAILURES: tuple[type[Exception], ...] = (AzaError, OSError, *server.DATABASE_ERRORS)
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
    except _FAILURES as problem:
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
