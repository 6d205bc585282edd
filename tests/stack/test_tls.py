# SPDX-License-Identifier: Apache-2.0
"""TLS and the exporter as clients see them: verified, rotated while they are connected, and never without TLS."""

from __future__ import annotations

import re
import subprocess
import urllib.request
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from .instance import Instance, docker, free_port


def _connect(instance: Instance, **more: str) -> psycopg.Connection[tuple[object, ...]]:
    secrets = instance.inventory / "secrets"
    given = {
        "host": "localhost",
        "port": str(instance.variables["postgres_port"]),
        "user": "postgres",
        "dbname": "postgres",
        "password": (secrets / instance.cluster / "postgres_password").read_text().strip(),
        "sslmode": "verify-full",
        "sslrootcert": str(secrets / "ca" / "ca.crt"),
        **more,
    }
    return psycopg.connect(" ".join(f"{key}='{value}'" for key, value in given.items()), autocommit=True)


def _serial(instance: Instance) -> str:
    """Of the certificate that a new client is shown."""
    port = instance.variables["postgres_port"]
    shown = subprocess.run(
        ["openssl", "s_client", "-starttls", "postgres", "-connect", f"127.0.0.1:{port}"],
        input="",
        capture_output=True,
        text=True,
        check=False,
    ).stdout
    found = re.search(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", shown, re.DOTALL)
    assert found, shown
    return found.group(0)


def _metrics(instance: Instance) -> str:
    port = instance.variables["postgres_exporter_port"]
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=20) as answer:
        return str(answer.read().decode())


def test_a_client_verifies_the_server(instance: Instance) -> None:
    instance.deploy()
    with _connect(instance) as client:
        found = client.execute("select version from pg_stat_ssl where pid = pg_backend_pid()").fetchone()
        assert found == ("TLSv1.3",)
    with pytest.raises(psycopg.OperationalError, match="does not match host name"):
        _connect(instance, host="no-such-name.example", hostaddr="127.0.0.1")


def test_nobody_comes_in_over_the_network_without_tls(instance: Instance) -> None:
    with pytest.raises(psycopg.OperationalError, match="no encryption"):
        _connect(instance, sslmode="disable")


def test_keys_are_private_and_where_they_belong(instance: Instance) -> None:
    key = instance.directory / "postgres/tls/server.pem"
    assert (key.stat().st_mode & 0o777, key.stat().st_uid) == (0o400, 999)
    root = instance.inventory / "secrets"
    for path in root.rglob("*.*"):
        if path.suffix in (".pem", ".key", ".crt"):
            assert path.stat().st_mode & 0o777 == 0o600, path
    assert not list(instance.directory.rglob("ca.*"))


def test_a_new_certificate_disconnects_nobody(instance: Instance) -> None:
    first, started = _serial(instance), instance.sql("select pg_postmaster_start_time()")
    with _connect(instance) as client:
        instance.declare(postgres_tls_names=["shop.example.org"])
        predicted = instance.deploy("--check", "--diff")
        real = instance.deploy("--diff")
        assert predicted.plan == real.plan
        message = "its names change: with shop.example.org"
        assert message in real.output
        assert "PRIVATE KEY" not in predicted.output + real.output
        assert client.execute("select 1").fetchone() == (1,)
    assert _serial(instance) != first
    assert instance.sql("select pg_postmaster_start_time()") == started
    _connect(instance, host="shop.example.org", hostaddr="127.0.0.1").close()
    assert instance.deploy().recap["changed"] == 0


def test_certificates_are_shown_and_renewed_when_asked(instance: Instance) -> None:
    kept = _serial(instance)
    shown = instance.play("certificates")
    assert shown.code == 0 and shown.recap["changed"] == 0, shown.output
    assert "certificate valid until" in shown.output and "shop.example.org" in shown.output
    assert instance.play("certificates", "--check", "-e", "renew=true").recap["changed"] == 1
    assert _serial(instance) == kept
    assert instance.play("certificates", "-e", "renew=true").recap["changed"] == 1
    assert _serial(instance) != kept
    assert instance.deploy().recap["changed"] == 0


def test_what_the_server_shows_is_compared_with_the_file(instance: Instance) -> None:
    """A key that the server cannot read keeps the old certificate in use: only a handshake tells."""
    file = instance.directory / "postgres/tls/server.pem"
    good = file.read_text()
    # Not in the inventory: Ansible would read it as hosts.
    other, certificate = (instance.inventory.parent / name for name in ("other.pem", "other.crt"))
    request = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=other -days 1 -out -"
    subprocess.run(
        ["openssl", *request.split(), "-keyout", str(other)],
        stdout=certificate.open("w"),
        stderr=subprocess.DEVNULL,
        check=True,
    )
    file.write_text(other.read_text() + certificate.read_text())
    run = instance.play("check")
    assert run.code != 0
    assert "presents another certificate" in " ".join(run.output.split())
    assert "certificate server" in run.output
    instance.deploy()
    assert file.read_text() == good
    assert instance.play("check").code == 0


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda key: key.replace("MIGH", "MIGX"), "there is no private key in PEM form"),
        (lambda key: "/no/such/file.key", "/no/such/file.key cannot be read on the control node"),
    ],
)
def test_a_certificate_of_ones_own_that_cannot_work(
    instance: Instance, spoil: Callable[[str], str], message: str
) -> None:
    pem = (instance.inventory / "secrets" / instance.cluster / "tls/here.pem").read_text()
    key, mark, chain = pem.partition("-----BEGIN CERTIFICATE-----")
    kept = _serial(instance)
    own = {"postgres_tls_certificate": mark + chain, "postgres_tls_key": spoil(key)}
    instance.declare(**own, postgres_allow_plain_passwords=True)
    run = instance.play("deploy-single", "-vvv")
    assert run.code != 0 and message in " ".join(run.output.split()), run.output
    assert key.splitlines()[1] not in run.output
    assert _serial(instance) == kept
    instance.declare(postgres_tls_certificate="", postgres_tls_key="")


def test_the_exporter_sees_the_server_and_nothing_else(instance: Instance) -> None:
    assert re.search(r"^pg_up 1$", _metrics(instance), re.MULTILINE)
    assert (
        instance.sql(
            "select string_agg(b.rolname, ',') from pg_auth_members m join pg_roles b on b.oid = m.roleid "
            "join pg_roles r on r.oid = m.member where r.rolname = 'aza_monitor'"
        )
        == "pg_monitor"
    )
    password = (instance.inventory / "secrets" / instance.cluster / "roles/aza_monitor").read_text().strip()
    logs = subprocess.run(["docker", "logs", instance.exporter], capture_output=True, text=True, check=True)
    seen = docker("inspect", instance.exporter) + logs.stdout + logs.stderr + _metrics(instance)
    assert password not in seen


def test_the_exporter_is_replaced_and_the_server_is_not(instance: Instance) -> None:
    facts = ("inspect", "--format", "{{.Id}} {{.State.StartedAt}}", instance.container)
    before = docker(*facts)
    instance.declare(postgres_exporter_port=free_port())
    real = instance.deploy()
    assert f"recreate container {instance.exporter}" in real.output
    assert "waits for" not in real.output
    assert docker(*facts) == before
    assert re.search(r"^pg_up 1$", _metrics(instance), re.MULTILINE)


def test_a_new_password_of_the_exporter_reaches_it(instance: Instance) -> None:
    file = instance.inventory / "secrets" / instance.cluster / "roles/aza_monitor"
    file.write_text("quite-another-password-of-the-exporter\n")
    predicted = instance.deploy("--check")
    real = instance.deploy()
    assert predicted.plan == real.plan
    assert f"restart container {instance.exporter}" in real.output
    assert re.search(r"^pg_up 1$", _metrics(instance), re.MULTILINE)
    assert instance.deploy().recap["changed"] == 0


def test_a_stopped_exporter_is_a_finding_and_comes_back(instance: Instance) -> None:
    docker("stop", instance.exporter)
    run = instance.play("check")
    assert run.code != 0 and re.search(r"red\s+exporter\s+it is exited", run.output), run.output
    instance.deploy()
    assert instance.play("check").code == 0


def test_a_blind_exporter_is_a_finding(instance: Instance) -> None:
    instance.sql("alter role aza_monitor nologin")
    instance.sql("select pg_terminate_backend(pid) from pg_stat_activity where usename = 'aza_monitor'")
    run = instance.play("check")
    assert run.code != 0 and "pg_up 0" in run.output, run.output
    instance.deploy()
    assert re.search(r"^pg_up 1$", _metrics(instance), re.MULTILINE)


def test_without_exporter_and_without_tls(instance: Instance) -> None:
    instance.declare(postgres_exporter=False, postgres_tls=False)
    predicted = instance.deploy("--check")
    real = instance.deploy()
    assert predicted.plan == real.plan
    assert "waits for" not in real.output
    assert instance.exporter not in docker("ps", "--all", "--format", "{{.Names}}").split()
    assert instance.sql("select count(*) from pg_roles where rolname = 'aza_monitor'") == "1"
    assert not Path(instance.directory / "secrets/exporter_password").exists()
    _connect(instance, sslmode="disable").close()
    assert instance.deploy().recap["changed"] == 0
    instance.declare(postgres_roles=[{"name": "aza_monitor", "state": "absent"}])
    instance.deploy()
    assert instance.sql("select count(*) from pg_roles where rolname = 'aza_monitor'") == "0"
