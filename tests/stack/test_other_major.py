# SPDX-License-Identifier: Apache-2.0
"""Data of another major version is recognised: never empty, never started over, never removed by accident."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from .instance import Instance, Run, docker


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    """An instance whose volume holds what PostgreSQL 17 would have left there."""
    made = Instance(tmp_path_factory.mktemp("inventory"), postgres_exporter=False)
    made.deploy()
    docker("stop", "--time", "20", made.container)
    docker("rm", made.container)
    root = _root(made)
    (directory,) = root.glob("*/docker")
    directory.parent.rename(root / "17")
    (root / "17/docker/PG_VERSION").write_text("17\n")
    yield made
    made.remove()


def _root(instance: Instance) -> Path:
    return Path(docker("volume", "inspect", "--format", "{{.Mountpoint}}", instance.volume))


def _content(instance: Instance) -> dict[str, str]:
    root = _root(instance)
    return {str(path.relative_to(root)): path.read_text() for path in root.glob("**/PG_VERSION")}


def _refused(run: Run) -> None:
    assert run.code != 0 and "Nothing was changed" in " ".join(run.output.split()), run.output
    assert "PostgreSQL 17" in run.output and "PostgreSQL 18" in run.output


def test_a_deploy_is_refused_before_anything_changes(other: Instance) -> None:
    before = _content(other)
    for words in ((), ("--check",), ("-e", "postgres_allow_recreate=true")):
        _refused(other.play("deploy-single", *words))
    assert _content(other) == before and "17/docker/PG_VERSION" in before
    assert other.container not in docker("ps", "--all", "--format", "{{.Names}}").split()


def test_a_check_is_red_and_says_why(other: Instance, tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    run = other.play("check", "-e", f"report_json={report}")
    assert run.code != 0
    (instance,) = json.loads(report.read_text())["fleet"]
    assert any(item["state"] == "red" and "PostgreSQL 17" in item["message"] for item in instance["findings"])


def test_removing_the_stack_keeps_it(other: Instance) -> None:
    removed = other.play("remove", "-e", f"confirm={other.cluster}")
    assert removed.code == 0, removed.output
    assert "17/docker/PG_VERSION" in _content(other)
