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
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ansible_collections.aza.pg.plugins.module_utils.errors import AzaError
from ansible_collections.aza.pg.plugins.module_utils.stack import server
from ansible_collections.aza.pg.plugins.module_utils.stack.model import Desired

# The number of our lock in the server, and how its holder calls himself there.
KEY = int.from_bytes(b"aza-pg", "big")
NAME = "aza-pg lock: "

_HOLDER = """
select a.application_name, a.pid, extract(epoch from clock_timestamp() - a.backend_start)::int
from pg_locks l join pg_stat_activity a on a.pid = l.pid
where l.locktype = 'advisory' and l.granted and l.objsubid = 1
and (l.classid::bigint << 32) + l.objid::bigint = %s
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
        return _words(record["who"], record["pid"], int(time.time()) - record["since"])
    except (ValueError, KeyError, OSError):
        return "it has only just begun"


@contextmanager
def _in_server(wanted: Desired, who: str) -> Iterator[None]:
    """As long as the server lives; where none answers there is nothing to hold."""
    connection = _connection(wanted, who)
    try:
        if connection is not None and not _taken(connection):
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
    # It sleeps while the plan is carried out, and must not be sent away for that.
    connection.execute("set idle_session_timeout = 0")
    return bool(connection.execute("select pg_try_advisory_lock(%s)", (KEY,)).fetchone()[0])


def _named(holder: tuple[Any, ...]) -> str:
    name, pid, seconds = holder
    return _words(str(name).partition(NAME)[2] or str(name), pid, seconds)


def _words(who: str, pid: int, seconds: int) -> str:
    return f"{who or 'somebody'}, process {pid}, for {seconds} s"


def _busy(instance: str, who: str) -> AzaError:
    return AzaError(
        f"Another run works on {instance} at this moment ({who}). Wait for it, then run again. Nothing was changed.",
        reason="locked",
    )
