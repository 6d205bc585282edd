# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from ansible import constants as C  # noqa: N812
from ansible_collections.aza.pg.plugins.module_utils.errors import AzaError
from ansible_collections.aza.pg.plugins.plugin_utils.control_secrets import SecretStore, pgpass_escape


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
    store.write_pgpass(5432, {"postgres": "x"})
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
    path = store.write_pgpass(5432, {"me": "a:b\\c", "x:y": "plain"})
    assert path.read_text() == "*:5432:*:me:a\\:b\\\\c\n*:5432:*:x\\:y:plain\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert pgpass_escape("plain'\"") == "plain'\""


def test_where_ansible_would_read_secrets_as_hosts_none_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(C.config, "get_config_value", lambda name: [])
    with pytest.raises(AzaError, match="ignore_patterns"):
        SecretStore(str(tmp_path), "shop")


def test_an_inventory_without_a_directory() -> None:
    with pytest.raises(AzaError, match="Vault"):
        SecretStore(None, "shop")
