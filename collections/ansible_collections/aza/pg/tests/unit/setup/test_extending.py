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
    assert set(examples.sections()) == {"A variable", "An extension", "A service", "A kind of object"}


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


def test_a_kind_of_object_is_a_module_a_row_and_a_variable(repository: Path) -> None:
    changed = examples.apply("A kind of object", repository)
    assert len(changed) == 4 and len(set(changed)) == 3
    run(repository, "scripts/generate.py")
    assert "postgres_replication_origins" in (repository / "docs/reference/settings.md").read_text()
    found = use(
        repository,
        """
from ansible_collections.aza.pg.plugins.module_utils.instance import server_objects
from ansible_collections.aza.pg.plugins.module_utils.instance import plan as planning
from ansible_collections.aza.pg.plugins.module_utils.inventory.check import check_host
from ansible_collections.aza.pg.plugins.module_utils.model.observed import Observed
from ansible_collections.aza.pg.plugins.module_utils.objects import replication_origins
from ansible_collections.aza.pg.tests.unit.declarations import SPECS, describe
lost = "replication origin old"
wanted = describe(
    replication_origins=[{"name": "stock"}, {"name": "old", "state": "absent"}], allow_loss=[lost]
)
server = {"replication_origins": ["old", "other"]}
plan = list(replication_origins.KIND.plan(wanted, Observed(server=server)))
for change in plan:
    server = server_objects.simulate(wanted, server, change)
asked, _ = server_objects.questions(wanted)
parts = [type(planning.part_of(change)).__name__ for change in plan]
wrong = check_host("db1", {"postgres_replication_origins": [{"nmae": "x"}], "postgres_allow_loss": [lost]}, SPECS)
print(json.dumps({
    "plan": [[change.action, change.object, change.effect] for change in plan],
    "then": sorted(server["replication_origins"]),
    "again": len(list(replication_origins.KIND.plan(wanted, Observed(server=server)))),
    "asked": "pg_replication_origin" in asked["replication_origins"],
    "parts": parts,
    "first": [c.object for c in server_objects.plan(wanted, Observed()) if c.kind == "replication origin"],
    "wrong": [problem.message for problem in wrong],
}))
""",
    )
    assert isinstance(found, dict)
    assert found["plan"] == [
        ["create", "replication origin stock", "sql"],
        ["drop", "replication origin old", "data"],
    ]
    assert found["then"] == ["other", "stock"] and found["again"] == 0
    assert found["asked"] and set(found["parts"]) == {"Objects"}
    assert found["first"] == ["replication origin stock"]
    assert "Valid keys: name, state" in found["wrong"][0]
