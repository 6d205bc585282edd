# SPDX-License-Identifier: Apache-2.0
"""The longest test goes first in every way: what runs beside Molecule has a lower priority.

Otherwise Molecule is not done when all others are, and for minutes half of the processors' time is no one's.
"""

from __future__ import annotations

import os

import pytest

_NICER = 5


def pytest_runtest_setup(item: pytest.Item) -> None:
    if "scenarios" not in item.path.parts and not os.nice(0):
        os.nice(_NICER)
