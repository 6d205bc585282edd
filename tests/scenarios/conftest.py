# SPDX-License-Identifier: Apache-2.0
"""Molecule's scenarios as tests, beside the others: alone they would leave a third of the processors idle.

A file for each, since a file's tests go to one worker.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def molecule() -> Callable[[str], None]:
    return _test


def _test(scenario: str) -> None:
    # What failed, as the scenario's own tests tell it.
    failed = ROOT / f"diagnostics/failed-{scenario}.txt"
    failed.unlink(missing_ok=True)
    done = subprocess.run(
        ["molecule", "test", "-s", scenario],
        cwd=ROOT,
        env={key: value for key, value in os.environ.items() if not key.startswith("PYTEST_")},
        stdin=subprocess.DEVNULL,
        check=False,
    )
    if done.returncode:
        pytest.fail(failed.read_text() if failed.is_file() else "see what Molecule printed", pytrace=False)
