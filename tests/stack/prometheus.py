# SPDX-License-Identifier: Apache-2.0
"""Prometheus's programs: nothing is installed, no service is started."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from support.programs import program

from .instance import ROOT


@contextmanager
def running(name: str, port: int, *arguments: str) -> Iterator[None]:
    """The program, answering on this port of the loopback address, for as long as it is needed."""
    process = subprocess.Popen(
        [program(name), f"--web.listen-address=127.0.0.1:{port}", *arguments],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield
    finally:
        process.kill()
        process.wait()


def promtool(*arguments: str, cwd: Path = ROOT) -> str:
    done = subprocess.run(
        [program("promtool"), *arguments], cwd=cwd, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr
