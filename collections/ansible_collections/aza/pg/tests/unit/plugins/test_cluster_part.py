# SPDX-License-Identifier: Apache-2.0
"""What a host's verbs are told of its cluster: unknown members, what check mode predicts, misspelt names."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.aza.pg.plugins.module_utils.errors import AzaError
from ansible_collections.aza.pg.plugins.plugin_utils import cluster
from ansible_collections.aza.pg.tests.unit.replication.test_guard import CLOSED, EMPTY, down, live

UNREACHABLE = {"unreachable": True, "msg": "Host key verification failed"}
GIVEN = {
    "cluster": "shop",
    "stack": "primary",
    "synchronous_replicas": 0,
    "not_primary": [],
    "start_primary": "",
    "accept_loss": "",
    "remove_data": "",
}


def part(me: str, given: dict[str, Any], /, check_mode: Any = False, **looks: Any) -> cluster.Part:
    """``looks``: host → what was registered there; the first is declared to be the primary."""
    hostvars = {
        host: {
            "postgres_cluster": "shop",
            "postgres_stack": "replica" if number else "primary",
            "postgres_address": f"10.0.0.{number + 1}",
            **registered,
        }
        for number, (host, registered) in enumerate(looks.items())
    }
    hostvars["other"] = {}
    own = hostvars[me]
    task_vars = {"hostvars": hostvars, "ansible_play_hosts": [me], **own}
    member = own.get("instance_host", {}).get("member", {})
    return cluster.Part(task_vars, me, {**GIVEN, **given}, member, check_mode)


def seen(facts: dict[str, Any]) -> dict[str, Any]:
    return {"instance_host": {"member": facts, "engine_error": ""}}


@pytest.mark.parametrize(
    "other",
    [
        {},
        {"instance_host": UNREACHABLE},
        {"instance_host": {"member": {}, "engine_error": "No Docker Engine answers on this host."}},
        {"instance_host": {"failed_when_result": False, "msg": "There is no Python on this host"}},
        # It was a standby before it went away.
        {**seen(live(standby=True)), "instance_seen_again": UNREACHABLE},
        seen(CLOSED),
    ],
)
@pytest.mark.parametrize("verb", ["start", "deploy", "plan", "remove"])
def test_who_cannot_be_looked_at_may_be_the_primary(verb: str, other: dict[str, Any]) -> None:
    asked = part("db1", {"remove_data": "shop"}, verb == "plan", db1=seen(down()), db2=other)
    with pytest.raises(AzaError, match=r"db2 .*Nothing was changed") as raised:
        _carry_out(asked, verb)
    assert raised.value.reason == "cluster" and len(raised.value.details["problems"]) == 1
    assert asked.no_primary() != ""


def _carry_out(asked: cluster.Part, verb: str) -> None:
    if verb == "start":
        asked.refuse_start()
    elif verb == "remove":
        asked.keep_the_data()
    else:
        role = asked.role()
        assert role is not None
        asked.refuse(role)


def test_the_operator_answers_for_who_cannot_be_looked_at() -> None:
    looks: dict[str, Any] = {"db1": seen(down()), "db2": {"instance_host": UNREACHABLE}}
    for verb in ("start", "deploy"):
        _carry_out(part("db1", {"not_primary": ["db2"]}, **looks), verb)
    assert part("db1", {"not_primary": ["db2"]}, **looks).no_primary() == ""
    _carry_out(part("db1", {"remove_data": "shop", "accept_loss": "db1"}, **looks), "remove")


@pytest.mark.parametrize(
    "given",
    [{"not_primary": ["db22"]}, {"start_primary": "db22"}, {"accept_loss": "db22", "remove_data": "shop"}],
)
def test_a_misspelt_name_is_refused_and_not_ignored(given: dict[str, Any]) -> None:
    asked = part("db1", given, db1=seen(down()), db2=seen(down(lsn="0/90", standby=True)))
    with pytest.raises(AzaError, match=r"there is no host 'db22' in the inventory.*db2"):
        _carry_out(asked, "remove" if "remove_data" in given else "start")


def test_facts_of_members_outside_the_play_count() -> None:
    """Of a run that is limited to one host."""
    elsewhere = {"results": [{"item": "db2", "member": live(2)}, {"item": "db3", **UNREACHABLE}]}
    asked = part("db1", {}, db1={**seen(down()), "instance_elsewhere": elsewhere}, db2={}, db3={})
    with pytest.raises(AzaError, match="db2 is the primary") as raised:
        asked.refuse_start()
    assert "db3" not in raised.value.msg


def test_a_single_server_has_no_cluster() -> None:
    alone = part("db1", {"stack": "single", "remove_data": "shop"}, db1={"postgres_stack": "single"})
    alone.refuse_start()
    alone.keep_the_data()
    assert (alone.role(), alone.no_primary()) == (None, "")


@pytest.mark.parametrize(
    ("primary", "together", "refused"),
    [
        ({}, False, True),
        ({}, True, False),
        ({"instance_result": {"failed": True, "msg": "x"}}, False, True),
        ({"instance_result": {"plan": {}, "changed": True}}, False, False),
    ],
)
def test_check_mode_predicts_a_primary_only_where_the_run_would_make_it(
    primary: dict[str, Any], together: bool, refused: bool
) -> None:
    """``deploy-replica.yml --check`` before there is one says what the run without --check says."""
    asked = part("db2", {"stack": "replica"}, True, db1={**seen(EMPTY), **primary}, db2=seen(EMPTY))
    if together:
        asked.task_vars["ansible_play_hosts"].append("db1")
    if refused:
        with pytest.raises(AzaError, match="there is no primary yet"):
            _carry_out(asked, "deploy")
    else:
        _carry_out(asked, "deploy")
