# SPDX-License-Identifier: Apache-2.0
"""Durations and small sizes as people write them. Pure. (A server's memory is read by ``tuning``.)"""

from __future__ import annotations

import re

from ansible_collections.aza.pg.plugins.module_utils.errors import AzaError

_DURATIONS = {"": 1, "s": 1, "sec": 1, "m": 60, "min": 60, "h": 3600, "d": 86400}
_SIZES = {"": 1, "m": 1, "mb": 1, "g": 1024, "gb": 1024}
_FORM = re.compile(r"\s*([0-9]{1,12})\s*([a-z]*)\s*", re.ASCII | re.IGNORECASE)


def _number(given: object, units: dict[str, int]) -> int | None:
    found = _FORM.fullmatch(str(given))
    factor = units.get(found.group(2).lower()) if found else None
    return int(found.group(1)) * factor if found and factor else None


def seconds(name: str, given: object) -> int:
    """``90``, ``90s``, ``2m`` or ``1h`` → seconds.

    >>> seconds("postgres_stop_grace_period", "2m")
    120
    """
    value = _number(given, _DURATIONS)
    if not value:
        raise AzaError(
            f"{name}: '{given}' is no duration; write a number with s, m, h or d (90s, 2m).",
            reason="bad_duration",
        )
    return value


def megabytes(name: str, given: object) -> int:
    """``512m`` or ``2g`` → MB."""
    value = _number(given, _SIZES)
    if not value:
        raise AzaError(f"{name}: '{given}' is no size; write 512m or 2g.", reason="bad_size")
    return value
