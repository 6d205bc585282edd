# SPDX-License-Identifier: Apache-2.0
"""Containers that a user changed, that an interrupted recreate left, and the ports that they hold."""

from __future__ import annotations

import socket
from dataclasses import replace

import pytest
from ansible_collections.aza.pg.plugins.module_utils.errors import AzaError
from ansible_collections.aza.pg.plugins.module_utils.host import ports
from ansible_collections.aza.pg.plugins.module_utils.instance import findings, preflight, verbs
from ansible_collections.aza.pg.plugins.module_utils.instance import plan as planning
from ansible_collections.aza.pg.plugins.module_utils.model.observed import Observed
from ansible_collections.aza.pg.plugins.module_utils.model.service import SERVER, ContainerSpec
from ansible_collections.aza.pg.tests.unit.instance.test_plan import (
    _few_kinds,  # noqa: F401 (a fixture)
    describe,
    message,
    running,
    with_metrics,
)
from hypothesis import given
from hypothesis import strategies as st

EXPORTER = "exporter"
WANTED = with_metrics()
NAME = WANTED.container
HALF_MADE = f"0123456789ab_{NAME}"
ADDRESSES = st.sampled_from(("127.0.0.1", "10.0.0.1", "0.0.0.0", "::", "::1"))


def orphaned(name: str, state: str, found: Observed) -> Observed:
    return replace(found, orphans={name: {"state": state, "volumes": [WANTED.volume]}})


@pytest.mark.parametrize("state", ["created", "exited", "dead"])
def test_what_an_interrupted_recreate_left_goes_without_a_permission(state: str) -> None:
    """Whichever of the two containers is left: Compose names the new one so until the old one is gone."""
    found = running(WANTED)
    plan = planning.plan(WANTED, orphaned(HALF_MADE, state, found))
    assert message(plan) == [("remove", HALF_MADE, "none")] and not plan.held
    assert "interrupted" in plan.changes[0].why
    without = replace(found, containers={EXPORTER: found.containers[EXPORTER]}, server=None)
    plan = planning.plan(WANTED, orphaned(HALF_MADE, state, without))
    assert message(plan) == [("remove", HALF_MADE, "none"), ("create", SERVER, "none")]


def test_a_second_server_on_the_volume_is_never_started() -> None:
    """A container that runs may serve clients: it waits for a permission, and the server waits for it."""
    found = running(WANTED)
    without = replace(found, containers={EXPORTER: found.containers[EXPORTER]}, server=None)
    stopped = {SERVER: {**found.containers[SERVER], "state": "exited"}, EXPORTER: found.containers[EXPORTER]}
    for host in (without, replace(found, containers=stopped, server=None)):
        for name in (HALF_MADE, "aza-pg-shop-single-postgres-run-1"):
            plan = planning.plan(WANTED, orphaned(name, "running", host))
            assert not plan.changes
            assert (plan.held[0].name, plan.held[0].effect) == (name, "restart")
            assert [change.name for change in plan.held] == [name, NAME]
            allowed = planning.plan(WANTED, orphaned(name, "running", host), ("restart",))
            assert [change.name for change in allowed.changes] == [name, NAME]


def test_the_verbs_take_it_away_too() -> None:
    plan = verbs.absent(WANTED, orphaned(HALF_MADE, "created", running(WANTED)), remove_data=False)
    assert HALF_MADE in [change.name for change in plan.changes]


def edited(service: str, found: Observed, *words: str) -> Observed:
    changed = {**found.containers[service], "edited": list(words)}
    return replace(found, containers={**found.containers, service: changed})


def test_a_container_that_somebody_changed_is_made_anew_with_permission() -> None:
    found = edited(SERVER, running(WANTED), "its memory limit is 2048 MB, and declared is 1024 MB")
    plan = planning.plan(WANTED, found)
    assert not plan.changes
    assert [(change.name, change.effect, change.why) for change in plan.held] == [
        (NAME, "recreate", "its memory limit is 2048 MB, and declared is 1024 MB")
    ]
    # No one declared it: it is not only something that waits.
    assert {item.state for item in findings.drift(plan)} == {"red", "green"}
    assert message(planning.plan(WANTED, found, ("recreate",))) == [("recreate", SERVER, "recreate")]


def test_nobody_is_connected_to_an_exporter_that_somebody_changed() -> None:
    plan = planning.plan(WANTED, edited(EXPORTER, running(WANTED), "its networks is a, b, and declared is a"))
    assert [(change.action, change.effect) for change in plan.changes] == [("recreate", "none")]
    assert not plan.held


def test_many_changes_are_counted() -> None:
    found = edited(SERVER, running(WANTED), *"abcdef")
    assert planning.plan(WANTED, found).held[0].why == "a; b; c; d; and 2 more"


# -- ports -----------------------------------------------------------------------------------------

TABLE = """  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1538 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1 0 100 0 0 10 0
   1: 0100007F:1538 0100007F:D2F0 01 00000000:00000000 00:00000000 00000000     0        0 1 1 0 100 0 0 10 0
   2: 00000000:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1 0 100 0 0 10 0
   3: 00000000000000000000000001000000:1538 00000000000000000000000000000000:0000 0A 00000000:00000000
"""


def test_the_kernel_says_who_listens() -> None:
    assert ports.parse(TABLE, 5432) == {"127.0.0.1", "::1"}
    assert ports.parse(TABLE, 22) == {"0.0.0.0"}
    assert ports.parse(TABLE, 23) == set()


OURS = {SERVER: {("127.0.0.1", 5432)}, EXPORTER: {("0.0.0.0", 9187)}}


@pytest.mark.parametrize(
    ("address", "port", "listening", "found"),
    [
        ("0.0.0.0", 5432, ["127.0.0.1"], ""),
        ("::", 5432, ["127.0.0.1"], ""),
        ("0.0.0.0", 5432, ["127.0.0.1", "10.0.0.1"], "taken"),
        ("0.0.0.0", 5432, ["127.0.0.1", "::1"], ""),
        # It is bound and does not listen.
        ("10.0.0.1", 5432, ["127.0.0.1"], "taken"),
        ("10.0.0.1", 5432, ["127.0.0.1", "10.0.0.1"], "taken"),
        ("127.0.0.1", 9187, ["0.0.0.0"], "service exporter"),
        ("127.0.0.1", 5433, ["127.0.0.1"], "taken"),
    ],
)
def test_what_our_own_container_holds_is_no_obstacle(
    address: str, port: int, listening: list[str], found: str
) -> None:
    assert ports.judge(SERVER, address, port, OURS, listening) == found


@given(ADDRESSES, ADDRESSES)
def test_an_address_conflicts_with_itself_and_both_ways(one: str, two: str) -> None:
    assert ports.conflict(one, one)
    assert ports.conflict(one, two) == ports.conflict(two, one)


@given(ADDRESSES, st.lists(ADDRESSES))
def test_somebody_elses_port_is_never_taken_for_ours(address: str, others: list[str]) -> None:
    found = ports.judge(SERVER, address, 5432, {SERVER: {("192.0.2.1", 5432)}}, ["192.0.2.1", *others])
    assert bool(found) == (
        not ports.conflict(address, "192.0.2.1") or any(ports.conflict(address, o) for o in others)
    )


def test_with_real_sockets() -> None:
    with socket.create_server(("127.0.0.1", 0)) as ours, socket.create_server(("127.0.0.2", 0)) as other:
        port, taken = ours.getsockname()[1], other.getsockname()[1]
        service = ContainerSpec(SERVER, "x", {}, publish_address="0.0.0.0", port=port)
        here = {SERVER: {"state": "running", "published": [f"127.0.0.1:{port}"]}}
        assert ports.problem(service, here) == ""
        assert ports.problem(service, {SERVER: {**here[SERVER], "state": "exited"}}) == "taken"
        assert ports.problem(service, {EXPORTER: here[SERVER]}) == "service exporter"
        assert ports.problem(replace(service, port=taken), here) == "taken"
        assert ports.problem(replace(service, publish_address="192.0.2.1"), here) == "no_address"
    assert ports.problem(service, {}) == ""


def test_a_port_of_another_service_is_said_with_its_name() -> None:
    found = replace(running(WANTED), port_problems={SERVER: "service exporter"})
    with pytest.raises(AzaError) as error:
        preflight.refuse(WANTED, found)
    assert error.value.reason == "preflight"
    assert "aza-pg-shop-single-exporter" in error.value.msg


def test_an_expectation_goes_to_the_host() -> None:
    assert type(WANTED).from_dict(WANTED.to_dict()) == WANTED
    assert all(service.expected for service in WANTED.services)
    assert describe(cpus=2).server.expected["processors"] == "2"
