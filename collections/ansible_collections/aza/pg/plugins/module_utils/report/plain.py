# SPDX-License-Identifier: Apache-2.0
"""Text that a terminal and a page show as it is. Pure."""

from __future__ import annotations

import unicodedata


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
