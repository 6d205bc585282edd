# SPDX-License-Identifier: Apache-2.0
"""The judge of a pool: all green when all is well, and one sentence for each thing that is not."""

from __future__ import annotations

import doctest
from collections.abc import Callable
from typing import Any

import pytest
from ansible_collections.aza.pg.plugins.module_utils.checks import pgbouncer
from ansible_collections.aza.pg.plugins.module_utils.checks.pgbouncer import Declared, judge
from ansible_collections.aza.pg.plugins.module_utils.planning.finding import Finding
from hypothesis import given
from hypothesis import strategies as st

DECLARED = Declared(
    databases={"shop": {"pool_size": 20, "pool_mode": "transaction"}, "postgres": {}},
    config={"max_client_conn": 100, "pool_mode": "transaction"},
)


def facts() -> dict[str, Any]:
    return {
        "client": "shop",
        "databases": {
            name: {"session_user": "shop", "tls": True, "prepared": True, "servers": 2, "seconds": 0.01}
            for name in ("shop", "postgres")
        },
        "wrong_password": {"refused": True, "message": "FATAL: password authentication failed"},
        "console": {
            "version": "PgBouncer 1.26.1",
            "config": {"max_client_conn": "100", "pool_mode": "transaction"},
            "lists": {"used_clients": 7},
            "databases": [
                {"name": "pgbouncer", "force_user": "pgbouncer", "pool_size": 2, "paused": 0, "disabled": 0},
                {
                    "name": "shop",
                    "force_user": None,
                    "pool_size": 20,
                    "pool_mode": "transaction",
                    "paused": 0,
                },
                {"name": "postgres", "force_user": None, "pool_size": 5, "pool_mode": None, "paused": 0},
            ],
            "pools": [
                {"database": "shop", "user": "shop", "cl_waiting": 0, "maxwait": 0, "maxwait_us": 0},
                {"database": "pgbouncer", "user": "pgbouncer", "cl_waiting": 0, "maxwait": 99},
            ],
        },
    }


def not_green(found: list[Finding]) -> list[Finding]:
    return [item for item in found if item.state != "green"]


def at(*path: Any, **values: Any) -> Callable[[dict[str, Any]], None]:
    def edit(message: dict[str, Any]) -> None:
        place: Any = message
        for key in path:
            place = place[key]
        place.update(values)

    return edit


SHOP = ("console", "databases", 1)
CASES: dict[str, tuple[Callable[[dict[str, Any]], Any], str, str, str]] = {
    "no way in": (
        at("databases", shop={"error": "timeout"}),
        "pool",
        "red",
        "shop does not reach shop: timeout",
    ),
    "as another": (
        at("databases", "shop", session_user="pooler"),
        "pool",
        "red",
        "in shop the server sees shop as pooler",
    ),
    "without TLS": (at("databases", "shop", tls=False), "pool tls", "red", "shop reaches shop without TLS"),
    "not prepared": (
        at("databases", "shop", prepared=False, prepared_error="gone"),
        "pool prepared",
        "red",
        "does not outlive its transaction in shop: gone",
    ),
    "everybody": (
        at(wrong_password={"refused": False}),
        "pool password",
        "red",
        "admits shop with a wrong password",
    ),
    "unclear": (
        at("wrong_password", message="connection refused"),
        "pool password",
        "yellow",
        "is unknown: connection refused",
    ),
    "no console": (at(console={"error": "gone"}), "pool console", "red", "its console does not answer: gone"),
    "another setting": (
        at("console", "config", max_client_conn="50"),
        "pool settings",
        "red",
        "max_client_conn is 50, declared is 100",
    ),
    "another size": (
        at(*SHOP, pool_size=3),
        "pool databases",
        "red",
        "pool_size of shop is 3, declared is 20",
    ),
    "everybody is one": (
        at(*SHOP, force_user="x"),
        "pool databases",
        "red",
        "every client of shop becomes x",
    ),
    "paused": (at(*SHOP, paused=1), "pool databases", "red", "shop is paused"),
    "disabled": (at(*SHOP, disabled=1), "pool databases", "red", "shop is disabled"),
    "unknown": (
        lambda message: message["console"]["databases"].pop(1),
        "pool databases",
        "red",
        "does not know shop",
    ),
    "undeclared": (at(*SHOP, name="crm"), "pool databases", "yellow", "not declared: crm"),
    "waiting": (
        at("console", "pools", 0, cl_waiting=3, maxwait=4),
        "pool queue",
        "red",
        "3 clients wait for a server, one for 4 s (shop as shop)",
    ),
    "full": (at("console", "lists", used_clients=95), "pool clients", "yellow", "95 of 100 clients"),
}


def test_all_is_well() -> None:
    found = judge(DECLARED, facts())
    assert not not_green(found)
    assert {item.what for item in found} == {
        *(
            "pool",
            "pool password",
            "pool settings",
            "pool databases",
            "pool queue",
            "pool clients",
        )
    }


@pytest.mark.parametrize("title", CASES)
def test_each_thing_that_is_wrong_is_said(title: str) -> None:
    edit, what, state, text = CASES[title]
    message = facts()
    edit(message)
    found = judge(DECLARED, message)
    assert any((item.what, item.state) == (what, state) and text in item.message for item in found), found
    assert all(item.remedy for item in not_green(found))


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["error", "message", "refused", "name", "pool_size", "databases", "config", "pools", "lists"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(sorted(facts())), values))
def test_no_facts_make_it_stumble(changes: dict[str, Any]) -> None:
    judge(DECLARED, {**facts(), **changes})
    judge(DECLARED, changes)


def test_the_examples_in_the_code() -> None:
    assert doctest.testmod(pgbouncer).failed == 0
