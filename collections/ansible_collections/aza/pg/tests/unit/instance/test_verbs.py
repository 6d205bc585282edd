# SPDX-License-Identifier: Apache-2.0
"""Stop, start and remove on simulated hosts."""

from __future__ import annotations

from dataclasses import replace

import pytest
from ansible_collections.aza.pg.plugins.module_utils.errors import AzaError
from ansible_collections.aza.pg.plugins.module_utils.instance import verbs
from ansible_collections.aza.pg.plugins.module_utils.model.details import ContainerDetail
from ansible_collections.aza.pg.plugins.module_utils.model.observed import Observed
from ansible_collections.aza.pg.plugins.module_utils.model.service import SERVER
from ansible_collections.aza.pg.tests.unit.instance.test_plan import (
    EXPORTER,
    describe,
    message,
    running,
    with_metrics,
)


def test_all_containers_stop_and_start() -> None:
    wanted = with_metrics()
    found = running(wanted)
    assert message(verbs.stopped(wanted, found)) == [
        ("stop", EXPORTER, "none"),
        ("stop", SERVER, "restart"),
    ]
    down = {name: {**state, "state": "exited"} for name, state in found.containers.items()}
    started = verbs.started(wanted, replace(found, containers=down))
    assert [change.detail_as(ContainerDetail).service for change in started.changes] == [SERVER, EXPORTER]
    gone = verbs.absent(wanted, found, remove_data=False)
    assert [c.name for c in gone.changes if c.kind == "container"] == [
        wanted.services[1].container,
        wanted.container,
    ]


def test_stop_and_start() -> None:
    wanted = describe()
    found = running(wanted)
    halted = replace(found, containers={SERVER: {**(found.container or {}), "state": "exited"}})
    assert [c.action for c in verbs.stopped(wanted, found).changes] == ["stop"]
    assert not verbs.stopped(wanted, halted)
    assert [c.action for c in verbs.started(wanted, halted).changes] == ["start"]
    assert not verbs.started(wanted, found)
    with pytest.raises(AzaError, match="Deploy it first"):
        verbs.started(wanted, Observed())


def test_absent_keeps_the_data_unless_it_is_named() -> None:
    wanted = describe()
    found = replace(running(wanted), network=True)
    kept = verbs.absent(wanted, found, remove_data=False)
    assert [c.kind for c in kept.changes] == ["container", "network", "link", "directory"]
    assert kept.summary().endswith("nothing is lost")
    gone = verbs.absent(wanted, found, remove_data=True)
    assert gone.changes[-1].effect == "data"
    assert "LOST: every database of shop-single" in gone.summary()
    assert not verbs.absent(wanted, Observed(), remove_data=True)
