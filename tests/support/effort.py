# SPDX-License-Identifier: Apache-2.0
"""How much a random test tries: little in ``make test``, more in ``make test-long``."""

from __future__ import annotations

import os

IS_LONG = os.environ.get("AZA_LONG") == "1"


def effort(usual: int, long: int) -> int:
    """Return how many cases to try."""
    return long if IS_LONG else usual
