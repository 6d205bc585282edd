# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.aza.pg.plugins.module_utils.inventory.sources import COMMAND_LINE, read

FILES = {
    "hosts.yml": """---
all:
  hosts:
    db1: {postgres_port: 1}
    db2:
      postgres_memory: 2g
  children:
    shops:
      hosts: {db1: , db2: }
      vars:
        postgres_stack: single
      children:
        deep: {vars: {postgres_storage: hdd}}
""",
    "group_vars/all.yml": """---
postgres_settings:
  work_mem: 4MB
  fsync: on
postgres_allow_from:
  - 10.0.0.0/8
  - bad
postgres_password: !vault |
  $ANSIBLE_VAULT;1.1;AES256
  3030
postgres_memory: 1g
""",
    "group_vars/shops/a.yml": "postgres_port: 2\n",
    "group_vars/shops/nested/b.yaml": "postgres_user: me\n",
    "host_vars/db1.yml": "# first\npostgres_port: 3\n",
    "group_vars/broken.yml": "a: [\n",
    "group_vars/all.txt": "postgres_port: 9\n",
    "secrets/shop/postgres_password": "not read\n",
}


@pytest.fixture
def inventory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, text in FILES.items():
        path = tmp_path / "prod" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    monkeypatch.chdir(tmp_path)
    return Path("prod")


@pytest.mark.parametrize(
    ("path", "host", "place"),
    [
        (("postgres_port",), "db1", "prod/host_vars/db1.yml:2"),
        (("postgres_port",), "db2", "prod/group_vars/shops/a.yml:1"),
        (("postgres_memory",), "db2", "prod/hosts.yml:6"),
        (("postgres_memory",), "db1", "prod/group_vars/all.yml:11"),
        (("postgres_stack",), "db1", "prod/hosts.yml:11"),
        (("postgres_user",), "db1", "prod/group_vars/shops/nested/b.yaml:1"),
        (("postgres_settings", "fsync"), "db1", "prod/group_vars/all.yml:4"),
        (("postgres_settings", "unknown"), "db1", "prod/group_vars/all.yml:2"),
        (("postgres_allow_from", "1"), "db1", "prod/group_vars/all.yml:7"),
        (("postgres_password",), "db1", "prod/group_vars/all.yml:8"),
        (("nowhere",), "db1", ""),
        (("given",), "db1", COMMAND_LINE),
    ],
)
def test_the_place_that_wins(inventory: Path, path: tuple[str, ...], host: str, place: str) -> None:
    assert read([inventory]).find(path, host, ["shops"], extra=["given"]) == place


def test_ini(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("hosts").write_text(
        "db1 postgres_port=1\n[shops]\ndb2 postgres_user=x\n\n[shops:vars]\npostgres_stack=single\n"
    )
    sources = read([Path("hosts")])
    assert sources.find(("postgres_port",), "db1", []) == "hosts:1"
    assert sources.find(("postgres_user",), "db2", ["shops"]) == "hosts:3"
    assert sources.find(("postgres_stack",), "db2", ["shops"]) == "hosts:6"


def test_a_single_file_and_a_folder_beside_the_playbook(inventory: Path, tmp_path: Path) -> None:
    beside = tmp_path / "playbooks" / "group_vars"
    beside.mkdir(parents=True)
    (beside / "all.yml").write_text("postgres_cpus: 2\n")
    sources = read([inventory / "hosts.yml"], beside.parent)
    assert sources.find(("postgres_cpus",), "db1", []) == "playbooks/group_vars/all.yml:1"
    assert sources.find(("postgres_port",), "db1", []) == "prod/host_vars/db1.yml:2"
