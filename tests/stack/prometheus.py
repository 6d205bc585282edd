# SPDX-License-Identifier: Apache-2.0
"""Programs of Debian's Prometheus packages, taken out of them: nothing is installed, no service is started."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import pytest

from .instance import ROOT

PACKAGES = {
    "prometheus": "prometheus",
    "promtool": "prometheus",
    "prometheus-node-exporter": "prometheus-node-exporter",
    "prometheus-blackbox-exporter": "prometheus-blackbox-exporter",
}
_CACHE = ROOT / ".cache" / "tools"


@cache
def program(name: str) -> str:
    """The machine's own, or one out of a package, which a Debian machine can fetch without being root."""
    own, kept = shutil.which(name), _CACHE / "usr/bin" / name
    if own:
        return own
    _CACHE.mkdir(parents=True, exist_ok=True)
    with (_CACHE / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not kept.is_file() and not _fetch(name) and os.geteuid() == 0:
            _run("apt-get", "update", "-q")
            _fetch(name)
    if not kept.is_file():
        pytest.fail(f"no {name}; on Debian: apt-get install {PACKAGES[name]}", pytrace=False)
    return str(kept)


def _fetch(name: str) -> bool:
    package = PACKAGES[name]
    if not shutil.which("apt-get") or not _run("apt-get", "download", "-q", package):
        return False
    (file,) = _CACHE.glob(f"{package}_*.deb")
    taken = _run("sh", "-c", f"dpkg-deb --fsys-tarfile '{file.name}' | tar -x ./usr/bin/{name}")
    file.unlink()
    return taken


def _run(*command: str) -> bool:
    done = subprocess.run(command, cwd=_CACHE, capture_output=True, check=False)
    return done.returncode == 0


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
