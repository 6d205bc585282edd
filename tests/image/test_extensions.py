# SPDX-License-Identifier: Apache-2.0
"""Everything that the image carries works: each entry is created and proven in a database of its own."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.aza.pg.plugins.module_utils.catalog import (
    Catalog,
    Selection,
    load_catalog,
    smoke,
    solve,
)

IMAGE = Path(__file__).parents[2] / "image"
FACTS = "/usr/local/share/aza-pg/image.json"


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return load_catalog(IMAGE)


@pytest.fixture(scope="module")
def selection(catalog: Catalog, shared_container: Any) -> Selection:
    """Return what the image under test was built to carry."""
    facts = json.loads(shared_container("cat", FACTS, wait="exit").logs())
    carried = [entry["name"] for entry in facts["extensions"]]
    selected = solve(catalog, facts["source"], facts["flavour"], carried)
    assert [entry.name for entry in selected.extensions] == carried, (
        "the image was not built from this catalogue: run `make build`"
    )
    return selected


def run(box: Any, database: str, command: tuple[str, ...], script: str = "") -> tuple[int, str, str]:
    """Run a program as the server's user; return its status and its two streams."""
    feed = ("sh", "-c", f'printf %s "$SCRIPT" | {shlex.join(command)}') if script else command
    environment = {"PGDATABASE": database, "PGCLIENTENCODING": "UTF8", "SCRIPT": script}
    code, message = box.execute(feed, env=environment)
    out, err = (b"".join(text for stream, text in message if stream == wanted).decode() for wanted in (1, 2))
    return code, out.rstrip(), err


def complaint(box: Any, proof: smoke.SmokeDatabase) -> str:
    """Run one proof; return what is wrong, or nothing."""
    if proof.fresh:
        run(box, "postgres", ("createdb", proof.database))
    code, _, err = run(box, proof.database, smoke.PSQL, proof.prepare or "select;")
    if code:
        return f"cannot be created: {err}"
    for step in proof.steps:
        given = (smoke.PSQL, step.sql) if step.sql is not None else (step.command, "")
        _, out, err = run(box, proof.database, *given)
        if out != step.expect.rstrip():
            return f"{step.sql or shlex.join(step.command)}\n-- expected:\n{step.expect}\n-- found:\n{out}\n{err}"
    if proof.fresh:
        run(box, "postgres", ("dropdb", "--force", proof.database))
    return ""


def test_every_extension_works(selection: Selection, run_container: Any, subtests: pytest.Subtests) -> None:
    proven = 0
    for server in smoke.plan(selection):
        settings = {"shared_preload_libraries": ",".join(server.preload), **server.settings}
        arguments = [part for key, value in settings.items() for part in ("-c", f"{key}={value}")]
        box = run_container(*arguments, mem_limit="2g")
        assert box.show("shared_preload_libraries").replace(" ", "") == ",".join(server.preload)
        for proof in server.databases:
            proven += 1
            with subtests.test(proof.extension):
                wrong = complaint(box, proof)
                assert not wrong, f"{proof.extension}: {wrong}"
    assert proven == len(selection.extensions)
