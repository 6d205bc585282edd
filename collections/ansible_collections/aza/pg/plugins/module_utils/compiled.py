# SPDX-License-Identifier: Apache-2.0
"""To be imported before the rest: what follows is compiled once, and not anew by each run.

Python keeps the code that it compiles of a file, and Ansible's ways to load one have it compiled every time: a module
reaches a host in a zip archive, and on the control node a collection's files have a loader of their own. So on a host
our files are kept in the cache of the user that deploys, by their content; on the control node they are found as the
files that they are. Where neither is so, this does nothing.
"""

from __future__ import annotations

import hashlib
import os
import pwd
import shutil
import sys
import tempfile
import time
import zipfile
from collections.abc import Sequence
from importlib.machinery import FileFinder, ModuleSpec, SourceFileLoader
from pathlib import Path
from types import ModuleType

_UNUSED_SECONDS = 30 * 86400


class Files:
    """Finds the modules of our packages on the control node, before Ansible's own finder is asked."""

    def __init__(self, packages: Sequence[str]) -> None:
        self._beginnings = tuple(f"{name}." for name in packages)
        self._finders: dict[str, FileFinder] = {}

    def find_spec(
        self, name: str, path: Sequence[str] | None, _target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if not name.startswith(self._beginnings):
            return None
        for directory in path or ():
            if directory not in self._finders:
                self._finders[directory] = FileFinder(directory, (SourceFileLoader, [".py"]))
            if found := self._finders[directory].find_spec(name):
                return found
        return None


def unpack(package: str) -> None:
    """Have the modules of ``package`` that are not loaded yet come from a directory, if they come from an archive."""
    path = sys.modules[package].__path__
    archive, zipped, inside = path[0].partition(".zip/")
    if not zipped:
        return
    with zipfile.ZipFile(f"{archive}.zip") as whole:
        names = sorted(name for name in whole.namelist() if name.startswith(f"{inside}/"))
        try:
            directory = _kept(whole, names)
        except (OSError, KeyError):
            # Without a home of one's own: beside the archive, where Ansible removes it when the module ends.
            directory = Path(archive).parent
            whole.extractall(directory, names)
            sys.dont_write_bytecode = True
    path[:] = [str(directory / inside)]


def _kept(whole: zipfile.ZipFile, names: Sequence[str]) -> Path:
    """Where these files are, from an earlier run or from now on. Raises OSError or KeyError when none can be kept."""
    content = hashlib.sha256(str(sys.implementation.cache_tag).encode())
    for name in names:
        content.update(f"{name}\0{whole.getinfo(name).file_size}\0".encode() + whole.read(name))
    root = cache()
    kept = root / f"code-{content.hexdigest()[:32]}"
    if not kept.is_dir():
        fresh = Path(tempfile.mkdtemp(prefix="code-", dir=root))
        whole.extractall(fresh, names)
        _compile(fresh, kept)
        try:
            fresh.rename(kept)
        except OSError:
            shutil.rmtree(fresh)  # another run was first
        forget(root, "code-*")
    own(kept)
    os.utime(kept)
    return kept


def _compile(directory: Path, kept: Path) -> None:
    """Now, and not as they are imported: an import may have been told to write nothing."""
    # Only the first run needs them, and to load them takes time.
    from compileall import compile_dir
    from py_compile import PycInvalidationMode

    # The name of the directory says what is in the files.
    compile_dir(directory, ddir=str(kept), quiet=2, invalidation_mode=PycInvalidationMode.UNCHECKED_HASH)


def cache() -> Path:
    """Where the user who runs this keeps what saves time. Raises OSError or KeyError when there is no such place."""
    # Not $HOME: who became root may still have that of somebody else.
    root = Path(pwd.getpwuid(os.geteuid()).pw_dir) / ".cache" / "aza-pg"
    root.mkdir(mode=0o700, parents=True, exist_ok=True)
    own(root)
    return root


def own(directory: Path) -> None:
    """Raise PermissionError when somebody else may have written what is there."""
    status = directory.stat()
    if status.st_uid != os.geteuid() or status.st_mode & 0o022:
        raise PermissionError(f"{directory} may be written by others")


def forget(root: Path, pattern: str) -> None:
    """What no run has used for a month: older versions of ours, and what a run left that was cut off."""
    for directory in root.glob(pattern):
        if directory.stat().st_mtime < time.time() - _UNUSED_SECONDS:
            shutil.rmtree(directory, ignore_errors=True)


def find(package: str) -> None:
    """Have the modules of ``package`` and of its neighbour plugin_utils found as files, if Ansible would load them."""
    if type(sys.modules[package].__loader__).__module__.startswith("ansible."):
        plugins = package.rpartition(".")[0]
        sys.meta_path.insert(0, Files((package, f"{plugins}.plugin_utils")))


unpack(__package__)
find(__package__)
