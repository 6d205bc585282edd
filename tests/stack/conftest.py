# SPDX-License-Identifier: Apache-2.0
"""Instances on the engine of this machine, each of its own random name, gone when its tests are done."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from .instance import ROOT, Instance


@pytest.fixture(scope="session", autouse=True)
def _image() -> None:
    if not (ROOT / ".cache" / "dist" / "images.json").is_file():
        pytest.fail("no image has been built: run `make build`", pytrace=False)


@pytest.fixture(scope="module")
def instance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    """One instance for the tests of a module, in the order in which they stand there."""
    made = Instance(tmp_path_factory.mktemp("inventories"))
    yield made
    made.remove()


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Instance]:
    made = Instance(tmp_path)
    yield made
    made.remove()
