# SPDX-License-Identifier: Apache-2.0
"""Promises that hold for every scenario, whatever it deploys."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from support.instances import Instance
from support.playbooks import Run

Deploy = Callable[..., Run]


def assert_check_mode_is_exact(
    deploy: Deploy, instances: Mapping[str, Instance], secrets: Path | None = None
) -> tuple[Run, Run]:
    """``--check --diff`` predicts each change of the run that follows, and makes none itself.

    ``deploy`` takes arguments of ansible-playbook. Returns both runs, for assertions about their content.
    """
    before = {name: found.facts() for name, found in instances.items()}
    kept = _files(secrets)
    predicted = deploy("--check", "--diff")
    for name, found in instances.items():
        assert found.facts() == before[name], f"check mode changed {name}"
    assert _files(secrets) == kept, "check mode wrote secrets"
    made = deploy("--diff")
    for name in instances:
        assert made.plan(name) == predicted.plan(name), (
            f"{name}: the run did something else than check mode said"
        )
        assert made.held(name) == predicted.held(name), name
        assert made.changed(name) == predicted.changed(name), name
        if not predicted.changed(name):
            assert instances[name].facts() == before[name], (
                f"{name}: a run that said nothing changed something"
            )
    return predicted, made


def assert_second_run_changes_nothing(
    deploy: Deploy, instances: Mapping[str, Instance], most_tasks: int
) -> Run:
    """Not only ``changed=0``: no file is written, no container is replaced, no server restarted or reloaded."""
    before = {name: found.facts() for name, found in instances.items()}
    again = deploy()
    for name, found in instances.items():
        assert not again.changed(name), f"{name}: {again.output}"
        assert found.facts() == before[name]
        assert len(again.of(name)) <= most_tasks, [task.name for task in again.of(name)]
    return again


def assert_secret_is_nowhere(secret: str, places: Mapping[str, str]) -> None:
    """``places``: what it is → its whole text. Looks for the secret as it is, and as programs like to print it."""
    forms = {secret, secret.replace("'", "'\\''"), secret.replace("\\", "\\\\"), repr(secret)[1:-1]}
    for what, text in places.items():
        assert text.strip(), f"{what} is empty: nothing was looked at"
        for form in forms:
            assert form not in text, f"the secret is visible in {what}"


def _files(directory: Path | None) -> dict[str, Any]:
    if directory is None:
        return {}
    return {str(path): path.stat().st_mtime_ns for path in sorted(directory.rglob("*"))}
