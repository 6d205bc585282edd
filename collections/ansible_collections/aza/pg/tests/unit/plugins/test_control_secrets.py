# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from ansible import constants as C  # noqa: N812
from ansible import context
from ansible_collections.aza.pg.plugins.module_utils.errors import AzaError
from ansible_collections.aza.pg.plugins.plugin_utils import secret_list
from ansible_collections.aza.pg.plugins.plugin_utils.control_secrets import (
    InstanceSecrets,
    SecretStore,
    pgpass_escape,
    role_of,
)
from ansible_collections.aza.pg.tests.unit.declarations import declaration


@pytest.fixture(autouse=True)
def ignoring(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(C.config, "get_config_value", lambda name: ["^secrets$"])


def test_made_once_for_its_owner_alone(tmp_path: Path) -> None:
    store = SecretStore(str(tmp_path), "shop")
    value = store.get("postgres_password")
    assert len(value) == 32
    assert SecretStore(str(tmp_path), "shop").get("postgres_password") == value
    assert stat.S_IMODE(store.path("postgres_password").stat().st_mode) == 0o600
    assert stat.S_IMODE(store.directory.stat().st_mode) == 0o700
    assert (tmp_path / "secrets" / ".gitignore").read_text() == "*\n"
    assert store.created == ["postgres_password"]
    assert SecretStore(str(tmp_path), "other").get("postgres_password") != value


def test_many_runs_at_once_agree(tmp_path: Path) -> None:
    with ThreadPoolExecutor(16) as pool:
        found = set(pool.map(lambda _: SecretStore(str(tmp_path), "shop").get("x"), range(64)))
    assert len(found) == 1
    assert [path.name for path in (tmp_path / "secrets" / "shop").iterdir()] == ["x"]


def test_check_mode_writes_nothing(tmp_path: Path) -> None:
    store = SecretStore(str(tmp_path), "shop", dry=True)
    assert store.get("postgres_password")
    store.write_pgpass({"postgres": "x"})
    assert list(tmp_path.iterdir()) == []


def test_open_rights_are_closed(tmp_path: Path) -> None:
    store = SecretStore(str(tmp_path), "shop")
    store.get("x")
    store.path("x").chmod(0o644)
    store.get("x")
    assert stat.S_IMODE(store.path("x").stat().st_mode) == 0o600


@pytest.mark.parametrize("text", ["", "short", "two\nlines of a password"])
def test_a_useless_secret_is_refused_without_showing_it(tmp_path: Path, text: str) -> None:
    store = SecretStore(str(tmp_path), "shop")
    store.get("x")
    store.path("x").write_text(text)
    with pytest.raises(AzaError, match="at least 12") as caught:
        store.get("x")
    assert not text or text not in caught.value.msg


def test_pgpass(tmp_path: Path) -> None:
    store = SecretStore(str(tmp_path), "shop")
    store.get("x")
    path = store.write_pgpass({"me": "a:b\\c", "x:y": "plain"})
    assert path.read_text() == "*:*:*:me:a\\:b\\\\c\n*:*:*:x\\:y:plain\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert pgpass_escape("plain'\"") == "plain'\""


def test_where_ansible_would_read_secrets_as_hosts_none_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(C.config, "get_config_value", lambda name: [])
    with pytest.raises(AzaError, match="ignore_patterns"):
        SecretStore(str(tmp_path), "shop")


def test_beside_an_inventory_that_is_a_file_nothing_has_to_be_ignored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(C.config, "get_config_value", lambda name: [])
    hosts = tmp_path / "hosts.yml"
    hosts.touch()
    monkeypatch.setattr(context, "CLIARGS", {"inventory": (str(hosts),)})
    assert SecretStore(str(tmp_path), "shop").get("postgres_password")
    monkeypatch.setattr(context, "CLIARGS", {"inventory": (str(hosts), str(tmp_path.parent))})
    with pytest.raises(AzaError, match=r"-i INVENTORY/hosts\.yml"):
        SecretStore(str(tmp_path), "shop")


def test_an_inventory_without_a_directory() -> None:
    with pytest.raises(AzaError, match="Vault"):
        SecretStore(None, "shop")


def test_any_name_of_a_role_is_the_name_of_a_file(tmp_path: Path) -> None:
    store = SecretStore(str(tmp_path), "shop")
    names = ["web", "a/b", "..", ".hidden", "x~next", "x+next", "ünï", "it's", "a:b", "%2F", "n" * 63]
    values = {name: store.get(f"roles/{name}") for name in names}
    assert len(set(values.values())) == len(names)
    assert {path.parent for path in tmp_path.rglob("*") if path.is_file() and path.name != ".gitignore"} == {
        store.directory / "roles"
    }
    assert set(store.names()) == {f"roles/{name}" for name in names}
    assert {name: SecretStore(str(tmp_path), "shop").get(f"roles/{name}") for name in names} == values


def test_a_new_value_lies_beside_the_old_one_until_it_is_everywhere(tmp_path: Path) -> None:
    store = SecretStore(str(tmp_path), "shop")
    old = store.get("roles/web")
    store.renew("roles/web")
    new = store.get("roles/web")
    assert new != old and store.path("roles/web").read_text().strip() == old
    store.renew("roles/web")
    assert store.get("roles/web") == new, "one that was begun goes on"
    assert len(store.names()["roles/web"]) == 2
    assert store.promote(["roles/web", "roles/other"]) == ["roles/web"]
    assert store.get("roles/web") == new and not store.next_path("roles/web").exists()
    assert store.promote(["roles/web"]) == []


def test_check_mode_predicts_a_new_value_and_writes_none(tmp_path: Path) -> None:
    old = SecretStore(str(tmp_path), "shop").get("roles/web")
    store = SecretStore(str(tmp_path), "shop", dry=True)
    store.renew("roles/web")
    assert store.get("roles/web") == store.get("roles/web") != old
    store.promote(["roles/web"])
    store.remove("roles/web")
    assert [path.name for path in (tmp_path / "secrets" / "shop" / "roles").iterdir()] == ["web"]
    assert store.get("roles/new") == store.get("roles/new"), "a plan is made more than once"


def instance(tmp_path: Path, password: str = "", *roles: Any) -> InstanceSecrets:
    return InstanceSecrets(password, roles, lambda: SecretStore(str(tmp_path), "shop"))


def test_what_the_inventory_gives_is_not_written_down(tmp_path: Path) -> None:
    given = instance(
        tmp_path, "the administrator's", {"name": "web", "password": "that of web, long"}, "other"
    )
    assert given.get("postgres_password") == "the administrator's"
    assert given.get("roles/web") == "that of web, long"
    assert given.settle("postgres") == ""
    assert list(tmp_path.iterdir()) == []
    assert given.get("roles/other") and given.created
    passfile = Path(given.settle("postgres"))
    assert passfile.read_text().startswith("*:*:*:other:") and len(passfile.read_text().splitlines()) == 1


def test_a_secret_that_is_no_password_is_neither_made_nor_given_to_a_role(tmp_path: Path) -> None:
    given = instance(tmp_path)
    for name in ("pgbouncer/userlist", "tls/server.pem", "roles/", "postgres_passwords", ""):
        with pytest.raises(ValueError, match="not the password of a role"):
            given.get(name)
        with pytest.raises(ValueError, match="not the password of a role"):
            role_of(name, "boss")
    assert not list(tmp_path.iterdir())
    assert [role_of(name, "boss") for name in ("postgres_password", "roles/a/b")] == ["boss", "a/b"]


def test_a_standby_leaves_the_passfile_of_its_primary_alone(tmp_path: Path) -> None:
    standby = instance(tmp_path)
    standby.get("postgres_password")
    path = Path(standby.settle("boss", standby=True))
    assert path.read_text().startswith("*:*:*:boss:"), "there was none yet"
    primary = instance(tmp_path)
    primary.get("roles/web"), primary.get("postgres_password")
    primary.settle("boss")
    written = path.read_text()
    assert len(written.splitlines()) == 2
    standby.settle("boss", standby=True)
    assert path.read_text() == written


def test_too_short_a_password_of_the_inventory_is_not_shown(tmp_path: Path) -> None:
    with pytest.raises(AzaError, match="postgres_roles, role web") as caught:
        instance(tmp_path, "", {"name": "web", "password": "tiny"}).get("roles/web")
    assert "tiny" not in caught.value.msg


def test_the_list_of_secrets(tmp_path: Path) -> None:
    store = SecretStore(str(tmp_path), "shop")
    for name in ("postgres_password", "roles/web", "roles/gone", "roles/vaulted", "roles/aza_monitor"):
        store.get(name)
    store.renew("roles/web")
    (store.directory / "of somebody else").write_text("x")
    roles = [
        "web",
        "new",
        {"name": "vaulted", "password": "of the vault"},
        {"name": "group", "login": False},
    ]
    given = declaration(user="boss", exporter=True, roles=roles)
    listed = {entry.name: entry for entry in secret_list.entries(store, given.variables)}
    assert {name: entry.used_by for name, entry in listed.items()} == {
        "postgres_password": "administrator boss",
        "roles/aza_monitor": "the exporter",
        "roles/gone": "",
        "roles/new": "role new",
        "roles/vaulted": "",
        "roles/web": "role web",
    }
    assert listed["roles/web"].waiting and not listed["roles/new"].there and listed["roles/vaulted"].given
    everything = [name for name, entry in listed.items() if secret_list.asked_for(entry, "all")]
    assert everything == ["postgres_password", "roles/aza_monitor", "roles/new", "roles/web"]
    assert [name for name, entry in listed.items() if secret_list.asked_for(entry, "web")] == ["roles/web"]
    message = "\n".join(secret_list.lines(store, list(listed.values()), {"roles/gone"}, set()))
    for value in (store.path(name).read_text().strip() for name in store.names()):
        assert value not in message
    for words in (
        "nothing uses it  removed",
        "generated by the next deploy",
        "not in use",
        "the inventory gives it",
    ):
        assert words in message
