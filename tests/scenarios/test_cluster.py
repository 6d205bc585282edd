# SPDX-License-Identifier: Apache-2.0
"""A primary and its replicas on three machines, and a second cluster beside them."""

from __future__ import annotations

from collections.abc import Callable


def test_cluster(molecule: Callable[[str], None]) -> None:
    molecule("cluster")
