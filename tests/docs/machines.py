# SPDX-License-Identifier: Apache-2.0
"""The machines of ``inventories/prod``, as the runbooks of clusters meet them: Molecule's, under other names."""

from __future__ import annotations

import json
import random
import re
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from .markdown import ROOT

_NAMES = ("db1", "db2", "db3")
# The host of Molecule's that runs an engine from its start.
_LIKE = "azatest-debian13"
# Of the networks that a reader sees: where the machines are, and where the applications.
_MEMBERS, _APPLICATIONS = "10.20.0.", "10.20.1.0/24"


def _free_network() -> str:
    """The beginning of a network that no other one of this engine has."""
    listed = subprocess.run(["docker", "network", "ls", "-q"], capture_output=True, text=True, check=True)
    shown = subprocess.run(
        ["docker", "network", "inspect", *listed.stdout.split()], capture_output=True, text=True, check=False
    )
    taken = {
        str(part.get("Subnet"))
        for network in json.loads(shown.stdout)
        for part in network["IPAM"]["Config"] or []
    }
    return random.choice([name for name in (f"10.89.{n}." for n in range(200)) if f"{name}0/24" not in taken])


@dataclass(frozen=True)
class Machines:
    """``checkout``: a copy of the repository, whose inventory ``prod`` gets these machines."""

    checkout: Path
    mark: str
    network: str = field(default_factory=_free_network)

    @property
    def hosts(self) -> tuple[str, ...]:
        return tuple(f"{self.mark}-{name}" for name in _NAMES)

    def translate(self, text: str) -> str:
        """What the reader sees → what is used here."""
        text = re.sub(r"\b(db[123])\.example\.org\b", rf"{self.mark}-\1", text)
        return text.replace(_MEMBERS, self.network).replace(_APPLICATIONS, f"{self.network}0/24")

    def create(self) -> None:
        described = yaml.safe_dump(self._described())
        self._inventory.mkdir(parents=True)
        (self._inventory / "hosts.yml").write_text(described, encoding="utf-8")
        self._play("create")
        prod = self.checkout / "inventories/prod"
        for path in (prod / "hosts.yml", prod / "group_vars/all/postgres.yml"):
            text = self.translate(path.read_text(encoding="utf-8"))
            small = re.sub(r"(?<=postgres_memory: )\w+", "512m", text)
            path.write_text(small, encoding="utf-8")
        (prod / "group_vars/all/test.yml").write_text(
            # Who is asked for costs this connection two questions a task; it is root anyway.
            "ansible_connection: community.docker.docker\nansible_user: null\n",
            encoding="utf-8",
        )

    def remove(self) -> None:
        if self._inventory.exists():
            self._play("destroy")

    @property
    def _inventory(self) -> Path:
        return self.checkout / ".cache/docs-machines"

    def _described(self) -> dict[str, Any]:
        """Made as one of Molecule's, with names and a network of our own."""
        shown = subprocess.run(
            ["ansible-inventory", "-i", "molecule/single/inventory", "--host", _LIKE],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
        like = json.loads(shown.stdout)
        variables = {key: like[key] for key in like if key.startswith("ansible_")}
        variables |= {
            f"test_host_{key}": like[f"test_host_{key}"] for key in ("suite", "packages", "command")
        }
        variables["test_host_network"] = {"name": self.mark, "subnet": f"{self.network}0/24"}
        # Addresses as in the shipped inventory: .11, .12, .13.
        hosts = {host: {"postgres_address": f"{self.network}{11 + n}"} for n, host in enumerate(self.hosts)}
        return {"all": {"vars": variables, "children": {"machines": {"hosts": hosts}}}}

    def _play(self, name: str) -> None:
        subprocess.run(
            ["ansible-playbook", "-i", str(self._inventory), f"molecule/hosts/{name}.yml"],
            cwd=ROOT,
            check=True,
        )
