# SPDX-License-Identifier: Apache-2.0
"""Rules and inputs in; every value with its explanation, and the budget, out. Standard library only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

from ansible_collections.aza.pg.plugins.module_utils.errors import AzaError, did_you_mean
from ansible_collections.aza.pg.plugins.module_utils.tuning import expression
from ansible_collections.aza.pg.plugins.module_utils.tuning.rules import Rule, Rules


@dataclass(frozen=True)
class Inputs:
    """What the tuning depends on. The names are those of ``inputs`` and ``choices`` in ``tuning.yml``."""

    memory_mb: int
    cpus: int
    workload: str = "web"
    storage: str = "ssd"
    disk_mb: int = 0
    preload_workers: int = 0
    wal_segment_mb: int = 16
    wal_level: str = "replica"
    io_method: str = "worker"
    minimum_max_connections: int = 0
    minimum_max_worker_processes: int = 0
    minimum_max_wal_senders: int = 0
    minimum_max_prepared_transactions: int = 0
    minimum_max_locks_per_transaction: int = 0


@dataclass(frozen=True)
class Value:
    """One value: the number or word, the text for postgresql.conf, and how it came about."""

    name: str
    value: int | str
    text: str
    unit: str
    internal: bool
    rule: str
    how: str
    inputs: Mapping[str, int | str]
    why: str
    source: str


@dataclass(frozen=True)
class BudgetPart:
    name: str
    kb: int
    text: str


@dataclass(frozen=True)
class Result:
    inputs: Inputs
    values: Mapping[str, Value]
    budget: tuple[BudgetPart, ...]
    exposure_kb: int
    exposure_text: str
    warnings: tuple[str, ...] = field(default=())

    @property
    def settings(self) -> dict[str, str]:
        """PostgreSQL's settings as postgresql.conf writes them, in order."""
        return {name: value.text for name, value in self.values.items() if not value.internal}

    @property
    def budget_kb(self) -> int:
        return sum(part.kb for part in self.budget)

    @property
    def memory_kb(self) -> int:
        return self.inputs.memory_mb * 1024


def size_text(value: int, unit: str) -> str:
    """Return a number with its unit; kB become MB when nothing is lost."""
    if unit == "kB" and value % 1024 == 0:
        return f"{value // 1024}MB"
    return f"{value}{unit}"


def shared_kb(rules: Rules, values: Mapping[str, int]) -> int:
    """What a server shares, in kB: the parts of the budget that are shared memory, for these values of its settings."""
    return sum(expression.calculate(part.tree, values) for part in rules.budget if part.shared)


def _check(rules: Rules, inputs: Inputs) -> tuple[dict[str, int], dict[str, str]]:
    """Return the numbers and the words that the rules start from, or say which input is wrong."""
    given = asdict(inputs)
    numbers: dict[str, int] = {}
    words: dict[str, str] = {}
    for name, limits in rules.inputs.items():
        value = given[name]
        if not isinstance(value, int) or isinstance(value, bool) or not limits.least <= value <= limits.most:
            unit = f" {limits.unit}" if limits.unit else ""
            raise AzaError(
                f"{name} is {value!r}; a whole number from {limits.least} to {limits.most}{unit} is expected",
                reason="tuning_input",
                input=name,
            )
        numbers[name] = value
    for name, choice in rules.choices.items():
        word = given[name]
        if word not in choice.rows:
            raise AzaError(
                f"{name} is '{word}'; it is one of {', '.join(choice.rows)}"
                + did_you_mean(str(word), choice.rows),
                reason="tuning_input",
                input=name,
            )
        words[name] = word
        for column, cell in choice.rows[word].items():
            if isinstance(cell, int):
                numbers[column] = cell
            else:
                words[column] = cell
    return numbers, words


def _value(rule: Rule, numbers: dict[str, int], words: dict[str, str]) -> Value:
    used: dict[str, int | str] = {}
    if rule.tree is not None:
        number = expression.calculate(rule.tree, numbers)
        used = {name: numbers[name] for name in expression.names(rule.tree)}
        numbers[rule.name] = number
        value: int | str = number
        text = size_text(number, rule.unit)
    else:
        word = rule.constant or words[rule.choice or rule.column]
        if not rule.constant:
            used = {rule.choice or rule.column: word}
        value, text = word, f"{word}{rule.unit}"
    return Value(
        rule.name, value, text, rule.unit, rule.internal, rule.rule, rule.how, used, rule.why, rule.source
    )


def evaluate(rules: Rules, inputs: Inputs) -> Result:
    """Return every value for these inputs, in the order of the rules, and the memory budget."""
    numbers, words = _check(rules, inputs)
    values = {rule.name: _value(rule, numbers, words) for rule in rules.rules}
    budget = tuple(
        BudgetPart(part.name, expression.calculate(part.tree, numbers), part.text) for part in rules.budget
    )
    exposure = expression.calculate(rules.exposure.tree, numbers) + sum(
        part.kb for part in budget if part.name not in rules.exposure.without
    )
    memory_kb = inputs.memory_mb * 1024
    warnings: tuple[str, ...] = ()
    if sum(part.kb for part in budget) > memory_kb or exposure > memory_kb:
        # Only a standby's minimums can do this: the primary's connections on a smaller host.
        warnings = (
            f"what the primary demands of its standbys does not fit {inputs.memory_mb} MB when all of it is "
            "used; give this host as much memory as the primary has",
        )
    return Result(inputs, values, budget, exposure, rules.exposure.text, warnings)
