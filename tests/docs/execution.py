# SPDX-License-Identifier: Apache-2.0
"""A runbook is executed as it is written, and says what it shows."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from support.diagnostics import collect

from . import markdown
from .machines import Machines
from .markdown import ROOT
from .workplace import Workplace

_INDEX = ROOT / "docs/README.md"
# A cold first `make up` included.
_TIMEOUT_SECONDS = 1200
_MARK = "=====block "


def _steps(name: str) -> list[markdown.Step]:
    return markdown.steps(ROOT / "docs" / name)


def _script(steps: list[markdown.Step], place: Workplace | Machines) -> str:
    parts = ["set -eu"]
    for number, step in enumerate(steps):
        parts += [f"echo '{_MARK}{number}'", place.translate(step.commands.text)]
    return "\n".join(parts)


def runbooks(*, cluster: bool) -> list[str]:
    """In the order of the documentation's index: those about ``-i prod``, or the others."""
    names = [link for link in markdown.links(_INDEX) if link.startswith("runbooks/")]
    return [
        name for name in names if cluster == any("-i prod" in step.commands.text for step in _steps(name))
    ]


def execute(name: str, place: Workplace | Machines, directory: Path) -> None:
    """All blocks of a page in one shell, as they are for the reader; in ``directory``, a copy of the repository."""
    steps = _steps(name)
    assert steps, "a runbook without a command to execute"
    done = subprocess.run(
        ["bash", "-c", _script(steps, place)],
        cwd=directory,
        # Only what a fresh shell has: the environment that runs the tests must not help.
        env={
            key: os.environ[key]
            for key in ("HOME", "LANG", "TERM", "USER", "DOCKER_HOST")
            if key in os.environ
        }
        | {"PATH": os.environ["PATH"].replace(f"{ROOT}/.venv/bin:", "")},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=_TIMEOUT_SECONDS,
        check=False,
    )
    _, *outputs = re.split(rf"^{_MARK}\d+\n", done.stdout, flags=re.MULTILINE)
    last = steps[len(outputs) - 1].commands
    if done.returncode:
        _keep(name, place, done.stdout)
        pytest.fail(
            f"{name}:{last.line}: exit code {done.returncode}\n{last.text}\n{outputs[-1]}", pytrace=False
        )
    for step, output in zip(steps, outputs, strict=True):
        expected = tuple(place.translate(line) for line in step.expected)
        missing = markdown.differences(expected, output)
        if missing:
            _keep(name, place, done.stdout)
            pytest.fail(f"{name}:{step.commands.line}: '{missing}' is not in\n{output}", pytrace=False)


def _keep(name: str, place: Workplace | Machines, output: str) -> None:
    folder = ROOT / "diagnostics" / f"runbook-{Path(name).stem}"
    for host in place.hosts:
        collect(host, folder)
    (folder / "output.txt").write_text(output, encoding="utf-8")
