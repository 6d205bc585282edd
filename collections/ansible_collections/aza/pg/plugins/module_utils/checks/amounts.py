# SPDX-License-Identifier: Apache-2.0
"""Amounts as people read them, and values of facts that may be missing or of another type. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

_UNITS = ("B", "kB", "MB", "GB", "TB")


def size(count: float) -> str:
    """
    >>> size(0), size(1536), size(16 * 2**20)
    ('0 B', '1.5 kB', '16 MB')
    """
    for unit in _UNITS:
        if abs(count) < 1024 or unit == _UNITS[-1]:
            break
        count /= 1024
    return f"{count:.1f}".removesuffix(".0") + f" {unit}"


def duration(seconds: float) -> str:
    """
    >>> duration(0.04), duration(75), duration(150), duration(5400)
    ('0.04 s', '75 s', '2.5 min', '1.5 h')
    """
    for unit, length, least in (("h", 3600, 3600), ("min", 60, 120)):
        if seconds >= least:
            return f"{seconds / length:.1f}".removesuffix(".0") + f" {unit}"
    return (f"{seconds:.2f}".rstrip("0").rstrip(".") if seconds < 10 else f"{seconds:.0f}") + " s"


def listed(names: Iterable[str]) -> str:
    """
    >>> listed(["a"]), listed(["a", "b", "c"])
    ('a', 'a, b and c')
    """
    every = list(names)
    return " and ".join(filter(None, (", ".join(every[:-1]), *every[-1:])))


def text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def number(value: Any) -> float | None:
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def count(value: Any) -> float:
    """A number that may have come as text; what is none counts nothing."""
    return float(value) if isinstance(value, str) and value.isdecimal() else number(value) or 0


def mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def rows(value: Any) -> Iterator[Mapping[str, Any]]:
    if isinstance(value, Sequence) and not isinstance(value, str):
        yield from (item for item in value if isinstance(item, Mapping))


def lsn(value: Any) -> int | None:
    """A position in the WAL as a number of bytes.

    >>> lsn("1/10")
    4294967312
    """
    high, separator, low = text(value).partition("/")
    try:
        return (int(high, 16) << 32) + int(low, 16) if separator else None
    except ValueError:
        return None
