# SPDX-License-Identifier: Apache-2.0
"""Passwords of roles: made, kept, rotated, interrupted, unused."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from .instance import CANARY, Instance

ROLES = [
    {"name": "web"},
    {"name": "Odd/../name: 'x'", "connection_limit": 3},
    {"name": "vaulted", "password": f"{CANARY}-vaulted"},
    {"name": "readers", "login": False},
]


@pytest.fixture(scope="module")
def shop(instance: Instance) -> Instance:
    instance.declare(
        postgres_roles=ROLES, postgres_exporter=False, postgres_tls=False, postgres_allow_plain_passwords=True
    )
    return instance


def store(shop: Instance) -> Path:
    return shop.inventory / "secrets" / shop.cluster


def secret(shop: Instance, name: str) -> str:
    return (store(shop) / name).read_text().strip()


def login(shop: Instance, role: str, password: str) -> bool:
    """Over the network, as an application does."""
    command = [
        "docker",
        "exec",
        "-i",
        shop.container,
        "bash",
        "-c",
        "read -r PGPASSWORD; export PGPASSWORD; exec psql ",
    ]
    command[-1] += '-h "$(hostname -i)" -U "$0" -d postgres -qAtXc "select 1"'
    done = subprocess.run(
        [*command, role], input=f"{password}\n", capture_output=True, text=True, check=False
    )
    assert done.returncode == 0 or "password authentication failed" in done.stderr, done.stderr
    return done.returncode == 0


def test_check_mode_makes_no_secret_and_predicts_the_same_lines(shop: Instance) -> None:
    shop.deploy()
    assert shop.deploy().recap["changed"] == 0
    shop.declare(postgres_roles=[*ROLES, {"name": "late"}])
    predicted = shop.deploy("--check", "--diff")
    assert predicted.plan == ["  create role late  login, with a password  sql"] or predicted.plan[
        0
    ].startswith("  create role late  login, with a password")
    assert not (store(shop) / "roles" / "late").exists()
    assert predicted.plan == shop.deploy().plan


def test_each_role_logs_in_with_its_own(shop: Instance) -> None:
    assert login(shop, "web", secret(shop, "roles/web"))
    assert login(shop, "Odd/../name: 'x'", secret(shop, "roles/Odd%2F..%2Fname%3A %27x%27"))
    assert login(shop, "vaulted", f"{CANARY}-vaulted")
    assert not login(shop, "web", secret(shop, "roles/late"))
    assert not (store(shop) / "roles" / "vaulted").exists()
    assert {path.stat().st_mode & 0o777 for path in (store(shop) / "roles").iterdir()} == {0o600}
    lines = (store(shop) / "pgpass").read_text().splitlines()
    assert f"*:*:*:web:{secret(shop, 'roles/web')}" in lines
    assert len(lines) == 4 and CANARY not in "".join(lines)


def test_the_list_says_what_each_is_for(shop: Instance) -> None:
    run = shop.play("secrets")
    assert run.code == 0 and run.recap["changed"] == 0, run.output
    for message in (
        r"postgres_password +administrator postgres  today  0600",
        r"roles/web +role web  today  0600",
        r"roles/vaulted +role vaulted  given by the inventory",
    ):
        assert re.search(message, run.output), run.output
    assert secret(shop, "roles/web") not in run.output


def test_one_is_rotated(shop: Instance) -> None:
    old, others = secret(shop, "roles/web"), secret(shop, "roles/late")
    shop.declare(postgres_roles=[*shop.variables["postgres_roles"], {"name": "not yet"}])
    predicted = shop.play("secrets", "-e", "rotate=web", "--check", "--diff")
    assert secret(shop, "roles/web") == old and not list(store(shop).rglob("*+next"))
    run = shop.play("secrets", "-e", "rotate=web", "--diff")
    assert run.code == 0, run.output
    assert predicted.plan == run.plan, predicted.output
    (line,) = run.plan
    assert "set the password of role web" in line
    new = secret(shop, "roles/web")
    assert new != old and login(shop, "web", new) and not login(shop, "web", old)
    assert secret(shop, "roles/late") == others
    assert not list(store(shop).rglob("*+next"))
    assert f":web:{new}" in (store(shop) / "pgpass").read_text()
    assert "create role not yet" in shop.deploy().plan[0], "what else was declared is left to a deploy"
    assert shop.deploy().recap["changed"] == 0


def test_all_are_rotated_and_what_the_inventory_gives_is_not(shop: Instance) -> None:
    before = {name: secret(shop, name) for name in ("postgres_password", "roles/web", "roles/late")}
    run = shop.play("secrets", "-e", "rotate=all")
    assert run.code == 0, run.output
    for name, old in before.items():
        assert secret(shop, name) != old
    assert login(shop, "postgres", secret(shop, "postgres_password"))
    assert login(shop, "vaulted", f"{CANARY}-vaulted")
    assert shop.deploy().recap["changed"] == 0
    for name, message in (("vaulted", "given by the inventory"), ("wbe", "did you mean 'web'")):
        refused = shop.play("secrets", "-e", f"rotate={name}")
        assert refused.code != 0 and message in " ".join(refused.output.split()), refused.output


@pytest.mark.parametrize("reached", [False, True], ids=["before the server", "after the server"])
def test_a_rotation_that_was_cut_off_is_finished_by_the_next_deploy(shop: Instance, reached: bool) -> None:
    old = secret(shop, "roles/web")
    next_path = store(shop) / "roles" / "web+next"
    next_path.write_text("the value that was begun\n")
    next_path.chmod(0o600)
    if reached:
        shop.sql("alter role web password 'the value that was begun'")
    listed = shop.play("secrets")
    assert "has a new value that is not in use" in listed.output
    assert old not in listed.output and "the value that was begun" not in listed.output
    shop.deploy()
    assert secret(shop, "roles/web") == "the value that was begun"
    assert login(shop, "web", "the value that was begun") and not next_path.exists()
    assert shop.deploy().recap["changed"] == 0


def test_what_nothing_uses_is_removed_by_name(shop: Instance) -> None:
    shop.declare(postgres_roles=[*ROLES, {"name": "late", "state": "absent"}])
    shop.deploy()
    gone = store(shop).parent / "gone"
    (gone / "roles").mkdir(parents=True)
    (gone / "roles" / "x").write_text("of a cluster that is no more\n")
    (gone / "mine").write_text("not the toolkit's\n")
    listed = shop.play("secrets").output
    assert re.search(r"roles/late +nothing uses it", listed)
    assert "no host belongs to gone" in listed
    refused = shop.play("secrets", "-e", "remove_unused=nonsense")
    assert refused.code != 0 and "Nothing was removed" in " ".join(refused.output.split())
    assert shop.play("secrets", "-e", f"remove_unused={shop.cluster}", "--check").recap["changed"] == 1
    assert (store(shop) / "roles" / "late").exists()
    assert shop.play("secrets", "-e", f"remove_unused={shop.cluster}").recap["changed"] == 1
    assert not (store(shop) / "roles" / "late").exists() and (store(shop) / "roles" / "web").exists()
    assert shop.play("secrets", "-e", "remove_unused=gone").code == 0
    assert not (gone / "roles" / "x").exists() and (gone / "mine").exists()
