# SPDX-License-Identifier: Apache-2.0
"""What being a member of a cluster adds to a plan."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import yaml
from ansible_collections.aza.pg.plugins.module_utils.instance import findings, preflight, server_objects
from ansible_collections.aza.pg.plugins.module_utils.instance import plan as planning
from ansible_collections.aza.pg.plugins.module_utils.model.desired import Desired
from ansible_collections.aza.pg.plugins.module_utils.model.observed import Observed
from ansible_collections.aza.pg.plugins.module_utils.objects import roles, slots
from ansible_collections.aza.pg.plugins.module_utils.objects.kind import Kind
from ansible_collections.aza.pg.plugins.module_utils.objects.settings import STACK_PATH
from ansible_collections.aza.pg.plugins.module_utils.replication import topology as replication
from ansible_collections.aza.pg.plugins.module_utils.replication.topology import Member
from ansible_collections.aza.pg.tests.unit.instance.test_plan import describe, running

PRIMARY = {"data": True, "answers": True, "in_recovery": False}
STANDBY = {**PRIMARY, "in_recovery": True}


@pytest.fixture(autouse=True)
def _slots_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    bare = Kind("role", declared=roles.KIND.declared)
    monkeypatch.setattr(server_objects, "KINDS", (bare, slots.KIND))


def member(host: str, first: dict[str, Any], second: dict[str, Any], **more: Any) -> Desired:
    """db1 or db2 of a cluster whose live servers say so."""
    members = [
        Member("db1", "primary", more.pop("first_address", "10.0.0.1"), facts=first),
        Member("db2", "replica", "10.0.0.2", facts=second),
    ]
    return describe(
        stack="primary",
        member=replication.role(host, members),
        **more,
    )


def live(wanted: Desired, **server: Any) -> Observed:
    return running(wanted, **{"in_recovery": wanted.standby, "slots": {}, **server})


def lines(wanted: Desired, found: Observed) -> list[str]:
    return [change.text() for change in planning.plan(wanted, found, ("restart", "recreate")).changes]


def test_another_primary_is_a_reload_and_the_plan_says_which_word_changes() -> None:
    found = live(member("db2", PRIMARY, STANDBY))
    elsewhere = member("db2", PRIMARY, STANDBY, first_address="10.0.0.9")
    assert [line for line in lines(elsewhere, found) if "setting" in line] == [
        "setting primary_conninfo  host=10.0.0.1 → host=10.0.0.9  because the stack sets it"
    ]


def test_a_promoted_server_keeps_no_word_of_whom_it_followed() -> None:
    message = lines(member("db2", STANDBY, PRIMARY), live(member("db2", PRIMARY, STANDBY)))
    assert any("primary_conninfo" in line and "unset" in line for line in message)


def test_a_new_password_of_the_replicas_needs_no_reload() -> None:
    wanted = member("db2", PRIMARY, STANDBY)
    found = live(wanted)
    younger = {path: {**state, "modified": 2e6} for path, state in found.files.items()}
    secret = {replication.PASSFILE_PATH: younger[replication.PASSFILE_PATH]}
    assert lines(wanted, replace(found, files={**found.files, **secret})) == []
    one = {STACK_PATH: younger[STACK_PATH]}
    assert lines(wanted, replace(found, files={**found.files, **one})) != []


def test_each_follower_has_a_slot_and_nobody_elses_is_dropped_unasked() -> None:
    wanted = member("db1", PRIMARY, STANDBY)
    assert [line for line in lines(wanted, live(wanted)) if "slot" in line] == [
        "create slot db2  because a replica streams from this server"
    ]
    old = {"active": False, "wal_status": "reserved", "retained": 2**24}
    found = live(wanted, slots={"db2": {**old, "active": True}, "db9": old})
    assert lines(wanted, found) == []
    (message,) = slots._undeclared(wanted, found)
    assert "keeps 16 MB of WAL" in message.message and 'postgres_allow_loss: ["slot db9"]' in message.remedy
    given_up = live(wanted, slots={"db2": {**old, "wal_status": "lost", "retained": None}})
    (again,) = [line for line in lines(wanted, given_up) if "slot" in line]
    assert again.startswith("recreate slot db2  because the server invalidated it")
    allowed = member("db1", PRIMARY, STANDBY, allow_loss=["slot db9"])
    assert [line.split("  ")[0] for line in lines(allowed, found)] == ["drop slot db9"]
    in_use = live(allowed, slots={"db2": {**old, "active": True}, "db9": {**old, "active": True}})
    plan = planning.plan(allowed, in_use)
    assert not plan.changes
    assert plan.lines()[0] == "waits for the end of its use"
    assert plan.lines()[1].startswith("  drop slot db9")
    (waiting,) = [finding for finding in findings.drift(plan) if finding.what == "waiting"]
    assert waiting.remedy == "deploy after the end of its use"


def test_a_standby_below_its_primary_is_restarted() -> None:
    wanted = member("db2", PRIMARY, STANDBY, minimums={"max_connections": 120})
    found = live(wanted)
    settings = {**(found.server or {})["settings"], "max_connections": {"raw": "80", "context": "postmaster"}}
    behind = replace(found, server={**(found.server or {}), "settings": settings})
    (message,) = lines(wanted, behind)
    assert message.startswith("restart server shop") and "its primary has max_connections 120" in message
    enough = {**settings, "max_connections": {"raw": "120", "context": "postmaster"}}
    assert lines(wanted, replace(found, server={**(found.server or {}), "settings": enough})) == []


SMALLER = "setting max_connections  120 → 60"


def smaller(primary: int, replayed: int, source: str = "configuration file") -> tuple[Desired, Observed]:
    """A standby that runs with 120 connections and is declared to have 60."""
    now = member("db2", PRIMARY, STANDBY, settings={"max_connections": 120})
    wanted = member(
        "db2", PRIMARY, STANDBY, settings={"max_connections": 60}, minimums={"max_connections": primary}
    )
    found = live(now if source == "configuration file" else wanted)
    known = (found.server or {})["settings"]
    known = {**known, "max_connections": {**known["max_connections"], "raw": "120", "source": source}}
    server = {**(found.server or {}), "settings": known}
    return wanted, replace(found, server=server, control={"max_connections": replayed} if replayed else {})


@pytest.mark.parametrize("permission", [(), ("restart",)])
def test_a_smaller_value_waits_for_the_primary_and_then_for_the_replay(permission: tuple[str, ...]) -> None:
    """And so does what the image has started with more than is set."""
    plan = planning.plan(*smaller(primary=120, replayed=120), permission)
    assert not plan.changes
    assert plan.lines()[0] == "waits for its primary, which has max_connections 120"
    assert plan.lines()[1].startswith(f"  {SMALLER}")
    if permission:
        plan = planning.plan(*smaller(primary=60, replayed=120), permission)
        assert not plan.changes and plan.lines()[0] == "waits for the replay of its primary's change"
        assert lines(*smaller(primary=60, replayed=60)) == [SMALLER]
        # No one asked: check mode, where it is predicted that all goes well.
        assert lines(*smaller(primary=60, replayed=0)) == [SMALLER]


def test_what_was_started_with_more_than_is_set_is_restarted_when_it_may() -> None:
    (message,) = lines(*smaller(primary=60, replayed=60, source="command line"))
    assert message.startswith("restart server shop") and "more than max_connections 60" in message
    assert lines(*smaller(primary=60, replayed=120, source="command line")) == []
    assert lines(*smaller(primary=120, replayed=120, source="command line")) == []


@pytest.mark.parametrize(("skew", "words"), [(90.0, "90 s ahead of"), (-3600.0, "3600 s behind"), (30.0, "")])
def test_a_clock_that_is_wrong_is_said_before_anything_is_done(skew: float, words: str) -> None:
    wanted = member("db1", PRIMARY, STANDBY)
    found = live(wanted)
    message = preflight.problems(wanted, replace(found, host={**found.host, "skew": skew}))
    assert [words in one for one in message] == ([True] if words else [])


def test_who_becomes_the_primary_changes_no_container_and_no_network() -> None:
    """Compose makes a network again whose labels differ, and cannot while a container is connected to it."""
    members = [
        Member("db1", "primary", "10.0.0.1", facts=PRIMARY),
        Member("db2", "replica", "10.0.0.2", facts=STANDBY),
    ]
    role = replication.role("db2", members)
    two = [describe(stack=stack, member=role, objects={"undeclared": {}}) for stack in ("primary", "replica")]
    assert two[0].services == two[1].services
    networks = [
        yaml.safe_load(next(item.text or "" for item in wanted.files if item.path == "compose.yml"))[
            "networks"
        ]
        for wanted in two
    ]
    assert networks[0] == networks[1]
