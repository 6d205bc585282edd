#!/usr/bin/env python3
"""Run every linter over the repository, side by side; print one line for each, and what it objects to.

lint.py            all of them
lint.py NAME ...   some of them
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
COLLECTION = Path("collections/ansible_collections/aza/pg")
PLUGINS, IMAGE = COLLECTION / "plugins", COLLECTION / "image"
LONGEST_FILE = 500
Command = list[str]

# PostgreSQL's major version as a constant: a package, a path, an abbreviation, an assignment.
MAJOR = re.compile(
    r"\bpostgresql(?:-[a-z]+)*[-/][0-9]{2}\b|/[0-9]{2}/(?:docker|bin|lib|main)\b|\bpg_?[0-9]{2}\b"
    r"|major[\"']?\s*(?:=|:|==)\s*[\"']?[0-9]{2}\b",
    re.IGNORECASE,
)
URL = re.compile(r"https?://\S+")
# Where a major may be named: its home and the locks, what is generated from them, and what describes or tests them.
MAJOR_HOMES = (
    "/image/manifest.yml",
    "/image/locks/",
    "/image/build/",
    "/docs/",
    "/tests/",
    "/molecule/",
    "/changelogs/",
)


@cache
def files() -> tuple[Path, ...]:
    """What git tracks or would track: neither caches nor what others wrote."""
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    return tuple(
        path for path in map(Path, sorted(filter(None, listing.split("\0")))) if (ROOT / path).is_file()
    )


def shell_files() -> list[str]:
    """Scripts by their ending or first line. Templates and parts are checked as what is rendered from them."""

    def is_shell(path: Path) -> bool:
        if path.is_relative_to(IMAGE / "templates") or path.is_relative_to(PLUGINS):
            return False
        if path.suffix or path.name == "Makefile":
            return path.suffix in (".sh", ".bash")
        with (ROOT / path).open("rb") as file:
            return file.readline().startswith((b"#!/bin/sh", b"#!/bin/bash", b"#!/usr/bin/env bash"))

    return [str(path) for path in files() if is_shell(path)]


def plugin_docs() -> list[Command]:
    """ansible-doc reads each plugin's documentation as strictly as Ansible does."""
    commands = []
    for kind in ("modules", "lookup", "callback", "filter"):
        names = sorted(
            path.stem for path in files() if path.parent == PLUGINS / kind and path.suffix == ".py"
        )
        if names:
            commands.append(
                ["ansible-doc", "-t", kind.removesuffix("s"), *(f"aza.pg.{name}" for name in names)]
            )
    return commands


def major_constants(path: Path, lines: Sequence[str]) -> Iterator[str]:
    """Yield the lines that name PostgreSQL's major as a constant. Addresses of manuals may name one."""
    if path.suffix == ".md" or any(home in f"/{path}" for home in MAJOR_HOMES):
        return
    for number, line in enumerate(lines, 1):
        found = MAJOR.search(URL.sub("", line))
        if found:
            yield (
                f"{path}:{number}: '{found[0]}' names PostgreSQL's major; only image/manifest.yml and the locks may. "
                "Take it from the image: model/paths.py, Manifest.major, '{major}' in image/extensions"
            )


def house_rules() -> str:
    """Return the files that are too long, what was left open, and constants that belong into data."""
    words = ("TO" + "DO", "FIX" + "ME", "XX" + "X")
    problems: list[str] = []
    for path in files():
        generated = path.is_relative_to(IMAGE / "build") or path.is_relative_to(IMAGE / "locks")
        if generated or path.suffix not in (".py", ".sh", ".yml", ".j2", ".md", ""):
            continue
        lines = (ROOT / path).read_text(encoding="utf-8", errors="replace").splitlines()
        problems += major_constants(path, lines)
        # Ansible wants all variables of a role in one file.
        long = len(lines) > LONGEST_FILE and path.name != "argument_specs.yml"
        if long and path.suffix in (".py", ".sh", ".j2", ".yml"):
            problems.append(f"{path}: {len(lines)} lines, at most {LONGEST_FILE}: two rooms?")
        problems += [
            f"{path}:{number}: '{word}': do it or file it"
            for number, line in enumerate(lines, 1)
            for word in words
            if word in line.split()  # as a word of its own: the name that mktemp is given is none
        ]
    return "\n".join(problems)


# The slowest first: they decide how long all of it takes.
CHECKS: dict[str, Callable[[], list[Command] | str]] = {
    # With Ansible's own syntax check of each playbook.
    "ansible-lint": lambda: [["ansible-lint", "-q", "--nocolor"]],
    "mypy": lambda: [["mypy"]],
    "generated": lambda: [[sys.executable, "scripts/generate.py", "--check"]],
    "ansible-doc": plugin_docs,
    "yamllint": lambda: [["yamllint", "--strict", "."]],
    "ruff": lambda: [
        ["ruff", "check", "--output-format", "concise", "."],
        ["ruff", "format", "--check", "."],
    ],
    "shellcheck": lambda: [["shellcheck", *shell_files()]],
    "hadolint": lambda: [["hadolint", str(path)] for path in files() if path.name == "Dockerfile"],
    "plain English": lambda: [[sys.executable, "scripts/plain_english.py"]],
    "house rules": house_rules,
}


def run(name: str) -> tuple[str, float, str]:
    """Return the name, its duration and what it objects to."""
    started = time.monotonic()
    work = CHECKS[name]()
    if isinstance(work, str):
        return name, time.monotonic() - started, work
    objections = []
    for command in work:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            objections.append((done.stdout + done.stderr).strip() or f"exit code {done.returncode}")
    return name, time.monotonic() - started, "\n".join(objections)


def main() -> int:
    names = sys.argv[1:] or list(CHECKS)
    unknown = [name for name in names if name not in CHECKS]
    if unknown:
        sys.exit(f"unknown: {', '.join(unknown)}; known: {', '.join(CHECKS)}")
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    os.environ["LC_ALL"] = "C.UTF-8"  # Ansible starts in a UTF-8 locale alone
    failed = []
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        for name, seconds, objections in pool.map(run, names):
            print(f"{'FAILED' if objections else 'ok':8} {name:14} {seconds:5.1f} s", flush=True)
            if objections:
                failed.append(name)
                print(objections, flush=True)
    print(f"{len(names) - len(failed)} passed, {len(failed)} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
