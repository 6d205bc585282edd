# SPDX-License-Identifier: Apache-2.0
"""The user's own task files at the points of a deploy, a stop, a start and a removal."""

from __future__ import annotations

import json
from typing import Any

from .instance import Instance

_NOTES = "{{ inventory_dir }}/notes/{{ postgres_hook.point }}.json"
NOTE = [
    {
        "name": "Note the point",
        "ansible.builtin.copy": {"content": "{{ postgres_hook | to_json }}", "dest": _NOTES},
        "changed_when": False,
    }
]
FAIL = [{"name": "Refuse", "ansible.builtin.fail": {"msg": "maintenance window"}}]
POINTS = [f"{when}_{verb}" for verb in ("deploy", "stop", "start", "remove") for when in ("before", "after")]


def noted(instance: Instance, point: str) -> dict[str, Any]:
    return dict(json.loads((instance.inventory / "notes" / f"{point}.json").read_text()))


def prepare(instance: Instance) -> None:
    (instance.inventory / "notes").mkdir()
    instance.write("hooks/note.yml", NOTE)
    instance.write("hooks/fail.yml", FAIL)


def inventory_of(instance: Instance) -> None:
    instance.declare(postgres_hooks={point: ["hooks/note.yml"] for point in POINTS})


def test_they_run_at_their_points_and_see_what_changed(fresh: Instance) -> None:
    prepare(fresh)
    inventory_of(fresh)
    predicted = fresh.deploy("--check")
    assert not list((fresh.inventory / "notes").iterdir()), "check mode writes nothing"
    real = fresh.deploy()
    assert predicted.plan == real.plan
    before, after = noted(fresh, "before_deploy"), noted(fresh, "after_deploy")
    assert (before["cluster"], before["stack"]) == (fresh.cluster, "single")
    assert before["instance"] == f"{fresh.cluster}-single"
    assert not before["changed"] and not before["changes"]
    assert after["changed"] and any("create container" in line for line in after["changes"])
    assert fresh.deploy().recap["changed"] == 0
    after = noted(fresh, "after_deploy")
    assert not after["changed"] and not after["changes"]
    for verb in ("stop", "start"):
        assert fresh.play(verb).code == 0
        assert noted(fresh, f"before_{verb}") and noted(fresh, f"after_{verb}")["changed"]
    check = fresh.play("check")
    assert check.code == 0, check.output


def test_a_failing_hook_stops_the_deploy_before_any_change(fresh: Instance) -> None:
    prepare(fresh)
    fresh.declare(postgres_hooks={"before_deploy": ["hooks/fail.yml"], "after_deploy": ["hooks/note.yml"]})
    failed = fresh.play("deploy-single")
    assert failed.code != 0 and "maintenance window" in failed.output
    assert not fresh.directory.exists() and not (fresh.inventory / "secrets").exists()
    assert not list((fresh.inventory / "notes").iterdir())


def test_a_missing_task_file_is_refused_with_its_place(fresh: Instance) -> None:
    fresh.declare(postgres_hooks={"after_deploy": ["hooks/nosuch.yml"]})
    refused = fresh.play("deploy-single")
    output = " ".join(refused.output.split())
    assert refused.code != 0 and "group_vars/all.yml:" in output
    assert "postgres_hooks.after_deploy[0]: there is no file" in output
    assert not fresh.directory.exists()
