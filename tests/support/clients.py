# SPDX-License-Identifier: Apache-2.0
"""Clients of a cluster, on this machine: what they see from outside, over its network, with its authority's root."""

from __future__ import annotations

import itertools
import re
import subprocess
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg

from support.instances import Instance

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


# To come again costs many times the processor time of a write, so it is done less often (below as well).
_PAUSE_SECONDS = {"established": 0.05, "new": 0.2}


@dataclass
class Load:
    """Writing transactions in a loop: of clients that stay connected, and of clients that reconnect for each.

    ``with Load(...) as load``: afterwards ``failures`` is what went wrong, and ``committed`` counts."""

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
            self._stop.wait(_PAUSE_SECONDS[kind])
        if connection is not None:
            connection.close()


# The first line that comes in is the password, and the second one ends it. Each writes its lines in parts: sed makes
# them whole, for both go to one place.
_PGBENCH = r"""
IFS= read -r PGPASSWORD; export PGPASSWORD
pgbench -n -c 2 -R 20 -P 1 -T 3600 -M prepared -f <(echo "$2") "$1" 2>&1 | sed -u '' &
pgbench -n -c 2 -R 5 -P 1 -T 3600 -C -f <(echo "$2") "$1" 2>&1 | sed -u '' &
read -r _
echo "running: $(jobs -r | wc -l)"
kill $(jobs -p); wait
"""


@dataclass
class Pgbench:
    """Two of them until it is left, in the server's container of another member: one whose clients stay, and one (-C)
    whose clients come again for each transaction. Afterwards ``output`` is what they said."""

    secrets: Path
    origin: Instance
    at: Instance
    user: str
    database: str
    script: str
    output: str = ""

    def __enter__(self) -> Pgbench:
        target = f"host={self.at.address} port={self.at.pool_port} user={self.user} dbname={self.database}"
        inside = ["docker", "exec", "-i", self.origin.container, "bash", "-c", _PGBENCH, "pgbench"]
        self._process = subprocess.Popen(
            ["docker", "exec", "-i", self.origin.machine, *inside, f"{target} sslmode=require", self.script],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert self._process.stdin
        self._process.stdin.write(
            (self.secrets / self.at.cluster / "roles" / self.user).read_text(encoding="utf-8").rstrip() + "\n"
        )
        self._process.stdin.flush()
        return self

    def __exit__(self, *_: object) -> None:
        self.output = self._process.communicate("end\n", timeout=60)[0]

    @property
    def failures(self) -> list[str]:
        """Lines that tell of something else than of seconds without a failure."""
        good = re.compile(r"progress: .*, 0 failed, .*|running: 2|pgbench \(.*|")
        return [line for line in self.output.splitlines() if not good.fullmatch(line)]
