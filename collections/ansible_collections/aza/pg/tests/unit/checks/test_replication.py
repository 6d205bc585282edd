# SPDX-License-Identifier: Apache-2.0
"""The judge of replication: all green when all is well, and one sentence for each thing that is not."""

from __future__ import annotations

import doctest
from collections.abc import Callable, Mapping
from copy import deepcopy
from types import ModuleType
from typing import Any

import pytest
from ansible_collections.aza.pg.plugins.module_utils.checks import amounts, cluster, member
from ansible_collections.aza.pg.plugins.module_utils.checks.cluster import Declared, Synchronous
from ansible_collections.aza.pg.plugins.module_utils.checks.replication import judge
from ansible_collections.aza.pg.plugins.module_utils.planning.finding import Finding
from ansible_collections.aza.pg.tests.unit.checks.samples import MINIMUMS, declared, facts, slot
from hypothesis import given
from hypothesis import strategies as st

Told = dict[str, list[Finding]]
Edit = Callable[[dict[str, Any]], Any]


def told(given_now: Mapping[str, Any], message: Mapping[str, Any]) -> Told:
    return judge(Declared.of(given_now), message)


def not_green(found: Told) -> list[tuple[str, Finding]]:
    return [(name, item) for name, every in found.items() for item in every if item.state != "green"]


shapes = st.builds(
    lambda replicas, synchronous, cascade, delay: declared(
        replicas, min(synchronous, 0 if cascade else max(replicas - 1, 0)), cascade, delay
    ),
    st.integers(0, 6),
    st.integers(0, 3),
    st.booleans(),
    st.sampled_from([0, 3600]),
)


@given(shapes)
def test_a_healthy_cluster_of_any_size_is_all_green(shape: dict[str, Any]) -> None:
    found = told(shape, facts(shape))
    assert not not_green(found)
    assert all(found[name] for name in shape["members"])


def promote(message: dict[str, Any]) -> None:
    message["db1"] |= {
        "in_recovery": False,
        "receiver": None,
        "timeline": 2,
        "slots": [],
        "replay_paused": None,
    }


def two_primaries(message: dict[str, Any]) -> None:
    promote(message)
    message["db0"]["senders"] = [row for row in message["db0"]["senders"] if row["slot_name"] != "shop_db1"]
    message["db0"]["slots"][0]["active"] = False


def failed_over(message: dict[str, Any]) -> None:
    """db1 was promoted, the old primary is gone, db2 still asks it."""
    promote(message)
    message["db0"] = "ssh: connect to host db0 port 22: No route to host"
    message["db2"]["receiver"] = None


def gone(message: dict[str, Any]) -> None:
    message["db1"] = "its server does not answer: connection refused"
    message["db0"]["senders"] = [row for row in message["db0"]["senders"] if row["slot_name"] != "shop_db1"]
    message["db0"]["slots"][0]["active"] = False


def elsewhere(message: dict[str, Any]) -> None:
    (row,) = [row for row in message["db0"]["senders"] if row["slot_name"] == "shop_db2"]
    message["db0"]["senders"].remove(row)
    message["db1"]["senders"].append(row)


def setting(name: str, value: Any, host: str = "db0") -> Edit:
    return lambda message: message[host]["settings"].update({name: value})


def of(host: str, **values: Any) -> Edit:
    return lambda message: message[host].update(values)


def slot_of(**values: Any) -> Edit:
    return lambda message: message["db0"]["slots"][0].update(values)


def sender_of(**values: Any) -> Edit:
    return lambda message: message["db0"]["senders"][0].update(values)


def receiver_of(**values: Any) -> Edit:
    return lambda message: message["db1"]["receiver"].update(values)


# What happened to a primary and two replicas, whom it is said of, under which name and how, and words of it.
CASES: dict[str, tuple[Edit, str, str, str, str]] = {
    "no primary": (of("db0", in_recovery=True), "", "primary", "red", "every member is a standby"),
    "the primary is gone": (
        lambda message: message.update(db0="no route to host"),
        "",
        "primary",
        "red",
        "no member accepts writes: db0 could not be checked",
    ),
    "two primaries": (two_primaries, "", "primary", "red", "db0 and db1 are primaries at the same time"),
    "a promoted replica": (two_primaries, "db1", "role", "yellow", "it was promoted: it is a primary"),
    "failed over": (failed_over, "db1", "role", "yellow", "the inventory declares a replica"),
    "left behind": (failed_over, "db2", "streaming", "red", "it receives nothing from db1"),
    "a demoted primary": (
        of("db0", in_recovery=True),
        "db0",
        "role",
        "yellow",
        "the inventory declares a primary",
    ),
    "a silent member": (gone, "db1", "server", "red", "its server does not answer: connection refused"),
    "a member without facts": (
        lambda message: message.pop("db1"),
        "db1",
        "server",
        "red",
        "it was not checked",
    ),
    "its slot waits": (
        gone,
        "db1",
        "slot",
        "red",
        "slot shop_db1 on db0 is not in use; it keeps 1 MB of WAL",
    ),
    "no receiver": (of("db1", receiver=None), "db1", "streaming", "red", "it receives nothing from db0"),
    "a receiver that waits": (receiver_of(status="waiting"), "db1", "streaming", "red", "'waiting' from db0"),
    "another upstream": (elsewhere, "db2", "streaming", "red", "from db1, declared is db0"),
    "a foreign": (
        lambda message: message["db0"].update(senders=message["db0"]["senders"][1:]),
        "db1",
        "streaming",
        "red",
        "from db0:5432, declared is db0",
    ),
    "catching up": (
        sender_of(state="catchup"),
        "db1",
        "streaming",
        "yellow",
        "db0 reports the state 'catchup'",
    ),
    "no slot": (
        lambda message: message["db0"]["slots"].pop(0),
        "db1",
        "slot",
        "red",
        "db0 has no slot shop_db1",
    ),
    "another slot": (
        receiver_of(slot_name="mine"),
        "db1",
        "slot",
        "red",
        "uses the slot mine, declared is shop_db1",
    ),
    "an idle slot": (slot_of(active=False), "db1", "slot", "red", "is not in use"),
    "a slot that loses": (
        slot_of(wal_status="unreserved"),
        "db1",
        "slot",
        "red",
        "is removed at the next checkpoint",
    ),
    "a lost slot": (slot_of(wal_status="lost"), "db1", "slot", "red", "is gone"),
    "a slot that grows": (slot_of(wal_status="extended"), "db1", "slot", "yellow", "more than max_wal_size"),
    "a stray slot that loses": (
        lambda message: message["db0"]["slots"].append(slot("old", wal_status="lost")),
        "db0",
        "slots",
        "red",
        "its WAL is lost",
    ),
    "behind in bytes": (
        lambda message: (
            (of("db1", replay_lsn="1/0", replay_bytes=0)(message), of("db0", lsn="2/0")(message))
            and sender_of(lag_bytes=2**32)(message)
        ),
        "db1",
        "lag",
        "red",
        "4 GB, 0 s behind; the limit is at most 64 MB",
    ),
    "behind in seconds": (
        of("db1", replay_seconds=90),
        "db1",
        "lag",
        "red",
        "90 s behind; the limit is at most 30 s",
    ),
    "paused": (of("db1", replay_paused=True), "db1", "lag", "red", "its replay is paused"),
    "delayed by nobody": (
        setting("recovery_min_apply_delay", 60, "db1"),
        "db1",
        "delay",
        "yellow",
        "delays its replay by 60 s, declared is 0 s",
    ),
    "the row did not come": (
        of("db1", sentinel={"seen": False, "seconds": 5.0, "until": 2000.0}),
        "db1",
        "sentinel",
        "red",
        "a row written on db0 had not arrived after 5 s",
    ),
    "the row came late": (
        of("db1", sentinel={"seen": True, "age": 12.0, "seconds": 0.0}),
        "db1",
        "sentinel",
        "yellow",
        "arrived 12 s later",
    ),
    "asked too early": (
        of("db1", sentinel={"seen": False, "seconds": 5.0, "until": 900.0}),
        "db1",
        "sentinel",
        "yellow",
        "had stopped waiting before",
    ),
    "the row could not be written": (
        of("db0", sentinel={"written": False, "error": "permission denied"}),
        "db0",
        "sentinel",
        "red",
        "a row could not be written: permission denied",
    ),
    "another timeline": (of("db1", timeline=2), "db1", "timeline", "red", "on timeline 2, db0 on 1"),
    "another cluster": (of("db1", system_identifier="42"), "db1", "timeline", "red", "another cluster"),
    "smaller": (
        setting("max_connections", 40, "db1"),
        "db1",
        "parameters",
        "red",
        "less than the primary has: max_connections 40 < 100",
    ),
    "without TLS": (sender_of(tls=False), "db1", "tls", "red", "it streams from db0 without TLS"),
    "another image": (
        of("db1", image="sha256:0"),
        "",
        "images",
        "yellow",
        "db0 and db2: sha256:7c0efc13904d",
    ),
    "no limit": (setting("max_slot_wal_keep_size", -1), "db0", "retention", "yellow", "is unlimited"),
    "a small disk": (
        of("db0", disk_free=2**30),
        "db0",
        "retention",
        "yellow",
        "may keep 8 GB; 1 GB are free",
    ),
    "synchronous and is not declared": (
        setting("synchronous_standby_names", "FIRST 1 (x)"),
        "",
        "synchronous",
        "red",
        "each commit waits for 1 of x, declared are 0 synchronous replicas",
    ),
}


@pytest.mark.parametrize("title", CASES)
def test_each_thing_that_is_wrong_is_said(title: str) -> None:
    edit, name, what, state, text = CASES[title]
    given_now = declared(2)
    message = facts(given_now)
    edit(message)
    found = told(given_now, message)
    assert any((item.what, item.state) == (what, state) and text in item.message for item in found[name]), (
        found[name]
    )
    assert all(item.remedy for _, item in not_green(found)), "what is not well says what helps"


def synchronous(number: int, names: str, states: dict[str, str], commit: str = "on") -> list[Finding]:
    given_now = declared(2, number)
    message = facts(given_now)
    message["db0"]["settings"] |= {"synchronous_standby_names": names, "synchronous_commit": commit}
    for row in message["db0"]["senders"]:
        row["sync_state"] = states.get(row["slot_name"], "async")
    return [item for item in told(given_now, message)[""] if item.what == "synchronous"]


BOTH = {"shop_db1": "quorum", "shop_db2": "quorum"}


@pytest.mark.parametrize(
    ("number", "names", "states", "commit", "expected"),
    [
        (0, "", {}, "on", []),
        (
            1,
            "ANY 1 (shop_db1, shop_db2)",
            BOTH,
            "on",
            ["green each commit waits for 1 of shop_db1 and shop_db2"],
        ),
        (1, "ANY 1 (shop_db1)", {"shop_db1": "quorum"}, "on", ["yellow when one more fails, writes block"]),
        (2, "ANY 2 (shop_db1, shop_db2)", {"shop_db1": "quorum"}, "on", ["red writes block now"]),
        (1, "FIRST 1 (gone)", {}, "on", ["red only none is connected"]),
        (1, "", {}, "on", ["red no commit waits, declared are 1 synchronous replicas"]),
        (2, "ANY 1 (shop_db1, shop_db2)", BOTH, "on", ["red each commit waits for 1"]),
        (
            1,
            "FIRST 1 (*)",
            {"shop_db1": "sync", "shop_db2": "potential"},
            "local",
            ["yellow commits do not wait for a replica", "green each commit waits for 1 of *"],
        ),
    ],
)
def test_synchronous_as_declared_and_whether_writes_block(
    number: int, names: str, states: dict[str, str], commit: str, expected: list[str]
) -> None:
    found = synchronous(number, names, states, commit)
    assert len(found) == len(expected), found
    for item, (state, _, words_of_it) in zip(found, (line.partition(" ") for line in expected)):
        assert item.state == state
        assert words_of_it.lower() in item.message.lower()


def test_a_delayed_replica_is_behind_on_purpose() -> None:
    given_now = declared(2, delay=3600)
    message = facts(given_now)
    sender = message["db0"]["senders"][1]
    sender["lag_bytes"] = 2**40
    message["db2"] |= {"replay_lsn": "0/1", "replay_seconds": 3610}
    assert not not_green(told(given_now, message))
    sender["receive_lag_bytes"] = 2**40
    message["db2"]["receive_lsn"] = "0/1"
    (item,) = [item for item in told(given_now, message)["db2"] if item.what == "lag"]
    assert (item.state, "delayed by 1 h on purpose" in item.message) == ("red", True)


def test_a_delayed_replica_of_a_primary_that_was_idle_for_hours() -> None:
    """What it replayed last is old; what it has not replayed yet is not."""
    given_now = declared(1, delay=3600)
    message = facts(given_now)
    message["db1"]["replay_seconds"] = 5 * 3600
    message["db0"]["senders"][0]["lag_seconds"] = 3601
    assert not not_green(told(given_now, message))
    message["db0"]["senders"][0]["lag_seconds"] = 4000
    assert [item.what for _, item in not_green(told(given_now, message))] == ["lag"]


def test_after_a_failover_the_others_follow_the_live_primary() -> None:
    """The inventory still has db0 as the primary; db1 is, and feeds both others."""
    given_now = declared(2)
    given_now["members"]["db0"]["slot"] = "shop_db0"
    new = deepcopy(given_now)
    new["members"]["db0"] |= {"role": "replica", "upstream": "db1", "delay": 0}
    new["members"]["db1"] |= {"role": "primary"}
    new["members"]["db2"] |= {"upstream": "db1"}
    found = told(given_now, facts(new))
    assert {(name, item.what, item.state) for name, item in not_green(found)} == {
        ("db0", "role", "yellow"),
        ("db1", "role", "yellow"),
    }


def _walk(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(found for key, item in inside for found in _walk(item, (*path, key)))]


values = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**64), 2**64),
    st.floats(allow_nan=True),
    st.text(max_size=8),
    st.just("1/0"),
    st.lists(st.none(), max_size=2),
    st.dictionaries(st.sampled_from(["seen", "written", "status", "name"]), st.integers(), max_size=2),
)


@given(shapes, st.data())
def test_no_facts_make_it_stumble(shape: dict[str, Any], data: st.DataObject) -> None:
    message: Any = facts(shape)
    for _ in range(data.draw(st.integers(0, 8))):
        *parents, last = data.draw(st.sampled_from(_walk(message)[1:] or [("db0",)]))
        place = message
        for key in parents:
            place = place[key]
        place[last] = data.draw(values)
    found = told(shape, message)
    assert set(found) == {"", *shape["members"]}
    assert any(item.what == "primary" for item in found[""])


@given(shapes.filter(lambda shape: len(shape["members"]) > 1), st.data())
def test_each_single_harm_is_seen(shape: dict[str, Any], data: st.DataObject) -> None:
    """In clusters of any shape; what is healthy is all green, see above."""
    message: Any = facts(shape)
    name = data.draw(st.sampled_from([name for name in message if name != "db0"]))
    upstream = shape["members"][name]["upstream"] or "db0"
    (number,) = [
        n for n, row in enumerate(message[upstream]["slots"]) if row["name"] == shape["members"][name]["slot"]
    ]
    row, sender = message[upstream]["slots"][number], message[upstream]["senders"][number]
    harms: list[Callable[[], Any]] = [
        lambda: message.pop(name),
        lambda: message.update({name: "no route"}),
        lambda: message.update(db0="no route"),
        lambda: message[name].update(in_recovery=False),
        lambda: message[name].update(timeline=7),
        lambda: message[name].update(system_identifier="1"),
        lambda: message[name].update(receiver=None),
        lambda: message[name].update(replay_paused=True),
        lambda: message[name].update(replay_seconds=10**6),
        lambda: message[name].update(image="sha256:other"),
        lambda: message[name].update(sentinel={"seen": False, "seconds": 5, "until": 2000}),
        lambda: message[name]["receiver"].update(status="stopping"),
        lambda: message[name]["receiver"].update(slot_name="other"),
        lambda: row.update(
            data.draw(st.sampled_from([{"active": False}, {"wal_status": "lost"}, {"name": "x"}]))
        ),
        lambda: message[upstream]["slots"].remove(row),
        lambda: message[upstream]["slots"].append(slot("stray", wal_status="lost")),
        lambda: message[upstream]["senders"].remove(sender),
        lambda: sender.update(tls=False),
        lambda: message[upstream]["settings"].update(max_slot_wal_keep_size=-1),
        lambda: message[upstream].update(disk_free=0),
        lambda: message["db0"]["settings"].update(synchronous_standby_names="ANY 5 (nobody)"),
        lambda: message[name]["settings"].update({data.draw(st.sampled_from(sorted(MINIMUMS))): -1}),
        lambda: message["db0"].update(sentinel={"written": False, "error": "no"}),
    ]
    data.draw(st.sampled_from(harms))()
    assert not_green(told(shape, message))


@pytest.mark.parametrize(
    ("setting_is", "expected"),
    [
        ("", ("", 0, ())),
        ("*", ("FIRST", 1, ("*",))),
        ("2 (a, b)", ("FIRST", 2, ("a", "b"))),
        ('any 1 ("Db ""1""", b)', ("ANY", 1, ('Db "1"', "b"))),
    ],
)
def test_synchronous_standby_names_are_read(
    setting_is: str, expected: tuple[str, int, tuple[str, ...]]
) -> None:
    found = Synchronous.of(setting_is)
    assert (found.method, found.count, found.names) == expected


@pytest.mark.parametrize("module", [cluster, member, amounts])
def test_the_examples_in_the_code(module: ModuleType) -> None:
    assert doctest.testmod(module).failed == 0
