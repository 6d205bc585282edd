# SPDX-License-Identifier: Apache-2.0
"""A headless Chromium that looks at one file, and says what it asked the network for."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from .instance import ROOT

_CACHE = ROOT / ".cache" / "tools"
_NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
_PACKAGE = "chromium-headless-shell"
_QUIET = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--hide-scrollbars",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
    "--no-default-browser-check",
    "--disable-sync",
)


def find() -> str:
    """A Chromium of this machine; root on Debian gets one from the distribution."""
    _CACHE.mkdir(parents=True, exist_ok=True)
    # Several workers: one installs, the others find it.
    with (_CACHE / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not any(map(shutil.which, _NAMES)) and os.geteuid() == 0 and shutil.which("apt-get"):
            for command in (["update", "-q"], ["install", "-q", "-y", "--no-install-recommends", _PACKAGE]):
                subprocess.run(
                    ["apt-get", *command],
                    env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
                    capture_output=True,
                    check=False,
                )
    found = next((path for name in _NAMES if (path := shutil.which(name))), "")
    if not found:
        pytest.fail(
            f"no Chromium to look at the report with; as root: apt-get install {_PACKAGE}", pytrace=False
        )
    return found


def look(page: Path, *options: str, width: int = 1200, height: int = 1600) -> str:
    done = subprocess.run(
        [
            find(),
            *_QUIET,
            f"--user-data-dir={page.parent}/profile",
            f"--window-size={width},{height}",
            *options,
            str(page),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def screenshot(page: Path, picture: Path, *options: str, width: int = 1200, height: int = 1600) -> bytes:
    look(page, f"--screenshot={picture}", *options, width=width, height=height)
    return picture.read_bytes()


def requests(page: Path) -> set[str]:
    """Every address that was asked for while the page was shown, in addition to the page itself and what is in it."""
    log = page.with_suffix(".net.json")
    look(page, f"--log-net-log={log}", "--dump-dom")
    return {
        url
        for url in _addresses(json.loads(log.read_text())["events"])
        if not url.startswith(("file:", "data:", "chrome:", "about:"))
    }


def _addresses(value: Any) -> set[str]:
    if isinstance(value, dict):
        own = {value["url"]} if isinstance(value.get("url"), str) else set()
        return own.union(*map(_addresses, value.values()))
    if isinstance(value, list):
        return set().union(*map(_addresses, value))
    return set()


def overflow(page: Path, width: int) -> int:
    """By how many pixels the page is wider than a window of this width. Its copy may run the one script that tells."""
    text = page.read_text(encoding="utf-8")
    policy = text[text.index('<meta http-equiv="Content-Security-Policy"') :].partition(">")[0] + ">"
    script = "<script>document.title = document.documentElement.scrollWidth - innerWidth</script>"
    copy = page.with_suffix(f".{width}.html")
    copy.write_text(text.replace(policy, "").replace("</body>", f"{script}</body>"), encoding="utf-8")
    dom = look(copy, "--dump-dom", width=width)
    return int(dom.partition("<title>")[2].partition("</title>")[0])
