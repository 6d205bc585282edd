# SPDX-License-Identifier: Apache-2.0
"""Durations as people write them. Pure. (Sizes of memory are read by ``tuning``.)"""

from __future__ import annotations

import re

from ansible_collections.aza.pg.plugins.module_utils.errors import AzaError

_UNITS = {"": 1, "s": 1, "sec": 1, "m": 60, "min": 60, "h": 3600}
_FORM = re.compile(r"^\s*(\d{1,6})\s*([a-z]*)\s*$")


def seconds(name: str, given: object) -> int:
    """``90``, ``90s``, ``2m`` or ``1h`` → seconds.

    >>> seconds("postgres_stop_grace_period", "2m")
    120
    """
    found = _FORM.match(str(given))
    if not found or found.group(2) not in _UNITS:
        raise AzaError(
            f"{name}: '{given}' is no duration; write a number with s, m or h (90s, 2m).",
            reason="bad_duration",
        )
    return int(found.group(1)) * _UNITS[found.group(2)]


_SIZES = {"": 1, "m": 1, "mb": 1, "g": 1024, "gb": 1024, "t": 2**20, "tb": 2**20}


def megabytes(name: str, given: object) -> int:
    found = re.match(r"^\s*(\d{1,9})\s*([a-z]*)\s*$", str(given).lower())
    if not found or found.group(2) not in _SIZES:
        raise AzaError(f"{name}: '{given}' is no size; write 2g or 1536m.", reason="bad_size")
    return int(found.group(1)) * _SIZES[found.group(2)]
