# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.aza.pg.plugins.module_utils.stack import findings
from ansible_collections.aza.pg.plugins.module_utils.stack.model import Change, hold

RUNS = {
    "state": "running",
    "health": "healthy",
    "oom_killed": False,
    "restarts": 0,
    "exit_code": 0,
    "image_reference": "x@sha256:a",
}


def states(found: Any) -> list[str]:
    return [f"{item['state']} {item['what']}" for item in found]


def test_each_change_is_a_red_finding_and_what_waits_is_yellow() -> None:
    plan = hold([Change("file", "a", "change"), Change("container", "b", "recreate", effect="recreate")], ())
    assert states(findings.drift(plan.to_dict())) == ["red drift", "yellow waiting"]
    assert states(findings.drift(hold([], ()).to_dict())) == ["green drift"]


@pytest.mark.parametrize(
    ("container", "said"),
    [
        (None, ["red container"]),
        (RUNS, ["green image"]),
        ({**RUNS, "state": "exited"}, ["red container", "green image"]),
        ({**RUNS, "health": "unhealthy"}, ["yellow container", "green image"]),
        ({**RUNS, "oom_killed": True, "restarts": 2}, ["yellow memory", "yellow container", "green image"]),
    ],
)
def test_container(container: Any, said: list[str]) -> None:
    assert states(findings.container({"container": container})) == said


def test_tuning_the_users_own_values_win_and_are_named() -> None:
    predicted = [
        {"name": "work_mem", "value": "4MB"},
        {"name": "jit", "value": "off"},
        {"name": "x", "value": "1"},
    ]
    tuned = {"file": findings.TUNED_FILE}
    server = {"settings": {"work_mem": {"value": "9MB", "file": "/etc/x"}, "jit": {"value": "off", **tuned}}}
    (found,) = findings.tuning(predicted, server)
    assert found["state"] == "green"
    assert "yours: work_mem" in found["said"]
    server["settings"]["jit"]["value"] = "on"
    assert states(findings.tuning(predicted, server)) == ["yellow tuning"]


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
