# SPDX-License-Identifier: Apache-2.0
"""Text from servers and hosts, made safe to show on a terminal, in a page and in JSON. Pure.

Every role that can log in or create an object chooses names, comments and messages. A control character in one of them
moves the cursor or hides a line of a plan, a bidirectional mark turns the reading direction, and an invisible
character makes two different names look the same. Such characters are shown as their escape sequence, never dropped.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

# Printable for Python, but without a glyph: fillers, joiners, variation selectors, the blank Braille pattern.
_INVISIBLE = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180d\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)


def plain(text: object) -> str:
    """Return the text as one line without characters that a terminal or a page interprets or does not show.

    >>> plain("shop\\x1b[2J")
    'shop\\\\x1b[2J'
    """
    whole = str(text)
    if whole.isascii() and whole.isprintable():
        return whole
    return "".join(_escaped(char) for char in whole)


def plain_lines(text: object) -> str:
    """Return the same for text of several lines; line breaks and tabs stay."""
    return re.sub(r"[^\n\t]+", lambda found: plain(found[0]), str(text))


def plain_data(value: Any) -> Any:
    """Return data of dictionaries, lists and text, with each text, also each key, as ``plain_lines`` gives it."""
    if isinstance(value, str):
        return plain_lines(value)
    if isinstance(value, Mapping):
        return {plain_data(key): plain_data(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain_data(item) for item in value]
    return value


def _escaped(char: str) -> str:
    # Not printable are control and format characters, surrogates, private and unassigned ones, and every other blank.
    if char.isprintable() and not _INVISIBLE.match(char):
        return char
    return char.encode("unicode_escape").decode()
