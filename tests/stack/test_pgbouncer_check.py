# SPDX-License-Identifier: Apache-2.0
"""PgBouncer of the image beside a server: all is well, and then each thing that can be wrong with a pool."""

from __future__ import annotations

import contextlib
import json
import secrets
import string
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.aza.pg.plugins.module_utils.checks import pool
from ansible_collections.aza.pg.plugins.module_utils.server import connection as server
from ansible_collections.aza.pg.plugins.modules import pgbouncer_check

from .containers import Network, eventually
from .instance import docker, free_port

# Every printable character, and a part that can be looked for.
PASSWORD = "CANARY-" + secrets.token_hex(8) + string.punctuation + " x"
_FIRST_START = """
create role shop login;
create role pooler login;
create database shop owner shop;
alter system set ssl = on;
alter system set ssl_cert_file = '/tls.pem';
alter system set ssl_key_file = '/tls.pem';
create schema pooling authorization postgres;
create function pooling.lookup(who text) returns table (usename name, passwd text) security definer
    set search_path = pg_catalog language sql as
    $$ select rolname, rolpassword from pg_authid where rolname = who and rolcanlogin and not rolsuper $$;
revoke execute on function pooling.lookup from public;
grant usage on schema pooling to pooler;
grant execute on function pooling.lookup to pooler;
"""
_HBA = """#!/bin/sh
printf '%s\\n' 'local all all trust' 'hostssl all all all scram-sha-256' >$PGDATA/pg_hba.conf
"""
_INI = """
[databases]
shop = host={server} pool_size=5
postgres = host={server}
{more}
[pgbouncer]
listen_addr = *
listen_port = 6432
unix_socket_dir = /var/run/postgresql
unix_socket_mode = 0777
auth_type = hba
auth_hba_file = /hba
auth_file = /userlist
auth_user = pooler
auth_dbname = postgres
auth_query = select usename, passwd from pooling.lookup($1)
admin_users = pgbouncer
pool_mode = transaction
max_client_conn = {clients}
default_pool_size = 3
max_prepared_statements = {prepared}
query_wait_timeout = 30
client_tls_sslmode = {tls}
client_tls_ca_file = /ca.crt
client_tls_cert_file = /tls.pem
client_tls_key_file = /tls.pem
server_tls_sslmode = verify-full
server_tls_ca_file = /ca.crt
"""
DECLARED = {
    "config": {"pool_mode": "transaction", "max_client_conn": 50, "max_prepared_statements": 100},
    "databases": {"shop": {"pool_size": 5}, "postgres": {"pool_size": 3}},
}


class Pool:
    """The pool of a network's server ``db``."""

    def __init__(self, net: Network) -> None:
        self.net, self.port = net, free_port()

    def configure(self, hba: str = "hostssl all all all scram-sha-256", **changes: Any) -> None:
        given = {"server": self.net.full("db"), "more": "", "clients": 50, "prepared": 100, "tls": "require"}
        self.net.file("pool", "pgbouncer.ini", _INI.format(**{**given, **changes}))
        self.net.file("pool", "hba", f"local pgbouncer pgbouncer trust\n{hba}\n")

    @property
    def forced(self) -> str:
        """A database in which every client is the same role."""
        return f"other = host={self.net.full('db')} dbname=shop user=pooler password={self.net.name}"

    def start(self, userlist: str) -> None:
        self.configure()
        folder = self.net.directory / "pool"
        self.net.run(
            "pool",
            "pgbouncer",
            "/etc/aza/pgbouncer.ini",
            mounts={
                folder / "pgbouncer.ini": "/etc/aza/pgbouncer.ini",
                folder / "hba": "/hba",
                self.net.file("pool", "userlist", userlist, 0o400): "/userlist",
                self.net.certificate("pool"): "/tls.pem",
                self.net.root_certificate: "/ca.crt",
            },
            publish={6432: self.port},
        )
        self.settle()

    def settle(self) -> None:
        def answers() -> bool:
            try:
                return bool(self.ask())
            except psycopg.Error:
                return False

        self.net.wait("pool", answers)

    def ask(self) -> dict[str, Any]:
        return pool.ask(pool.Console(str(self.net.socket("pool"))))

    def again(self, **changes: Any) -> None:
        """With another configuration."""
        self.configure(**changes)
        docker("restart", "--time", "1", self.net.full("pool"))
        self.settle()


@pytest.fixture(scope="module")
def bouncer() -> Iterator[Pool]:
    with Network() as net:
        first = "/docker-entrypoint-initdb.d"
        net.run(
            "db",
            "postgres",
            environment={"POSTGRES_PASSWORD": "x"},
            mounts={
                net.certificate("db"): "/tls.pem",
                net.file("db", "1.sql", _FIRST_START): f"{first}/1.sql",
                net.file("db", "2.sh", _HBA, 0o555): f"{first}/2.sh",
            },
        )
        net.ready("db")
        with server.connect(str(net.socket("db")), "postgres") as connection:
            server.set_password(connection, "shop", PASSWORD)
            server.set_password(connection, "pooler", net.name)
        made = Pool(net)
        # Who is not in the file is asked of the server, the console's user too.
        made.start(f'"pooler" "{net.name}"\n"pgbouncer" ""\n')
        yield made


@pytest.fixture
def check(bouncer: Pool, capsys: pytest.CaptureFixture[str]) -> Any:
    """The module, called as Ansible calls it."""

    def run(**changes: Any) -> dict[str, Any]:
        arguments = {
            "host": "localhost",
            "port": bouncer.port,
            "databases": ["shop", "postgres"],
            "user": "shop",
            "password": PASSWORD,
            "sslrootcert": str(bouncer.net.root_certificate),
            "socket_dir": str(bouncer.net.socket("pool")),
            "declared": DECLARED,
            "timeout": 10,
            **changes,
        }
        with patch_module_args(arguments), pytest.raises(SystemExit):
            pgbouncer_check.main()
        output = capsys.readouterr().out
        assert PASSWORD not in output
        assert PASSWORD[:20] not in output
        return dict(json.loads(output))

    return run


def bad(result: dict[str, Any]) -> list[dict[str, str]]:
    return [item for item in result["findings"] if item["state"] != "green"]


def tells(result: dict[str, Any], what: str, state: str, message: str) -> bool:
    return any(
        (item["what"], item["state"]) == (what, state) and message in item["message"]
        for item in result["findings"]
    )


def test_all_is_well(bouncer: Pool, check: Any) -> None:
    roles = bouncer.net.sql("db", "select max(oid) from pg_authid")
    result = check()
    assert not bad(result), result
    assert not result["changed"]
    message = {item["what"]: item["message"] for item in result["findings"]}
    assert message["pool"].startswith("shop reaches shop and postgres with its own role under TLS")
    assert message["pool password"] == "a wrong password is rejected"
    facts = result["facts"]
    assert facts["databases"]["shop"]["servers"] == 2, (
        "the statement was used on a server that had not prepared it"
    )
    assert facts["console"]["version"].startswith("PgBouncer 1.")
    assert bouncer.net.sql("db", "select max(oid) from pg_authid") == roles, "a check makes no role"


def test_functions_of_a_databases_owner_are_not_called(bouncer: Pool, check: Any) -> None:
    """The owner of a database must not get the rights of the client that looks into it."""
    bouncer.net.sql(
        "db",
        "create schema evil; create function evil.pg_backend_pid() returns int language sql as 'select 1'; "
        "alter database shop set search_path = evil, pg_catalog",
        "shop",
    )
    try:
        bouncer.net.sql("db", "select pg_terminate_backend(pid) from pg_stat_activity where datname = 'shop'")
        assert bouncer.net.sql("db", "select pg_backend_pid()", "shop") == "1"
        assert check()["facts"]["databases"]["shop"]["servers"] == 2
    finally:
        bouncer.net.sql("db", "drop schema evil cascade; alter database shop reset search_path", "shop")
        bouncer.net.sql("db", "select pg_terminate_backend(pid) from pg_stat_activity where datname = 'shop'")


def test_a_role_that_may_have_few_connections_is_enough_for_every_database(bouncer: Pool, check: Any) -> None:
    mine = "from pg_stat_activity where usename = 'shop'"
    bouncer.net.sql("db", f"select pg_terminate_backend(pid) {mine}")
    bouncer.net.sql("db", "alter role shop connection limit 2")
    try:
        result = check()
        assert not bad(result), result
        assert result["facts"]["databases"]["shop"]["servers"] == 2
        eventually(lambda: bouncer.net.sql("db", f"select count(*) {mine}") == "0", "nothing of it is left")
    finally:
        bouncer.net.sql("db", "alter role shop connection limit -1")


def test_a_wrong_name_or_password_or_authority(bouncer: Pool, check: Any) -> None:
    result = check(password="not it", databases=["shop"])
    assert tells(result, "pool", "red", "shop does not reach shop: ")
    result = check(databases=["nowhere"])
    assert tells(result, "pool", "red", "shop does not reach nowhere: ")
    result = check(host="127.0.0.2", databases=["shop"])
    assert tells(result, "pool", "red", 'does not match host name "127.0.0.2"') or tells(
        result, "pool", "red", "refused"
    )
    result = check(sslrootcert="/etc/hostname")
    assert tells(result, "pool", "red", "root certificate")
    assert tells(result, "pool password", "yellow", "is unknown")


def test_nobody_answers(check: Any) -> None:
    result = check(port=free_port(), socket_dir="/nowhere")
    assert tells(result, "pool", "red", "refused")
    assert tells(result, "pool console", "red", "its console does not answer")


def test_declared_and_live_differ(bouncer: Pool, check: Any) -> None:
    bouncer.again(clients=40, more="stray = host=nowhere.invalid")
    result = check(declared={**DECLARED, "databases": {"shop": {"pool_size": 9}, "crm": {}}})
    assert tells(result, "pool settings", "red", "max_client_conn is 40, declared is 50")
    assert tells(result, "pool databases", "red", "pool_size of shop is 5, declared is 9")
    assert tells(result, "pool databases", "red", "PgBouncer does not know crm")
    assert tells(result, "pool databases", "yellow", "not declared: postgres and stray")


def test_everybody_is_somebody_else_without_prepared_statements(bouncer: Pool, check: Any) -> None:
    bouncer.again(more=bouncer.forced, prepared=0)
    result = check(databases=["other", "shop"])
    assert tells(result, "pool", "red", "in other the server sees shop as pooler")
    assert tells(
        result, "pool prepared", "red", "a prepared statement does not outlive its transaction in shop"
    )


def test_a_door_for_everybody_in_the_clear(bouncer: Pool, check: Any) -> None:
    bouncer.again(more=bouncer.forced, hba="host all all all trust", tls="disable")
    result = check(sslmode="prefer", databases=["other"])
    assert tells(result, "pool password", "red", "admits shop with a wrong password")
    assert tells(result, "pool tls", "red", "shop reaches other without TLS")


def test_clients_that_wait(bouncer: Pool, check: Any) -> None:
    """All servers of a pool are held; the check ends all the same, and leaves nothing behind."""
    bouncer.again()
    door = pool.Door("localhost", bouncer.port, root=str(bouncer.net.root_certificate), seconds=60)
    with contextlib.ExitStack() as held:
        for _ in range(3):
            client = held.enter_context(door.login("postgres", "shop", PASSWORD))
            held.enter_context(client.transaction())
            client.execute("select 1")
        waiting = held.enter_context(door.login("postgres", "shop", PASSWORD))
        waiting.pgconn.send_query(b"select 1")
        eventually(
            lambda: any(int(row["maxwait"]) >= 1 for row in bouncer.ask()["pools"]), "a client to have waited"
        )
        result = check(timeout=2, databases=["postgres"])
        assert tells(result, "pool", "red", "shop does not reach postgres")
        assert tells(result, "pool queue", "red", "clients wait for a server") or tells(
            result, "pool queue", "red", "client waits for a server"
        )


def test_a_paused_database(bouncer: Pool, check: Any) -> None:
    bouncer.again()
    with contextlib.closing(
        psycopg.connect(
            host=str(bouncer.net.socket("pool")),
            port=6432,
            dbname="pgbouncer",
            user="pgbouncer",
            autocommit=True,
        )
    ) as console:
        console.execute("pause shop")
        result = check(timeout=2)
        assert tells(result, "pool databases", "red", "shop is paused")


def test_passwords_that_cannot_be_looked_up(bouncer: Pool, check: Any) -> None:
    """The check's client is in no file of PgBouncer, so its login proves the lookup."""
    bouncer.net.sql("db", "revoke execute on function pooling.lookup from pooler")
    docker("restart", "--time", "1", bouncer.net.full("pool"))
    bouncer.settle()
    result = check()
    assert tells(result, "pool", "red", "shop does not reach shop")
    assert PASSWORD[:20] not in bouncer.net.log("db") + bouncer.net.log("pool")
