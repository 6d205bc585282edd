# SPDX-License-Identifier: Apache-2.0
"""The words that docs and messages avoid: scripts/plain_english.py."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

import pytest


@pytest.fixture(scope="module")
def linter(script: Callable[[str], ModuleType]) -> ModuleType:
    return script("plain_english")


def test_prose_is_checked_and_code_is_not(linter: ModuleType) -> None:
    page = "It starts anew.\n`anew` is a name.\n```bash\nrun anew\n```\n<!-- anew -->\nWhoever asks.\n"
    assert [line.partition(" ")[0] for line in linter.problems("a.md", linter.markdown(page))] == [
        "a.md:1:",
        "a.md:7:",
    ]


def test_strings_of_a_program_are_checked_and_names_are_not(linter: ModuleType) -> None:
    source = (
        'def anew(strangers):\n    """Start anew."""\n    raise Error(f"{strangers} is no address of it")\n'
    )
    found = list(linter.problems("a.py", linter.python(source)))
    assert [line.partition(" ")[0] for line in found] == ["a.py:2:", "a.py:3:"]
    assert "is not a" in found[1]


def test_every_word_says_what_to_write_and_why(linter: ModuleType) -> None:
    assert all(word.use and word.because for word in linter.WORDS)
    assert len({word.pattern for word in linter.WORDS}) == len(linter.WORDS)
