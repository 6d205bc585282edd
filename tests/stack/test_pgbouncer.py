# SPDX-License-Identifier: Apache-2.0
"""PgBouncer on a real single stack: who comes in as whom, what a change disconnects, what it leaves when it goes."""

from __future__ import annotations

import json
import re
import secrets
import shlex
import string
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest
from ansible_collections.aza.pg.plugins.module_utils.services.pgbouncer import files as pgbouncer
from ansible_collections.aza.pg.plugins.module_utils.services.pgbouncer import settings as pool_settings

from .instance import Instance, docker, free_port

# Every printable character; a password is one line.
AWKWARD = "".join(map(chr, range(33, 127))) + " x"
assert set(string.printable) - set(string.whitespace) <= set(AWKWARD)
ROLES = [{"name": "shop"}, {"name": "awkward", "password": AWKWARD}, {"name": "chief", "superuser": True}]
DATABASES: list[dict[str, Any]] = [
    {"name": "shop", "owner": "shop", "pool_size": 3},
    {"name": "Ledger 2", "owner": "awkward"},
]
WAIT = 30


@pytest.fixture(scope="module")
def pooled(instance: Instance) -> Instance:
    instance.declare(
        postgres_pgbouncer=True,
        postgres_roles=ROLES,
        postgres_databases=DATABASES,
        postgres_allow_plain_passwords=True,
    )
    instance.deploy()
    return instance


def _secret(instance: Instance, name: str) -> str:
    return (instance.inventory / "secrets" / instance.cluster / name).read_text().strip()


def _connect(instance: Instance, user: str = "shop", **more: Any) -> psycopg.Connection[tuple[Any, ...]]:
    given: dict[str, Any] = {
        "host": "localhost",
        "port": instance.variables["postgres_pgbouncer_port"],
        "user": user,
        "dbname": "shop",
        "sslmode": "verify-full",
        "sslrootcert": str(instance.inventory / "secrets/ca/ca.crt"),
        "connect_timeout": 10,
        "autocommit": True,
        **more,
    }
    if "password" not in given:
        given["password"] = _secret(instance, f"roles/{user}")
    return psycopg.connect(**given)


def _ask(client: psycopg.Connection[tuple[Any, ...]], question: str) -> Any:
    row = client.execute(question.encode()).fetchone()
    return row[0] if row else None


def _console(instance: Instance, question: str) -> list[dict[str, Any]]:
    with psycopg.connect(
        host=str(instance.directory / "run-pgbouncer"),
        port=6432,
        user="aza_pgbouncer",
        dbname="pgbouncer",
        autocommit=True,
    ) as client:
        cursor = client.execute(question.encode())
        names = [column.name for column in cursor.description or ()]
        return [dict(zip(names, row)) for row in cursor.fetchall()] if names else []


def _config(instance: Instance) -> dict[str, str]:
    return {row["key"]: row["value"] for row in _console(instance, "show config")}


def _until(true: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + WAIT
    while not true():
        assert time.monotonic() < deadline, f"{what} did not come within {WAIT} s"
        time.sleep(0.2)


def _health(instance: Instance) -> str:
    return docker("inspect", "--format", "{{.State.Health.Status}}", instance.pgbouncer)


def _asked(instance: Instance, command: list[str]) -> int:
    """How its health check ends now."""
    done = subprocess.run(["docker", "exec", instance.pgbouncer, *command[1:]], check=False, timeout=60)
    return done.returncode


def _started(instance: Instance) -> str:
    form = "{{.Id}} {{.State.StartedAt}}"
    return docker("inspect", "--format", form, instance.container, instance.pgbouncer)


# -- who comes in --------------------------------------------------------------------------------------


def test_a_second_run_changes_nothing(pooled: Instance) -> None:
    assert pooled.deploy().recap["changed"] == 0


def test_the_printed_line_works_as_it_is_pasted(pooled: Instance) -> None:
    """The administrator has one line in the passfile, with the administrator's own password."""
    line = re.search(r"connect\s+(.+)", pooled.deploy().output)
    assert line
    words = [word for word in shlex.split(line.group(1)) if word != "-it"]
    done = subprocess.run(
        [*words, "-Atc", "select session_user"], capture_output=True, text=True, check=False
    )
    assert done.stdout.strip() == "postgres", done.stderr
    passfile = pooled.inventory / "secrets" / pooled.cluster / "pgpass"
    found = dict(row.split(":")[3:5] for row in passfile.read_text().splitlines())
    names = {"shop", "chief", "aza_monitor", "aza_pgbouncer", "aza_health"}
    assert found == {"postgres": _secret(pooled, "postgres_password")} | {
        name: _secret(pooled, f"roles/{name}") for name in names
    }
    kept = {path.name for path in passfile.parent.iterdir()}
    assert kept == {"pgpass", "postgres_password", "roles", "tls"}


def test_the_passfile_opens_both_ports(pooled: Instance) -> None:
    passfile = pooled.inventory / "secrets" / pooled.cluster / "pgpass"
    for port in ("postgres_port", "postgres_pgbouncer_port"):
        more = {"password": None, "passfile": str(passfile), "port": pooled.variables[port]}
        with _connect(pooled, **more) as client:
            assert _ask(client, "select session_user::text") == "shop"


@pytest.mark.parametrize(
    ("user", "database"),
    [("shop", "shop"), ("shop", "postgres"), ("awkward", "Ledger 2"), ("awkward", "shop")],
)
def test_clients_reach_every_database_as_themselves(pooled: Instance, user: str, database: str) -> None:
    more = {"password": AWKWARD} if user == "awkward" else {}
    with _connect(pooled, user, dbname=database, **more) as client:
        assert _ask(client, "select session_user::text") == user
        assert _ask(client, "select current_database()") == database
        # To the server as well.
        assert _ask(client, "select ssl from pg_stat_ssl where pid = pg_backend_pid()") is True
        assert client.pgconn.ssl_in_use


def test_a_role_that_was_made_a_second_ago(pooled: Instance) -> None:
    password = secrets.token_hex(12)
    pooled.sql(f"create role guest login password '{password}'")
    with _connect(pooled, "guest", password=password) as client:
        assert _ask(client, "select session_user::text") == "guest"
    pooled.sql("alter role guest valid until '2020-01-01'")
    with pytest.raises(psycopg.OperationalError, match="authentication failed"):
        _connect(pooled, "guest", password=password)
    pooled.sql("drop role guest")


def test_whoever_does_not_come_in(pooled: Instance) -> None:
    administrator = _secret(pooled, "postgres_password")
    for user, more, message in (
        ("shop", {"password": "wrong"}, "authentication failed"),
        ("shop", {"sslmode": "disable"}, "no authentication method"),
        ("postgres", {"password": administrator}, "login rejected|no such user|not allowed"),
        ("chief", {}, "no such user"),
        ("aza_pgbouncer", {}, "login rejected|no such user|not allowed"),
        ("aza_health", {}, "login rejected|no such user|not allowed"),
        ("shop", {"dbname": "pgbouncer"}, "login rejected|no such user|not allowed"),
        ("shop", {"dbname": "aza_pgbouncer"}, "login rejected|no such user|not allowed"),
    ):
        with pytest.raises(psycopg.OperationalError, match=message):
            _connect(pooled, user, **more)
    with pytest.raises(psycopg.OperationalError, match="does not match host name"):
        _connect(pooled, host="no-such-name.example", hostaddr="127.0.0.1")


def test_who_needs_a_certificate_at_the_server_does_not_come_in_by_a_password(pooled: Instance) -> None:
    """The rule is about the address that clients of this machine have, which is not PgBouncer's own."""
    network = json.loads(docker("network", "inspect", f"aza-pg-{pooled.cluster}-single"))[0]
    gateway = network["IPAM"]["Config"][0]["Gateway"]
    rule = {"roles": ["shop"], "addresses": [gateway], "options": {"clientcert": "verify-full"}}
    pooled.declare(postgres_hba=[rule])
    assert ", 0 restarts" in pooled.deploy("--diff").output
    for port in ("postgres_port", "postgres_pgbouncer_port"):
        with pytest.raises(psycopg.OperationalError, match=r"valid client certificate|login rejected"):
            _connect(pooled, port=pooled.variables[port])
        _connect(pooled, "awkward", password=AWKWARD, port=pooled.variables[port]).close()
    message = " ".join(pooled.play("check").output.split())
    assert f"hostssl all shop {gateway}/32 scram-sha-256 clientcert=verify-full" in message
    pooled.declare(postgres_hba=[{"roles": ["+shop"], "addresses": ["all"], "method": "reject"}])
    refused = pooled.play("deploy-single")
    assert refused.code != 0 and "postgres_hba[0]: PgBouncer cannot tell" in " ".join(refused.output.split())
    pooled.declare(postgres_hba=[])
    pooled.deploy()


def test_only_pgbouncer_may_look_up_a_verifier(pooled: Instance) -> None:
    with (
        _connect(pooled, dbname="postgres") as client,
        pytest.raises(psycopg.Error, match="permission denied"),
    ):
        client.execute("select aza_pg.user_lookup('shop')")
    asked = "select count(*) from aza_pg.user_lookup({})"
    assert [pooled.sql(asked.format(f"'{name}'")) for name in ("shop", "chief", "postgres")] == [
        "1",
        "0",
        "0",
    ]


def test_a_prepared_statement_survives_transactions(pooled: Instance) -> None:
    with _connect(pooled, autocommit=False) as one, _connect(pooled, autocommit=False) as other:
        for number in range(6):
            for client in (one, other):
                found = client.execute("select %s + 1", (number,), prepare=True).fetchone()
                assert found == (number + 1,)
                client.commit()
        assert {len(client._prepared._names) for client in (one, other)} == {1}


def test_few_connections_for_many_clients(pooled: Instance) -> None:
    clients = [_connect(pooled) for _ in range(12)]
    assert {_ask(client, "select 1") for client in clients} == {1}
    where = "datname = 'shop' and usename = 'shop'"
    assert 1 <= int(pooled.sql(f"select count(*) from pg_stat_activity where {where}")) <= 3
    for client in clients:
        client.close()


# -- what a change does --------------------------------------------------------------------------------


def test_a_check_comes_in_as_a_client_does(pooled: Instance) -> None:
    run = pooled.play("check")
    assert run.code == 0, run.output
    message = " ".join(run.output.split())
    assert re.search(r"green pool aza_monitor reaches postgres[^;]* with its own role under TLS", message), (
        run.output
    )
    assert "a wrong password is rejected" in message, run.output


def test_a_setting_is_read_without_disconnecting_anybody(pooled: Instance) -> None:
    before = _started(pooled)
    with _connect(pooled) as client:
        client.execute("begin")
        pooled.declare(postgres_pgbouncer_settings={"query_wait_timeout": 77, "max_client_conn": 123})
        predicted = pooled.deploy("--check", "--diff")
        real = pooled.deploy("--diff")
        assert predicted.plan == real.plan
        assert "max_client_conn = 123" in real.output and "1 reload, 0 restarts" in real.output
        assert _ask(client, "select 1") == 1
    config = _config(pooled)
    assert (config["query_wait_timeout"], config["max_client_conn"]) == ("77", "123")
    assert _started(pooled) == before


def test_a_value_that_pgbouncer_refuses(pooled: Instance) -> None:
    kept = pooled.variables["postgres_pgbouncer_settings"]
    pooled.declare(postgres_pgbouncer_settings={"query_timeout": "never"})
    run = pooled.play("deploy-single")
    assert run.code != 0 and 'invalid value "never" for parameter query_timeout' in run.output, run.output
    _connect(pooled).close()
    pooled.declare(postgres_pgbouncer_settings=kept)
    pooled.deploy()


def test_what_is_not_active_is_found(pooled: Instance) -> None:
    """A user said SET at the console; a run was interrupted when the files were there and not read."""
    _console(pooled, "set max_client_conn = 55")
    _console(pooled, "set auth_type = trust")
    _console(pooled, "set conffile = '/tmp/mine.ini'")
    _console(pooled, "disable shop")
    rules = pooled.directory / "pgbouncer/pgbouncer_hba.conf"
    rules.write_text(rules.read_text())
    run = pooled.play("check")
    message = " ".join(run.output.split())
    assert run.code != 0 and "its max_client_conn is 55, and declared is 123" in message
    assert "its auth_type is trust, and declared is hba" in message
    assert "its conffile is /tmp/mine.ini" in message
    assert "the database shop is disabled at its console" in message
    _console(pooled, "enable shop")
    assert "pgbouncer_hba.conf changed after it was last read" in message
    pooled.deploy()
    found = _config(pooled)
    assert (found["max_client_conn"], found["auth_type"]) == ("123", "hba")
    assert pooled.deploy().recap["changed"] == 0


def test_new_passwords_disconnect_nobody(pooled: Instance) -> None:
    old, started = _secret(pooled, "roles/shop"), _started(pooled)
    with _connect(pooled) as client:
        run = pooled.play("secrets", "-e", "rotate=all")
        assert run.code == 0 and "1 reload, 0 restarts" in run.output, run.output
        assert _ask(client, "select 1") == 1
    # What PgBouncer has open was opened with the old ones of its own roles.
    _console(pooled, "reconnect")
    with _connect(pooled) as client:
        assert _ask(client, "select session_user::text") == "shop"
    with pytest.raises(psycopg.OperationalError, match="authentication failed"):
        _connect(pooled, password=old)
    assert _started(pooled) == started


def test_a_new_certificate_is_shown_after_a_reload(pooled: Instance) -> None:
    def shown() -> str:
        port = pooled.variables["postgres_pgbouncer_port"]
        done = subprocess.run(
            ["openssl", "s_client", "-starttls", "postgres", "-connect", f"127.0.0.1:{port}"],
            input="",
            capture_output=True,
            text=True,
            check=False,
        )
        found = re.search(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", done.stdout, re.DOTALL)
        assert found, done.stdout
        return found.group(0)

    before, started = shown(), _started(pooled)
    with _connect(pooled) as client:
        assert pooled.play("certificates", "-e", "renew=true").code == 0
        assert _ask(client, "select 1") == 1
    assert shown() != before
    assert _started(pooled) == started
    _connect(pooled).close()


def test_whether_it_is_healthy_is_whether_a_query_goes_through(pooled: Instance) -> None:
    _until(lambda: _health(pooled) == "healthy", "health")
    docker("stop", "--time", "5", pooled.container)
    try:
        command = json.loads(
            docker("inspect", "--format", "{{json .Config.Healthcheck.Test}}", pooled.pgbouncer)
        )
        assert _asked(pooled, command) == 1
    finally:
        docker("start", pooled.container)
    _until(lambda: not _asked(pooled, command), "an answer")


def test_a_stopped_one_is_a_finding_and_comes_back(pooled: Instance) -> None:
    docker("stop", "--time", "5", pooled.pgbouncer)
    run = pooled.play("check")
    assert run.code != 0 and re.search(r"red\s+pgbouncer\s+it is exited", run.output), run.output
    pooled.deploy()
    assert pooled.play("check").code == 0


def test_every_setting_of_pgbouncer_is_known(pooled: Instance) -> None:
    rows = {row["key"]: row["changeable"] for row in _console(pooled, "show config")}
    known = pool_settings.RELOADED | pool_settings.FIXED | set(pool_settings.OWNED)
    assert set(rows) == known
    assert {name for name in pool_settings.FIXED if rows[name] == "yes"} == set()
    assert {name for name in pool_settings.RELOADED if rows[name] == "no"} == set()


def test_no_password_is_seen(pooled: Instance) -> None:
    logs = subprocess.run(["docker", "logs", pooled.pgbouncer], capture_output=True, text=True, check=True)
    processes = docker("top", pooled.pgbouncer)
    seen = docker("inspect", pooled.pgbouncer) + logs.stdout + logs.stderr + processes
    seen += pooled.deploy("-vvv", "--diff").output
    for name in ("aza_pgbouncer", "aza_health", "shop"):
        assert _secret(pooled, f"roles/{name}") not in seen
    assert AWKWARD not in seen
    file = pooled.directory / "pgbouncer/userlist.txt"
    assert (file.stat().st_mode & 0o777, file.stat().st_uid) == (0o400, pgbouncer.UID)
    assert (pooled.directory / "run-pgbouncer").stat().st_mode & 0o777 == 0o700


def test_who_may_not_connect_any_more_finds_no_open_session(pooled: Instance) -> None:
    """A pool keeps sessions, and the server asks for the right only when one starts."""
    with _connect(pooled, "awkward", password=AWKWARD) as client:
        assert _ask(client, "select current_database()") == "shop"
    pooled.declare(postgres_databases=[{**DATABASES[0], "access": {"connect": ["chief"]}}, DATABASES[1]])
    pooled.deploy()
    with (
        pytest.raises(psycopg.OperationalError, match="permission denied for database"),
        _connect(pooled, "awkward", password=AWKWARD) as client,
    ):
        _ask(client, "select 1")
    pooled.declare(postgres_databases=DATABASES)
    pooled.deploy()


def test_a_client_by_ipv6_keeps_its_address(pooled: Instance) -> None:
    """In a network without IPv6, each of them would come from the address of its gateway."""
    pooled.declare(
        postgres_publish_address="::",
        postgres_port=free_port(),
        postgres_pgbouncer_port=free_port(),
        postgres_allow_from=["0.0.0.0/0"],
        postgres_hba=[{"addresses": ["::/0"], "method": "reject"}],
    )
    pooled.deploy("-e", "postgres_allow_restart=true", "-e", "postgres_allow_recreate=true")
    for port in ("postgres_port", "postgres_pgbouncer_port"):
        with pytest.raises(psycopg.OperationalError, match=r"pg_hba.conf rejects|login rejected"):
            _connect(pooled, host="::1", port=pooled.variables[port])
    name = f"aza-pg-{pooled.cluster}-single"
    assert docker("network", "ls", "--filter", f"name={name}", "--format", "{{.Name}}") == f"{name}-ipv6"
    pooled.declare(postgres_hba=[])
    pooled.deploy()
    for port in ("postgres_port", "postgres_pgbouncer_port"):
        _connect(pooled, host="::1", port=pooled.variables[port]).close()
    run = pooled.play("check")
    assert run.code == 0, run.output
    assert pooled.deploy().recap["changed"] == 0


def test_without_it_nothing_of_it_is_left(pooled: Instance) -> None:
    pooled.declare(postgres_pgbouncer=False)
    waits = pooled.deploy()
    assert "waits for postgres_allow_restart: true" in waits.output
    _connect(pooled, host="::1").close()  # where the test before this one has published it
    predicted = pooled.deploy("--check", "-e", "postgres_allow_restart=true")
    real = pooled.deploy("-e", "postgres_allow_restart=true")
    assert predicted.plan == real.plan
    assert pooled.pgbouncer not in docker("ps", "--all", "--format", "{{.Names}}").split()
    assert [path for path in Path(pooled.directory).rglob("*") if "pgbouncer" in path.name] == []
    assert pooled.sql("select count(*) from pg_roles where rolname in ('aza_pgbouncer', 'aza_health')") == "0"
    assert pooled.sql("select count(*) from pg_namespace where nspname = 'aza_pg'") == "0"
    assert pooled.deploy().recap["changed"] == 0
