# SPDX-License-Identifier: Apache-2.0
"""Random edits on a real host: check.yml finds each, deploy-single.yml repairs each that an inventory can declare.

One round in ``make test``, which has every kind of edit once; four, which are 128 edits, in ``make test-long``.

``AZA_DRIFT_SEED=NUMBER`` makes other edits; every failure prints its seed.
"""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Callable, Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest

from support.edits import DECLARED, EDITS, SETTINGS, Edit, repair, rounds
from support.effort import effort
from support.instances import Instance
from support.playbooks import Run

Playbook = Callable[..., Run]
# The host whose own inventory declares nothing of the server.
HOST = "azatest-debian12"
SEED = int(os.environ.get("AZA_DRIFT_SEED", "2"))
NUMBER, SIZE = effort(1, 4), 32
ROUNDS = list(rounds(SEED, number=NUMBER, size=SIZE))


def variables(declared: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {f"postgres_{key}": value for key, value in {**declared, "settings": SETTINGS, **more}.items()}


@pytest.fixture(scope="module")
def plain(instances: dict[str, Instance], playbook: Playbook) -> Iterator[Instance]:
    restart = {"allow_restart": True}
    playbook("deploy-single.yml", extra=variables(DECLARED, **restart), limit=[HOST])
    yield instances[HOST]
    names = {
        key: [{"name": item["name"], "state": "absent"} for item in DECLARED[key]]
        for key in ("roles", "databases")
    }
    losses = [f"database {item['name']}" for item in DECLARED["databases"]]
    playbook("deploy-single.yml", extra=variables(names, allow_loss=losses), limit=[HOST])
    playbook("deploy-single.yml", extra={"postgres_allow_restart": True}, limit=[HOST])


def test_the_same_seed_gives_the_same_edits_and_every_kind_is_drawn() -> None:
    assert list(rounds(SEED, number=NUMBER, size=SIZE)) == ROUNDS
    assert list(rounds(SEED + 1, number=NUMBER, size=SIZE)) != ROUNDS
    assert [len(done) for done in ROUNDS] == [SIZE] * NUMBER
    assert all(len({edit.touches for edit in done}) == len(done) for done in ROUNDS)
    assert len(EDITS) <= len(ROUNDS[0])


@pytest.mark.parametrize("number", range(len(ROUNDS)))
def test_round(plain: Instance, playbook: Playbook, tmp_path: Path, number: int) -> None:
    edits = ROUNDS[number]
    told = "\n".join([f"AZA_DRIFT_SEED={SEED}, round {number}:", *(f"  {edit}" for edit in edits)])
    plain.run("set -e\n" + "\n".join(command(plain, edit) for edit in edits))
    found = findings(playbook, tmp_path / "before.json", expect_failure=True)
    missed = [str(edit) for edit in edits if not any(tells(plain, item, edit) for item in found)]
    assert not missed, f"{told}\nnot found: {missed}\nfound: {json.dumps(found, indent=1)}"
    plain.run("set -e\n" + "\n".join(psql(plain, edit.undo) for edit in edits))
    allowed = {"allow_restart": True, "allow_recreate": True}
    playbook("deploy-single.yml", extra=variables(repair(DECLARED, edits), **allowed), limit=[HOST])
    left = findings(playbook, tmp_path / "after.json")
    assert not left, f"{told}\nnot repaired: {left}"


def findings(playbook: Playbook, path: Path, expect_failure: bool = False) -> list[dict[str, str]]:
    """What a check says, without what is well."""
    extra = variables(DECLARED) | {"report_json": str(path)}
    playbook("check.yml", extra=extra, limit=[HOST], expect_failure=expect_failure)
    (instance,) = json.loads(path.read_text())["fleet"]
    return [item for item in instance["findings"] if item["state"] != "green"]


def tells(instance: Instance, item: dict[str, str], edit: Edit) -> bool:
    words = [_named(instance, word) for word in edit.words]
    return item["state"] == edit.state and all(word in item["message"] for word in words)


def _named(instance: Instance, text: str) -> str:
    return text.replace("{container}", instance.container).replace("{exporter}", instance.exporter)


def command(instance: Instance, edit: Edit) -> str:
    """The edit as a user types it on the host."""
    lines = [psql(instance, edit.sql)]
    if edit.engine:
        lines.append(f"docker {_named(instance, edit.engine)}")
    if edit.file:
        how, name, text = edit.file
        path, quoted = shlex.quote(f"{instance.directory}/{name}"), shlex.quote(text)
        lines.append(
            {
                "remove": f"rm {path}",
                "mode": f"chmod {text} {path}",
                "cut": f"sed -i {shlex.quote(chr(92) + '#' + text + '#d')} {path}",
                "append": f"printf %s {quoted} >>{path}",
                "write": f"printf %s {quoted} >{path}",
            }[how]
        )
    return "\n".join(lines)


def psql(instance: Instance, statements: tuple[tuple[str, str], ...]) -> str:
    """One session for each database, in which each statement is a transaction of its own."""
    lines = []
    for database, group in groupby(statements, key=lambda item: item[0]):
        given = " ".join(f"-c {shlex.quote(statement)}" for _, statement in group)
        lines.append(
            f"docker exec {instance.container} psql -qX -U postgres -v ON_ERROR_STOP=1 -d {database} {given}"
        )
    return "\n".join(lines)
