# SPDX-License-Identifier: Apache-2.0
"""The environments that are shipped as examples: valid, also with what is commented out, and of one shape."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = next(parent for parent in Path(__file__).resolve().parents if (parent / "ansible.cfg").is_file())
EXAMPLES = ("prod", "staging")
# As the documentation says it: what is in these vaults is replaced by any user that uses them.
VAULT_PASSWORD = "example"
# Where environments differ. Everything else is to be tried in one as it is in the other.
OWN = {
    *("ansible_host", "postgres_address", "postgres_memory", "postgres_allow_from", "office_network"),
    *("postgres_allow_restart", "postgres_allow_recreate"),
}
# By which the examples show what else there is.
SHOWN = {"postgres_synchronous_replicas", "postgres_replay_delay", "postgres_replicate_from", "postgres_cpus"}


def ansible(directory: Path, program: str, *arguments: str) -> str:
    (directory / "vault-password").write_text(VAULT_PASSWORD)
    done = subprocess.run(
        [program, *arguments],
        cwd=ROOT,
        env={
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "ANSIBLE_VAULT_PASSWORD_FILE": str(directory / "vault-password"),
            "ANSIBLE_HOME": str(directory / ".ansible"),
            "ANSIBLE_NOCOLOR": "1",
        },
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def validate(directory: Path, inventory: str) -> str:
    return ansible(directory, "ansible", "localhost", "-i", inventory, "-m", "aza.pg.inventory_validate")


@pytest.mark.parametrize("name", EXAMPLES)
def test_it_is_valid_by_its_short_name(tmp_path: Path, name: str) -> None:
    assert (ROOT / name).readlink() == Path("inventories", name)
    assert "hosts: 4" in validate(tmp_path, name)


@pytest.mark.parametrize("name", EXAMPLES)
def test_it_is_valid_with_everything_that_is_commented_out(tmp_path: Path, name: str) -> None:
    shutil.copytree(ROOT / "inventories" / name, tmp_path / name, ignore=shutil.ignore_patterns("secrets"))
    found = set()
    for path in (tmp_path / name).rglob("*.yml"):
        text = path.read_text(encoding="utf-8")
        found |= set(re.findall(r"^ *# ((?:postgres|image)_\w+):", text, re.MULTILINE))
        path.write_text(re.sub(r"^( *)# (?=(?:postgres|image)_\w+:)", r"\1", text, flags=re.MULTILINE))
    assert found >= SHOWN
    validate(tmp_path, str(tmp_path / name))


def test_they_differ_only_where_environments_differ(tmp_path: Path) -> None:
    prod, staging = (
        json.loads(ansible(tmp_path, "ansible-inventory", "-i", name, "--list")) for name in EXAMPLES
    )
    hosts: tuple[dict[str, Any], ...] = tuple(each.pop("_meta")["hostvars"] for each in (prod, staging))
    assert prod == staging  # the groups
    for host, values in hosts[0].items():
        other = hosts[1][host]
        assert set(values) == set(other)
        differ = {key for key in values if values[key] != other[key]}
        secret = {key for key in values if key.startswith("vault_")}
        # The templates of what is secret are resolved here.
        assert differ - secret <= OWN | {"postgres_password", "postgres_roles"}
        assert differ >= secret


@pytest.mark.parametrize("name", EXAMPLES)
def test_no_secret_can_be_read(name: str) -> None:
    vault = ROOT / "inventories" / name / "group_vars/all/vault.yml"
    assert vault.read_text(encoding="utf-8").startswith("$ANSIBLE_VAULT;")


def test_the_clusters_hold_the_same() -> None:
    for name in ("shop.yml", "blog.yml", "all/image.yml"):
        prod, staging = (ROOT / "inventories" / each / "group_vars" / name for each in EXAMPLES)
        assert prod.read_text(encoding="utf-8") == staging.read_text(encoding="utf-8")
