# SPDX-License-Identifier: Apache-2.0
"""The edge to PgBouncer: log in as clients do, and ask its console. Passwords go to libpq as arguments, nowhere else.

Nothing here waits for ever: a pool that has no server left lets its clients wait for minutes, so each connection is
cut when its time is up.
"""

from __future__ import annotations

import os
import secrets
import socket
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from ansible_collections.aza.pg.plugins.module_utils.server import connection as server

try:
    import psycopg
except ImportError:
    psycopg = None  # type: ignore[assignment]

_SHOW = ("version", "pools", "databases", "config", "lists")
# The databases are those of users, whose search path may have functions of theirs first, and whose rights are less than
# the client's: every name has its schema.
_ME = "select session_user::pg_catalog.text, pg_catalog.pg_backend_pid()"
# Who leaves in the middle of a transaction takes the server's connection along. Others would wait in the pool of each
# database, until there are more than the role may have.
_TAKE_ALONG = "begin"
# In a smaller pool another client, for example the health check, can hold the second connection.
_ENOUGH_FOR_TWO = 3
_PREPARED = f"{_ME}, 'prepared'"


@dataclass(frozen=True)
class Door:
    """Where clients knock. ``root``: the certificate file that they verify with."""

    host: str
    port: int
    sslmode: str = "verify-full"
    root: str = ""
    seconds: int = 5

    @contextmanager
    def login(self, database: str, user: str, password: str) -> Iterator[Any]:
        """A connection that lives no longer than ``seconds``, for the password in ``password`` alone."""
        with (
            closing(
                psycopg.connect(
                    host=self.host,
                    port=self.port,
                    dbname=database,
                    user=user,
                    password=password,
                    sslmode=self.sslmode,
                    sslrootcert=self.root or None,
                    connect_timeout=max(self.seconds, 2),
                    application_name="aza-pg check",
                    passfile="/nonexistent",
                    autocommit=True,
                )
            ) as connection,
            _no_longer_than(self.seconds, connection),
        ):
            yield connection


@contextmanager
def _no_longer_than(seconds: float, connection: Any) -> Iterator[None]:
    """libpq has no time limit for an answer; a line that is cut is an answer."""

    def cut() -> None:
        with socket.socket(fileno=os.dup(connection.fileno())) as line:
            line.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(seconds, cut)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


@dataclass(frozen=True)
class Client:
    user: str
    password: str = field(repr=False)


@dataclass(frozen=True)
class Console:
    """PgBouncer's own socket. Without a directory it is not asked."""

    socket_dir: str = ""
    user: str = "pgbouncer"
    port: int = 6432


def observe(door: Door, client: Client, databases: Iterable[str], console: Console) -> dict[str, Any]:
    server.require_psycopg()
    facts: dict[str, Any] = {"client": client.user}
    facts["console"] = _guarded(lambda: ask(console)) if console.socket_dir else {}
    sizes = {row["name"]: row.get("pool_size") for row in facts["console"].get("databases", ())}
    # One after the other: the role may have few connections at once.
    facts["databases"] = {
        name: _guarded(partial(try_database, door, client, name, int(sizes.get(name) or 2)))
        for name in databases
    }
    first = next(iter(facts["databases"]), "")
    facts["wrong_password"] = try_wrong_password(door, client, first) if first else {}
    return facts


def _guarded(work: Any) -> dict[str, Any]:
    try:
        return dict(work())
    except server.database_errors() as error:
        return {"error": _message_of(error)}


def _message_of(error: Exception) -> str:
    return " ".join(str(error).split())


def try_database(door: Door, client: Client, database: str, pool_size: int) -> dict[str, Any]:
    start = time.monotonic()
    with door.login(database, client.user, client.password) as connection:
        user, _ = connection.execute(_ME).fetchone()
        found = {
            "session_user": user,
            "seconds": round(time.monotonic() - start, 3),
            "tls": bool(connection.pgconn.ssl_in_use),
        }
        found |= _prepared(door, client, database, connection, pool_size)
        with suppress(*server.database_errors()):
            connection.execute(_TAKE_ALONG)
        return found


def _prepared(door: Door, client: Client, database: str, connection: Any, pool_size: int) -> dict[str, Any]:
    """Prepared in one transaction and used in the next, on another server where the pool has enough: a second client
    takes the first one meanwhile."""
    try:
        _, before, _ = _in_transaction(connection, _PREPARED)
        if pool_size < _ENOUGH_FOR_TWO:
            _, after, _ = _in_transaction(connection, _PREPARED)
            return {"prepared": True, "servers": len({before, after})}
        with door.login(database, client.user, client.password) as other:
            other.execute(_TAKE_ALONG)
            other.execute(_ME)
            _, after, _ = _in_transaction(connection, _PREPARED)
        return {"prepared": True, "servers": len({before, after})}
    except server.database_errors() as error:
        return {"prepared": False, "prepared_error": _message_of(error)}


def _in_transaction(connection: Any, query: str) -> Any:
    with connection.transaction():
        return connection.execute(query, prepare=True).fetchone()


def try_wrong_password(door: Door, client: Client, database: str) -> dict[str, Any]:
    """A server that accepts any password is not noticed by clients with the right one."""
    try:
        with door.login(database, client.user, secrets.token_hex(16)):
            return {"refused": False}
    except server.database_errors() as error:
        return {"refused": True, "message": _message_of(error)}


def ask(console: Console) -> dict[str, Any]:
    """Its console speaks the simple protocol only, which is what a query without parameters uses."""
    with (
        closing(
            psycopg.connect(
                host=console.socket_dir,
                port=console.port,
                dbname="pgbouncer",
                user=console.user,
                connect_timeout=3,
                sslmode="disable",
                passfile="/nonexistent",
                autocommit=True,
            )
        ) as connection,
        _no_longer_than(5, connection),
    ):
        found = {name: _rows(connection, name) for name in _SHOW}
    return {
        "version": str(next(iter(found["version"][0].values()), "")) if found["version"] else "",
        "pools": found["pools"],
        "databases": found["databases"],
        "config": {str(row["key"]): str(row["value"] or "") for row in found["config"]},
        "lists": {str(row["list"]): row["items"] for row in found["lists"]},
    }


def _rows(connection: Any, name: str) -> list[dict[str, Any]]:
    answer = connection.execute(f"show {name}")
    names = [column.name for column in answer.description]
    return [dict(zip(names, row)) for row in answer.fetchall()]
