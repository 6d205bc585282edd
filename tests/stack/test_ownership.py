# SPDX-License-Identifier: Apache-2.0
"""An instance and two control nodes: the one that deployed it, and a fresh clone without its secrets."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest

from .instance import Instance, docker, play
from .instance import Run as Played

ROLES = [{"name": "web"}, {"name": "worker"}]
CONFIRMED = ("-e", "confirm={cluster}", "-e", "remove_data={cluster}")


@pytest.fixture(scope="module")
def shop(instance: Instance) -> Instance:
    instance.declare(postgres_roles=ROLES)
    instance.deploy()
    assert instance.deploy().recap["changed"] == 0
    return instance


def clone(shop: Instance, name: str) -> Path:
    """The inventory of another user's checkout."""
    target: Path = shop.inventory.parent / name
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(shop.inventory, target, ignore=shutil.ignore_patterns("secrets"))
    return target


def from_there(inventory: Path, name: str, *arguments: str) -> Played:
    return play("-i", str(inventory), f"playbooks/{name.replace('-', '_')}.yml", *arguments)


def record(shop: Instance) -> Path:
    directory: Path = shop.directory
    return directory.with_name(f".{directory.name}.environment")


def state(shop: Instance) -> tuple[object, ...]:
    """What a control node that is refused must not change."""
    tree = {
        path: (path.stat().st_mtime_ns, path.stat().st_mode)
        for path in [*shop.directory.rglob("*"), record(shop)]
        if path.is_file() and not path.is_socket()
    }
    facts = docker("inspect", "--format", "{{.Id}} {{.State.StartedAt}} {{.State.Status}}", shop.container)
    verifiers = shop.sql(
        "select string_agg(rolname || coalesce(rolpassword, ''), ',' order by 1) from pg_authid"
    )
    return tree, facts, verifiers


def test_the_record_is_private_and_names_the_environment(shop: Instance) -> None:
    identity = (shop.inventory / "secrets/environment.id").read_text().strip()
    assert record(shop).stat().st_mode & 0o777 == 0o600
    assert identity in record(shop).read_text() and str(shop.inventory) in record(shop).read_text()
    label = docker("volume", "inspect", "--format", '{{index .Labels "io.aza-pg.environment"}}', shop.volume)
    assert label == identity


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("deploy-single", ()),
        ("plan", ()),
        ("check", ()),
        ("stop", ()),
        ("start", ()),
        ("certificates", ("-e", "renew=true")),
        ("secrets", ("-e", "rotate=web")),
        ("remove", CONFIRMED),
    ],
)
def test_a_fresh_clone_is_refused_before_anything_changes(
    shop: Instance, name: str, arguments: tuple[str, ...]
) -> None:
    other, before = clone(shop, "fresh"), state(shop)
    run = from_there(other, name, *(word.format(cluster=shop.cluster) for word in arguments))
    message = " ".join(run.output.split())
    assert run.code != 0 and "belongs to environment" in message, run.output
    for way in ("copy the directory secrets", "fetch=true", f"take_over={shop.cluster}"):
        assert way in message, run.output
    assert state(shop) == before
    assert not (other / "secrets").exists()


def test_the_secrets_of_another_environment_are_refused(shop: Instance) -> None:
    """As a fresh clone that has deployed something else already."""
    other, before = clone(shop, "another"), state(shop)
    (other / "secrets").mkdir()
    (other / "secrets/environment.id").write_text("of-another-environment\n")
    run = from_there(other, "deploy-single")
    assert run.code != 0 and "reason: foreign_environment" in run.output, run.output
    fetched = from_there(other, "secrets", "-e", "fetch=true")
    assert fetched.code != 0 and "reason: foreign_environment" in fetched.output, fetched.output
    assert state(shop) == before and [path.name for path in (other / "secrets").iterdir()] == [
        "environment.id"
    ]


def test_secrets_that_were_copied_are_enough(shop: Instance) -> None:
    other, before = clone(shop, "copied"), state(shop)
    shutil.copytree(shop.inventory / "secrets", other / "secrets")
    # Copied without its identity: the secrets themselves prove it, and the host knows the identity.
    (other / "secrets/environment.id").unlink()
    run = from_there(other, "deploy-single")
    assert run.code == 0 and run.recap["changed"] == 0, run.output
    same = [path / "secrets/environment.id" for path in (other, shop.inventory)]
    assert same[0].read_text() == same[1].read_text()
    assert state(shop) == before


def values(inventory: Path, cluster: str) -> Mapping[str, str]:
    root = inventory / "secrets"
    names = (
        f"{cluster}/postgres_password",
        f"{cluster}/roles/aza_monitor",
        f"{cluster}/tls/here.pem",
        "ca/ca.crt",
    )
    return {name: (root / name).read_text() for name in (*names, "environment.id")}


def test_secrets_are_read_back_from_the_host(shop: Instance) -> None:
    other = clone(shop, "reader")
    assert from_there(other, "secrets", "-e", "fetch=true", "--check").code == 0
    assert not (other / "secrets").exists(), "check mode wrote secrets"
    run = from_there(other, "secrets", "-e", "fetch=true", "-vvvv")
    assert run.code == 0, run.output
    assert values(other, shop.cluster) == values(shop.inventory, shop.cluster)
    secret = values(shop.inventory, shop.cluster)
    for name in (f"{shop.cluster}/postgres_password", f"{shop.cluster}/roles/aza_monitor"):
        assert secret[name].strip() not in run.output
    assert secret[f"{shop.cluster}/tls/here.pem"].splitlines()[1] not in run.output
    assert {
        path.stat().st_mode & 0o077 for path in (other / "secrets").rglob("*") if path.name != ".gitignore"
    } == {0}
    message = " ".join(run.output.split())
    assert (
        "roles/web cannot be read back" in message
        and "rotate=web" in message
        and "ca.key cannot be read back" in message
    )
    # A password that the server knows and the control node does not is never replaced unasked.
    before = state(shop)
    refused = from_there(other, "deploy-single")
    assert refused.code != 0 and "lacks roles/web, roles/worker" in " ".join(refused.output.split()), (
        refused.output
    )
    assert state(shop) == before
    # One by its name leaves the other as it is.
    verifier = shop.sql("select rolpassword from pg_authid where rolname = 'worker'")
    assert from_there(other, "secrets", "-e", "rotate=web").code == 0
    assert shop.sql("select rolpassword from pg_authid where rolname = 'worker'") == verifier
    shutil.copy(
        shop.inventory / f"secrets/{shop.cluster}/roles/worker",
        other / f"secrets/{shop.cluster}/roles/worker",
    )
    run = from_there(other, "deploy-single")
    assert run.code == 0 and run.recap["changed"] == 0, run.output
    assert not (other / "secrets/ca/ca.key").exists()
    shutil.copy(
        other / f"secrets/{shop.cluster}/roles/web", shop.inventory / f"secrets/{shop.cluster}/roles/web"
    )


def test_without_its_key_the_authority_is_replaced_in_two_steps(shop: Instance) -> None:
    secrets = shop.inventory / "secrets"
    old, key = (secrets / "ca/ca.crt").read_text(), (secrets / "ca/ca.key").read_text()
    (secrets / "ca/ca.key").unlink()
    assert shop.deploy().recap["changed"] == 0
    refused = shop.play("certificates", "-e", "renew=true")
    assert refused.code != 0 and "reason: no_authority_key" in refused.output, refused.output
    early = shop.play("certificates", "-e", "authority=finish")
    assert early.code != 0 and "reason: no_rotation" in early.output, early.output
    begun = shop.play("certificates", "-e", "authority=begin")
    assert begun.code == 0, begun.output
    assert (secrets / "ca/ca.crt").read_text().startswith(old) and not (secrets / "ca/ca.key").exists()
    assert shop.deploy().recap["changed"] == 0
    finished = shop.play("certificates", "-e", "authority=finish")
    assert finished.code == 0, finished.output
    new = (secrets / "ca/ca.crt").read_text()
    assert old not in new and new.count("BEGIN CERTIFICATE") == 1
    assert new in (shop.directory / "postgres/tls/server.pem").read_text()
    assert (secrets / "ca/ca.key").read_text() != key and not (secrets / "ca/next.key").exists()
    assert shop.deploy().recap["changed"] == 0


def test_an_authority_that_was_moved_away_is_missing(shop: Instance) -> None:
    ca, before = shop.inventory / "secrets/ca", state(shop)
    ca.rename(shop.inventory.parent / "kept")
    run = shop.play("deploy-single")
    (shop.inventory.parent / "kept").rename(ca)
    assert run.code != 0 and "reason: missing_secrets" in run.output, run.output
    assert state(shop) == before


def test_what_is_older_than_records_is_adopted_by_its_secrets(shop: Instance) -> None:
    record(shop).unlink()
    docker("volume", "inspect", shop.volume)
    run = shop.play("plan")
    assert "record environment" in run.output, run.output
    shop.deploy()
    assert record(shop).exists() and shop.deploy().recap["changed"] == 0


def test_another_base_directory_is_refused_and_moves_nothing(shop: Instance) -> None:
    before, base = state(shop), shop.variables["postgres_base_dir"]
    shop.declare(postgres_base_dir=f"{base}-elsewhere")
    for name in ("deploy-single", "stop", "check"):
        run = shop.play(name)
        assert run.code != 0 and "the instance was deployed to" in " ".join(run.output.split()), run.output
    shop.declare(postgres_base_dir=base)
    assert state(shop) == before and not Path(f"{base}-elsewhere").exists()


def test_a_lost_link_is_no_failure_and_start_brings_it_back(shop: Instance) -> None:
    link = Path(f"/run/aza-pg/{shop.cluster}-single")
    link.unlink()
    run = shop.play("check")
    assert run.code == 0 and "yellow" in run.output, run.output
    assert shop.play("start").code == 0
    assert link.is_symlink() and shop.deploy().recap["changed"] == 0


def test_data_that_was_kept_still_belongs_to_its_environment(shop: Instance) -> None:
    assert shop.play("remove", "-e", f"confirm={shop.cluster}").code == 0
    assert record(shop).exists() and not shop.directory.exists()
    refused = from_there(clone(shop, "late"), "deploy-single")
    assert refused.code != 0 and "reason: missing_secrets" in refused.output, refused.output
    # In another directory the volume tells.
    shop.declare(postgres_base_dir=f"/tmp/{shop.cluster}/elsewhere")
    refused = from_there(clone(shop, "late"), "deploy-single")
    assert refused.code != 0 and "reason: missing_secrets" in refused.output, refused.output
    shop.declare(postgres_base_dir=f"/tmp/{shop.cluster}")
    shop.deploy()


def test_a_take_over_is_named_and_only_then_everything_is_replaced(shop: Instance) -> None:
    other = clone(shop, "taker")
    typo = from_there(other, "deploy-single", "-e", "take_over=nonsense")
    assert typo.code != 0 and not (other / "secrets").exists(), typo.output
    run = from_there(other, "deploy-single", "-e", f"take_over={shop.cluster}")
    assert run.code == 0 and "take over into environment taker" in run.output, run.output
    assert from_there(other, "deploy-single").recap["changed"] == 0
    late = shop.play("deploy-single")
    assert late.code != 0 and "reason: foreign_environment" in late.output, late.output
    gone = from_there(other, "remove", *(word.format(cluster=shop.cluster) for word in CONFIRMED))
    assert gone.code == 0 and not record(shop).exists(), gone.output
