# SPDX-License-Identifier: Apache-2.0
"""Nothing that a server or a host says reaches a terminal, a page or JSON with characters that these interpret."""

from __future__ import annotations

import unicodedata
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.aza.pg.plugins.module_utils.errors import AzaError
from ansible_collections.aza.pg.plugins.module_utils.host.docker import Docker
from ansible_collections.aza.pg.plugins.module_utils.plain import plain, plain_data, plain_lines
from ansible_collections.aza.pg.plugins.module_utils.planning.change import Change
from ansible_collections.aza.pg.plugins.module_utils.planning.finding import Finding
from ansible_collections.aza.pg.plugins.module_utils.planning.plan import Plan, hold
from hypothesis import given
from hypothesis import strategies as st

# The cursor moves, the line ends, the reading direction turns, nothing is shown, the title changes, a C1 sequence.
NASTY = "a\x1b[2Jb\nc\rd\u202ee\u200bf\x07g\x9bh\u2028i\u3164j\u00a0k\ud800l\U000e0041"
NAMED = "a\\x1b[2Jb\\nc\\rd\\u202ee\\u200bf\\x07g\\x9bh\\u2028i\\u3164j\\xa0k\\ud800l\\U000e0041"


def is_shown(text: str) -> bool:
    return not any(
        unicodedata.category(char) in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")
        or (unicodedata.category(char) == "Zs" and char != " ")
        for char in text
    )


def test_each_is_shown_as_its_escape() -> None:
    assert plain(NASTY) == NAMED


@pytest.mark.parametrize("text", ["", "shop", "Größe → 5 €", "データベース", "שלום", "🦣 it's \\ fine"])
def test_what_people_write_stays_as_it_is(text: str) -> None:
    assert plain(text) == text


@given(st.text())
def test_any_text_becomes_one_line_that_is_shown(text: str) -> None:
    assert is_shown(plain(text)) and plain(plain(text)) == plain(text)
    assert plain_lines(text).count("\n") == text.count("\n")
    assert is_shown(plain_lines(text).replace("\n", "").replace("\t", ""))


@given(
    st.recursive(
        st.text() | st.integers() | st.none(), lambda kept: st.lists(kept) | st.dictionaries(st.text(), kept)
    )
)
def test_data_keeps_its_form(data: Any) -> None:
    def texts(value: Any) -> list[str]:
        if isinstance(value, dict):
            return [text for pair in value.items() for part in pair for text in texts(part)]
        return [text for item in value for text in texts(item)] if isinstance(value, list) else [str(value)]

    assert all(is_shown(text.replace("\n", "").replace("\t", "")) for text in texts(plain_data(data)))
    assert plain_data(plain_data(data)) == plain_data(data)


def test_every_way_into_a_plan() -> None:
    words: dict[str, Any] = dict.fromkeys(("name", "before", "after", "why", "risk", "origin"), NASTY)
    change = Change("role", action="change", effect="sql", **words)
    lost = Change("database", NASTY, "drop", effect="data", risk=NASTY, id="database x")
    waits = Change("setting", NASTY, "change", awaits=NASTY)
    plan = hold([change, lost, waits], ())
    whole = Plan((change, lost), (waits,))
    for line in (
        *plan.lines(),
        *whole.lines(),
        plan.summary(),
        whole.summary(),
        change.text(),
        change.line(),
    ):
        assert is_shown(line), repr(line)
    told = [change.to_dict(), *plan.to_dict()["held"]]
    assert all(is_shown(str(value)) for item in told for value in item.values())
    assert change.name == NASTY, "the statement needs the name itself"


def test_a_permission_can_be_copied_into_the_inventory() -> None:
    name = "a\x1b[2J\u202e"
    (reason,) = hold([Change("database", name, "drop", effect="data")], ()).waiting()
    assert is_shown(reason)
    assert yaml.safe_load(reason) == {"postgres_allow_loss": [f"database {name}"]}


def test_findings_and_errors() -> None:
    finding = Finding(NASTY, "red", NASTY, NASTY)
    assert all(is_shown(value) for value in finding.to_dict().values())
    error = AzaError(f"one line\n{NASTY}", reason="x", done=[NASTY], facts={"a": NASTY})
    for text in (error.msg, str(error), error.details["done"][0], error.details["facts"]["a"]):
        assert is_shown(text.replace("\n", ""))
    assert "\n" in error.msg


def test_the_lines_of_a_log(tmp_path: Path) -> None:
    """A message that holds a carriage return stays one line, so that no one can add one to the log."""
    command = tmp_path / "docker"
    command.write_text(
        "#!/bin/sh\n"
        r"printf '2026-01-31T12:00:00.2Z LOG:  x\r2026-01-31T12:00:00.3Z FATAL:  no\033[2J\n'"
        "\n"
        r"printf '2026-01-31T12:00:00.10Z LOG:  first\n2026-01-31T12:00:00.15Z \tindented\n\n'"
        "\n"
    )
    command.chmod(0o755)
    assert Docker(str(command)).logs("any") == [
        "LOG:  first",
        "    indented",
        "LOG:  x\\r2026-01-31T12:00:00.3Z FATAL:  no\\x1b[2J",
    ]
