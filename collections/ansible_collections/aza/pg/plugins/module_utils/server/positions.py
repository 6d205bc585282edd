# SPDX-License-Identifier: Apache-2.0
"""Positions in the write-ahead log: what one copy of a cluster's data has and another lacks. Pure.

A position is a timeline and an LSN. Each promotion begins a new timeline, whose history file names its ancestors and
where each of them ended: https://www.postgresql.org/docs/18/continuous-archiving.html#BACKUP-TIMELINES
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any

# DBState of src/include/catalog/pg_control.h.
_SHUT_DOWN, _SHUT_DOWN_IN_RECOVERY = 1, 2
# The beginning of ControlFileData, which all supported versions share: system_identifier, pg_control_version,
# catalog_version_no, state, time, checkPoint, and of its copy redo and ThisTimeLineID.
_CONTROL = struct.Struct("<QIIi4xqQQI")
# minRecoveryPoint and its timeline, where the checkpoint's copy has the size that it has in these versions.
_MINIMUM, _MINIMUM_AT, _MINIMUM_VERSIONS = struct.Struct("<QI"), 136, (1300, 1700, 1800)


def lsn(text: str) -> int:
    """
    >>> lsn("1/A0")
    4294967456
    """
    high, _, low = text.strip().partition("/")
    return (int(high, 16) << 32) + int(low, 16)


def written(position: int) -> str:
    """
    >>> written(4294967456)
    '1/A0'
    """
    return f"{position >> 32:X}/{position & 0xFFFFFFFF:X}"


def control(content: bytes) -> dict[str, Any]:
    """Return what ``global/pg_control`` of a stopped server says: its ``system_identifier``, ``timeline``, the last
    ``lsn`` that is known of it, and whether nothing came after that (``exact``).

    :raises ValueError: it is too short to be one.
    """
    try:
        identifier, version, _, state, _, checkpoint, _, timeline = _CONTROL.unpack_from(content)
        last = checkpoint
        if version in _MINIMUM_VERSIONS:
            minimum, of = _MINIMUM.unpack_from(content, _MINIMUM_AT)
            last, timeline = max(last, minimum), max(timeline, of)
    except struct.error:
        raise ValueError("pg_control is too short") from None
    return {
        "system_identifier": str(identifier),
        "timeline": timeline,
        "lsn": written(last),
        "exact": state in (_SHUT_DOWN, _SHUT_DOWN_IN_RECOVERY),
    }


def history(text: str) -> list[tuple[int, str]]:
    """Return the ancestors that a history file names, each with the LSN at which it ended, the oldest first."""
    lines = (line.split() for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#"))
    return [(int(words[0]), words[1]) for words in lines]


def path(facts: Mapping[str, Any]) -> list[tuple[int, int]]:
    """Return the timelines that a copy went through, each with the LSN up to which it has it; empty when unknown."""
    if not facts.get("timeline") or not facts.get("lsn"):
        return []
    ancestors = [(int(number), lsn(str(end))) for number, end in facts.get("history") or ()]
    return [*ancestors, (int(facts["timeline"]), lsn(str(facts["lsn"])))]


def missing(there: Mapping[str, Any], here: Mapping[str, Any]) -> int | None:
    """Return how many bytes of WAL ``there`` has that ``here`` lacks; None when the positions do not tell."""
    one, other = path(there), path(here)
    if not one or not other or one[0][0] != other[0][0]:
        return None
    common = 0
    for (timeline, end), (same, reached) in zip(one, other):
        if timeline != same:
            break
        common = min(end, reached)
        if end != reached:
            break
    return max(0, one[-1][1] - common)
