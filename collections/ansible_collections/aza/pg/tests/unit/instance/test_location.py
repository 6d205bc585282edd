# SPDX-License-Identifier: Apache-2.0
"""Where an instance lies: another base directory moves nothing, and a link that is gone is no failure."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.aza.pg.plugins.module_utils.errors import AzaError
from ansible_collections.aza.pg.plugins.module_utils.instance import findings, location, verbs
from ansible_collections.aza.pg.plugins.module_utils.model.observed import Observed
from ansible_collections.aza.pg.plugins.module_utils.planning.finding import Finding
from ansible_collections.aza.pg.plugins.module_utils.planning.plan import Plan
from ansible_collections.aza.pg.tests.unit.instance.test_plan import describe, running


def test_containers_of_another_directory(tmp_path: Path) -> None:
    old, link = tmp_path / "old/shop-single", tmp_path / "link"
    link.symlink_to(tmp_path / "old")
    labels = {location.WORKING_DIRECTORY: str(old)}
    assert location.elsewhere(labels, old) == location.elsewhere(labels, link / "shop-single") == ""
    assert location.elsewhere({}, old) == ""
    assert location.elsewhere(labels, tmp_path / "new/shop-single") == str(old)

    wanted = describe(base_dir="/srv/pg")
    found = running(wanted)
    location.refuse(wanted, found)
    containers = {name: {**state, "elsewhere": str(old)} for name, state in found.containers.items()}
    with pytest.raises(AzaError, match=r"postgres_base_dir is /srv/pg, .*Nothing was changed") as caught:
        location.refuse(wanted, replace(found, containers=containers))
    assert (caught.value.reason, caught.value.details) == ("moved", {"directory": str(old)})


@pytest.mark.parametrize(
    ("changes", "states"),
    [
        ({}, []),
        ({"socket_link": None}, ["yellow"]),
        ({"rule_missing": True}, ["yellow"]),
        ({"socket_link": "/somewhere/else"}, ["red"]),
    ],
)
def test_the_link_is_for_people(changes: dict[str, Any], states: list[str]) -> None:
    wanted = describe()
    found: Observed = replace(running(wanted), **changes)
    planned = list(location.changes(wanted, found))
    message: list[Finding] = [item for item in findings.drift(Plan(tuple(planned))) if planned]
    assert [item.state for item in message] == states
    # What starts the server brings it back: without systemd nothing else does.
    assert [change.kind for change in verbs.started(wanted, found).changes] == [location.KIND] * len(states)


def test_an_ordinary_user_has_no_link() -> None:
    wanted = describe(uid=1000)
    assert not list(location.changes(wanted, replace(running(wanted), socket_link=None)))
    assert not location.rule_missing(wanted, {"systemd": True})
