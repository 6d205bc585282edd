# SPDX-License-Identifier: Apache-2.0
"""Programs that tests need, taken out of Debian's packages: nothing is installed, no service is started."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from functools import cache
from pathlib import Path

import pytest

PACKAGES = {
    "docker-registry": "docker-registry",
    "prometheus": "prometheus",
    "promtool": "prometheus",
    "prometheus-node-exporter": "prometheus-node-exporter",
    "prometheus-blackbox-exporter": "prometheus-blackbox-exporter",
}
_CACHE = Path(__file__).parents[2] / ".cache" / "tools"


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
