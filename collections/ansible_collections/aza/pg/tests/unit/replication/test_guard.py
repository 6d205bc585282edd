# SPDX-License-Identifier: Apache-2.0
"""No second primary is started and no only copy removed while a member that may matter is unknown."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.aza.pg.plugins.module_utils.replication import guard
from ansible_collections.aza.pg.plugins.module_utils.replication.topology import Member
from ansible_collections.aza.pg.plugins.module_utils.server import positions
from hypothesis import given
from hypothesis import strategies as st

EMPTY: dict[str, Any] = {"data": False, "answers": False, "standby": None, "error": ""}


def live(timeline: int = 1, lsn: str = "0/500", standby: bool = False, **more: Any) -> dict[str, Any]:
    """What a server says that answers."""
    return {
        "data": True,
        "answers": True,
        "in_recovery": standby,
        "system_identifier": "7",
        "timeline": timeline,
        "lsn": lsn,
        "exact": True,
        "history": [(number, f"0/{number}00") for number in range(1, timeline)],
        **more,
    }


def down(
    timeline: int = 1, lsn: str = "0/100", standby: bool | None = False, exact: bool = True, **more: Any
) -> dict[str, Any]:
    """What lies in the volume of a server that does not run."""
    stopped = {"answers": False, "standby": standby, "exact": exact, "error": "its server does not run"}
    return {**live(timeline, lsn), **stopped, **more}


# Whose directory no one may read: perhaps a primary's.
CLOSED = {"data": True, "answers": False, "standby": None, "error": "is unknown"}
ANY = st.sampled_from(
    [
        EMPTY,
        None,
        CLOSED,
        live(),
        live(2),
        live(standby=True),
        live(2, standby=True),
        down(),
        down(2),
        down(exact=False),
        down(lsn="0/90", standby=True),
        down(2, standby=True),
    ]
)


def cluster(*facts: dict[str, Any] | None, vouched: str = "", **more: Any) -> list[Member]:
    """db1 is declared primary, the others replicas."""
    names = [f"db{number}" for number in range(1, len(facts) + 1)]
    return [
        Member(
            host,
            "replica" if number else "primary",
            f"10.0.0.{number}",
            facts=seen,
            vouched=host in vouched.split(","),
            **more,
        )
        for number, (host, seen) in enumerate(zip(names, facts))
    ]


def may_write(facts: dict[str, Any] | None) -> bool:
    """What the tests know of a member, as text of their own."""
    if facts is None or facts is CLOSED:
        return True
    return facts["data"] and not facts.get("in_recovery" if facts["answers"] else "standby")


def both(host: str, members: list[Member], chosen: str = "") -> tuple[list[str], list[str]]:
    return list(guard.deploy(host, members, chosen=chosen)), list(guard.start(host, members, chosen))


def test_a_stopped_primary_is_not_started_while_another_member_is_unknown() -> None:
    for verb in both("db1", cluster(down(), None)):
        (message,) = verb
        assert "it is unknown whether another member is the primary: db2" in message
        assert "-e not_primary=db2" in message
    # Declared a replica since its cluster failed over, as it happened: db2 is the primary, and away.
    for verb in both("db2", cluster(None, down())):
        assert len(verb) == 1 and "not_primary=db1" in verb[0]
    for verb in both("db1", cluster(down(), CLOSED)):
        assert len(verb) == 1 and "start_primary" in verb[0]


def test_the_operator_answers_for_a_member_that_nobody_can_look_at() -> None:
    members = cluster(down(), None, None, vouched="db2")
    assert all("not_primary=db3" in message for verb in both("db1", members) for message in verb)
    members = cluster(down(), None, down(lsn="0/90", standby=True), vouched="db2")
    assert both("db1", members) == ([], [])
    assert list(guard.deploy("db1", cluster(EMPTY, None, vouched="db2"))) == []
    # Who is inspected and found to be one is one, whatever the operator says.
    assert list(guard.vouched(cluster(down(), live(standby=True)), ["db2"])) == []
    for facts in (live(), down(), CLOSED):
        assert len(list(guard.vouched(cluster(down(), facts), ["db2"]))) == 1


def test_a_server_that_writes_is_not_stopped_by_a_member_that_is_away() -> None:
    assert both("db1", cluster(live(), None)) == ([], [])
    assert guard.primary("db1", cluster(live(), live(standby=True))) == ""
    # Found stopped by the time of its start, it may not be started.
    assert "not_primary=db2" in guard.primary("db1", cluster(live(), None))


def test_a_standby_is_started_even_if_members_are_away() -> None:
    assert list(guard.start("db2", cluster(None, down(standby=True)))) == []
    assert list(guard.start("db2", cluster(live(2), down(standby=True)))) == []


def test_a_start_makes_no_empty_server() -> None:
    assert len(list(guard.start("db1", cluster(EMPTY, live())))) == 1


def test_of_several_stopped_primaries_the_operator_names_one() -> None:
    members = cluster(down(1, "0/100"), down(2, "0/300"))
    for host in ("db1", "db2"):
        for verb in both(host, members):
            (message,) = verb
            assert "timeline 1, 0/100" in message and "timeline 2, 0/300" in message
    assert both("db2", members, chosen="db2") == ([], [])
    assert all(len(verb) == 1 for verb in both("db1", members, chosen="db2"))
    # It is no word about members that are unknown, and none against one that writes.
    assert all(both("db2", [*members, Member("db3", "replica", "10.0.0.3")], chosen="db2"))
    assert all(both("db1", cluster(down(), live(2)), chosen="db1"))


def test_a_primary_that_others_have_left_behind_is_not_started() -> None:
    """A standby on a newer timeline shows that another server was promoted."""
    members = cluster(down(1), live(2, standby=True))
    assert all("timeline 2" in message for verb in both("db1", members) for message in verb)
    assert all(both("db1", members)) and both("db1", members, chosen="db1") == ([], [])


@given(st.lists(ANY, min_size=1, max_size=5), st.booleans(), st.data())
def test_no_verb_starts_a_second_primary(
    facts: list[Any], primary_planned: bool, data: st.DataObject
) -> None:
    members = cluster(*facts)
    chosen = data.draw(st.sampled_from(["", *(member.host for member in members)]))
    started = set()
    for member, seen in zip(members, facts):
        others = [other for name, other in zip(members, facts) if name is not member]
        writes = bool(seen) and seen["answers"] and not seen["in_recovery"]
        if seen is None or not may_write(seen) or writes:
            continue
        permitted = not both(member.host, members, chosen)[0] or not both(member.host, members, chosen)[1]
        permitted |= not guard.primary(member.host, members, chosen)
        if permitted:
            started.add(member.host)
            assert None not in others
            assert not any(other["answers"] and not other["in_recovery"] for other in others)
            assert chosen == member.host or not any(map(may_write, others))
    assert len(started) <= 1
    for member, seen in zip(members, facts):
        if (
            seen == EMPTY
            and member.stack == "primary"
            and not list(guard.deploy("db1", members, primary_planned))
        ):
            others = facts[1:]
            # No primary is created beside data, or beside a member that cannot be inspected.
            following = any(other and other["answers"] and not other["in_recovery"] for other in others)
            assert following or all(other == EMPTY for other in others)


# -- removing data ---------------------------------------------------------------------------------------------------


def remove(host: str, members: list[Member], accepted: str = "") -> list[str]:
    return list(guard.remove_data(host, members, "shop", accepted))


@pytest.mark.parametrize(
    "others",
    [
        (None,),
        (None, down(standby=True)),
        (live(standby=True),),
        (down(standby=True),),
        (down(2),),
        (CLOSED,),
    ],
)
@pytest.mark.parametrize("mine", [down(), down(exact=False), CLOSED])
def test_a_stopped_primarys_data_is_kept_while_no_primary_is_known(
    mine: Any, others: tuple[Any, ...]
) -> None:
    members = cluster(mine, *others)
    (message,) = remove("db1", members)
    assert "accept_loss=db1" in message
    assert remove("db1", members, accepted="db1") == []
    assert len(remove("db1", members, accepted="db2")) == 1


@pytest.mark.parametrize(
    ("mine", "other", "lost"),
    [
        # Stopped in order before the other was promoted: everything is there.
        (down(1, "0/100"), live(2), ""),
        (down(1, "0/100"), live(3, history=[(1, "0/120"), (2, "0/200")]), ""),
        # The one that was promoted had not received all.
        (down(1, "0/180"), live(2), "128 bytes of WAL that db2 lacks"),
        (down(1, "0/80"), live(2, exact=True), ""),
        # It crashed: what came after its last checkpoint no one has seen.
        (down(1, "0/100", exact=False), live(2), "was not shut down cleanly"),
        # On one timeline two primaries went apart without a trace.
        (down(1, "0/100"), live(1), "is unknown"),
        (down(1, lsn=""), live(2), "is unknown"),
        (down(1, "0/100", system_identifier="8"), live(2), "another cluster"),
        # A standby: what it has its primary wrote, whenever the two were inspected.
        (live(1, "0/900", standby=True), live(1, "0/500"), ""),
        (down(1, "0/80", standby=True), live(1), ""),
        (live(1, "0/100", standby=True), live(2), ""),
        (live(1, "0/200", standby=True), live(2), "256 bytes of WAL"),
        # The primary is stopped and known, and has at least as much.
        (down(1, "0/80", standby=True), down(1, "0/100"), ""),
        (down(1, "0/120", standby=True), down(1, "0/100"), "32 bytes"),
        (down(1, "0/100", standby=True), EMPTY, None),
    ],
)
def test_what_would_be_lost_is_compared_and_said(mine: Any, other: Any, lost: str | None) -> None:
    members = cluster(mine, other)
    message = remove("db1", members)
    if lost:
        assert len(message) == 1 and lost in message[0] and "accept_loss=db1" in message[0]
        assert remove("db1", members, accepted="db1") == []
    else:
        assert message == []


def test_a_primary_that_runs_is_never_taken_from_the_others() -> None:
    for others in ((live(standby=True),), (down(standby=True),), (None,), (live(2),)):
        assert len(remove("db1", cluster(live(), *others), accepted="db1")) == 1
    assert remove("db1", cluster(live(), EMPTY)) == []
    assert remove("db1", cluster(live(), None, vouched="db2")) == []


def test_what_a_delayed_replica_has_received_is_not_known_while_it_is_stopped() -> None:
    one, two = cluster(down(1, "0/90", standby=True), live(2))
    assert remove("db1", [one, two]) == []
    assert len(remove("db1", [replace(one, delay=3600), two])) == 1


@given(st.lists(ANY, min_size=2, max_size=5))
def test_removing_never_loses_what_nobody_else_has(facts: list[Any]) -> None:
    """All that are permitted to go are taken away at once, as a run without a limit does."""
    members = cluster(*facts)
    gone = {member.host for member in members if member.has_data and not remove(member.host, members)}
    kept = [member for member in members if member.has_data and member.host not in gone]
    for member in members:
        if member.host in gone and any(
            other.has_data or not other.known for other in members if other is not member
        ):
            assert any(_holds(other, member) for other in kept), (member.host, gone)


def _holds(other: Member, member: Member) -> bool:
    if not other.may_write or not other.known:
        return False
    mine, its = member.facts or {}, other.facts or {}
    return positions.missing(mine, its) == 0 or (mine.get("in_recovery") is True and other.writes)


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 bytes"), (1024, "1.0 kB"), (3 * 2**20, "3.0 MB"), (5 * 2**30, "5.0 GB")]
)
def test_sizes(count: int, text: str) -> None:
    assert guard._size(count) == text
