# SPDX-License-Identifier: Apache-2.0
"""What the server already holds and could not start with: slots and prepared transactions need settings. Pure.

PostgreSQL checks these at its start only: ``RestoreSlotFromDisk`` and ``StartupReplicationSlots`` in
src/backend/replication/slot.c, ``MarkAsPreparingGuts`` in src/backend/access/transam/twophase.c.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ansible_collections.aza.pg.plugins.module_utils.model.desired import Desired
from ansible_collections.aza.pg.plugins.module_utils.model.observed import Observed
from ansible_collections.aza.pg.plugins.module_utils.server.values import same_value

WAL_LEVEL, SLOTS, PREPARED = "wal_level", "max_replication_slots", "max_prepared_transactions"


def problems(wanted: Desired, found: Observed) -> Iterator[str]:
    """Why the server would not start with the declared settings, each a sentence without its period."""
    facts = found.answers
    known: Mapping[str, Any] = facts.get("settings") or {}
    physical, logical = facts.get("slots") or {}, facts.get("logical_slots") or {}
    prepared = int((facts.get("prepared_transactions") or {}).get("total", 0))
    level = _becomes(wanted, known, WAL_LEVEL)
    if level and logical and not _is(known, WAL_LEVEL, level, "logical"):
        yield _refused(wanted, WAL_LEVEL, level, f"the logical slot {sorted(logical)[0]} needs 'logical'")
    elif level and physical and _is(known, WAL_LEVEL, level, "minimal"):
        yield _refused(wanted, WAL_LEVEL, level, f"the slot {sorted(physical)[0]} needs 'replica'")
    for name, count, what in (
        (SLOTS, len(physical) + len(logical), "replication slots"),
        (PREPARED, prepared, "prepared transactions"),
    ):
        text = _becomes(wanted, known, name)
        if text and text.isdigit() and int(text) < count:
            yield _refused(wanted, name, text, f"the server has {count} {what}")


def _becomes(wanted: Desired, known: Mapping[str, Any], name: str) -> str:
    """The value that the next start would use, empty if the plan does not change it or nothing is known about it."""
    info = known.get(name)
    if not info or info.get("source") == "command line":
        return ""
    after = wanted.settings.get(name, info.get("elsewhere"))
    after = str(info.get("default") or "") if after is None else str(after)
    return "" if same_value(info, str(info.get("raw") or ""), after) else after


def _is(known: Mapping[str, Any], name: str, one: str, two: str) -> bool:
    return same_value(known[name], one, two)


def _refused(wanted: Desired, name: str, value: str, why: str) -> str:
    declared = name in wanted.settings
    change = f"{name}: {value}" if declared else f"without {name} (it becomes {value})"
    return (
        f"postgres_settings {change}: the server would not start again, because {why}. Drop what is not used any more, "
        "or keep the setting"
    )
