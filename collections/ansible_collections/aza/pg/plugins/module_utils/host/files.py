# SPDX-License-Identifier: Apache-2.0
"""Write files of a host so that no reader and no crash ever sees half of one."""

from __future__ import annotations

import os
import secrets as random
from pathlib import Path


def write_atomic(path: Path, content: bytes, mode: int, owner: tuple[int, int]) -> None:
    """A reader sees the old file or the new one, whole, with its rights; a crash leaves one of them."""
    temporary = path.with_name(f".{path.name}.{random.token_hex(4)}")
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fchown(stream.fileno(), *owner)
            os.fchmod(stream.fileno(), mode)
            os.fsync(stream.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def link_atomic(path: Path, target: str) -> None:
    """Make a symbolic link, or replace the one that is there."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
    temporary = path.with_name(f".{path.name}.{random.token_hex(4)}")
    temporary.symlink_to(target)
    temporary.replace(path)


def own(text: str, path: Path, mode: int) -> None:
    """Write a text that belongs to the user who runs this."""
    write_atomic(path, text.encode(), mode, (os.geteuid(), os.getegid()))
