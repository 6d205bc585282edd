# SPDX-License-Identifier: Apache-2.0
"""Clusters in the reports: a line for each member, a picture of who feeds whom, and everything of it well-formed."""

from __future__ import annotations

import json
import re
from html import unescape
from typing import Any
from xml.etree import ElementTree

import pytest
from ansible_collections.aza.pg.plugins.action import findings_table
from ansible_collections.aza.pg.plugins.module_utils.checks.cluster import NOT_ASKED
from ansible_collections.aza.pg.plugins.module_utils.report import page as html
from ansible_collections.aza.pg.plugins.module_utils.report import text, topology
from ansible_collections.aza.pg.plugins.module_utils.report.clusters import Cluster, cluster
from ansible_collections.aza.pg.plugins.module_utils.report.fleet import Fleet, instance
from ansible_collections.aza.pg.tests.unit.checks.samples import declared, facts
from hypothesis import given
from hypothesis import strategies as st

NASTY = "<script src=//evil.example/x.js>alert(1)</script>\"'&\x1b[2J\u202e"
POOLS = {
    "db0": {
        "facts": {
            "console": {
                "version": "PgBouncer 1.26.1",
                "pools": [
                    {"database": "pgbouncer", "user": "pgbouncer"},
                    {
                        "database": "shop",
                        "user": NASTY,
                        "pool_mode": "transaction",
                        "cl_active": 7,
                        "maxwait": 2,
                    },
                ],
            }
        },
        "findings": [{"what": "pool", "state": "yellow", "message": NASTY, "remedy": "x"}],
    }
}


def made(shape: dict[str, Any], message: dict[str, Any], pools: dict[str, Any] | None = None) -> Cluster:
    results = {
        name: {"facts": one} if isinstance(one, dict) else {"error": one} for name, one in message.items()
    }
    return cluster(shape, results, pools)


def fleet(shape: dict[str, Any], message: dict[str, Any], pools: dict[str, Any] | None = None) -> Fleet:
    one = made(shape, message, pools)
    well = {"version": "18.6", "findings": [{"what": "ready", "state": "green", "message": "passed"}]}
    found = [instance(name, f"shop-{entry['role']}", well, one) for name, entry in shape["members"].items()]
    return Fleet.of([*found, instance("other", "crm-single", well)], clusters=[one])


def broken() -> tuple[dict[str, Any], dict[str, Any]]:
    shape = declared(3, cascade=True)
    message: dict[str, Any] = facts(shape)
    message["db1"]["replay_seconds"] = 90
    message["db3"] = "its server does not answer"
    message["db2"]["senders"] = []
    return shape, message


def test_a_line_for_each_member() -> None:
    lines = [line for _, line in text.lines(fleet(*broken(), POOLS), every=False)]
    assert lines[:6] == [
        "cluster shop",
        "  member  role                  timeline  behind     sync   slot             verdict",
        "  db0     primary               1         –          –      –                yellow",
        "  db1     replica               1         0 B, 90 s  async  shop_db1 on db0  red",
        "  db2     replica               1         0 B, 0 s   async  shop_db2 on db1  green",
        "  db3     ? (declared replica)  –         –          –      –                red",
    ]
    assert any(
        line.startswith("  green   primary") and line.endswith("db0 is the only primary") for line in lines
    )
    assert lines[-1].startswith("fleet: 1 cluster, 5 instances: 2 red, 1 yellow, 2 green; findings: ")
    named = [line for line in lines if re.match(r"\S+ on \S+, PostgreSQL", line)]
    assert named[-1].startswith("crm-single on other"), "those in no cluster come last"


def test_json_has_members_pools_and_findings() -> None:
    shape, message = broken()
    found = json.loads(json.dumps(fleet(shape, message, POOLS).to_dict()))
    (one,) = found["clusters"]
    assert (one["cluster"], one["state"]) == ("shop", "red")
    assert [row["host"] for row in one["members"]] == ["db0", "db1", "db2", "db3"]
    assert one["members"][2]["upstream"] == "db1"
    assert one["pools"][0]["clients"] == "7"
    assert {row["cluster"] for row in found["fleet"]} == {"shop", ""}
    assert sum(found["findings"].values()) == len(one["findings"]) + sum(
        len(row["findings"]) for row in found["fleet"]
    )


def test_what_a_member_says_stands_with_its_instance() -> None:
    shape, message = broken()
    found = {one.host: one for one in fleet(shape, message, POOLS).instances}
    assert ("lag", "red") in {(item.what, item.state) for item in found["db1"].findings}
    assert ("pool", "yellow") in {(item.what, item.state) for item in found["db0"].findings}
    assert found["other"].state == "green"


def test_the_page_has_the_picture() -> None:
    shape, message = broken()
    page = html.render(fleet(shape, message, POOLS))
    assert "\x1b" not in page
    assert "<script" not in page
    assert "does not stream" in page
    (picture,) = re.findall(r"<svg.*?</svg>", page, re.DOTALL)
    texts = [node.text for node in ElementTree.fromstring(picture).iter("text")]
    assert [
        name
        for name in ("✕ db1", "✓ db2", "0 B, 90 s", "async · TLSv1.3", "does not stream")
        if name not in texts
    ] == []
    assert "Cluster shop" in unescape(page)


members = st.integers(0, 8)


@given(members, st.data())
def test_any_shape_gives_a_picture_with_every_member_once(count: int, data: st.DataObject) -> None:
    """Also where members are said to feed each other, or themselves."""
    shape = declared(count)
    names = list(shape["members"])
    message: Any = facts(shape)
    for name in names:
        shape["members"][name]["upstream"] = data.draw(st.sampled_from([*names, "", "foreign"]))
        if data.draw(st.booleans()):
            message[name]["in_recovery"] = data.draw(st.sampled_from([True, False, None]))
    one = made(shape, message)
    assert sorted(member.host for member in one.members) == sorted(names)
    drawing = topology.draw(one)
    boxes = [(box.x, box.y) for box in drawing.boxes] if drawing else []
    assert len(boxes) == len(set(boxes)) == len(names), "no box hides another"
    assert all(box.x + box.width <= drawing.width for box in drawing.boxes) if drawing else not names
    assert all(box.y + box.height <= drawing.height for box in drawing.boxes) if drawing else not names


@pytest.mark.parametrize("name", [NASTY, "x" * 300])
def test_any_name_is_only_a_name(name: str) -> None:
    shape = declared(1)
    shape["members"][name] = {**shape["members"]["db1"], "slot": name}
    page = html.render(fleet(shape, {**facts(declared(1)), name: NASTY}))
    assert "<script" not in page


def test_the_action_takes_what_the_checks_left() -> None:
    shape = declared(1)
    given_now = {**shape, "members": [{"host": name, **entry} for name, entry in shape["members"].items()]}
    message = facts(shape)
    known: dict[str, Any] = {
        "db0": {
            "postgres_cluster": "shop",
            "replication_result": {"facts": message["db0"]},
            "instance_result": {},
        },
        "db1": {"postgres_cluster": "shop"},
    }
    one = findings_table.cluster(given_now, list(known), known)
    assert {member.host: member.state for member in one.members} == {"db0": "green", "db1": "red"}
    found = {item.host: item for item in findings_table.instances(list(known), known, [one])}
    assert next(item.message for item in found["db1"].of("red")) == "it was not checked"


@pytest.mark.parametrize("left_out", ["db0", "db1", "db2"])
def test_who_is_left_out_by_limit_is_not_red(left_out: str) -> None:
    shape = declared(2, cascade=True)
    given_now = {**shape, "members": [{"host": name, **entry} for name, entry in shape["members"].items()]}
    known = {name: {"replication_result": {"facts": message}} for name, message in facts(shape).items()}
    asked = [name for name in known if name != left_out]
    one = findings_table.cluster(given_now, asked, known)
    assert one.state == "yellow"
    assert [item.message for item in (one.of_member or {})[left_out] if item.what == "server"] == [NOT_ASKED]


@pytest.mark.parametrize(
    ("result", "message"),
    [
        ({}, "it was not checked"),
        ({"facts": {}, "error": "its server does not answer: no"}, "its server does not answer: no"),
        ({"unreachable": True, "msg": "ssh: no route"}, "it cannot be reached: ssh: no route"),
        ({"failed": True, "msg": "no psycopg"}, "no psycopg"),
    ],
)
def test_why_a_member_said_nothing(result: dict[str, Any], message: str) -> None:
    one = cluster(declared(1), {"db0": {"facts": facts(declared(1))["db0"]}, "db1": result})
    assert [item.message for item in (one.of_member or {})["db1"] if item.what == "server"] == [message]
