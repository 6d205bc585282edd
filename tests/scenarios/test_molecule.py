# SPDX-License-Identifier: Apache-2.0
"""Molecule's scenarios, as a test: beside the others, because alone they would leave a third of the processors idle."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# What failed, as the scenarios' own tests tell it.
FAILED = ROOT / "diagnostics/failed.txt"


def test_all_scenarios() -> None:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST_")}
    # Hosts of a run that was cut off.
    subprocess.run(
        ["molecule", "destroy", "-s", "default"], cwd=ROOT, env=environment, capture_output=True, check=False
    )
    FAILED.unlink(missing_ok=True)
    done = subprocess.run(
        ["molecule", "test", "--all"], cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, check=False
    )
    if done.returncode:
        pytest.fail(FAILED.read_text() if FAILED.is_file() else "see what Molecule printed", pytrace=False)
