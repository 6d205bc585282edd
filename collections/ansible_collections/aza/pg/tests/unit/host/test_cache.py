# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
import pwd
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from ansible_collections.aza.pg.plugins.module_utils.host import cache


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(pwd, "getpwuid", lambda _: SimpleNamespace(pw_dir=str(tmp_path)))
    return tmp_path


def test_only_the_user_may_write_there(home: Path) -> None:
    root = cache.cache()
    assert root.is_relative_to(home) and root.stat().st_mode & 0o777 == 0o700
    root.chmod(0o777)
    with pytest.raises(PermissionError):
        cache.cache()


def test_what_was_not_used_for_a_month_is_removed(home: Path) -> None:
    root = cache.cache()
    old, used, other = root / "accepted-1", root / "accepted-2", root / "locale-1"
    for directory in (old, used, other):
        directory.mkdir()
    before = time.time() - 31 * 86400
    os.utime(old, (before, before))
    os.utime(other, (before, before))
    cache.remove_unused(root, "accepted-*")
    assert not old.exists() and used.exists() and other.exists()
