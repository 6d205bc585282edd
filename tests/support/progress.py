# SPDX-License-Identifier: Apache-2.0
"""Says each half minute what is being tested and since when: a runbook takes minutes, and Molecule many of them."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

_SECONDS = 30


class Progress:
    def __init__(self, reporter: Any) -> None:
        self._reporter = reporter
        self._running: dict[str, float] = {}
        self._over = threading.Event()
        self._teller = threading.Thread(target=self._tell, daemon=True)

    def pytest_sessionstart(self) -> None:
        self._teller.start()

    def pytest_sessionfinish(self) -> None:
        self._over.set()

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self._running[nodeid] = time.monotonic()

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        self._running.pop(nodeid, None)

    def _tell(self) -> None:
        while not self._over.wait(_SECONDS):
            now = time.monotonic()
            slow = [
                f"{nodeid.rpartition('/')[2]} {now - since:.0f} s"
                for nodeid, since in dict(self._running).items()
                if now - since > _SECONDS
            ]
            if slow:
                self._reporter.ensure_newline()
                self._reporter.write_line(f"  ... {', '.join(slow)}")


# Last, when there is something to report with.
@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(Progress(config.pluginmanager.getplugin("terminalreporter")))
