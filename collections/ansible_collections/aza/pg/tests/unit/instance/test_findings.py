# SPDX-License-Identifier: Apache-2.0
"""What a check says of an instance: each finding on an observation that has exactly this wrong."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.aza.pg.plugins.module_utils.errors import AzaError
from ansible_collections.aza.pg.plugins.module_utils.instance import findings, server_objects
from ansible_collections.aza.pg.plugins.module_utils.instance.readiness import Readiness
from ansible_collections.aza.pg.plugins.module_utils.model.desired import Desired
from ansible_collections.aza.pg.plugins.module_utils.model.details import ResetDetail
from ansible_collections.aza.pg.plugins.module_utils.model.observed import Observed
from ansible_collections.aza.pg.plugins.module_utils.model.service import ContainerSpec
from ansible_collections.aza.pg.plugins.module_utils.objects.kind import Kind, Undeclared
from ansible_collections.aza.pg.plugins.module_utils.planning.change import Change
from ansible_collections.aza.pg.plugins.module_utils.planning.finding import Finding
from ansible_collections.aza.pg.plugins.module_utils.planning.plan import Plan, hold

PINNED = "aza-pg/postgres@sha256:" + "a" * 64
WANTED = Desired(
    instance="shop-single",
    cluster="shop",
    stack="single",
    project="aza-pg-shop-single",
    volume="v",
    network="n",
    services=(
        ContainerSpec(
            "postgres",
            "aza-pg-shop-single-postgres",
            {"reference": "aza-pg/postgres:18", "digest": "", "archive": "", "pinned": PINNED},
            config_hash="as declared",
        ),
    ),
)
RUNS = {
    "state": "running",
    "health": "healthy",
    "oom_killed": False,
    "restarts": 0,
    "exit_code": 0,
    "image": "sha256:a",
    "image_reference": PINNED,
    "config_hash": "as declared",
}
SERVER = {
    "version": "18.6 (Debian)",
    "config_errors": [],
    "hba_errors": [],
    "pending_restart": [],
    "settings": {},
}
FOUND = Observed(containers={"postgres": RUNS}, volume=True, images={"postgres": "sha256:a"}, server=SERVER)


def states(found: Iterable[Finding]) -> list[str]:
    return [f"{item.state} {item.what}" for item in found]


@pytest.fixture(autouse=True)
def _no_kinds(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kinds have tests of their own."""
    monkeypatch.setattr(server_objects, "KINDS", ())


def test_an_instance_that_is_well_is_green() -> None:
    message = list(findings.judge(WANTED, FOUND, Plan(), Readiness("")))
    assert states(message) == ["green ready", "green drift", "green image"]
    assert message[0].message == "PostgreSQL 18.6 passed every stage up to a first write"


def test_each_change_is_red_and_what_waits_is_yellow_and_says_what_for() -> None:
    setting = Change(
        "setting", "work_mem", "change", "reload", "4MB", "16MB", origin="all.yml: postgres_settings"
    )
    plan = hold(
        [
            setting,
            Change("container", "b", "recreate", effect="recreate"),
            Change("database", "c", "drop", "data"),
        ],
        (),
    )
    somebodys = Change("setting", "d", "reset", "restart", edited=True, detail=ResetDetail())
    assert [item.state for item in findings.drift(Plan(held=(somebodys,)))] == ["red", "green"]
    red, *waiting = findings.drift(plan)
    assert red == Finding(
        "drift",
        "red",
        "setting work_mem  4MB → 16MB  (all.yml: postgres_settings)",
        "deploy to restore it",
    )
    assert [(item.state, item.remedy) for item in waiting] == [
        ("yellow", "deploy with postgres_allow_recreate: true"),
        ("yellow", 'deploy with postgres_allow_loss: ["database c"]'),
    ]
    assert [item.message for item in findings.drift(Plan(held=plan.held))][
        -1
    ] == "everything else matches the inventory"


@pytest.mark.parametrize(
    ("container", "message"),
    [
        (None, ["red container"]),
        (RUNS, ["green image"]),
        ({**RUNS, "state": "exited"}, ["red container", "green image"]),
        ({**RUNS, "health": "unhealthy"}, ["yellow container", "green image"]),
        ({**RUNS, "oom_killed": True, "restarts": 2}, ["yellow memory", "yellow container", "green image"]),
        # Deployed as declared, and something else runs: it was recreated by hand.
        ({**RUNS, "image": "sha256:b"}, ["red image"]),
        # Deployed from an older declaration: the new image waits for its deploy.
        ({**RUNS, "image": "sha256:b", "config_hash": "older"}, ["yellow image"]),
    ],
)
def test_container(container: Any, message: list[str]) -> None:
    assert (
        states(
            findings.container(
                WANTED, replace(FOUND, containers={"postgres": container} if container else {})
            )
        )
        == message
    )


@pytest.mark.parametrize(
    ("changes", "what", "words"),
    [
        (
            {"pending_restart": ["max_connections"]},
            "pending_restart",
            "max_connections: changed in the files",
        ),
        ({"hba_errors": ["line 9: invalid"]}, "configuration", "keeps the old values: line 9: invalid"),
        ({"config_errors": ["work_mem: bad"]}, "configuration", "keeps the old values: work_mem: bad"),
    ],
)
def test_what_the_server_says_itself_is_red(changes: Any, what: str, words: str) -> None:
    message = list(
        findings.judge(WANTED, replace(FOUND, server={**SERVER, **changes}), Plan(), Readiness(""))
    )
    (red,) = [item for item in message if item.state == "red"]
    assert (red.what, words in red.message) == (what, True)


def test_never_deployed_is_one_finding() -> None:
    plan = Plan((Change("volume", "v", "create"),))
    assert states(findings.judge(WANTED, Observed(), plan, None)) == ["red instance"]


def test_a_stage_that_is_not_reached_and_no_plan() -> None:
    now = Readiness("SQL", "the database system is starting up")
    found = replace(FOUND, server=None, server_error="starting")
    message = list(findings.judge(WANTED, found, None, now))
    assert states(message) == ["red ready", "green image"]
    assert message[0].message == "stage 'SQL' is not reached: the database system is starting up"


def test_a_server_that_answers_and_cannot_be_looked_at_is_red() -> None:
    found = replace(FOUND, server=None, server_error="no such file")
    (red,) = [item for item in findings.judge(WANTED, found, Plan(), Readiness("")) if item.state == "red"]
    assert red.message == "its objects could not be read: no such file"


@pytest.mark.parametrize(
    ("reason", "what"),
    [("no_engine", "engine"), ("docker_permission", "engine"), ("unreachable", "host"), ("x", "plan")],
)
def test_why_nothing_can_be_said(reason: str, what: str) -> None:
    assert findings.failure(AzaError("in words", reason=reason)) == Finding(what, "red", "in words")


def test_undeclared_objects_and_findings_of_kinds(monkeypatch: pytest.MonkeyPatch) -> None:
    stray = Undeclared("roles", "red", "role mallory", "a superuser that is not declared")
    behind = Finding("extension", "yellow", "extension shop.hstore is behind its image")
    kind = Kind(
        "role",
        undeclared=lambda *_: iter((stray,)),
        findings=lambda *_: iter((behind,)),
    )
    monkeypatch.setattr(server_objects, "KINDS", (kind,))
    message = list(findings.judge(WANTED, FOUND, Plan(), Readiness("")))
    assert behind in message
    (found,) = [item for item in message if item.what == "undeclared"]
    assert found.state == "red"
    assert found.message == "role mallory: a superuser that is not declared"
    assert "state: absent" in found.remedy
    assert "{roles: ignore}" in found.remedy
    ignoring = replace(WANTED, objects={"undeclared": {"roles": "ignore"}})
    assert not [item for item in findings.judge(ignoring, FOUND, Plan(), None) if item.what == "undeclared"]


def test_tuned_values_are_information_and_the_users_own_are_named() -> None:
    predicted = [
        {"name": "work_mem", "value": "4MB"},
        {"name": "jit", "value": "off"},
        {"name": "x", "value": "1"},
    ]
    tuned = {"file": findings.TUNED_FILE}
    settings = {"work_mem": {"value": "9MB", "file": "/etc/x"}, "jit": {"value": "off", **tuned}}
    (found,) = findings.tuning(predicted, {"settings": settings})
    assert (found.state, found.message) == (
        "green",
        "2 values are as predicted; set by the inventory: work_mem",
    )
    settings["jit"]["value"] = "on"
    (found,) = findings.tuning(predicted, {"settings": settings})
    assert (found.state, "jit is on, predicted off" in found.message) == ("green", True)


@pytest.mark.parametrize(
    ("one", "two", "equal"),
    [
        ("1GB", "1024MB", True),
        ("4352kB", "4352kB", True),
        ("0.90", "0.9", True),
        ("ON", "on", True),
        ("15min", "15min", True),
        ("1GB", "1MB", False),
        ("1", "1kB", False),
        ("try", "on", False),
    ],
)
def test_values_are_compared_as_values(one: str, two: str, equal: bool) -> None:
    assert findings.same(one, two) is equal


def test_an_image_has_one_digest_whatever_the_engine_calls_it() -> None:
    """The classic store calls it by its configuration, the containerd store by its manifest."""
    record = {"reference": "aza-pg/postgres:18", "digest": "sha256:" + "d" * 64, "archive": "/x.tar"}
    message = set()
    for pinned in ("sha256:" + "c" * 64, "aza-pg/postgres@sha256:" + "d" * 64):
        wanted = replace(WANTED, services=(replace(WANTED.server, image={**record, "pinned": pinned}),))
        here = {**(FOUND.container or {}), "image_reference": pinned, "image": "sha256:id"}
        found = replace(FOUND, containers={"postgres": here}, images={"postgres": "sha256:id"})
        message.add(findings.image(wanted, found).message)
    assert message == {"runs aza-pg/postgres:18@sha256:dddddddddddd"}
