# SPDX-License-Identifier: Apache-2.0
"""Task files of users: which run at a point, and which cannot be used."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible_collections.aza.pg.plugins.module_utils.inventory.check import Host, check_host
from ansible_collections.aza.pg.plugins.plugin_utils import hooks
from ansible_collections.aza.pg.tests.unit.declarations import SPECS

TASKS = "- name: Tell\n  ansible.builtin.debug:\n    msg: !unsafe '{{ x }}'\n"


def found(directory: Path, **given: Any) -> list[tuple[tuple[str, ...], str]]:
    host = Host({"postgres_hooks": given})
    return [(one.path, one.message) for one in hooks.problems({"db1": host}, {"db1": str(directory)})]


def test_paths_start_at_the_inventory(tmp_path: Path) -> None:
    given = {"after_deploy": ["hooks/a.yml", "/etc/b.yml"]}
    assert hooks.files(given, "after_deploy", str(tmp_path)) == [str(tmp_path / "hooks/a.yml"), "/etc/b.yml"]
    assert hooks.files(given, "before_deploy", str(tmp_path)) == []
    assert hooks.files({"after_deploy": "hooks/a.yml"}, "after_deploy", "/i") == ["/i/hooks/a.yml"]
    assert hooks.files(None, "before_deploy", str(tmp_path)) == []


def test_a_task_file_is_accepted(tmp_path: Path) -> None:
    (tmp_path / "tasks.yml").write_text(TASKS)
    (tmp_path / "empty.yml").write_text("---\n")
    (tmp_path / "encrypted.yml").write_text("$ANSIBLE_VAULT;1.1;AES256\n3030\n")
    assert not found(
        tmp_path, before_deploy=["tasks.yml", "empty.yml", "encrypted.yml"], after_deploy="tasks.yml"
    )


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (None, "there is no file"),
        ("a: [", "not valid YAML"),
        ("a: 1", "not a task file"),
        ("- hosts: all\n  tasks: []\n", "is a playbook"),
    ],
)
def test_another_file_is_refused(tmp_path: Path, content: str | None, expected: str) -> None:
    if content is not None:
        (tmp_path / "one.yml").write_text(content)
    ((path, message),) = found(tmp_path, after_deploy=["one.yml"])
    assert path == ("postgres_hooks", "after_deploy", "0")
    assert expected in message and str(tmp_path / "one.yml") in message
    assert found(tmp_path, after_deploy="one.yml") == [(("postgres_hooks", "after_deploy"), message)]


def test_an_unknown_point_is_refused_with_the_valid_ones() -> None:
    (problem,) = check_host("db1", {"postgres_hooks": {"after_deply": ["x"]}}, SPECS)
    assert "did you mean 'after_deploy'" in problem.message and "before_stop" in problem.message


@pytest.mark.parametrize("value", [5, True, {"path": "x"}, [5], [["x"]], " ", [""]])
def test_what_is_not_a_path_is_refused(value: Any, tmp_path: Path) -> None:
    (problem,) = check_host("db1", {"postgres_hooks": {"after_deploy": value}}, SPECS)
    assert problem.path[:2] == ("postgres_hooks", "after_deploy") and "a list of paths" in problem.message
    assert not found(tmp_path, after_deploy=value), "one message is enough"


def test_a_path_and_a_list_of_paths_are_accepted() -> None:
    values = {"postgres_hooks": {"before_deploy": "hooks/a.yml", "after_deploy": ["hooks/a.yml", "/b.yml"]}}
    assert not check_host("db1", values, SPECS)
