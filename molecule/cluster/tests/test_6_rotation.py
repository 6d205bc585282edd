# SPDX-License-Identifier: Apache-2.0
"""New passwords and certificates while clients write through the pool: not one of their transactions fails."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from typing import Any

import pytest

from support.clients import Load, Pgbench, ask
from support.instances import Instance
from support.members import SECRETS, Members, pool, until_streaming
from support.playbooks import Run
from support.waiting import until

PRIMARY = "azatest-db1"


@pytest.fixture
def load(shop: Members, figures: list[str], request: pytest.FixtureRequest) -> Any:
    """Begins before the rotation; afterwards every transaction must have been committed, and be there."""
    bench = Pgbench(
        SECRETS, shop["azatest-db2"], shop[PRIMARY], "shop", "shop", "insert into bench values (:client_id)"
    )
    with pool(shop[PRIMARY]) as client:
        client.execute("create table if not exists bench (client int)")
    with Load(SECRETS, shop[PRIMARY], "shop", "shop") as load, bench:
        _wait_for_more(load)
        yield load
        _wait_for_more(load)
    figures.append(f"{request.node.name}: {load.committed} committed, {len(load.failures)} failed")
    assert load.failures == []
    assert bench.failures == [] and "running: 2" in bench.output and bench.output.count("progress") > 4
    until_streaming(shop[PRIMARY], _replicas(shop))
    with pool(shop["azatest-db2"]) as client:
        assert ask(client, "select count(*) from load") == sum(load.committed.values())
    with pool(shop[PRIMARY]) as client:
        client.execute("drop table load, bench")


def _wait_for_more(load: Load) -> None:
    before = dict(load.committed)
    until(
        lambda: load.failures or all(load.committed[kind] > before[kind] + 5 for kind in before),
        "clients work",
    )


def _replicas(shop: Members) -> dict[str, Instance]:
    return {name: found for name, found in shop.items() if name != PRIMARY}


def _verifier(shop: Members, role: str) -> str:
    return shop[PRIMARY].sql(f"select md5(rolpassword) from pg_authid where rolname = '{role}'")


def _rotate(playbook: Callable[..., Run], shop: Members, role: str, declared: dict[str, Any]) -> None:
    before, kept = _verifier(shop, role), (SECRETS / "shop/roles" / role).read_text()
    identity = {name: found.identity() for name, found in shop.items()}
    playbook("secrets.yml", extra=declared | {"rotate": role}, limit=["shop"])
    assert _verifier(shop, role) != before
    assert (SECRETS / "shop/roles" / role).read_text() != kept
    assert {name: found.identity() for name, found in shop.items()} == identity


def test_a_new_password_of_the_replication_role(
    shop: Members, playbook: Callable[..., Run], load: Load, declared: dict[str, Any]
) -> None:
    _rotate(playbook, shop, "replicator", declared)
    # Each replica has to log in again, with what it was given.
    shop[PRIMARY].sql("select pg_terminate_backend(pid) from pg_stat_replication")
    until_streaming(shop[PRIMARY], _replicas(shop))


def test_a_new_password_of_the_role_that_pgbouncer_looks_up_passwords_with(
    shop: Members, playbook: Callable[..., Run], load: Load, declared: dict[str, Any]
) -> None:
    _rotate(playbook, shop, "aza_pgbouncer", declared)
    # On a replica it has to log in again, for a role that it has not seen yet, once the connection is really gone.
    for found in _replicas(shop).values():
        found.sql(
            "select pg_terminate_backend(pid, 10000) from pg_stat_activity where usename = 'aza_pgbouncer'"
        )
        with pool(found, "reports", "ledger") as client:
            assert ask(client, "select 1") == 1


def _shown(found: Instance, port: int) -> str:
    """The certificate that clients are shown."""
    done = subprocess.run(
        ["openssl", "s_client", "-starttls", "postgres", "-connect", f"{found.address}:{port}"],
        input="",
        capture_output=True,
        text=True,
        check=False,
    )
    shown = re.search(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", done.stdout, re.DOTALL)
    assert shown, done.stdout + done.stderr
    return shown.group(0)


def test_new_certificates(
    shop: Members, playbook: Callable[..., Run], load: Load, declared: dict[str, Any]
) -> None:
    def shown() -> dict[str, set[str]]:
        return {
            name: {_shown(found, port) for port in (found.port, found.pool_port)}
            for name, found in shop.items()
        }

    before, identity = shown(), {name: found.identity() for name, found in shop.items()}
    playbook("playbooks/certificates.yml", extra=declared | {"renew": True}, limit=["shop"])
    after = shown()
    for name, certificates in after.items():
        assert len(certificates) == 1, "server and pool show the same one"
        assert not certificates & before[name], name
    assert {name: found.identity() for name, found in shop.items()} == identity
    # A replica verifies the new one.
    shop[PRIMARY].sql("select pg_terminate_backend(pid) from pg_stat_replication")
    until_streaming(shop[PRIMARY], _replicas(shop))
