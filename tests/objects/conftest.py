# SPDX-License-Identifier: Apache-2.0
"""One server for all cases, each of which begins with an empty one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from stack.instance import ROOT

from .harness import Server


@pytest.fixture(scope="session")
def running() -> Iterator[Server]:
    if not (ROOT / ".cache" / "dist" / "images.json").is_file():
        pytest.fail("no image has been built: run `make build`", pytrace=False)
    with Server() as made:
        yield made


@pytest.fixture
def pg(running: Server) -> Server:
    running.reset()
    return running
