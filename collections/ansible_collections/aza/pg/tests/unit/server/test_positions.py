# SPDX-License-Identifier: Apache-2.0
"""Which WAL one copy of the data has and another lacks."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from ansible_collections.aza.pg.plugins.module_utils.server import positions
from hypothesis import given
from hypothesis import strategies as st


def at(timeline: int, lsn: str, *history: tuple[int, str]) -> dict[str, Any]:
    return {"timeline": timeline, "lsn": lsn, "history": [list(item) for item in history]}


@pytest.mark.parametrize(
    ("there", "here", "expected"),
    [
        (at(1, "0/200"), at(1, "0/100"), 0x100),
        (at(1, "0/100"), at(1, "0/200"), 0),
        # Promoted where the old one had ended, or before.
        (at(1, "0/100"), at(2, "0/300", (1, "0/120")), 0),
        (at(1, "0/200"), at(2, "0/300", (1, "0/120")), 0xE0),
        # The other way round: the promoted one has what it wrote since.
        (at(2, "0/300", (1, "0/120")), at(1, "0/200"), 0x1E0),
        (at(2, "0/300", (1, "0/120")), at(1, "0/80"), 0x280),
        # Two were promoted.
        (at(3, "0/400", (1, "0/120")), at(2, "0/300", (1, "0/100")), 0x300),
        (at(3, "1/0", (1, "0/120"), (2, "0/200")), at(3, "1/0", (1, "0/120"), (2, "0/200")), 0),
        # Without a history that begins where the other's does, nothing can be said.
        (at(5, "0/400"), at(2, "0/300", (1, "0/100")), None),
        (at(1, "0/400"), {}, None),
        ({"timeline": 1, "lsn": ""}, at(1, "0/1"), None),
    ],
)
def test_what_is_missing(there: dict[str, Any], here: dict[str, Any], expected: int | None) -> None:
    assert positions.missing(there, here) == expected


@given(st.integers(0, 2**64 - 1))
def test_an_lsn_is_read_as_it_is_written(value: int) -> None:
    assert positions.lsn(positions.written(value)) == value


def test_a_history_file() -> None:
    text = (
        "1\t0/3000120\tno recovery target specified\n\n# a comment\n2\t1/A0\tbefore 2026-01-01 00:00:00+00\n"
    )
    assert positions.history(text) == [(1, "0/3000120"), (2, "1/A0")]


def control(state: int, minimum: int = 0, minimum_timeline: int = 0, version: int = 1800) -> bytes:
    content = bytearray(8192)
    struct.pack_into("<QIIi4xqQQI", content, 0, 7, version, 202506291, state, 0, 0x3000028, 0x3000000, 1)
    struct.pack_into("<QI", content, 136, minimum, minimum_timeline)
    return bytes(content)


def test_what_a_stopped_server_had() -> None:
    expected = {"system_identifier": "7", "timeline": 1, "lsn": "0/3000028", "exact": True}
    assert positions.control(control(1)) == expected
    assert positions.control(control(6)) == {**expected, "exact": False}
    standby = positions.control(control(2, 0x4000000, 2))
    assert standby == {**expected, "timeline": 2, "lsn": "0/4000000"}
    # Where the layout of the rest is not known, it is not read.
    assert positions.control(control(1, 0x4000000, 2, version=1900)) == expected
    with pytest.raises(ValueError, match="too short"):
        positions.control(b"")
