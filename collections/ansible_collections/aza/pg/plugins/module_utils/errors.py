# SPDX-License-Identifier: Apache-2.0
"""The one exception that the toolkit raises for what a user can fix, and the words it helps with."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any

from ansible_collections.aza.pg.plugins.module_utils.plain import plain_data, plain_lines


class AzaError(Exception):
    """A failure that is explained in one sentence: where, what, what was expected, what to do.

    Its text may quote a server or a host: what a terminal would interpret is escaped.

    :param msg: the sentence, ready to print.
    :param reason: a stable machine-readable word (``lock_stale``, ``unknown_extension`` …).
    :param details: JSON-able facts for programs; never a secret.
    """

    def __init__(self, msg: str, reason: str, **details: object) -> None:
        self.msg = plain_lines(msg)
        super().__init__(self.msg)
        self.reason = reason
        self.details: dict[str, Any] = plain_data(details)

    def after(self, done: Iterable[str]) -> AzaError:
        """The same failure, where something was done before it."""
        message = f"Done before that: {'; '.join(line.strip() for line in done)}."
        return AzaError(self.msg.replace(_UNTOUCHED, message), self.reason, **self.details)


_UNTOUCHED = "Nothing was changed."


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return ``"; did you mean 'X'?"`` for the closest known word, or an empty string."""
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f"; did you mean '{close[0]}'?" if close else ""


def unknown_key(key: str, known: Iterable[str]) -> str:
    """Return what to say of a key that a dictionary does not have, with those that it has."""
    names = sorted(known)
    return f"unknown key{did_you_mean(key, names) or '.'} Valid keys: {', '.join(names)}"
