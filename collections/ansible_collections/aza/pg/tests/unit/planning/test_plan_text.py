# SPDX-License-Identifier: Apache-2.0
"""How a plan is told: each change as text, worst first, what waits and for what, one line that counts."""

from __future__ import annotations

import pytest
from ansible_collections.aza.pg.plugins.module_utils.planning.change import EFFECTS, Change
from ansible_collections.aza.pg.plugins.module_utils.planning.plan import Plan, hold
from hypothesis import given
from hypothesis import strategies as st

effects = st.sampled_from(EFFECTS)
changes = st.builds(Change, st.just("file"), st.text("abc", min_size=1), st.just("change"), effect=effects)


@given(st.lists(changes, max_size=8), st.sets(st.sampled_from(("restart", "recreate"))))
def test_hold_loses_nothing_and_lines_are_worst_first(all_changes: list[Change], allowed: set[str]) -> None:
    plan = hold(all_changes, allowed)
    assert sorted([*plan.changes, *plan.held], key=repr) == sorted(all_changes, key=repr)
    assert all(change.effect in ("restart", "recreate", "data") for change in plan.held)
    heads = [line.split(":")[0] for line in plan.lines() if line.split(":")[0] in EFFECTS]
    assert heads == sorted(heads, key=EFFECTS.index)
    assert all(any(change.text() in line for line in plan.lines()) for change in all_changes)


@pytest.mark.parametrize(
    ("change", "text", "line"),
    [
        (
            Change(
                "setting", "work_mem", "change", "reload", "4MB", "16MB", origin="all.yml: postgres_settings"
            ),
            "setting work_mem  4MB → 16MB",
            "setting work_mem  4MB → 16MB  reload  (all.yml: postgres_settings)",
        ),
        (Change("role", "shop", "create", "sql"), "create role shop", "create role shop  sql"),
        (
            Change("role", "shop", "change", "sql", "connection limit -1", "5"),
            "change role shop  connection limit -1 → 5",
            "change role shop  connection limit -1 → 5  sql",
        ),
        (
            Change("database", "old", "drop", "data", why="state: absent", risk="3 tables"),
            "drop database old  because state: absent  RISK: 3 tables",
            "drop database old  because state: absent  RISK: 3 tables  data",
        ),
    ],
)
def test_a_change_in_words(change: Change, text: str, line: str) -> None:
    assert (change.text(), change.line()) == (text, line)
    assert change.to_dict()["text"] == text


def test_the_last_line_counts_what_takes_place() -> None:
    changes = [
        Change("setting", "a", "change", "restart"),
        Change("setting", "b", "change", "restart"),
        Change("setting", "c", "change", "reload"),
        *(Change("role", name, "create", "sql") for name in "xyz"),
    ]
    # Without a permission one reload is left; with it one restart does for all.
    assert hold(changes, ()).summary() == "3 sql, 1 reload, 0 restarts; nothing is lost; 2 wait"
    assert hold(changes, ["restart"]).summary() == "3 sql, 0 reloads, 1 restart; nothing is lost"
    assert Plan().summary() == "nothing to do"
    assert Plan().lines() == []


def test_what_would_be_lost_waits_until_it_is_named_and_what_needs_it_waits_too() -> None:
    gone = Change("database", "old", "drop", "data", risk="3 tables", id="database old")
    role = Change("role", "old", "drop", "sql", id="role old", needs=("database old",))
    other = Change("role", "new", "create", "sql", id="role new")
    plan = hold([gone, role, other], ())
    assert plan.held == (gone, role)
    assert plan.lines() == [
        "sql: a statement on the running server",
        "  create role new  sql",
        'waits for postgres_allow_loss: ["database old"]',
        "  drop database old  RISK: 3 tables  data",
        "waits for database old",
        "  drop role old  sql",
        "1 sql, 0 reloads, 0 restarts; nothing is lost; 2 wait",
    ]
    allowed = hold([gone, role, other], (), ["database old"])
    assert not allowed.held
    assert allowed.summary() == "2 sql, 0 reloads, 0 restarts; LOST: 3 tables"
    assert [change["waits_for"] for change in plan.to_dict()["held"]] == [
        'postgres_allow_loss: ["database old"]',
        "database old",
    ]
