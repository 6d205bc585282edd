# SPDX-License-Identifier: Apache-2.0
"""The little of Markdown that the documentation's tests need: fenced blocks, links, headings, commands."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]

_LINK = re.compile(r"(?<!\!)\[[^\]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ +(.+?)\s*$", re.MULTILINE)
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_MAKE = re.compile(r"(?:^|[`;&|]\s*)make ([a-z][a-z-]*)", re.MULTILINE)
_PLAYBOOK = re.compile(r"ansible-playbook ((?:[\w./-]+\.yml ?)+)")


@dataclass(frozen=True)
class Block:
    """A fenced block, and where it stands."""

    page: Path
    line: int
    language: str
    text: str


@dataclass(frozen=True)
class Step:
    """Commands of a runbook, and what they have to print."""

    commands: Block
    expected: tuple[str, ...] = ()


def pages() -> list[Path]:
    """All Markdown that git tracks or would track."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "*.md"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    return sorted({ROOT / name for name in listed.split("\0") if name and (ROOT / name).is_file()})


def blocks(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    return [
        Block(page, text.count("\n", 0, match.start()) + 2, match[1], match[2])
        for match in _FENCE.finditer(text)
    ]


def steps(page: Path) -> list[Step]:
    """Each ``bash`` block; a ``text`` block right after it says what is printed, ``…`` standing for anything."""
    found: list[Step] = []
    previous = ""
    for block in blocks(page):
        if block.language == "bash":
            found.append(Step(block))
        elif block.language == "text" and previous == "bash":
            lines = tuple(line for line in block.text.splitlines() if line.strip())
            found[-1] = Step(found[-1].commands, lines)
        previous = block.language
    return found


def differences(expected: tuple[str, ...], output: str) -> str:
    """The first expected line that the output does not have, in this order; empty when it has them all."""
    lines = iter(output.splitlines())
    for wanted in expected:
        pattern = re.compile(".*".join(re.escape(part.strip()) for part in wanted.split("…")))
        if not any(pattern.search(line) for line in lines):
            return wanted
    return ""


def links(page: Path) -> Iterator[str]:
    text = _FENCE.sub("", page.read_text(encoding="utf-8"))
    return (match[1] for match in _LINK.finditer(text))


def anchors(page: Path) -> set[str]:
    """The headings as GitHub names them in addresses."""
    text = _FENCE.sub("", page.read_text(encoding="utf-8"))
    names = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in _HEADING.findall(text))
    return {name.replace(" ", "-") for name in names}


def make_targets(page: Path) -> set[str]:
    """Targets named in fenced blocks, and in the text between backticks."""
    text = page.read_text(encoding="utf-8")
    code = "\n".join([*(block.text for block in blocks(page)), *re.findall(r"`[^`\n]+`", text)])
    return set(_MAKE.findall(code))


def playbooks(page: Path) -> set[str]:
    found = _PLAYBOOK.findall(page.read_text(encoding="utf-8"))
    return {name for names in found for name in names.split()}
