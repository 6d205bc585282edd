# SPDX-License-Identifier: Apache-2.0
"""The findings of all instances as one thing that can be counted, printed and written. Pure."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.aza.pg.plugins.module_utils.stack.model import SEVERITIES, Finding

FORMAT = 1  # of the JSON report; a field that goes or changes its meaning makes it 2


def plain(text: object) -> str:
    """One line that a terminal and a page show as it is: what could move the cursor or turn the direction of reading
    stands there as its number. Names come from hosts and servers, where anybody may have chosen them.

    >>> plain("shop\\x1b[2J")
    'shop\\\\x1b[2J'
    """
    hidden = ("Cc", "Cf", "Cs", "Zl", "Zp")
    return "".join(
        char.encode("unicode_escape").decode() if unicodedata.category(char) in hidden else char
        for char in str(text)
    )


@dataclass(frozen=True)
class Instance:
    """One instance on its host. ``todo`` is the summary of what a deploy would do."""

    host: str
    name: str
    findings: tuple[Finding, ...]
    version: str = ""
    todo: str = ""
    plan: Mapping[str, Any] | None = None

    @property
    def state(self) -> str:
        return min((item.state for item in self.findings), key=SEVERITIES.index)

    @property
    def counts(self) -> dict[str, int]:
        return {state: sum(item.state == state for item in self.findings) for state in SEVERITIES}

    def of(self, state: str) -> list[Finding]:
        return [item for item in self.findings if item.state == state]

    def to_dict(self) -> dict[str, Any]:
        return {
            "host": self.host,
            "instance": self.name,
            "version": self.version,
            "state": self.state,
            "counts": self.counts,
            "findings": [item.to_dict() for item in self.findings],
            "plan": self.plan,
        }


def instance(host: str, name: str, result: Mapping[str, Any]) -> Instance:
    """From what ``aza.pg.stack`` with ``state: checked`` returned; nothing returned is a finding too."""
    said = [
        Finding(*(plain(item.get(key, "")) for key in ("what", "state", "said", "todo")))
        for item in result.get("findings") or ()
    ]
    plan = result.get("plan") or None
    return Instance(
        plain(host),
        plain(name),
        tuple(sorted(said, key=lambda item: SEVERITIES.index(item.state)))
        or (Finding("host", "red", "it could not be looked at"),),
        plain(result.get("version", "")).split(" ")[0],
        plain(plan["summary"]) if plan and (plan["changes"] or plan["held"]) else "",
        plan,
    )


@dataclass(frozen=True)
class Fleet:
    """``at``: when it was looked at, in UTC. ``source``: the inventory."""

    instances: tuple[Instance, ...]
    at: str = ""
    source: str = ""

    @classmethod
    def of(cls, instances: Iterable[Instance], at: str = "", source: str = "") -> Fleet:
        """Worst first, then by name."""
        worst = sorted(instances, key=lambda item: (SEVERITIES.index(item.state), item.host))
        return cls(tuple(worst), at, plain(source))

    @property
    def counts(self) -> dict[str, int]:
        """Findings by severity."""
        return {state: sum(item.counts[state] for item in self.instances) for state in SEVERITIES}

    @property
    def instance_counts(self) -> dict[str, int]:
        return {state: sum(item.state == state for item in self.instances) for state in SEVERITIES}

    @property
    def state(self) -> str:
        return min((item.state for item in self.instances), key=SEVERITIES.index, default="green")

    def summary(self) -> str:
        """``3 instances: 1 red, 0 yellow, 2 green; findings: 4 red, 2 yellow, 20 green``."""
        number = len(self.instances)
        word = "instance" if number == 1 else "instances"
        return f"{number} {word}: {listed(self.instance_counts)}; findings: {listed(self.counts)}"

    def to_dict(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "at": self.at,
            "inventory": self.source,
            "state": self.state,
            "summary": self.summary(),
            "instances": {"total": len(self.instances), **self.instance_counts},
            "findings": self.counts,
            "fleet": [item.to_dict() for item in self.instances],
        }


def listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{counts[state]} {state}" for state in SEVERITIES)
