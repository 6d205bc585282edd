# SPDX-License-Identifier: Apache-2.0
"""Wait for a condition, and for nothing else."""

from __future__ import annotations

import time
from collections.abc import Callable

# Far more than any of it takes; a machine that is busy with other tests is slow.
SECONDS = 120


def until(true: Callable[[], object], what: str, seconds: float = SECONDS) -> None:
    """``what`` is what did not come when the time is up."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f"{what}: did not come within {seconds:.0f} s"
        time.sleep(0.2)
