# SPDX-License-Identifier: Apache-2.0
"""Whatever Ansible's variables hold, as plain data that can be compared, measured and printed. Pure."""

from __future__ import annotations

import datetime
import math
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

_DEEPEST = 20
_BINARY = (bytes, bytearray, memoryview)
_LONGEST_NUMBER = 64  # bits; PostgreSQL knows no longer ones
Failures = tuple[type[Exception], ...]


class Moment(str):
    """A date or a time that YAML made of a text without quotes; the text of it may not be what was written."""

    __slots__ = ()


@dataclass(frozen=True)
class Unresolved:
    """A value that cannot be had; ``why`` is the reason, Ansible's own word where it is a template."""

    why: str


def plain(value: Any, failures: Failures = (), above: tuple[int, ...] = ()) -> Any:
    """Dictionaries with text as keys, lists, text, numbers, booleans, None, ``Moment``, and ``Unresolved`` where there
    is no value.

    ``failures``: what reading a part of the value may raise, since Ansible resolves templates that late. ``above``:
    what the value lies in.
    """
    if value is None or isinstance(value, (bool, Unresolved)):
        return value
    if isinstance(value, _BINARY):
        return Unresolved("it is binary data (!!binary), which no variable holds")
    if isinstance(value, str):
        # Halves of characters, which some YAML holds and no encoding knows, become question marks.
        return str(value) if value.isascii() else value.encode(errors="replace").decode()
    if isinstance(value, int):
        number = int(value)
        return number if number.bit_length() <= _LONGEST_NUMBER else Unresolved("the number is too large")
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else Unresolved("it is not a number that can be written")
    if id(value) in above:
        return Unresolved("it contains itself")
    if len(above) > _DEEPEST:
        return Unresolved(f"it has more than {_DEEPEST} levels")
    here = (*above, id(value))
    if isinstance(value, Mapping):
        return {_key(key): _part(value, key, failures, here) for key in value}
    if isinstance(value, Sequence):
        return [_part(value, number, failures, here) for number in range(len(value))]
    if isinstance(value, Set):
        return [plain(item, failures, here) for item in value]
    return Moment(value) if isinstance(value, datetime.date) else str(value)


def _part(value: Any, key: Any, failures: Failures, above: tuple[int, ...]) -> Any:
    try:
        return plain(value[key], failures, above)
    except failures as error:
        return Unresolved(str(error).partition("\n")[0])


def _key(key: Any) -> str:
    """As JSON would write it: YAML reads `on:` and `2024:` as other things than text."""
    if isinstance(key, bool) or key is None:
        return {True: "true", False: "false", None: "null"}[key]
    return str(plain(key))


def printable(text: str) -> str:
    """One line, whatever is in it."""
    return "".join(sign if sign.isprintable() else repr(sign)[1:-1] for sign in text)
