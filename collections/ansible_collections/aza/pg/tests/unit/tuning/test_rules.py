# SPDX-License-Identifier: Apache-2.0
"""A mistake in tuning.yml is found when it is read, all mistakes at once, each with its key."""

from __future__ import annotations

import copy
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.aza.pg.plugins.module_utils.errors import AzaError
from ansible_collections.aza.pg.plugins.module_utils.tuning import Rules, build_rules, load_rules, parse

from .conftest import IMAGE_DIR


@pytest.fixture
def data() -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((IMAGE_DIR / "tuning.yml").read_text())
    return copy.deepcopy(content)


def _rule(data: dict[str, Any], name: str) -> dict[str, Any]:
    rule: dict[str, Any] = next(rule for rule in data["rules"] if rule["name"] == name)
    return rule


def test_every_mistake_is_told_at_once(data: dict[str, Any]) -> None:
    _rule(data, "work_mem")["expression"] = "min(memory_mbb, 3)"
    _rule(data, "wal_level")["choice"] = "wal_levl"
    _rule(data, "jit")["column"] = "jit_wrd"
    _rule(data, "io_workers")["name"] = "shared_buffers"
    data["choices"]["storage"]["rows"]["ssd"]["io_depth"] = "many"
    data["choices"]["workload"]["default"] = "wbe"
    del data["choices"]["workload"]["rows"]["web"]["statistics"]
    data["exposure"]["without"] = ["nothing"]
    with pytest.raises(AzaError) as caught:
        build_rules(data)
    for message in (
        "rules.work_mem: 'memory_mbb' is not an input, a column of numbers or an earlier rule; did you mean",
        "rules.wal_level: there is no choice 'wal_levl'; did you mean 'wal_level'?",
        "rules.jit: there is no column of words 'jit_wrd'; did you mean 'jit_word'?",
        "rules.shared_buffers: the name 'shared_buffers' is already taken",
        "choices.storage.columns.io_depth: is a number in one row and a word in another",
        "choices.workload.default: 'wbe' is not one of web, oltp, dw, mixed",
        "choices.workload.rows.web: 'statistics' is missing",
        "exposure.without: 'nothing' is not a part of the budget",
    ):
        assert message in caught.value.msg


def test_a_rule_uses_earlier_ones_only(data: dict[str, Any]) -> None:
    _rule(data, "shared_buffers")["expression"] = "work_mem"
    with pytest.raises(AzaError, match="'work_mem' is not an input"):
        build_rules(data)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"expresion": "1"}, "expresion"),
        ({"constant": "x"}, "rules[0]"),
        ({"unit": "GB"}, "'GB' is not one of"),
        ({"name": "Shared-Buffers"}, "does not match"),
    ],
)
def test_the_schema_names_the_place(
    data: dict[str, Any], change: dict[str, str], message: str, tmp_path: Path
) -> None:
    data["rules"][0] |= change
    (tmp_path / "tuning.yml").write_text(yaml.safe_dump(data))
    shutil.copy(IMAGE_DIR / "tuning.schema.json", tmp_path)
    with pytest.raises(AzaError) as caught:
        load_rules(tmp_path / "tuning.yml")
    assert "tuning.yml: rules[0]" in caught.value.msg and message in caught.value.msg


def test_a_file_that_is_not_there_or_not_yaml(tmp_path: Path) -> None:
    with pytest.raises(AzaError, match="cannot be read"):
        load_rules(tmp_path / "tuning.yml")
    (tmp_path / "tuning.yml").write_text("a: [")
    shutil.copy(IMAGE_DIR / "tuning.schema.json", tmp_path)
    with pytest.raises(AzaError, match="is not YAML"):
        load_rules(tmp_path / "tuning.yml")


def test_the_parser_and_the_rules_know_the_same_limits(rules: Rules) -> None:
    memory, cpus = rules.inputs["memory_mb"], rules.inputs["cpus"]
    assert (memory.least, memory.most) == (parse.LEAST_MEMORY_MB, parse.MOST_MEMORY_MB)
    assert cpus.most == parse.MOST_CPUS
    assert rules.inputs["disk_mb"].most == parse.MOST_DISK_MB


def test_every_value_is_explained(rules: Rules) -> None:
    for rule in rules.rules:
        assert rule.rule and rule.why and rule.source and rule.how
        assert len(rule.rule) < 130, f"{rule.name}: the start block should stay readable"
