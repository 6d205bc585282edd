#!/usr/bin/env python3
"""How long it takes to check an inventory: 200 hosts with 50 roles and 10 databases each. Touches no host.

Seconds of processor (which a busy machine changes little), of a playbook that does nothing else, above one that only
has Ansible read the inventory.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
HOSTS, ROLES, DATABASES, RUNS = 200, 50, 10, 3
CHECK = {"name": "Check", "aza.pg.inventory_validate": {}, "run_once": True}
READ = {
    "name": "Read",
    "ansible.builtin.debug": {
        "msg": "{{ groups.all | map('extract', hostvars, 'postgres_cluster') | list }}"
    },
    "run_once": True,
}


def variables() -> dict[str, Any]:
    return {
        "postgres_settings": {"work_mem": "4MB"},
        "postgres_roles": [
            {"name": f"r{number}", "member_of": ["pg_monitor"], "settings": {"work_mem": "1MB"}}
            for number in range(ROLES)
        ],
        "postgres_databases": [
            {"name": f"d{number}", "owner": f"r{number}", "extensions": ["hstore", {"name": "vector"}]}
            for number in range(DATABASES)
        ],
    }


def used() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def seconds(directory: Path, task: dict[str, Any]) -> float:
    """The best of a few runs."""
    playbook = directory / "playbooks" / "bench.yml"
    playbook.parent.mkdir(exist_ok=True)
    playbook.write_text(yaml.safe_dump([{"hosts": "all", "gather_facts": False, "tasks": [task]}]))
    best = float("inf")
    for _ in range(RUNS):
        before = used()
        subprocess.run(
            ["ansible-playbook", "-i", str(directory / "hosts.yml"), str(playbook)],
            cwd=ROOT,
            env={**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
            stdout=subprocess.DEVNULL,
            check=True,
        )
        best = min(best, used() - before)
    return best


def main() -> None:
    for where in ("group_vars", "host_vars"):
        with tempfile.TemporaryDirectory() as name:
            directory = Path(name)
            hosts = {f"h{number}": {"postgres_cluster": f"c{number}"} for number in range(HOSTS)}
            (directory / "hosts.yml").write_text(yaml.safe_dump({"all": {"hosts": hosts}}))
            (directory / where).mkdir()
            for file in ("all",) if where == "group_vars" else hosts:
                (directory / where / f"{file}.yml").write_text(yaml.safe_dump(variables()))
            check, read = seconds(directory, CHECK), seconds(directory, READ)
            print(
                f"{HOSTS} hosts, {ROLES} roles and {DATABASES} databases each, written in {where}: "
                f"{check - read:.2f} s to check, in a run of {check:.2f} s"
            )


if __name__ == "__main__":
    main()
