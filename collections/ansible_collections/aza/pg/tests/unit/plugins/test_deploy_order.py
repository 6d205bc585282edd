# SPDX-License-Identifier: Apache-2.0
"""Who is deployed before the primary of its cluster, as it, and after it."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.errors import AnsibleLookupError
from ansible_collections.aza.pg.plugins.lookup.deploy_order import LookupModule
from ansible_collections.aza.pg.plugins.plugin_utils.cluster import deploy_order

STANDBY = {"data": True, "answers": True, "in_recovery": True, "minimums": {"max_connections": 100}}
WRITER = {"data": True, "answers": True, "in_recovery": False}
EMPTY = {"data": False, "answers": False}


def cluster(*members: dict[str, Any], **variables: Any) -> dict[str, Any]:
    """Hosts one, two, …; the first is declared to be the primary. ``members``: what was seen there."""
    names = ("one", "two", "three")
    return {
        "hostvars": {
            name: {
                "postgres_cluster": "shop",
                "postgres_stack": "replica" if number else "primary",
                "postgres_address": f"10.0.0.{number + 1}",
                "instance_host": {"member": seen} if seen else {"engine_error": "no engine"},
                **variables,
            }
            for number, (name, seen) in enumerate(zip(names, members))
        }
    }


def turns(found: dict[str, Any]) -> list[str]:
    return [deploy_order(found, host) for host in found["hostvars"]]


def test_a_single_server_writes() -> None:
    assert deploy_order({"hostvars": {"one": {"postgres_cluster": "shop"}}}, "one") == "writes"


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ((EMPTY, EMPTY), ["writes", "follows"]),
        ((WRITER, STANDBY), ["writes", "follows"]),
        ((STANDBY, WRITER), ["follows", "writes"]),
        ((WRITER, EMPTY, STANDBY), ["writes", "follows", "follows"]),
        # Without an engine on the declared primary no other user is taken for one.
        (({}, STANDBY), ["writes", "follows"]),
    ],
)
def test_the_servers_say_who_writes(members: tuple[dict[str, Any], ...], expected: list[str]) -> None:
    assert turns(cluster(*members)) == expected


@pytest.mark.parametrize(
    ("connections", "permission", "expected"),
    [
        (101, {"postgres_allow_restart": True}, "grows"),
        (101, {"postgres_allow_recreate": "yes"}, "grows"),
        (101, {}, "follows"),
        (101, {"postgres_allow_restart": False}, "follows"),
        (100, {"postgres_allow_restart": True}, "follows"),
        (99, {"postgres_allow_restart": True}, "follows"),
    ],
)
def test_what_grows_goes_first_when_it_may_be_restarted(
    connections: int, permission: dict[str, Any], expected: str
) -> None:
    found = cluster(WRITER, STANDBY, postgres_settings={"max_connections": connections}, **permission)
    assert turns(found) == ["writes", expected]


def test_an_address_that_is_none_is_said_in_words() -> None:
    found = {**cluster(WRITER, STANDBY, postgres_address="db.example.org"), "inventory_hostname": "one"}
    with pytest.raises(AnsibleLookupError, match=r"'db\.example\.org', which is not an IP address"):
        LookupModule().run([], found)
