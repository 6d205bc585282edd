# SPDX-License-Identifier: Apache-2.0
"""Random edits of everything that a server holds: the plan or a report names each, and then all is as it was."""

from __future__ import annotations

import os
from collections.abc import Iterable
from itertools import groupby
from operator import itemgetter

from ansible_collections.aza.pg.plugins.module_utils.instance import plan as planning
from ansible_collections.aza.pg.plugins.module_utils.instance.observe import observe
from ansible_collections.aza.pg.plugins.module_utils.instance.server_objects import undeclared
from ansible_collections.aza.pg.plugins.module_utils.model.desired import Desired

from support.edits import DECLARED, SETTINGS, UNMANAGED, rounds
from support.effort import effort

from .harness import Server

SEED = int(os.environ.get("AZA_DRIFT_SEED", "7"))
DATABASE = itemgetter(0)


def findings(pg: Server, wanted: Desired) -> list[tuple[str, str]]:
    """Colour and text of each change and each report."""
    found = observe(wanted, pg.docker, pg.secrets)
    changes = [("red", change.text()) for change in planning.plan(wanted, found).changes]
    return changes + [(item.severity, f"{item.what}: {item.message}") for item in undeclared(wanted, found)]


def typed(pg: Server, statements: Iterable[tuple[str, str]]) -> None:
    """One session for each database."""
    for database, group in groupby(sorted(statements, key=DATABASE), key=DATABASE):
        pg.execute("".join(f"{statement};\n" for _, statement in group), database)


def test_every_edit_that_no_inventory_can_declare_is_found(pg: Server) -> None:
    wanted = pg.describe(DECLARED, settings=SETTINGS)
    pg.keep_passwords(wanted, {})
    pg.settle(wanted, ("restart",))
    assert findings(pg, wanted) == []
    for edits in rounds(SEED, number=effort(2, 8), size=len(UNMANAGED), kinds=UNMANAGED):
        told = f"AZA_DRIFT_SEED={SEED}: {'; '.join(map(str, edits))}"
        typed(pg, [statement for edit in edits for statement in edit.sql])
        try:
            found = findings(pg, wanted)
        finally:  # with a logical slot left, the server does not start with the settings of the next test
            typed(pg, [statement for edit in edits for statement in edit.undo])
        for edit in edits:
            named = [
                one for one in found if one[0] == edit.state and all(word in one[1] for word in edit.words)
            ]
            assert named, (told, str(edit), found)
        assert findings(pg, wanted) == [], told
