# SPDX-License-Identifier: Apache-2.0
"""Run a playbook as a person types it, and read what it did."""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .loaded import ansible_playbook

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Task:
    host: str
    name: str
    status: str
    result: Mapping[str, Any]


@dataclass(frozen=True)
class Run:
    """One run of one playbook."""

    command: tuple[str, ...]
    code: int
    output: str
    seconds: float
    tasks: tuple[Task, ...] = field(default=(), repr=False)

    def of(self, host: str) -> list[Task]:
        return [task for task in self.tasks if task.host == host]

    def changed(self, host: str) -> bool:
        return any(task.result.get("changed") for task in self.of(host))

    def plan(self, host: str) -> list[dict[str, Any]]:
        """Every change that the run planned for the host, as the module returns it."""
        return [
            change for task in self.of(host) for change in (task.result.get("plan") or {}).get("changes", [])
        ]

    def held(self, host: str) -> list[dict[str, Any]]:
        return [
            change for task in self.of(host) for change in (task.result.get("plan") or {}).get("held", [])
        ]

    def failure(self, host: str) -> str:
        """What the first failed task said."""
        return next((str(task.result.get("msg", "")) for task in self.of(host) if task.status != "ok"), "")


def run_playbook(
    name: str,
    *arguments: str,
    inventory: Path | None = None,
    extra: Mapping[str, Any] | None = None,
    limit: Sequence[str] = (),
    expect_failure: bool = False,
    cwd: Path = ROOT,
) -> Run:
    """``ansible-playbook NAME`` from the root of the checkout. Fails the test when its outcome is not the expected."""
    command = ["ansible-playbook", name, *arguments]
    if inventory:
        command += ["-i", str(inventory)]
    if extra:
        command += ["-e", json.dumps(extra)]
    if limit:
        command += ["--limit", ",".join(limit)]
    with tempfile.TemporaryDirectory() as directory:
        results = Path(directory, "results")
        results.touch()
        environment = {
            **os.environ,
            "ANSIBLE_CONFIG": str(cwd / "ansible.cfg"),
            "ANSIBLE_CALLBACK_PLUGINS": str(ROOT / "tests/support/callback_plugins"),
            "ANSIBLE_CALLBACKS_ENABLED": "aza_results",
            "AZA_RESULTS": str(results),
            # Molecule asks for colours, which tests do not read.
            "ANSIBLE_FORCE_COLOR": "0",
        }
        start = time.monotonic()
        code, output = ansible_playbook(command[1:], cwd, environment)
        seconds = time.monotonic() - start
        lines = results.read_text(encoding="utf-8").splitlines()
    tasks = tuple(
        Task(line["host"], line["task"], line["status"], line["result"]) for line in map(json.loads, lines)
    )
    run = Run(tuple(command), code, output, seconds, tasks)
    if (run.code != 0) is not expect_failure:
        expected = "a failure" if expect_failure else "success"
        raise AssertionError(
            f"{' '.join(command)}: {expected} was expected, exit code {run.code}\n{run.output}"
        )
    return run
