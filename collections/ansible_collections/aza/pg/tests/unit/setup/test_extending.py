# SPDX-License-Identifier: Apache-2.0
"""The examples of docs/extending.md that need no container: each is applied to a copy of the repository and used."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from docs import examples

_USE = """
import json, sys
sys.path[:0] = ["collections", "tests"]
"""


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return examples.copy(tmp_path_factory.mktemp("copy"))


def run(repository: Path, *words: str) -> str:
    done = subprocess.run([sys.executable, *words], cwd=repository, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def use(repository: Path, program: str) -> object:
    """Run a program with the copy's own code and return what it prints as JSON."""
    return json.loads(run(repository, "-c", _USE + program))


def test_every_section_has_an_example() -> None:
    assert set(examples.sections()) == {"A variable", "An extension", "A service"}


def test_a_variable_works_with_two_places(repository: Path) -> None:
    changed = examples.apply("A variable", repository)
    assert len(changed) == 2
    run(repository, "scripts/generate.py")
    page = (repository / "docs/reference/settings.md").read_text()
    assert "postgres_restart_policy" in page and "leaves that to the operator" in page
    assert (
        "postgres_restart_policy: unless-stopped"
        in (repository / "roles/instance/defaults/main.yml").read_text()
    )
    assert "postgres_restart_policy" in (repository / "docs/reference/inventory.schema.json").read_text()
    found = use(
        repository,
        """
import yaml
from ansible_collections.aza.pg.tests.unit.declarations import SPECS, describe
from ansible_collections.aza.pg.plugins.module_utils.inventory.check import check_host
def restart(**given):
    text = next(item.text for item in describe(**given).files if item.path == "compose.yml")
    return yaml.safe_load(text)["services"]["postgres"]["restart"]
wrong = check_host("db1", {"postgres_restart_policy": "sometimes"}, SPECS)
print(json.dumps([restart(), restart(restart_policy="no"), [problem.message for problem in wrong]]))
""",
    )
    assert isinstance(found, list)
    default, chosen, (problem,) = found
    assert (default, chosen) == ("unless-stopped", "no")
    assert "'sometimes' is not one of no, on-failure, unless-stopped" in problem


def test_an_extension_is_one_file(repository: Path) -> None:
    (path,) = examples.apply("An extension", repository)
    name = Path(path).stem
    run(repository, "scripts/generate.py")
    assert name in (repository / "docs/reference/extensions.md").read_text()
    found = use(
        repository,
        f"""
from pathlib import Path
from ansible_collections.aza.pg.plugins.module_utils.catalog import load_catalog, solve
catalog = load_catalog(Path("image"))
chosen = solve(catalog, "debian", "minimal", ["{name}"])
print(json.dumps(sorted(entry.name for entry in chosen.extensions)))
""",
    )
    assert isinstance(found, list) and name in found
