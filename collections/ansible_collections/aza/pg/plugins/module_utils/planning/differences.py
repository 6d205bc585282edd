# SPDX-License-Identifier: Apache-2.0
"""What differs between two texts, in a few words."""

from __future__ import annotations

import itertools

_MOST = 4
_LONGEST = 120  # characters of a line that are worth showing
_PEM = "-----BEGIN "


def of(before: str, after: str) -> str:
    """The lines that differ: ``mem_limit: 1024m → mem_limit: 2048m``. Empty where only blanks or hashes do."""
    if _PEM in before or _PEM in after:
        return "its certificates differ"
    old, new = before.splitlines(), after.splitlines()
    gone = [_shown(line) for line in old if line not in new and "config-hash" not in line]
    come = [_shown(line) for line in new if line not in old and "config-hash" not in line]
    parts = [f"{a} → {b}" for a, b in zip(gone, come)]
    parts += [f"without {line}" for line in gone[len(come) :]] + [
        f"with {line}" for line in come[len(gone) :]
    ]
    return "; ".join(parts[:_MOST]) + (f"; and {len(parts) - _MOST} more" if len(parts) > _MOST else "")


def _shown(line: str) -> str:
    text = line.strip()
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def of_service(name: str, before: str, after: str) -> str:
    """The same of one service's part of a compose.yml."""
    return of(_part(name, before), _part(name, after))


def _part(service: str, compose: str) -> str:
    _, _, services = compose.partition("\nservices:\n")
    _, _, part = f"\n{services}".partition(f"\n  {service}:\n")
    return "\n".join(itertools.takewhile(lambda line: line.startswith("   "), part.splitlines()))
