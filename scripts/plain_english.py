#!/usr/bin/env python3
"""Find words in docs and messages that plain technical English avoids, and print what to write instead.

It checks the prose of Markdown pages, text in the Python code of the collection, and names, descriptions and header
comments in YAML. The list is short: words that non-native readers stumble over, and terms that the project's glossary
replaces. A word with legitimate uses is not on it.

plain_english.py            all files
plain_english.py FILE ...   some of them
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]


class Word(NamedTuple):
    """``use``: what to write instead. ``because``: why readers need that."""

    pattern: str
    use: str
    because: str


ARCHAIC, PERSON, VAGUE, TERM = (
    "archaic or literary",
    "programs and servers are not persons",
    "says nothing concrete",
    "the glossary has another term",
)
WORDS = (
    Word(r"anew", "again", ARCHAIC),
    Word(r"whoever", "any user who, any role that", ARCHAIC),
    Word(r"whom", "restructure the sentence", ARCHAIC),
    Word(r"thereby", "this", ARCHAIC),
    Word(r"be it", "whether, for example", ARCHAIC),
    Word(r"for want of", "because there is no", ARCHAIC),
    Word(r"foretells?|foretold", "predict", ARCHAIC),
    Word(r"com(?:es?|ing) to rest", "converge", ARCHAIC),
    Word(r"goes? apart", "diverge", ARCHAIC),
    Word(r"at hand", "available", ARCHAIC),
    Word(r"mend(?:s|ed|ing)?", "fix", ARCHAIC),
    Word(r"nobody else", "no other client, no other user", ARCHAIC),
    Word(r"somebody else(?:'s)?", "another user", ARCHAIC),
    Word(r"nobody declared", "is not declared", ARCHAIC),
    Word(r"waits? for your word", "needs your permission", PERSON),
    Word(r"fell and was started again", "restarted", PERSON),
    Word(r"looked at|looked into", "checked, read, inspected", VAGUE),
    Word(r"stands there twice", "is declared twice", VAGUE),
    Word(r"as it was declared|as they were declared", "matches the inventory", VAGUE),
    Word(r"goes? in a circle", "circular dependency", VAGUE),
    Word(r"lets? (?:\w+ )?in", "admit", VAGUE),
    Word(r"is no (?:address|list|name|number|dictionary|YAML|member)", "is not a", VAGUE),
    Word(r"strangers?", "orphan, unmanaged", TERM),
    Word(r"standby floor|floor of a standby", "minimum settings of a standby", TERM),
    Word(r"killed it for", "OOM-killed", TERM),
)
_WORDS = [(re.compile(rf"\b(?:{word.pattern})\b", re.IGNORECASE), word) for word in WORDS]
# What is checked: glob → how its text is found.
_MARKDOWN = ("*.md", "docs/**/*.md", "collections/ansible_collections/aza/pg/*.md")
_PYTHON = ("collections/ansible_collections/aza/pg/plugins/**/*.py",)
_YAML = (
    "collections/ansible_collections/aza/pg/roles/**/*.yml",
    "collections/ansible_collections/aza/pg/playbooks/*.yml",
    "collections/ansible_collections/aza/pg/image/*.yml",
    "collections/ansible_collections/aza/pg/image/extensions/*.yml",
)


def markdown(text: str) -> Iterator[tuple[int, str]]:
    """Return number and text of each line of prose: no code blocks, comments or inline code."""
    fenced = False
    for number, line in enumerate(text.splitlines(), 1):
        if line.lstrip().startswith("```"):
            fenced = not fenced
        elif not fenced and not line.startswith(("<!--", "    ")):
            yield number, re.sub(r"`[^`]*`", "", line)


def python(text: str) -> Iterator[tuple[int, str]]:
    """Return number and text of each string that a person may read: with a blank in it, docstrings included."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value:
            for offset, line in enumerate(node.value.splitlines()):
                yield node.lineno + offset, re.sub(r"``[^`]*``", "", line)


def yaml(text: str) -> Iterator[tuple[int, str]]:
    """Return number and text of all lines: names, descriptions and comments."""
    yield from enumerate((re.sub(r"`[^`]*`", "", line) for line in text.splitlines()), 1)


READERS = ((_MARKDOWN, markdown), (_PYTHON, python), (_YAML, yaml))


def problems(name: str, lines: Iterator[tuple[int, str]]) -> Iterator[str]:
    """Return ``FILE:LINE: 'anew': write 'again' (archaic or literary)`` for each word."""
    for number, line in lines:
        for pattern, word in _WORDS:
            for found in pattern.finditer(line):
                yield f"{name}:{number}: '{found.group(0)}': write '{word.use}' ({word.because})"


def check(files: set[str]) -> list[str]:
    """Return the problems of these files, paths from the root of the repository."""
    found: list[str] = []
    for globs, reader in READERS:
        paths = {path for glob in globs for path in ROOT.glob(glob)}
        for path in sorted(paths):
            name = path.relative_to(ROOT).as_posix()
            if name in files and "docs/reference/" not in name:
                found += problems(name, reader(path.read_text(encoding="utf-8")))
    return found


def main(arguments: list[str]) -> int:
    tracked = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(tracked, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    found = check(set(arguments) or set(listed))
    print("\n".join(found), end="\n" if found else "")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
