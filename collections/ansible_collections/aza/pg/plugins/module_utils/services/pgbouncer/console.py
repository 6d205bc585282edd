# SPDX-License-Identifier: Apache-2.0
"""The edge to PgBouncer: its console, through its Unix socket, which only the host's administrator reaches."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path
from typing import Any

from ansible_collections.aza.pg.plugins.module_utils.errors import AzaError
from ansible_collections.aza.pg.plugins.module_utils.host.docker import Docker
from ansible_collections.aza.pg.plugins.module_utils.model.desired import Desired
from ansible_collections.aza.pg.plugins.module_utils.server import connection as server
from ansible_collections.aza.pg.plugins.module_utils.services.pgbouncer import files as pgbouncer
from ansible_collections.aza.pg.plugins.module_utils.tls import handshake

_START_SECONDS = 10
_QUESTIONS = {
    "version": "show version",
    "config": "show config",
    "databases": "show databases",
    "pools": "show pools",
    "state": "show state",
}


def socket_dir(wanted: Desired) -> str:
    return f"{wanted.directory}/{pgbouncer.SOCKET_DIRECTORY}"


def _connect(wanted: Desired) -> Any:
    server.require_psycopg()
    try:
        # Without options: PgBouncer would refuse what it does not know.
        return server.driver().connect(
            host=socket_dir(wanted),
            port=pgbouncer.PORT,
            user=pgbouncer.AUTH,
            dbname=pgbouncer.CONSOLE,
            connect_timeout=3,
            autocommit=True,
            application_name="aza-pg",
            passfile="/nonexistent",
            sslmode="disable",
        )
    except server.driver().Error as error:
        raise server.ServerError(" ".join(str(error).split())) from None


def observe(wanted: Desired, since: float) -> dict[str, Any] | None:
    """What it says of itself; None when it does not answer. ``since``: when its container started.

    ``loaded``: when it read its files for the last time.
    """
    service = wanted.service(pgbouncer.NAME)
    if service is None or not server.psycopg_version():
        return None
    try:
        with _connect(wanted) as connection:
            rows = {key: _rows(connection, question) for key, question in _QUESTIONS.items()}
    except server.database_errors():
        return None
    marker = Path(wanted.directory) / pgbouncer.LOADED
    return {
        "version": rows["version"][0]["version"],
        "config": {row["key"]: row["value"] or "" for row in rows["config"]},
        # Of what the console's SET can change.
        "defaults": {
            row["key"]: row["default"] or "" for row in rows["config"] if row["changeable"] == "yes"
        },
        "state": [row["key"] for row in rows["state"] if row["value"] == "yes"],
        "databases": rows["databases"],
        "pools": [row for row in rows["pools"] if row["database"] != pgbouncer.CONSOLE],
        "loaded": max(since, marker.stat().st_mtime if marker.exists() else 0.0),
        "certificate": handshake.fingerprint(service) if wanted.certificate else "",
    }


def _rows(connection: Any, question: str) -> list[dict[str, Any]]:
    cursor = connection.execute(question)
    names = [column.name for column in cursor.description]
    return [dict(zip(names, row)) for row in cursor.fetchall()]


def wait(wanted: Desired, docker: Docker) -> None:
    """Until it answers after a start. It refuses a bad file by ending, and its log says why."""
    deadline = time.monotonic() + _START_SECONDS
    while True:
        try:
            _connect(wanted).close()
            return
        except server.ServerError as error:
            if time.monotonic() > deadline:
                raise AzaError(
                    f"PgBouncer does not answer: {_complaint(wanted, docker) or error}", reason="bad_setting"
                ) from None
        time.sleep(0.1)


def reload(wanted: Desired, docker: Docker) -> None:
    """RELOAD by the console: unlike a signal, it says whether every file was taken. No one is disconnected."""
    service = wanted.service(pgbouncer.NAME)
    here = docker.inspect(service.container) if service else []
    if not here or here[0]["State"]["Status"] != "running":
        return  # it reads everything when it starts
    began = time.time()
    try:
        with _connect(wanted) as connection:
            # RELOAD reads the file that this setting names, and the console can change that too.
            connection.execute(f"set conffile = '{pgbouncer.CONFFILE}'")
            connection.execute("reload")
    except server.database_errors() as error:
        message = _complaint(wanted, docker) or " ".join(str(error).split())
        raise AzaError(
            f"PgBouncer rejects its files and keeps its old configuration: {message}", reason="bad_setting"
        ) from None
    marker = Path(wanted.directory) / pgbouncer.LOADED
    marker.touch(mode=0o644)
    # What is written while it reads may not have been read.
    os.utime(marker, (began, began))


def reconnect(wanted: Desired) -> None:
    """RECONNECT: replaces each connection to the server when its client's transaction ends. No one is disconnected. A
    PgBouncer that does not answer has no connections that matter; a check reports it."""
    if wanted.service(pgbouncer.NAME):
        with contextlib.suppress(*server.database_errors()), _connect(wanted) as connection:
            connection.execute("reconnect")


def _complaint(wanted: Desired, docker: Docker) -> str:
    """The last thing that its log calls an error or a warning about a file."""
    service = wanted.service(pgbouncer.NAME)
    lines = docker.logs(service.container, 30) if service else []
    told = [line.partition(" ERROR ")[2] for line in lines if " ERROR " in line and "RELOAD" not in line]
    return told[-1] if told else ""
