# SPDX-License-Identifier: Apache-2.0
"""Every runbook of a single server, in the order of the index."""

from __future__ import annotations

import pytest

from .execution import execute, runbooks
from .workplace import Workplace


@pytest.mark.parametrize("name", runbooks(cluster=False))
def test_runbook(name: str, here: Workplace) -> None:
    execute(name, here, here.directory)
