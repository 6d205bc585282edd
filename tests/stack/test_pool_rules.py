# SPDX-License-Identifier: Apache-2.0
"""The same rules in a real server and a real PgBouncer: which clients each of them asks for a password.

Both listen on loopback, where a client can have any address of 127.0.0.0/8.
"""

from __future__ import annotations

import os
import random
import secrets
import socket
import struct
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
from ansible_collections.aza.pg.plugins.module_utils.errors import AzaError
from ansible_collections.aza.pg.plugins.module_utils.objects import hba
from ansible_collections.aza.pg.plugins.module_utils.services.pgbouncer import files as pgbouncer
from ansible_collections.aza.pg.plugins.module_utils.services.pgbouncer import rules as pool_rules
from ansible_collections.aza.pg.tests.unit.services import hba_semantics as semantics

from support.effort import effort

from .instance import built_image, docker, free_port

MEMBERS = {"web": frozenset({"team"})}
ROLES = ["shop", "web", 'q"r', "sameuser", "replication", "samenet reject", "@x", "#y"]
DATABASES = ["shop", "Ledger 2", 'a"b', "x,y", "#1", "a\u2028b", "@file", "samegroup", "team", "/x"]
ADDRESSES = ["127.1.2.3", "127.9.9.9", "127.20.0.1", "127.20.1.1"]
NETWORKS = [
    *ADDRESSES,
    "127.20.0.0/16",
    "127.0.0.0/9",
    "127.1.0.0/16",
    "all",
    "samenet",
    "10.0.0.0/8",
    "::/0",
]
PLACE = semantics.Place(("127.0.0.0/8",))
LISTS, CLIENTS = effort(20, 100), 30


@dataclass
class Both:
    directory: Path
    server_port: int
    pool_port: int

    def load(self, declared: list[dict[str, Any]]) -> tuple[str, str]:
        """Have both read these rules, and return their files."""
        made = hba.rules("boss", hba.normalise(declared), (), False)
        texts = hba.render(made), pool_rules.expand(pool_rules.access(made, "boss"), PLACE.networks)
        (self.directory / "pg_hba.conf").write_text(f"local all all trust\n{texts[0]}")
        (self.directory / "pgbouncer_hba.conf").write_text(texts[1])
        with self.connect("server", self.server_port, "postgres", "postgres") as client:
            before = client.execute("select pg_conf_load_time()").fetchone()
            client.execute("select pg_reload_conf()")
            while client.execute("select pg_conf_load_time()").fetchone() == before:
                time.sleep(0.02)
            errors = client.execute(
                "select error from pg_hba_file_rules where error not like '%cannot match%'"
            )
            assert errors.fetchall() == []
        with self.connect("pool", self.pool_port, pgbouncer.AUTH, pgbouncer.CONSOLE) as client:
            client.execute("reload")
        return texts

    def connect(self, name: str, port: int, user: str, database: str) -> psycopg.Connection[tuple[Any, ...]]:
        return psycopg.connect(
            host=str(self.directory / name), port=port, user=user, dbname=database, autocommit=True
        )


def asked(port: int, client: semantics.Client) -> str:
    """What a program asks of a client that says who it is."""
    words = ["user", client.role, "database", client.database]
    if client.replication:
        words += ["replication", "true"]
    body = struct.pack("!i", 3 << 16) + b"".join(word.encode() + b"\0" for word in words) + b"\0"
    with socket.create_connection(("127.0.0.1", port), 10, source_address=(client.address, 0)) as one:
        one.sendall(struct.pack("!i", len(body) + 4) + body)
        answer = one.recv(4096)
    if answer[:1] == b"E":
        return semantics.REJECT
    assert answer[:1] == b"R", answer
    return {10: "scram-sha-256", 3: "ldap"}[struct.unpack("!i", answer[5:9])[0]]


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    directory, name = tmp_path_factory.mktemp("rules"), f"azatest-rules-{secrets.token_hex(3)}"
    found = Both(directory, free_port(), free_port())
    for each in ("server", "pool"):
        (directory / each).mkdir()
        (directory / each).chmod(0o777)
    (directory / "pg_hba.conf").write_text("local all all trust\n")
    (directory / "pgbouncer_hba.conf").write_text(pool_rules.access((), "boss"))
    (directory / "userlist.txt").write_text(
        pgbouncer.userlist(dict.fromkeys([*ROLES, pgbouncer.AUTH], "secret"))
    )
    (directory / "pgbouncer.ini").write_text(
        "[databases]\n* = host=127.0.0.1 port=1\n[pgbouncer]\nlisten_addr = 127.0.0.1\nauth_type = hba\n"
        f"listen_port = {found.pool_port}\nunix_socket_dir = /rules/pool\nauth_file = /rules/userlist.txt\n"
        f"auth_hba_file = /rules/pgbouncer_hba.conf\nadmin_users = {pgbouncer.AUTH}\nlogfile =\n"
    )
    for path in directory.rglob("*"):
        if path.is_file():
            path.chmod(0o644)
    directory.chmod(0o755)
    shared = ["--detach", "--network", "host", "--volume", f"{directory}:/rules"]
    try:
        docker(
            *("run", "--name", f"{name}-server", *shared, "--memory", "512m"),
            *("--volume", f"{directory}/server:/var/run/postgresql", "--tmpfs", "/var/lib/postgresql"),
            *("--env", "POSTGRES_HOST_AUTH_METHOD=trust", "--env", "POSTGRES_INITDB_ARGS=--no-sync"),
            *(built_image("postgres")["reference"], "postgres", "-c", f"port={found.server_port}"),
            *("-c", "listen_addresses=127.0.0.1", "-c", "hba_file=/rules/pg_hba.conf"),
        )
        docker(
            *("run", "--name", f"{name}-pool", *shared, built_image("pgbouncer")["reference"]),
            "/rules/pgbouncer.ini",
        )
        _prepare(found, name)
        yield found
    finally:
        subprocess.run(
            ["docker", "rm", "-fv", f"{name}-server", f"{name}-pool"], capture_output=True, check=False
        )


def _prepare(found: Both, name: str) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            with found.connect("server", found.server_port, "postgres", "postgres") as client:
                for role in (*ROLES, "team"):
                    quoted = role.replace('"', '""')
                    client.execute(f'create role "{quoted}" login'.encode())
                client.execute("grant team to web")
                return
        except psycopg.OperationalError:
            logs = docker("logs", "--tail", "5", f"{name}-server")
            assert time.monotonic() < deadline, logs
            time.sleep(0.2)


def _rule(chance: random.Random) -> dict[str, Any]:
    words = ["all", "all", "sameuser", "samerole", "replication", "/^s", "/^a.*b$"]
    method = chance.choice(["scram-sha-256", "scram-sha-256", "reject", "reject", "ldap"])
    return {
        "type": chance.choice(["host", "host", "hostnossl", "hostssl"]),
        "databases": chance.sample([*DATABASES[:-1], *words], chance.randint(1, 3)),
        "roles": chance.sample([*ROLES, "all", "all", "+team", "/^w"], chance.randint(1, 2)),
        "addresses": chance.sample(NETWORKS, chance.randint(1, 2)),
        "method": method,
        "options": {"ldapserver": "127.0.0.1", "ldapprefix": "x"} if method == "ldap" else {},
    }


def _client(chance: random.Random) -> semantics.Client:
    role = chance.choice(ROLES)
    return semantics.Client(
        chance.choice(ADDRESSES),
        chance.choice(DATABASES),
        role,
        tls=False,
        groups=MEMBERS.get(role, frozenset()),
        replication=chance.random() < 0.1,
    )


def test_the_pool_asks_nobody_whom_the_server_refuses(both: Both) -> None:
    """And both programs read their files as the unit tests have it, so that these prove something."""
    seed = int(os.environ.get("AZA_SEED", "17"))
    chance, refused, admitted, rejected = random.Random(seed), 0, 0, 0
    for _ in range(LISTS):
        declared = [_rule(chance) for _ in range(chance.randint(0, 4))]
        try:
            server, pool = both.load(declared)
        except AzaError:
            refused += 1
            continue
        for _ in range(CLIENTS):
            client = _client(chance)
            found = asked(both.server_port, client), asked(both.pool_port, client)
            told = semantics.postgres(server, client, PLACE)[0], semantics.pgbouncer(pool, client)
            assert found == told, f"seed {seed}: {client}\n{server}\n{pool}"
            if found[1] != semantics.REJECT:
                assert found == ("scram-sha-256", "scram-sha-256"), f"seed {seed}: {client}\n{server}\n{pool}"
            admitted += found[1] != semantics.REJECT
            rejected += found[0] == semantics.REJECT
    assert LISTS - refused >= 5 and admitted > 0 and rejected > 0
