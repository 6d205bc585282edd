# SPDX-License-Identifier: Apache-2.0
"""Debian's dependency fields: which of the locked packages satisfy what a package asks for (Policy, chapter 7)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

_RELATION = re.compile(
    r"^\s*(?P<name>[a-z0-9][a-z0-9+.-]*)(?::[a-z0-9-]+)?\s*(?:\(\s*(?P<operator><<|<=|=|>=|>>)\s*(?P<version>[^\s)]+)\s*\))?"
)


@dataclass(frozen=True)
class Relation:
    """``NAME`` or ``NAME (OPERATOR VERSION)``."""

    name: str
    operator: str = ""
    version: str = ""

    def accepts(self, version: str) -> bool:
        """Return whether a package or a provided name of this version will do; empty: provided without a version."""
        if not self.operator:
            return True
        if not version:
            return False
        order = compare(version, self.version)
        return {"<<": order < 0, "<=": order <= 0, "=": order == 0, ">=": order >= 0, ">>": order > 0}[
            self.operator
        ]


def relations(text: str, separator: str = ",") -> list[Relation]:
    """Read relations that are separated by ``separator``."""
    found = (_RELATION.match(part) for part in text.split(separator))
    return [Relation(m["name"], m["operator"] or "", m["version"] or "") for m in found if m]


def clauses(record: Mapping[str, str]) -> list[list[Relation]]:
    """Return what the package needs: of each clause one alternative."""
    text = f"{record.get('Pre-Depends', '')},{record.get('Depends', '')}"
    return [relations(clause, "|") for clause in text.split(",") if clause.strip()]


class Offer:
    """What a set of packages offers, by its own names and by those it provides."""

    def __init__(self, records: Iterable[Mapping[str, str]]) -> None:
        self._offers: dict[str, list[tuple[str, str]]] = {}
        ordered = sorted(records, key=lambda record: record["Package"])
        for record in ordered:
            self._offers.setdefault(record["Package"], []).append((record["Package"], record["Version"]))
        for record in ordered:
            for provided in relations(record.get("Provides", "")):
                self._offers.setdefault(provided.name, []).append((record["Package"], provided.version))

    def satisfying(self, clause: Iterable[Relation]) -> list[str]:
        """Return the packages that satisfy the clause: those of its first alternative first."""
        names = (
            package
            for relation in clause
            for package, version in self._offers.get(relation.name, ())
            if relation.accepts(version)
        )
        return list(dict.fromkeys(names))


def compare(left: str, right: str) -> int:
    """Compare two versions as dpkg does; negative when ``left`` is the older one."""
    (left_epoch, left_rest), (right_epoch, right_rest) = _epoch(left), _epoch(right)
    if left_epoch != right_epoch:
        return left_epoch - right_epoch
    left_upstream, left_revision = _revision(left_rest)
    right_upstream, right_revision = _revision(right_rest)
    return _compare_part(left_upstream, right_upstream) or _compare_part(left_revision, right_revision)


def _epoch(version: str) -> tuple[int, str]:
    epoch, colon, rest = version.partition(":")
    return (int(epoch), rest) if colon else (0, version)


def _revision(version: str) -> tuple[str, str]:
    upstream, dash, revision = version.rpartition("-")
    return (upstream, revision) if dash else (version, "")


def _compare_part(left: str, right: str) -> int:
    """Compare text and numbers in turns, from left to right."""
    while left or right:
        left_text, right_text = (re.match(r"\D*", part)[0] for part in (left, right))  # type: ignore[index]
        order = _compare_text(left_text, right_text)
        if order:
            return order
        left, right = left[len(left_text) :], right[len(right_text) :]
        left_digits, right_digits = (re.match(r"\d*", part)[0] for part in (left, right))  # type: ignore[index]
        order = int(left_digits or 0) - int(right_digits or 0)
        if order:
            return order
        left, right = left[len(left_digits) :], right[len(right_digits) :]
    return 0


def _compare_text(left: str, right: str) -> int:
    for index in range(max(len(left), len(right))):
        order = _weight(left[index : index + 1]) - _weight(right[index : index + 1])
        if order:
            return order
    return 0


def _weight(character: str) -> int:
    """``~`` sorts before the end, letters before everything else."""
    if character == "~":
        return -1
    if not character:
        return 0
    return ord(character) if character.isalpha() else ord(character) + 256
