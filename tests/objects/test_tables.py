# SPDX-License-Identifier: Apache-2.0
"""Each case of each table: the plan is what the table says, it is carried out, and then there is nothing to do."""

from __future__ import annotations

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
def test_case(case: Case, pg: Server) -> None:
    for database, statements in case.before.items():
        pg.execute(statements, database)
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
        assert outcome.plan == list(case.plan)
        assert outcome.held == list(case.held)
        if case.findings is not None:
            said = pg.findings(wanted)
            assert len(said) == len(case.findings) and all(map(alike, case.findings, said)), said
    for check in case.after:
        answer = pg.ask(check["sql"], check.get("database", "postgres"))
        assert answer == check["expect"], check["sql"]
