# SPDX-License-Identifier: Apache-2.0
"""Evaluates the rules of the image, which are on the control node only."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase
from ansible_collections.aza.pg.plugins.module_utils.errors import AzaError
from ansible_collections.aza.pg.plugins.module_utils.tuning import Inputs, evaluate, load_rules
from ansible_collections.aza.pg.plugins.module_utils.tuning.parse import (
    parse_cpus,
    parse_memory,
    parse_size,
    parse_word,
)
from ansible_collections.aza.pg.plugins.module_utils.tuning.text import block, facts
from ansible_collections.aza.pg.plugins.plugin_utils import project

MINIMUMS = (
    "max_connections",
    "max_worker_processes",
    "max_wal_senders",
    "max_prepared_transactions",
    "max_locks_per_transaction",
)
ARGUMENTS: dict[str, dict[str, Any]] = {
    "memory": {"type": "str", "required": True},
    "cpus": {"type": "str", "required": True},
    "workload": {"type": "str", "default": "web"},
    "storage": {"type": "str", "default": "ssd"},
    "disk": {"type": "str", "default": ""},
    "preload_workers": {"type": "int", "default": 0},
    "wal_segment_mb": {"type": "int", "default": 16},
    "wal_level": {"type": "str", "default": "replica"},
    "io_method": {"type": "str", "default": "worker"},
    "minimums": {"type": "dict", "default": {}, "options": {name: {"type": "int"} for name in MINIMUMS}},
    "rules": {"type": "path"},
}


class ActionModule(ActionBase):
    _requires_connection = False
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        try:
            _, arguments = self.validate_argument_spec(argument_spec=ARGUMENTS)
            # Ansible's strings carry tags that plain data has not.
            return result | {"changed": False} | _answer(json.loads(json.dumps(arguments)))
        except AzaError as error:
            return {**result, "failed": True, "msg": error.msg, "reason": error.reason}


def _answer(given: dict[str, Any]) -> dict[str, Any]:
    rules = load_rules(Path(given["rules"]) if given["rules"] else project.find().image / "tuning.yml")
    words: dict[str, Any] = {
        name: parse_word(given[name], name, choice.rows) for name, choice in rules.choices.items()
    }
    minimums: dict[str, Any] = {
        f"minimum_{name}": minimum for name, minimum in given["minimums"].items() if minimum is not None
    }
    found = evaluate(
        rules,
        Inputs(
            memory_mb=parse_memory(given["memory"], "memory"),
            cpus=parse_cpus(given["cpus"], "cpus"),
            disk_mb=parse_size(given["disk"], "disk") if given["disk"].strip() else 0,
            preload_workers=given["preload_workers"],
            wal_segment_mb=given["wal_segment_mb"],
            **words,
            **minimums,
        ),
    )
    warnings = {"warnings": list(found.warnings)} if found.warnings else {}
    return {**facts(found), "text": block(found), **warnings}
