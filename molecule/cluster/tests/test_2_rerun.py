# SPDX-License-Identifier: Apache-2.0
"""A second deploy of everything, and a check of it."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from collections.abc import Callable

from support.checks import assert_second_run_changes_nothing
from support.instances import Instance
from support.playbooks import Run

# A quiet machine takes ten.
SECONDS = 120


def test_second_deploy_changes_nothing_and_restarts_nothing(
    instances: dict[str, Instance], playbook: Callable[..., Run], figures: list[str]
) -> None:
    again = assert_second_run_changes_nothing(lambda: playbook("deploy.yml"), instances, most_tasks=25)
    tasks = max(len(again.of(name)) for name in instances)
    figures.append(f"rerun of three hosts, two clusters: {again.seconds:.1f} s, {tasks} tasks per host")
    assert again.seconds < SECONDS
    if shutil.which("psql"):
        _paste(again.output, {f"{found.address}:{found.port}" for found in instances.values()})


def _paste(output: str, members: set[str]) -> None:
    """Runs the line that a deploy prints for each member, on the control node as it is."""
    reached = set()
    for line in re.findall(r"connect\s+(psql \".+\")", output):
        done = subprocess.run(
            [*shlex.split(line), "-Atc", "select session_user"], capture_output=True, text=True, check=False
        )
        where = dict(part.split("=", 1) for part in shlex.split(shlex.split(line)[1]))
        assert done.stdout.strip() == where["user"], f"{line}: {done.stderr}"
        reached.add(f"{where['host']}:{where['port']}")
    assert reached == members


def test_a_check_finds_nothing(playbook: Callable[..., Run], figures: list[str]) -> None:
    check = playbook("check.yml")
    figures.append(f"check of three hosts, two clusters: {check.seconds:.1f} s")
    assert " 0 red, 0 yellow" in check.output, check.output
