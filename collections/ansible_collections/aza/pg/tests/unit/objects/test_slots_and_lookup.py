# SPDX-License-Identifier: Apache-2.0
"""Replication slots and the function of PgBouncer on a simulated server: one plan is enough."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.aza.pg.plugins.module_utils.instance import server_objects
from ansible_collections.aza.pg.plugins.module_utils.model.observed import Observed
from ansible_collections.aza.pg.plugins.module_utils.objects import slots
from ansible_collections.aza.pg.plugins.module_utils.planning.change import Change, Detail
from ansible_collections.aza.pg.plugins.module_utils.services.pgbouncer import lookup
from ansible_collections.aza.pg.plugins.module_utils.services.pgbouncer.roles import AUTH
from ansible_collections.aza.pg.tests.unit import declarations
from hypothesis import given
from hypothesis import strategies as st

NAMES = ("one", "two", "three")
PHYSICAL = st.fixed_dictionaries(
    {
        "active": st.just(False),
        "wal_status": st.sampled_from(("reserved", "lost")),
        "database": st.none(),
        "retained": st.just(0),
    }
)
LOGICAL = st.fixed_dictionaries({"active": st.just(False), "database": st.just("shop")})


@given(
    st.lists(st.sampled_from(NAMES), unique=True),
    st.lists(st.sampled_from(NAMES), unique=True),
    st.dictionaries(st.sampled_from(NAMES), PHYSICAL),
    st.dictionaries(st.sampled_from(("four", "five")), LOGICAL),
)
def test_one_plan_is_enough_for_slots(
    declared: list[str], losable: list[str], physical: dict[str, Any], logical: dict[str, Any]
) -> None:
    loss = [f"slot {name}" for name in (*losable, "four") if name not in declared]
    wanted = declarations.describe(allow_loss=loss)
    wanted = replace(wanted, objects={**wanted.objects, "slots": declared})
    server: Any = {"slots": physical, "logical_slots": logical}
    before = copy.deepcopy(server)
    for change in slots.KIND.plan(wanted, Observed(server=server)):
        assert change.effect == ("data" if change.action == "drop" else "sql")
        server = slots.KIND.simulate(wanted, server, change)
    assert not list(slots.KIND.plan(wanted, Observed(server=server)))
    gone = {f"slot {name}" for key in before for name in before[key] if name not in server[key]}
    assert gone <= set(loss)
    assert {name for name, slot in server["slots"].items() if slot["wal_status"] == "lost"}.isdisjoint(
        declared
    )


@pytest.mark.parametrize("stack", ["primary", "single"])
@pytest.mark.parametrize("there", ["nothing", "another definition", "roles"])
def test_one_plan_is_enough_for_the_lookup(stack: str, there: str) -> None:
    wanted = declarations.describe(stack=stack)
    server: Any = {**server_objects.fresh(wanted), "roles": {}}
    if there == "another definition":
        create = Change(lookup.NAME, lookup.FUNCTION, "create")
        server = lookup.KIND.simulate(wanted, server, create)
        server = {**server, "pool_lookup": {**server["pool_lookup"], "source": "select 1", "execute": [""]}}
    if there != "nothing":
        server = {**server, "roles": {AUTH: {}, "app": {}}}
    plan = list(lookup.KIND.plan(wanted, Observed(server=server)))
    uses = wanted.service(lookup.POOLER) is not None
    assert bool(plan) is (uses or there != "nothing")
    for change in plan:
        server = lookup.KIND.simulate(wanted, server, change)
    assert not list(lookup.KIND.plan(wanted, Observed(server=server)))
    assert (AUTH in server["roles"]) is (uses and there != "nothing")
    assert there == "nothing" or "app" in server["roles"]


def test_a_detail_of_another_kind_is_an_error() -> None:
    change = Change("slot", "one", "drop", detail=Detail())
    with pytest.raises(TypeError, match="SlotDetail"):
        change.detail_as(slots.SlotDetail)
