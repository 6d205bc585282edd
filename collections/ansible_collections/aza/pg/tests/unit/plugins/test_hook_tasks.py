# SPDX-License-Identifier: Apache-2.0
"""The tasks of a hook, as a playbook runs them: what they see. Without an instance."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

ROOT = next(parent for parent in Path(__file__).resolve().parents if (parent / "ansible.cfg").is_file())
HOOK = [
    {
        "name": "Write what the hook sees",
        "ansible.builtin.copy": {
            "content": "{{ postgres_hook | to_json }}",
            "dest": "{{ inventory_dir }}/{{ postgres_hook.point }}.json",
        },
    }
]
VARIABLES = {
    "ansible_connection": "local",
    "ansible_python_interpreter": sys.executable,
    "postgres_cluster": "shop",
    "postgres_stack": "replica",
    "postgres_hooks": {"before_deploy": "hooks/see.yml", "after_deploy": ["hooks/see.yml"]},
}


def result(*changes: str) -> dict[str, Any]:
    return {"changed": bool(changes), "plan": {"changes": [{"text": text} for text in changes]}}


def run(directory: Path, point: str, **facts: Any) -> dict[str, Any]:
    (directory / "hooks").mkdir(exist_ok=True)
    (directory / "hooks/see.yml").write_text(yaml.safe_dump(HOOK))
    (directory / "hosts.yml").write_text(yaml.safe_dump({"all": {"hosts": {"db1": VARIABLES}}}))
    role = {"name": "aza.pg.instance", "tasks_from": "hooks"}
    tasks = [
        {"ansible.builtin.set_fact": {"unused": True, **facts}},
        {"ansible.builtin.include_role": role, "vars": {"instance_hook": point}},
    ]
    (directory / "play.yml").write_text(
        yaml.safe_dump([{"hosts": "all", "gather_facts": False, "tasks": tasks}])
    )
    done = subprocess.run(
        ["ansible-playbook", "-i", "hosts.yml", "play.yml"],
        cwd=directory,
        env={
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
            "ANSIBLE_HOME": str(directory / ".ansible"),
        },
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return dict(json.loads((directory / f"{point}.json").read_text()))


def test_before_a_deploy_nothing_has_changed(tmp_path: Path) -> None:
    assert run(tmp_path, "before_deploy", instance_result=result("create role a")) == {
        "point": "before_deploy",
        "cluster": "shop",
        "stack": "replica",
        "instance": "shop-replica",
        "changed": False,
        "changes": [],
    }


def test_after_a_deploy_the_changes_are_listed(tmp_path: Path) -> None:
    seen = run(tmp_path, "after_deploy", instance_result=result("create role a", "create role b"))
    assert seen["changed"] and seen["changes"] == ["create role a", "create role b"]


def test_a_replica_that_is_deployed_twice_reports_both_deploys(tmp_path: Path) -> None:
    seen = run(
        tmp_path,
        "after_deploy",
        instance_deploys="last",
        instance_first_result=result("setting max_connections  100 → 200"),
        instance_result=result(),
    )
    assert seen["changed"] and seen["changes"] == ["setting max_connections  100 → 200"]


def test_the_first_deploy_counts_for_such_a_replica_only(tmp_path: Path) -> None:
    seen = run(
        tmp_path, "after_deploy", instance_first_result=result("create role a"), instance_result=result()
    )
    assert not seen["changed"] and not seen["changes"]
