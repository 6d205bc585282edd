# SPDX-License-Identifier: Apache-2.0
"""A plan: changes in the order in which they are applied, and those that are held back."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from ansible_collections.aza.pg.plugins.module_utils.plain import plain
from ansible_collections.aza.pg.plugins.module_utils.planning.change import (
    EFFECT_MEANING,
    EFFECTS,
    NEEDS_PERMISSION,
    Change,
)


@dataclass(frozen=True)
class Plan:
    """Changes in the order in which they are applied, and those that wait, mostly for a permission."""

    changes: tuple[Change, ...] = ()
    held: tuple[Change, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.changes)

    def lines(self) -> list[str]:
        """The plan as a person reads it: grouped by effect, worst first, with one last line that counts."""
        lines: list[str] = []
        for effect in EFFECTS:
            group = [change for change in self.changes if change.effect == effect]
            if group:
                lines.append(f"{effect}: {EFFECT_MEANING[effect]}")
                lines += [f"  {change.line()}" for change in group]
        for reason, group in self.waiting().items():
            lines.append(f"waits for {reason}")
            lines += [f"  {change.line()}" for change in group]
        return [*lines, self.summary()] if lines else []

    def waiting(self) -> dict[str, list[Change]]:
        """What waits, by what it waits for, as it is written in an inventory."""
        result: dict[str, list[Change]] = {}
        losses = [change for change in self.held if change.effect == "data" and not change.awaits]
        kept = {change.id for change in self.held}
        for change in self.held:
            if change.awaits:
                reason = change.awaits
            elif change.effect == "data":
                reason = (
                    f"postgres_allow_loss: {json.dumps([item.object for item in losses], ensure_ascii=False)}"
                )
            elif change.effect in NEEDS_PERMISSION:
                reason = f"postgres_allow_{change.effect}: true"
            else:
                reason = ", ".join(name for name in change.needs if name in kept)
            result.setdefault(plain(reason), []).append(change)
        return result

    def counts(self) -> dict[str, int]:
        """Return how often each effect takes place: a service reads all that changed in one reload."""
        result = dict.fromkeys(EFFECTS, 0)
        together: set[str] = set()
        readers: set[str] = set()
        for change in self.changes:
            if change.effect == "reload" and change.reader:
                readers.add(change.reader)
            elif change.effect in ("reload", "restart") and change.kind != "container":
                together.add(change.effect)
            else:
                result[change.effect] += 1
        if "restart" in together:
            result["restart"] += 1
        elif "reload" in together:
            result["reload"] = 1
        result["reload"] += len(readers)
        return result

    def summary(self) -> str:
        """``3 sql, 1 reload, 0 restarts; nothing is lost``: whether it disconnects or loses is always said."""
        waiting = f"{len(self.held)} {'waits' if len(self.held) == 1 else 'wait'}" if self.held else ""
        if not self.changes:
            return "; ".join(filter(None, ("nothing to do", waiting)))
        counts = self.counts()
        parts = [
            f"{counts['sql']} sql",
            _number(counts["reload"], "reload"),
            _number(counts["restart"], "restart"),
        ]
        if counts["recreate"]:
            parts.append(_number(counts["recreate"], "recreated container"))
        if counts["none"]:
            parts.append(f"{counts['none']} without effect on what runs")
        lost = [change.risk or change.object for change in self.changes if change.effect == "data"]
        loss = f"LOST: {plain('; '.join(lost))}" if lost else "nothing is lost"
        return "; ".join(filter(None, (", ".join(parts), loss, waiting)))

    def to_dict(self) -> dict[str, Any]:
        return {
            "changes": [change.to_dict() for change in self.changes],
            "held": [
                {**change.to_dict(), "waits_for": reason}
                for reason, group in self.waiting().items()
                for change in group
            ],
            "counts": self.counts(),
            "summary": self.summary(),
        }


def _number(count: int, word: str) -> str:
    return f"{count} {word}{'' if count == 1 else 's'}"


def hold(changes: Iterable[Change], allowed: Iterable[str], allow_loss: Iterable[str] = ()) -> Plan:
    """Split changes into those that may run and those that cannot yet, or need a permission no one gave.

    Permission to recreate includes a restart. ``allow_loss``: what may be lost, by kind and name (``database shop``).
    What needs a change that waits, waits with it.
    """
    allowed, losses = set(allowed), set(allow_loss)
    if "recreate" in allowed:
        allowed.add("restart")
    run: list[Change] = []
    held: list[Change] = []
    for change in changes:
        forbidden = (change.effect in NEEDS_PERMISSION and change.effect not in allowed) or (
            change.effect == "data" and change.object not in losses
        )
        kept = {item.id for item in held if item.id}
        (held if change.awaits or forbidden or kept.intersection(change.needs) else run).append(change)
    return Plan(tuple(run), tuple(held))
