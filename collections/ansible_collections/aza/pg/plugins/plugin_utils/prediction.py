# SPDX-License-Identifier: Apache-2.0
"""Predict the settings to which a container tunes itself, by the rules of its image."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible_collections.aza.pg.plugins.module_utils.model.variables import Variables
from ansible_collections.aza.pg.plugins.module_utils.quantity import megabytes
from ansible_collections.aza.pg.plugins.module_utils.tuning.evaluate import (
    Inputs,
    Result,
    evaluate,
    shared_kb,
)
from ansible_collections.aza.pg.plugins.module_utils.tuning.loader import load_rules
from ansible_collections.aza.pg.plugins.module_utils.tuning.parse import parse_cpus, parse_memory
from ansible_collections.aza.pg.plugins.module_utils.tuning.rules import Rules
from ansible_collections.aza.pg.plugins.plugin_utils.project import Project

# What shared memory is made of, with PostgreSQL's own defaults; sizes in kB.
_SHARED = {
    "shared_buffers": 131072,
    "wal_buffers": 4096,
    "max_connections": 100,
    "max_prepared_transactions": 0,
    "max_locks_per_transaction": 64,
}
_KB = {"": 8, "kb": 1, "mb": 2**10, "gb": 2**20, "tb": 2**30}
_SIZE = re.compile(r"\s*([0-9]+)\s*([a-z]*)\s*", re.IGNORECASE)
# Kept beyond what the rules give, for libraries that share memory of their own.
_MORE_MB = 8


@dataclass(frozen=True)
class Prediction:
    memory_mb: int
    cpus: int
    shm_size_mb: int
    result: Result | None
    rules: Rules

    @property
    def settings(self) -> dict[str, str]:
        """The tuned settings as postgresql.conf writes them; none where nothing is tuned."""
        return self.result.settings if self.result is not None else {}

    def setting(self, name: str, stock: int) -> int:
        """What the server will use unless it is set; ``stock``: PostgreSQL's own default."""
        return int(self.result.values[name].value) if self.result is not None else stock

    def shared_mb(self, declared: Mapping[str, Any], minimums: Mapping[str, int]) -> int:
        """What the server will share, and a hundredth and 8 MB more.

        :param declared: postgres_settings, which win over the tuned values.
        :param minimums: the least of each setting that a standby may have.
        """
        values = {name: self.setting(name, stock) for name, stock in _SHARED.items()}
        for name in values:
            found = _SIZE.fullmatch(str(declared.get(name, "")))
            factor = (_KB if name.endswith("buffers") else {"": 1}).get(found[2].lower()) if found else None
            if found and factor:
                values[name] = int(found[1]) * factor
            values[name] = max(values[name], minimums.get(name, 0))
        return -(-shared_kb(self.rules, values) * 101 // 102400) + _MORE_MB

    def to_dict(self) -> dict[str, Any]:
        """Settings with their text and rule, and the memory budget, as facts for people and for checks."""
        facts: dict[str, Any] = {
            "memory_mb": self.memory_mb,
            "cpus": self.cpus,
            "shm_size_mb": self.shm_size_mb,
            "values": [],
            "budget_mb": 0,
        }
        if self.result is not None:
            facts["budget_mb"] = self.result.budget_kb // 1024
            facts["values"] = [
                {"name": value.name, "value": value.text, "rule": value.rule}
                for value in self.result.values.values()
                if not value.internal
            ]
        return facts


def predict(
    variables: Variables,
    libraries: Sequence[str],
    engine: Mapping[str, Any],
    project: Project,
    major: int = 0,
) -> Prediction:
    """Return what the container will find.

    :param libraries: preloaded in addition to those of the image.
    :param engine: facts of the host's engine.
    :param project: where the rules of the image are.
    :param major: PostgreSQL major of the image; 0 if unknown.
    """
    memory = parse_memory(variables["postgres_memory"], "postgres_memory")
    declared = variables["postgres_cpus"]
    cpus = parse_cpus(str(declared), "postgres_cpus") if declared else int(engine["cpus"])
    # The render of the image has checked them.
    rules = load_rules(project.image / "tuning.yml", checked=True).of_major(major)
    result = evaluate(
        rules,
        Inputs(
            memory_mb=memory,
            cpus=cpus,
            workload=variables["postgres_workload"],
            storage=variables["postgres_storage"],
            disk_mb=engine["disk_mb"] or 0,
            preload_workers=_preload_workers(project.facts, libraries),
        ),
    )
    wanted = variables["postgres_shm_size"]
    shm = megabytes("postgres_shm_size", wanted) if wanted else int(result.values["shm_size_mb"].value)
    return Prediction(memory, cpus, shm, result if variables["postgres_autotune"] else None, rules)


def _preload_workers(facts: Path, extra: Iterable[str]) -> int:
    """How many background workers the preloaded libraries bring: by default, and of those that were added."""
    default = _table(facts / "preload")
    available = _table(facts / "preload-available")
    return sum(default.values()) + sum(available.get(name, 0) for name in set(extra) - set(default))


def _table(path: Path) -> dict[str, int]:
    """Lines of ``LIBRARY WORKERS``, as the image carries them."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    return {parts[0]: int(parts[1]) for line in lines if len(parts := line.split()) == 2}
