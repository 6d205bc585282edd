# SPDX-License-Identifier: Apache-2.0
"""The rules of ``image/tuning.yml`` as typed objects, every name checked. No YAML here: a dict comes in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from ansible_collections.aza.pg.plugins.module_utils.errors import AzaError, did_you_mean
from ansible_collections.aza.pg.plugins.module_utils.tuning import expression
from ansible_collections.aza.pg.plugins.module_utils.tuning.expression import Node


@dataclass(frozen=True)
class Input:
    """A whole number that the rules start from."""

    name: str
    least: int
    most: int
    unit: str
    why: str


@dataclass(frozen=True)
class Choice:
    """An input that is one word of a list; the word brings a row of values, one for each column."""

    name: str
    default: str
    why: str
    columns: Mapping[str, str]
    rows: Mapping[str, Mapping[str, int | str]]


@dataclass(frozen=True)
class Rule:
    """How one value comes about: by one of an expression, a constant, a choice or a column of words."""

    name: str
    internal: bool
    unit: str
    rule: str
    why: str
    source: str
    expression: str = ""
    tree: Node | None = None
    constant: str = ""
    choice: str = ""
    column: str = ""
    # The first PostgreSQL major that has the setting.
    since: int = 0

    @property
    def how(self) -> str:
        """What the value is worked out from, in the rules' own language."""
        return self.expression or self.choice or self.column or f"'{self.constant}'"


@dataclass(frozen=True)
class Part:
    """A part of the memory budget, in kB."""

    name: str
    expression: str
    tree: Node
    text: str
    # Whether it is a part of the server's shared memory.
    shared: bool = False


@dataclass(frozen=True)
class Exposure:
    """What all connections could take at the same moment, in place of some parts of the budget."""

    text: str
    without: tuple[str, ...]
    expression: str
    tree: Node


@dataclass(frozen=True)
class Rules:
    inputs: Mapping[str, Input]
    choices: Mapping[str, Choice]
    rules: tuple[Rule, ...]
    budget: tuple[Part, ...]
    exposure: Exposure

    @property
    def settings(self) -> tuple[Rule, ...]:
        """The rules whose values are PostgreSQL settings."""
        return tuple(rule for rule in self.rules if not rule.internal)

    def of_major(self, major: int) -> Rules:
        """Return the rules for a PostgreSQL major: what is not a setting of it is worked out, but not written.

        :param major: 0 for the newest.
        """
        rules = (
            replace(rule, internal=True) if major and rule.since > major else rule for rule in self.rules
        )
        return replace(self, rules=tuple(rules))

    def column_choice(self, column: str) -> Choice:
        """The choice that a column belongs to."""
        return next(choice for choice in self.choices.values() if column in choice.columns)


class _Builder:
    """Turns the dict into Rules and collects every mistake, so that one run shows them all."""

    def __init__(self, data: Mapping[str, Any], where: str) -> None:
        self.data = data
        self.where = where
        self.mistakes: list[str] = []
        self.numbers: set[str] = set()
        self.word_columns: set[str] = set()

    def mistake(self, key: str, what: str) -> None:
        self.mistakes.append(f"{self.where}: {key}: {what}")

    def new_number(self, key: str, name: str) -> None:
        if name in self.numbers or name in self.word_columns:
            self.mistake(key, f"the name '{name}' is already taken")
        self.numbers.add(name)

    def inputs(self) -> dict[str, Input]:
        found: dict[str, Input] = {}
        for name, entry in self.data["inputs"].items():
            self.new_number(f"inputs.{name}", name)
            found[name] = Input(name, entry["least"], entry["most"], entry.get("unit", ""), entry["why"])
        return found

    def choices(self) -> dict[str, Choice]:
        found: dict[str, Choice] = {}
        for name, entry in self.data["choices"].items():
            choice = Choice(name, entry["default"], entry["why"], entry["columns"], entry["rows"])
            if choice.default not in choice.rows:
                self.mistake(
                    f"choices.{name}.default", f"'{choice.default}' is not one of {', '.join(choice.rows)}"
                )
            for row, values in choice.rows.items():
                for column in set(values) ^ set(choice.columns):
                    state = "is missing" if column in choice.columns else "is not a column"
                    self.mistake(f"choices.{name}.rows.{row}", f"'{column}' {state}")
            for column in choice.columns:
                kinds = {type(values.get(column)) for values in choice.rows.values()}
                if kinds == {int}:
                    self.new_number(f"choices.{name}.columns.{column}", column)
                elif kinds == {str}:
                    self.word_columns.add(column)
                else:
                    self.mistake(
                        f"choices.{name}.columns.{column}", "is a number in one row and a word in another"
                    )
            found[name] = choice
        return found

    def tree(self, key: str, text: str) -> Node:
        try:
            tree = expression.parse(text)
        except AzaError as error:
            self.mistake(key, error.msg)
            return expression.Number(0)
        for name in expression.names(tree):
            if name not in self.numbers:
                hint = did_you_mean(name, self.numbers)
                self.mistake(key, f"'{name}' is not an input, a column of numbers or an earlier rule{hint}")
        return tree

    def rule(self, entry: Mapping[str, Any]) -> Rule:
        key = f"rules.{entry['name']}"
        text = " ".join(entry.get("expression", "").split())
        tree = self.tree(key, text) if text else None
        choice, column = entry.get("choice", ""), entry.get("column", "")
        if choice and choice not in self.data["choices"]:
            self.mistake(key, f"there is no choice '{choice}'{did_you_mean(choice, self.data['choices'])}")
        if column and column not in self.word_columns:
            self.mistake(
                key, f"there is no column of words '{column}'{did_you_mean(column, self.word_columns)}"
            )
        if tree is not None:
            self.new_number(key, entry["name"])
        return Rule(
            name=entry["name"],
            internal=entry.get("internal", False),
            unit=entry.get("unit", ""),
            rule=entry["rule"],
            why=" ".join(entry["why"].split()),
            source=entry["source"],
            expression=text,
            tree=tree,
            constant=entry.get("constant", ""),
            choice=choice,
            column=column,
            since=entry.get("since", 0),
        )

    def build(self) -> Rules:
        inputs, choices = self.inputs(), self.choices()
        rules = tuple(self.rule(entry) for entry in self.data["rules"])
        budget: list[Part] = []
        for entry in self.data["budget"]:
            text = " ".join(entry["expression"].split())
            budget.append(
                Part(
                    entry["name"],
                    text,
                    self.tree(f"budget.{entry['name']}", text),
                    entry["text"],
                    entry.get("shared", False),
                )
            )
        entry = self.data["exposure"]
        for name in set(entry["without"]) - {part.name for part in budget}:
            self.mistake("exposure.without", f"'{name}' is not a part of the budget")
        exposure = Exposure(
            entry["text"],
            tuple(entry["without"]),
            entry["expression"],
            self.tree("exposure", entry["expression"]),
        )
        if self.mistakes:
            raise AzaError("\n".join(self.mistakes), reason="tuning_rules", mistakes=self.mistakes)
        return Rules(inputs, choices, rules, tuple(budget), exposure)


def build_rules(data: Mapping[str, Any], where: str = "tuning.yml") -> Rules:
    """Return typed rules from the file's content, which the schema has already accepted.

    :param where: the file's name, for messages.
    """
    return _Builder(data, where).build()
