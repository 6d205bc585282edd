# SPDX-License-Identifier: Apache-2.0
"""What Ansible sends to a host to run a module of ours, kept from one run to the next.

Ansible packs a module with all that it imports into one archive, and parses each file to find out what that is: half a
second of processor time for ours. It keeps the archives in a directory of the run, so that it packs once for all hosts.
Here they are kept longer, for as long as no file has changed. Where Ansible looks elsewhere, nothing is lost but time.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import sys
import tempfile
from pathlib import Path

from ansible import constants
from ansible.release import __version__
from ansible_collections.aza.pg.plugins.module_utils import compiled

_PLUGINS = Path(__file__).parents[1]
_OURS = "ansible_collections.aza.pg.plugins.modules.*"
_UNFINISHED = ("-part", ".lock")


def seed() -> None:
    """Give this run what an earlier one packed."""
    with contextlib.suppress(OSError, KeyError):
        run = _of_this_run()
        run.mkdir(exist_ok=True)
        for payload in _kept().glob(_OURS):
            with contextlib.suppress(FileExistsError):
                (run / payload.name).symlink_to(payload)


def keep() -> None:
    """Keep for the next run what this one packed."""
    with contextlib.suppress(OSError, KeyError):
        fresh = [
            path
            for path in _of_this_run().glob(_OURS)
            if not path.is_symlink() and not path.name.endswith(_UNFINISHED)
        ]
        if not fresh:
            return
        kept = _kept()
        kept.mkdir(mode=0o700, exist_ok=True)
        for path in fresh:
            number, copy = tempfile.mkstemp(dir=kept)
            os.close(number)
            shutil.copyfile(path, copy)
            Path(copy).rename(kept / path.name)


def _of_this_run() -> Path:
    return Path(constants.DEFAULT_LOCAL_TMP, "ansiballz_cache")


def _kept() -> Path:
    """Where there may be something. Raises OSError or KeyError when nothing can be kept."""
    # Files that somebody lets Ansible find before its own: rare, and not ours to read.
    instead = [path for path in constants.DEFAULT_MODULE_UTILS_PATH if Path(path).is_dir()]
    content = hashlib.sha256(f"{__version__}\0{sys.version}\0{instead}".encode())
    for folder in ("module_utils", "modules"):
        for path in sorted(Path(_PLUGINS, folder).rglob("*.py")):
            content.update(f"\0{path.relative_to(_PLUGINS)}\0".encode() + path.read_bytes())
    root = compiled.cache()
    kept = root / f"payloads-{content.hexdigest()[:32]}"
    if kept.is_dir():
        compiled.own(kept)
        os.utime(kept)
    else:
        compiled.forget(root, "payloads-*")
    return kept
