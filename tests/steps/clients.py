# SPDX-License-Identifier: Apache-2.0
"""Clients of a cluster, on this machine: what they see from outside, over its network, with its authority's root."""

from __future__ import annotations

import itertools
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg

from steps.instances import Instance

Connection = psycopg.Connection[tuple[Any, ...]]


def connect(secrets: Path, at: Instance, user: str, database: str, **more: Any) -> Connection:
    """Through the pool of the instance, verified in full. ``secrets``: where the control node keeps them."""
    given: dict[str, Any] = {
        "host": at.address,
        "port": at.pool_port,
        "user": user,
        "dbname": database,
        "sslmode": "verify-full",
        "sslrootcert": str(secrets / "ca/ca.crt"),
        "connect_timeout": 20,
        "autocommit": True,
        **more,
    }
    if "password" not in given:
        given["password"] = (secrets / at.cluster / "roles" / user).read_text(encoding="utf-8").rstrip("\n")
    return psycopg.connect(**given)


def ask(client: Connection, question: str, *values: Any) -> Any:
    row = client.execute(question.encode(), values or None).fetchone()
    return row[0] if row else None


@dataclass
class Load:
    """Writing transactions, one after the other, until it is left: of clients that stay, and of ones that come anew for
    each. ``with Load(...) as load``: afterwards ``failures`` is what went wrong, and ``committed`` counts."""

    secrets: Path
    at: Instance
    user: str
    database: str
    committed: dict[str, int] = field(default_factory=lambda: {"established": 0, "new": 0})
    failures: list[str] = field(default_factory=list)

    def __enter__(self) -> Load:
        self._stop = threading.Event()
        with self._connect() as client:
            client.execute("create table if not exists load (client int, number int)")
        kinds = ("established", "new", "established", "new")
        self._threads = [
            threading.Thread(target=self._work, args=(kind, number)) for number, kind in enumerate(kinds)
        ]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _connect(self) -> Connection:
        return connect(self.secrets, self.at, self.user, self.database)

    def _work(self, kind: str, client: int) -> None:
        connection: Connection | None = None
        for number in itertools.count():
            if self._stop.is_set():
                break
            try:
                connection = connection or self._connect()
                with connection.transaction():
                    connection.execute("insert into load values (%s, %s)", (client, number))
                    connection.execute("select count(*) from load where client = %s", (client,))
                self.committed[kind] += 1
            except psycopg.Error as error:
                self.failures.append(f"{kind} client, transaction {number}: {error}")
                connection = None
                self._stop.wait(0.5)  # what is broken would be told a thousand times
            if kind == "new" and connection is not None:
                connection.close()
                connection = None
            self._stop.wait(0.02)
        if connection is not None:
            connection.close()
