# SPDX-License-Identifier: Apache-2.0
"""Apply the examples of docs/extending.md to a copy of the repository. A comment before each block says how."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

from .markdown import ROOT

PAGE = ROOT / "docs/extending.md"
_EXAMPLE = re.compile(
    r"^<!-- (?P<verb>create|insert|replace): (?P<path>\S+)"
    r"(?: (?:before )?(?P<quote>[\"'])(?P<marker>[^\n]*?)(?P=quote))? -->\n"
    r"```\w+\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)


def sections() -> dict[str, str]:
    """Return heading → text of each section with examples."""
    parts = re.split(r"^## (.+)$", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def copy(to: Path) -> Path:
    """Copy what git tracks, and what it would track."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    for name in filter(None, listed.split("\0")):
        source = ROOT / name
        if source.is_file() or source.is_symlink():
            (to / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, to / name, follow_symlinks=False)
    return to


def apply(section: str, repository: Path) -> list[str]:
    """Apply the examples of a section and return the paths that they change."""
    changed = []
    for found in _EXAMPLE.finditer(sections()[section]):
        path = repository / found["path"]
        changed.append(found["path"])
        if found["verb"] == "create":
            assert not path.exists(), f"{found['path']} exists already"
            path.write_text(found["text"], encoding="utf-8")
            continue
        text = path.read_text(encoding="utf-8")
        assert text.count(found["marker"]) == 1, f"{found['path']} has not one place with {found['marker']!r}"
        new = found["text"].rstrip("\n") if found["verb"] == "replace" else found["text"] + found["marker"]
        path.write_text(text.replace(found["marker"], new), encoding="utf-8")
    return changed
