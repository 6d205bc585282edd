# SPDX-License-Identifier: Apache-2.0
"""What people and programs see: the module, the block, the reference page, and old Pythons."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.aza.pg.plugins.action import tuning_info as action
from ansible_collections.aza.pg.plugins.module_utils.tuning import Inputs, Rules, evaluate
from ansible_collections.aza.pg.plugins.module_utils.tuning.docs import render_tuning_page
from ansible_collections.aza.pg.plugins.module_utils.tuning.text import block, facts, percent
from ansible_collections.aza.pg.plugins.modules import tuning_info

from .conftest import IMAGE_DIR

_ROOT = IMAGE_DIR.parent


def _adhoc(arguments: str, *more: str) -> dict[str, Any]:
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "ansible",
            "adhoc",
            "localhost",
            "-m",
            "aza.pg.tuning_info",
            "-a",
            arguments,
            *more,
        ],
        cwd=_ROOT,
        env={
            **os.environ,
            "ANSIBLE_STDOUT_CALLBACK": "minimal",
            "ANSIBLE_CALLBACK_RESULT_FORMAT": "json",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    answer: dict[str, Any] = json.loads(done.stdout.partition("=>")[2])
    return answer


def test_the_module_answers_without_a_container(rules: Rules) -> None:
    found = _adhoc("memory=2g cpus=1.5 workload=OLTP disk=40g preload_workers=3", "--check")
    expected = evaluate(rules, Inputs(2048, 2, "oltp", disk_mb=40_960, preload_workers=3))
    assert found["settings"] == expected.settings
    assert found["outputs"]["shm_size_mb"] == expected.values["shm_size_mb"].value
    assert (found["changed"], found["text"]) == (False, block(expected))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"memory": "511"}, "memory is '511', that is 511 MB"),
        ({"cpus": "many"}, "cpus is 'many', which is not a number of cores"),
        ({"workload": "olpt"}, "workload is 'olpt'; choose web, oltp, dw or mixed"),
        ({"disk": "-5"}, "disk is '-5', but a size cannot be negative"),
        ({"preload_workers": 1000}, "preload_workers is 1000; a whole number from 0 to 64"),
    ],
)
def test_bad_arguments_have_their_sentence(change: dict[str, Any], message: str) -> None:
    given = {name: spec.get("default") for name, spec in action.ARGUMENTS.items()}
    given |= {"memory": "1g", "cpus": "1", **change}
    with pytest.raises(Exception, match=".") as caught:  # noqa: RUF043
        action._answer(given)
    assert message in str(caught.value)


def test_floors_and_their_warning() -> None:
    given = {name: spec.get("default") for name, spec in action.ARGUMENTS.items()}
    given |= {"memory": "512", "cpus": "1", "minimums": {"max_connections": 2000, "max_wal_senders": None}}
    found = action._answer(given)
    assert found["settings"]["max_connections"] == "2000"
    assert "as much memory as the primary has" in found["warnings"][0]


def test_documentation_and_arguments_agree() -> None:
    options = yaml.safe_load(tuning_info.DOCUMENTATION)["options"]
    for name, spec in action.ARGUMENTS.items():
        assert options[name]["type"] == spec["type"]
        assert options[name].get("default") == spec.get("default")
        assert options[name].get("required", False) == spec.get("required", False)
    assert set(options) == set(action.ARGUMENTS)
    assert set(options["minimums"]["suboptions"]) == set(action.MINIMUMS)


def test_facts_are_json(rules: Rules) -> None:
    found = facts(evaluate(rules, Inputs(1024, 2)))
    assert json.loads(json.dumps(found)) == found
    value = next(value for value in found["values"] if value["name"] == "shared_buffers")
    assert value["inputs"] == {"memory_mb": 1024} and value["setting"] is True
    assert sum(part["kb"] for part in found["budget"]["parts"]) == found["budget"]["used_kb"]


def test_the_block_shows_every_value_and_the_budget(rules: Rules) -> None:
    result = evaluate(rules, Inputs(4096, 2, "dw"))
    text = block(result)
    for value in result.values.values():
        assert value.name in text and value.rule in text
    assert f"of 4096 ({percent(result.budget_kb, result.memory_kb)} %)" in text
    assert "with memory_mb 4096" in text


def test_a_percentage_is_rounded_up() -> None:
    assert [percent(100, 100), percent(1001, 1000), percent(0, 5)] == [100, 101, 0]


def test_the_reference_page_has_every_rule(rules: Rules) -> None:
    page = render_tuning_page(rules)
    for rule in rules.rules:
        assert f"| `{rule.name}` | {rule.rule} |" in page
    for line in page.splitlines():
        if line.startswith("|"):
            assert line.endswith("|")
    assert page.endswith("\n") and "| shared_buffers | 128MB | 256MB |" in page


def _oldest_python() -> str | None:
    found = sorted(Path.home().glob(".pyenv/versions/3.9.*/bin/python3.9"))
    return str(found[0]) if found else shutil.which("python3.9")


def test_evaluation_runs_on_a_target_with_python_3_9(rules: Rules) -> None:
    """Targets have no PyYAML for certain, and Debian 11's Python is 3.9."""
    python = _oldest_python()
    if python is None:
        pytest.skip("there is no Python 3.9 here")
    script = """
import json, sys
sys.path.insert(0, sys.argv[1])
sys.modules["yaml"] = sys.modules["jsonschema"] = None
from ansible_collections.aza.pg.plugins.module_utils.tuning import Inputs, build_rules, evaluate
from ansible_collections.aza.pg.plugins.module_utils.tuning import text, parse
print(evaluate(build_rules(json.load(sys.stdin)), Inputs(parse.parse_memory("2g"), 2)).values["shm_size_mb"].value)
"""
    done = subprocess.run(
        [python, "-c", script, str(_ROOT / "collections")],
        input=json.dumps(yaml.safe_load((IMAGE_DIR / "tuning.yml").read_text())),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.strip() == str(evaluate(rules, Inputs(2048, 2)).values["shm_size_mb"].value), (
        done.stderr
    )
