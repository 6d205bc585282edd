# SPDX-License-Identifier: Apache-2.0
"""An instance of a random name on the engine of this machine, and the inventory that declares it."""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import socket
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from support.loaded import ansible_playbook

ROOT = Path(__file__).resolve().parents[2]
# A password that the inventory gives, and that must not be found anywhere.
CANARY = "CANARY-" + secrets.token_hex(12)

_HOSTS = {
    "all": {
        "hosts": {
            "here": {
                "ansible_connection": "local",
                "ansible_python_interpreter": "{{ ansible_playbook_python }}",
            }
        }
    }
}


@dataclass
class Run:
    """One ansible-playbook call."""

    code: int
    output: str

    @property
    def recap(self) -> dict[str, int]:
        last = [line for line in self.output.splitlines() if re.match(r"here\s+: ok=", line)][-1]
        return {key: int(value) for key, value in re.findall(r"(\w+)=(\d+)", last)}

    @property
    def plan(self) -> list[str]:
        """The plan's lines, without the host in front of them."""
        lines = [line.removeprefix("[here] ") for line in self.output.splitlines()]
        return [
            line
            for line in lines
            if re.match(r"  (create|change|add|remove|recreate|set|start|re|give back)", line)
        ]


class Instance:
    def __init__(self, directory: Path, **variables: Any) -> None:
        self.cluster = f"azatest-{secrets.token_hex(3)}"
        self.inventory = directory / self.cluster
        self.variables = {
            "postgres_cluster": self.cluster,
            "postgres_port": free_port(),
            "postgres_memory": "512m",
            # What the lookup gives now: a build that runs meanwhile changes nothing for this instance.
            "postgres_image": built_image("postgres"),
            "postgres_exporter_image": built_image("exporter"),
            "postgres_exporter_port": free_port(),
            "postgres_pgbouncer_image": built_image("pgbouncer"),
            "postgres_pgbouncer_port": free_port(),
            "postgres_pgbouncer_exporter_port": free_port(),
            "postgres_base_dir": f"/tmp/{self.cluster}",
            "postgres_stop_grace_period": "20s",
            # What a crash of this machine would lose may be lost; Molecule's instances are made as every user's are.
            "postgres_initdb_args": "--no-sync",
            **variables,
        }
        self.write("hosts.yml", _HOSTS)
        self.declare()

    container = property(lambda self: f"aza-pg-{self.cluster}-single-postgres")
    exporter = property(lambda self: f"aza-pg-{self.cluster}-single-exporter")
    pgbouncer = property(lambda self: f"aza-pg-{self.cluster}-single-pgbouncer")
    volume = property(lambda self: f"aza-pg-{self.cluster}-single-data")
    directory = property(lambda self: Path(f"/tmp/{self.cluster}/{self.cluster}-single"))

    def write(self, name: str, content: object) -> None:
        path = self.inventory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(yaml.safe_dump(content))

    def declare(self, **changes: Any) -> None:
        """Change what the inventory says."""
        self.variables.update(changes)
        self.write("group_vars/all.yml", self.variables)

    def play(self, name: str, *arguments: str) -> Run:
        return play("-i", str(self.inventory), f"playbooks/{name.replace('-', '_')}.yml", *arguments)

    def deploy(self, *arguments: str) -> Run:
        run = self.play("deploy-single", *arguments)
        assert run.code == 0, run.output
        return run

    def sql(self, statement: str) -> str:
        user = self.variables.get("postgres_user", "postgres")
        return docker("exec", self.container, "psql", "-U", user, "-d", "postgres", "-qAtXc", statement)

    def remove(self) -> None:
        containers = [self.container, self.exporter, self.pgbouncer, f"{self.pgbouncer}-exporter"]
        subprocess.run(["docker", "rm", "-fv", *containers], capture_output=True, check=False)
        subprocess.run(["docker", "volume", "rm", "-f", self.volume], capture_output=True, check=False)
        networks = [f"aza-pg-{self.cluster}-single", f"aza-pg-{self.cluster}-single-ipv6"]
        subprocess.run(["docker", "network", "rm", *networks], capture_output=True, check=False)
        shutil.rmtree(f"/tmp/{self.cluster}", ignore_errors=True)
        link = Path(f"/run/aza-pg/{self.cluster}-single")
        if link.is_symlink():
            link.unlink()


def play(*arguments: str) -> Run:
    """``ansible-playbook`` in the root of the checkout."""
    environment = {**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1"}
    return Run(*ansible_playbook(arguments, ROOT, environment))


def docker(*arguments: str) -> str:
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def built_image(name: str) -> dict[str, Any]:
    records = json.loads((ROOT / ".cache" / "dist" / "images.json").read_text())
    return {key: records[name][key] for key in ("reference", "digest", "archive")}


def free_port() -> int:
    """One that the kernel gives no client for its own end, and that no other worker of pytest chooses."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    while True:
        port = secrets.choice(range(10240 + worker, 32768, workers))
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port
