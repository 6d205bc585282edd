# SPDX-License-Identifier: Apache-2.0
"""A directory of the deploying user where a managed host keeps answers that are slow to get.

Everything in it can be removed at any time.
"""

from __future__ import annotations

import os
import pwd
import shutil
import time
from pathlib import Path

_UNUSED_SECONDS = 30 * 86400


def cache() -> Path:
    """Return the directory, and create it if necessary.

    :raises OSError, KeyError: the user has no home directory, or others may write to it.
    """
    # Not $HOME: after `sudo` or `su` it may be that of another user.
    root = Path(pwd.getpwuid(os.geteuid()).pw_dir) / ".cache" / "aza-pg"
    root.mkdir(mode=0o700, parents=True, exist_ok=True)
    status = root.stat()
    if status.st_uid != os.geteuid() or status.st_mode & 0o022:
        raise PermissionError(f"other users may write to {root}")
    return root


def remove_unused(root: Path, pattern: str) -> None:
    """Remove the directories that match ``pattern`` and were not used for 30 days."""
    for directory in root.glob(pattern):
        if directory.stat().st_mtime < time.time() - _UNUSED_SECONDS:
            shutil.rmtree(directory, ignore_errors=True)
