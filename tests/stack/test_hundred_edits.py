# SPDX-License-Identifier: Apache-2.0
"""A hundred random edits behind the inventory's back: a check finds each, a deploy repairs each.

``AZA_DRIFT_SEED=NUMBER`` makes other edits; every failure prints its seed.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.aza.pg.plugins.module_utils.stack import server
from ansible_collections.aza.pg.plugins.module_utils.stack.model import Desired
from ansible_collections.aza.pg.plugins.modules import stack_apply

from objects.harness import Server

from .edits import DECLARED, EDITS, SETTINGS, Edit, repair, rounds

SEED = int(os.environ.get("AZA_DRIFT_SEED", "1"))
ROUNDS = list(rounds(SEED))


@pytest.fixture(scope="module")
def running() -> Iterator[Server]:
    with Server() as made:
        made.converge(describe(made, DECLARED), ("restart", "recreate"))
        yield made


def test_the_same_seed_gives_the_same_edits_and_every_kind_is_drawn() -> None:
    assert list(rounds(SEED)) == ROUNDS
    assert list(rounds(SEED + 1)) != ROUNDS
    drawn = [edit for done in ROUNDS for edit in done]
    assert len(drawn) == 100
    assert all(len({edit.touches for edit in done}) == len(done) for done in ROUNDS)
    firsts = {next(iter(str(edit).split(":"))) for edit in drawn}
    assert len(firsts) >= 3
    assert len(EDITS) <= 2 * len(ROUNDS[0])


@pytest.mark.parametrize("number", range(len(ROUNDS)))
def test_round(running: Server, number: int) -> None:
    edits = ROUNDS[number]
    told = "\n".join([f"AZA_DRIFT_SEED={SEED}, round {number}:", *(f"  {edit}" for edit in edits)])
    wanted = describe(running, DECLARED)
    assert not findings(running, wanted), told
    for edit in edits:
        carry_out(running, edit)
    found = findings(running, wanted)
    text = "\n".join(f"{item['state']} {item['what']} {item['said']}" for item in found)
    missed = [str(edit) for edit in edits if not any(tells(item, edit) for item in found)]
    assert not missed, f"{told}\nnot found: {missed}\nfound:\n{text}"
    running.converge(describe(running, repair(DECLARED, edits)))
    left = findings(running, wanted)
    assert not left, f"{told}\nnot repaired: {left}"


def describe(running: Server, declared: dict[str, Any]) -> Desired:
    wanted = running.describe(declared, SETTINGS)
    running.keep_passwords(wanted, {})
    return wanted


def findings(running: Server, wanted: Desired) -> list[dict[str, str]]:
    """What a check says, without what is well."""
    module: Any = SimpleNamespace(
        params={"state": "present", "secrets": running.secrets, "allow": [], "tuned": []}
    )
    said = stack_apply.run_check(module, wanted, running.docker)["findings"]
    return [item for item in said if item["state"] != "green"]


def tells(item: dict[str, str], edit: Edit) -> bool:
    return item["state"] == edit.state and all(word in item["said"] for word in edit.words)


def carry_out(running: Server, edit: Edit) -> None:
    for database, statement in edit.sql:
        with server.connect(running.baseline.socket_dir, "postgres", database) as connection:
            connection.execute(statement)
    if edit.file:
        how, name, text = edit.file
        path = Path(running.baseline.directory) / name
        if how == "remove":
            path.unlink()
        elif how == "mode":
            path.chmod(int(text, 8))
        elif how == "cut":
            lines = path.read_text().splitlines(keepends=True)
            path.write_text("".join(line for line in lines if text not in line))
        else:
            path.write_text((path.read_text() if how == "append" else "") + text)
