# SPDX-License-Identifier: Apache-2.0
"""One run at a time for an instance; a second one is told who holds it.

A lock on a file of the host, and one in the server itself, which also holds against runs from elsewhere: another user's
directory, another host that shares the socket. Both end with the process that holds them, however that ends.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ansible_collections.aza.pg.plugins.module_utils.errors import AzaError
from ansible_collections.aza.pg.plugins.module_utils.model.desired import Desired
from ansible_collections.aza.pg.plugins.module_utils.server import connection as server

# The number of our lock in the server, and how its holder calls himself there.
KEY = int.from_bytes(b"aza-pg", "big")
NAME = "aza-pg lock: "

_OURS = """
from pg_locks l where l.locktype = 'advisory' and l.objsubid = 1 and (l.classid::bigint << 32) + l.objid::bigint = %s
and l.database = (select oid from pg_database where datname = current_database())
"""
_HOLDER = f"""
select a.application_name, a.pid, extract(epoch from clock_timestamp() - a.backend_start)::int
from pg_stat_activity a where a.pid in (select l.pid {_OURS} and l.granted and l.pid <> pg_backend_pid())
"""
# Any user may take an advisory lock. Who is not a superuser has no business with this one.
_INTRUDERS = f"""
select pg_terminate_backend(a.pid, 1000) from pg_stat_activity a
where a.pid in (select l.pid {_OURS})
and not coalesce((select rolsuper from pg_roles where oid = a.usesysid), a.usesysid is null)
"""


def path_of(directory: Path) -> Path:
    """Beside the instance's directory, so that it outlives the directory's removal."""
    return directory.with_name(f".{directory.name}.lock")


@contextmanager
def held(wanted: Desired, who: str) -> Iterator[None]:
    """Both locks. ``who``: the person and the control node, for those who have to wait."""
    with _on_host(Path(wanted.directory), who), _in_server(wanted, who):
        yield


@contextmanager
def _on_host(directory: Path, who: str) -> Iterator[None]:
    path = path_of(directory)
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise _busy(directory.name, _holder(handle)) from None
        if not path.exists() or path.stat().st_ino != os.fstat(handle).st_ino:
            raise _busy(directory.name, "it has just removed the instance")
        os.ftruncate(handle, 0)
        record = {"who": who, "pid": os.getpid(), "since": int(time.time())}
        os.pwrite(handle, json.dumps(record).encode(), 0)
        yield
    finally:
        os.close(handle)


def _holder(handle: int) -> str:
    try:
        record = json.loads(os.pread(handle, 1000, 0))
        return _holder_text(record["who"], record["pid"], int(time.time()) - record["since"])
    except (ValueError, KeyError, OSError):
        return "it has only just begun"


@contextmanager
def _in_server(wanted: Desired, who: str) -> Iterator[None]:
    """As long as the server lives; where none answers there is nothing to hold."""
    connection = _connection(wanted, who)
    try:
        if connection is not None and not (_taken(connection) or _taken_from_intruders(connection, wanted)):
            holder = connection.execute(_HOLDER, (KEY,)).fetchone()
            raise _busy(wanted.instance, _named(holder) if holder else "it has just ended")
        yield
    finally:
        if connection is not None:
            with suppress(*server.database_errors()):
                connection.close()


def _connection(wanted: Desired, who: str) -> Any:
    if not server.psycopg_version():
        return None
    try:
        return server.connect(wanted.socket_dir, wanted.superuser, application_name=f"{NAME}{who}")
    except server.ServerError:
        return None


def _taken(connection: Any) -> bool:
    return bool(connection.execute("select pg_try_advisory_lock(%s)", (KEY,)).fetchone()[0])


def _taken_from_intruders(connection: Any, wanted: Desired) -> bool:
    """Whether the lock is ours once the sessions of roles that are not superusers have been ended.

    The lock is waited for meanwhile: the server gives it to the session that has waited longest, so no intruder
    overtakes. Without intruders the holder is another run, and this one does not wait for it.
    """

    def wait() -> bool:
        with suppress(*server.database_errors()):  # the lock time-out
            connection.execute("select pg_advisory_lock(%s)", (KEY,))
            return True
        return False

    if not connection.execute(_INTRUDERS, (KEY,)).fetchall():
        return False
    with suppress(*server.database_errors()), ThreadPoolExecutor(1) as pool:
        taken = pool.submit(wait)
        with server.connect(wanted.socket_dir, wanted.superuser) as other:
            while not taken.done():
                other.execute(_INTRUDERS, (KEY,))
                time.sleep(0.05)
        return taken.result()
    return False


def _named(holder: tuple[Any, ...]) -> str:
    name, pid, seconds = holder
    return _holder_text(str(name).partition(NAME)[2] or str(name), pid, seconds)


def _holder_text(who: str, pid: int, seconds: int) -> str:
    return f"{who or 'unknown user'}, process {pid}, for {seconds} s"


def _busy(instance: str, who: str) -> AzaError:
    return AzaError(
        f"Another run is changing {instance} ({who}). Wait until it has ended, then run again. Nothing was changed.",
        reason="locked",
    )
