# SPDX-License-Identifier: Apache-2.0
"""Who follows whom, and what a deploy refuses to do."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.aza.pg.plugins.module_utils.replication import guard
from ansible_collections.aza.pg.plugins.module_utils.replication import topology as replication
from ansible_collections.aza.pg.plugins.module_utils.replication.topology import Member
from hypothesis import given
from hypothesis import strategies as st

EMPTY: dict[str, Any] = {"data": False, "answers": False, "standby": None, "error": ""}
PRIMARY = {"data": True, "answers": True, "in_recovery": False, "system_identifier": "7", "timeline": 1}
STANDBY = {**PRIMARY, "in_recovery": True}
DOWN = {"data": True, "answers": False, "standby": False, "error": "its server does not run"}


def cluster(*facts: dict[str, Any] | None, **more: Any) -> list[Member]:
    """db1 is declared primary, the others replicas."""
    return [
        Member(f"db{number}", "primary" if number == 1 else "replica", f"10.0.0.{number}", facts=seen, **more)
        for number, seen in enumerate(facts, 1)
    ]


def message(host: str, members: list[Member], **more: Any) -> str:
    return "; ".join(guard.deploy(host, members, **more))


def test_a_healthy_cluster_is_as_declared() -> None:
    members = cluster(PRIMARY, STANDBY, STANDBY)
    assert [message(member.host, members) for member in members] == ["", "", ""]
    one, two, _ = (replication.role(member.host, members) for member in members)
    assert (one.standby, [it.host for it in one.downstream]) == (False, ["db2", "db3"])
    assert two.upstream is not None and two.upstream.host == "db1"
    assert one.notes == two.notes == ()


def test_a_first_deploy_begins_with_the_declared_primary() -> None:
    members = cluster(EMPTY, EMPTY)
    assert message("db1", members) == ""
    assert "deploy that first" in message("db2", members)
    assert message("db2", members, primary_planned=True) == ""
    assert replication.role("db2", members).standby


def test_after_a_promotion_nothing_is_demoted() -> None:
    members = cluster(STANDBY, PRIMARY, STANDBY)
    assert [message(member.host, members) for member in members] == ["", "", ""]
    two = replication.role("db2", members)
    assert not two.standby and [it.host for it in two.downstream] == ["db1", "db3"]
    assert "db2 was promoted and is the primary, but the inventory declares a replica" in two.notes[0]
    one = replication.role("db1", members)
    assert one.standby and "the inventory says that db1 is the primary, and db2 is" in one.notes[0]


def test_a_primary_is_deployed_beside_members_that_are_away_and_they_are_named() -> None:
    members = cluster(PRIMARY, None, STANDBY)
    assert [message(host, members) for host in ("db1", "db3")] == ["", ""]
    (note,) = replication.role("db1", members).notes
    assert "db2 (it was not checked)" in note
    assert replication.role("db3", members).notes == ()


@pytest.mark.parametrize(
    ("host", "facts", "words"),
    [
        (
            "db1",
            (PRIMARY, PRIMARY),
            "two servers of the cluster are primaries: db1 (timeline 1), db2 (timeline 1)",
        ),
        ("db1", (DOWN, PRIMARY), "started, it would be a second primary"),
        ("db1", (EMPTY, STANDBY), "no member of the cluster is a primary, and other members have data: db2"),
        ("db1", (EMPTY, DOWN), "other members have data: db2 (its server does not run)"),
        ("db1", (EMPTY, None), "it is unknown whether there is a primary: db2"),
        ("db2", (None, STANDBY), "it is unknown whether there is a primary: db1 (it was not checked)"),
        (
            "db1",
            (DOWN, None),
            "it is unknown whether another member is the primary: db2",
        ),
        ("db2", (DOWN, STANDBY), "other members have data: db1"),
        ("db1", (DOWN, DOWN), "db1 and db2 have a primary's data and none of them runs as a primary"),
        ("db2", (DOWN, DOWN), "db2 and db1 have a primary's data and none of them runs as a primary"),
        ("db2", (PRIMARY, {**STANDBY, "system_identifier": "8"}), "data of different clusters"),
    ],
)
def test_what_would_lose_data_is_refused(host: str, facts: tuple[Any, ...], words: str) -> None:
    assert words in message(host, cluster(*facts))


def test_the_primary_that_was_stopped_may_start_again() -> None:
    assert message("db1", cluster(DOWN, STANDBY)) == ""
    assert message("db1", cluster(DOWN, EMPTY)) == ""
    assert not replication.role("db2", cluster(EMPTY, DOWN)).standby


@given(
    st.lists(st.sampled_from([EMPTY, PRIMARY, STANDBY, DOWN, None]), min_size=1, max_size=5),
    st.booleans(),
)
def test_no_second_primary_whatever_was_seen(facts: list[Any], primary_planned: bool) -> None:
    """Whoever may be deployed as a primary is the only one that is, or may become, one."""
    members = cluster(*facts)
    starting = [
        member.host
        for member in members
        if not message(member.host, members, primary_planned=primary_planned)
        and ((member.known and member.may_write) or not replication.role(member.host, members).standby)
    ]
    assert len(starting) <= 1
    if starting and any(member.writes for member in members):
        assert starting == [member.host for member in members if member.writes]


def test_cascade_and_delay() -> None:
    one, two, three = cluster(PRIMARY, STANDBY, STANDBY)
    members = [one, replace(two, delay=3600), replace(three, upstream="db2")]
    roles = {member.host: replication.role(member.host, members, 1) for member in members}
    assert [it.host for it in roles["db1"].downstream] == ["db2"]
    assert [it.host for it in roles["db2"].downstream] == ["db3"]
    assert roles["db1"].candidates == ()
    written = replication.settings(roles["db2"], tls=True)
    assert written["recovery_min_apply_delay"] == "3600s"
    assert (
        "sslmode=verify-full" in written["primary_conninfo"]
        and "host=10.0.0.1" in written["primary_conninfo"]
    )
    assert "host=10.0.0.2" in replication.settings(roles["db3"], tls=True)["primary_conninfo"]


def test_a_cascade_is_turned_round_by_a_promotion() -> None:
    one, two, three = cluster(STANDBY, PRIMARY, STANDBY)
    members = [replace(one, upstream="db3"), two, replace(three, upstream="db2")]
    follows = {
        host: role.upstream.host
        for host in ("db1", "db2", "db3")
        if (role := replication.role(host, members)).upstream
    }
    assert follows == {"db1": "db3", "db3": "db2"}


def test_a_quorum_names_those_that_can_be_waited_for() -> None:
    members = cluster(PRIMARY, STANDBY, STANDBY)
    written = replication.settings(replication.role("db1", members, 1), tls=True)
    assert written["synchronous_standby_names"] == 'ANY 1 ("db2", "db3")'
    assert "primary_conninfo" not in written
    assert "synchronous_standby_names" not in replication.settings(replication.role("db2", members, 1), True)


@given(st.text(min_size=1, max_size=80))
def test_a_slot_has_a_name_that_postgresql_takes(host: str) -> None:
    name = replication.slot_name(host)
    assert 1 <= len(name) <= 63 and set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789_")
