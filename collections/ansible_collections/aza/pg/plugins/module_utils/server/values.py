# SPDX-License-Identifier: Apache-2.0
"""The values of PostgreSQL's settings, read and written as the server does. Pure.

``info`` is what ``pg_settings`` says of a setting (``vartype``, ``unit``, ``enumvals``), as
``Observed.server["settings"]`` holds it. Of a setting that the server does not know, only the text can be compared.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from ansible_collections.aza.pg.plugins.module_utils.errors import did_you_mean

# From the largest to the smallest, in bytes and in microseconds. PostgreSQL knows them in these letters only.
_MEMORY = {"TB": 2**40, "GB": 2**30, "MB": 2**20, "kB": 2**10, "B": 1}
_TIME = {"d": 86_400_000_000, "h": 3_600_000_000, "min": 60_000_000, "s": 1_000_000, "ms": 1000, "us": 1}
_UNIT = re.compile(r"(\d*)(\D+)")
_NUMBER = re.compile(
    r"\s*([-+]?(?:0[xX][0-9a-fA-F]+|(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?))\s*([A-Za-z]*)\s*", re.ASCII
)
# Levels of messages that pg_settings does not list and the server takes.
_HIDDEN = ("debug", "info", "fatal", "panic")
_TRUE, _FALSE = ("true", "yes", "on", "1"), ("false", "no", "off", "0")


def same_value(info: Mapping[str, Any], one: str, two: str) -> bool:
    """Whether the server would do the same with both.

    >>> same_value({"vartype": "integer", "unit": "8kB"}, "1GB", "131072")
    True
    """
    return one == two or _value(info, one) == _value(info, two)


def unfit(info: Mapping[str, Any], text: str) -> str:
    """Why the server would refuse the value, as far as ``pg_settings`` tells (``min_val``, ``max_val`` besides); empty
    when it may take it. What a text has to be, only the server knows.

    >>> unfit({"vartype": "integer", "unit": "ms", "min_val": "0", "max_val": "1000"}, "2s")
    "takes 0 to 1s, not '2s'"
    """
    kind, value = info.get("vartype"), _value(info, text)
    if kind == "bool" and isinstance(value, str):
        return f"takes on or off, not '{text}'"
    if kind == "enum" and value not in (info.get("enumvals") or ()) and value not in _HIDDEN:
        known = info.get("enumvals") or ()
        return f"takes one of {', '.join(known)}, not '{text}'{did_you_mean(str(value), known)}"
    if kind in ("integer", "real"):
        units, _ = _units(info.get("unit"))
        if isinstance(value, str):
            form = (
                f"a number with one of the units {', '.join(reversed(list(units)))}" if units else "a number"
            )
            return f"takes {form}, not '{text}'"
        least, most = str(info.get("min_val")), str(info.get("max_val"))
        if not float(least) <= value <= float(most):
            return f"takes {shown(info, least)} to {shown(info, most)}, not '{text}'"
    return ""


def shown(info: Mapping[str, Any], text: str) -> str:
    """As people read it: a number in the largest unit that holds it whole, ``on`` and ``off``.

    >>> shown({"vartype": "integer", "unit": "8kB"}, "131072")
    '1GB'
    """
    value = _value(info, text)
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, str):
        return value or "''"
    units, base = _units(info.get("unit"))
    amount = value * base
    if amount > 0 and float(amount).is_integer():
        name, size = next((name, size) for name, size in units.items() if amount % size == 0)
        return f"{int(amount // size)}{name}"
    return f"{value:.15g}"


def _value(info: Mapping[str, Any], text: str) -> bool | int | float | str:
    """What the server makes of the text; where it would make nothing of it, the text."""
    kind = info.get("vartype")
    plain = text.strip()
    if kind == "bool":
        return _boolean(plain, text)
    if kind == "enum":
        return _enumerated(plain, info)
    if kind in ("integer", "real"):
        number = _number(plain, info)
        return text if number is None else number
    return text


def _boolean(plain: str, text: str) -> bool | str:
    """Any beginning of true, false, yes, no that is not ambiguous; ``o`` alone is neither on nor off."""
    word = plain.lower()
    if word and word != "o":
        if any(full.startswith(word) for full in _TRUE):
            return True
        if any(full.startswith(word) for full in _FALSE):
            return False
    return text


def _enumerated(plain: str, info: Mapping[str, Any]) -> str:
    """Case does not matter, and an enum with on and off takes the other words for these as well."""
    word, known = plain.lower(), info.get("enumvals") or ()
    if word not in known:
        for full, words in (("on", _TRUE), ("off", _FALSE)):
            if full in known and word in words:
                return full
    return word


def _units(unit: str | None) -> tuple[Mapping[str, int], int]:
    """The units that go with the setting's own, and how much that one is (``8kB`` is 8192 bytes)."""
    found = _UNIT.fullmatch(unit or "")
    if found:
        for units in (_MEMORY, _TIME):
            if found.group(2) in units:
                return units, int(found.group(1) or 1) * units[found.group(2)]
    return {}, 0


def _number(plain: str, info: Mapping[str, Any]) -> int | float | None:
    """In the setting's own unit. A fraction of a unit is rounded to the next smaller one, as the server does."""
    found = _NUMBER.fullmatch(plain)
    if not found:
        return None
    digits, unit = found.groups()
    whole = info.get("vartype") == "integer"
    number = float(int(digits, 16)) if "x" in digits.lower() else float(digits)
    if whole and re.fullmatch(r"[-+]?0[0-7]+", digits):
        number = float(int(digits, 8))
    if not math.isfinite(number):
        return None
    if unit:
        units, base = _units(info.get("unit"))
        if unit not in units:
            return None
        smaller = [size for size in units.values() if size < units[unit]]
        amount = number * units[unit]
        if smaller:
            amount = round(amount / smaller[0]) * smaller[0]
        number = amount / base
    return round(number) if whole else number
