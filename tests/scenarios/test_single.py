# SPDX-License-Identifier: Apache-2.0
"""One instance a host: a bare Debian 12, and a newer one whose own engine runs."""

from __future__ import annotations

from collections.abc import Callable


def test_single(molecule: Callable[[str], None]) -> None:
    molecule("single")
