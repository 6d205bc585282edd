# SPDX-License-Identifier: Apache-2.0
"""Every runbook of ``-i prod``, in the order of the index, on three machines with a Docker Engine of their own each."""

from __future__ import annotations

import pytest

from .execution import execute, runbooks
from .machines import Machines
from .workplace import Workplace


@pytest.mark.parametrize("name", runbooks(cluster=True))
def test_runbook(name: str, machines: Machines, workplace: Workplace) -> None:
    execute(name, machines, workplace.directory)
