# SPDX-License-Identifier: Apache-2.0
"""Each case of each table: the plan is what the table says, it is applied, and then there is nothing to do."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from ansible_collections.aza.pg.plugins.module_utils.errors import AzaError

from .harness import Server
from .tables import Case, alike, load, paths

CASES = [
    pytest.param(case, id=f"{table.name}: {case.title}")
    for table in map(load, paths())
    for case in table.cases
]


@pytest.mark.parametrize("case", CASES)
def test_case(case: Case, running: Server) -> None:
    pg, case = running, case.spoken(running.words)
    pg.reset(case.deployed, case.days_ago)
    for database, statements in case.before.items():
        pg.execute(statements, database)
    if case.commands:
        pg.type(case.commands)
    if case.refused:
        with pytest.raises(AzaError) as caught:
            wanted = pg.describe_case(case)
            pg.keep_passwords(wanted, case.passwords)
            pg.run(wanted, case.allow)
        assert case.refused in caught.value.msg
    else:
        wanted = pg.describe_case(case)
        pg.keep_passwords(wanted, case.passwords)
        outcome = pg.converge(wanted, case.allow)
        assert_alike(case.plan, outcome.plan)
        assert_alike(case.held, outcome.held)
        if wanted.certificate:  # which the control node keeps
            assert not pg.run(pg.describe_case(case), case.allow, check=True)["lines"]
        if case.findings is not None:
            assert_alike(case.findings, pg.findings(wanted))
    for check in case.after:
        if "command" in check:
            answer = pg.type(check["command"])
        else:
            answer = pg.ask(check["sql"], check.get("database", "postgres"))
        assert answer == check["expect"], check


def assert_alike(expected: Sequence[str], message: Sequence[str]) -> None:
    """The same lines; where they are not, pytest shows the difference."""
    same = len(expected) == len(message) and all(map(alike, expected, message))
    assert same or list(message) == list(expected)
