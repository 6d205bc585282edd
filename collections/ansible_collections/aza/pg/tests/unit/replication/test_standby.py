# SPDX-License-Identifier: Apache-2.0
"""A standby that has not replayed yet what would let it have less is waited for, for some time."""

from __future__ import annotations

import subprocess
import time
from typing import Any

import pytest
from ansible_collections.aza.pg.plugins.module_utils.model.desired import Desired
from ansible_collections.aza.pg.plugins.module_utils.model.observed import Observed
from ansible_collections.aza.pg.plugins.module_utils.replication import standby
from ansible_collections.aza.pg.tests.unit.instance.test_cluster_plan import smaller

CONTROL = """pg_control version number:            1800
wal_level setting:                    replica
max_connections setting:              {}
max_worker_processes setting:         8
max_wal_senders setting:              10
max_prepared_xacts setting:           0
max_locks_per_xact setting:           64
track_commit_timestamp setting:       off
"""


class Docker:
    """Its pg_control says one thing after the other, the last one for ever."""

    def __init__(self, *kept: int) -> None:
        self.kept, self.asked = list(kept), 0

    def run(self, *_: str, **__: Any) -> subprocess.CompletedProcess[str]:
        now = self.kept[min(self.asked, len(self.kept) - 1)]
        self.asked += 1
        return subprocess.CompletedProcess([], 0, stdout=CONTROL.format(now))


@pytest.fixture(autouse=True)
def _no_time_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter(range(10**6))
    monkeypatch.setattr(time, "monotonic", lambda: float(next(now)))
    monkeypatch.setattr(time, "sleep", lambda _: None)


def replayed(docker: Docker, primary: int = 60) -> tuple[Desired, Observed]:
    wanted, found = smaller(primary, replayed=0)
    return wanted, standby.replayed(wanted, found, docker)


def test_it_is_waited_for_until_it_has_replayed() -> None:
    docker = Docker(120, 120, 60)
    wanted, found = replayed(docker)
    assert docker.asked == 3
    assert found.control == {
        "max_connections": 60,
        "max_worker_processes": 8,
        "max_wal_senders": 10,
        "max_prepared_transactions": 0,
        "max_locks_per_transaction": 64,
    }
    assert standby.awaits(wanted, found, "max_connections") == ""


def test_but_not_for_ever() -> None:
    wanted, found = replayed(Docker(120))
    assert standby.awaits(wanted, found, "max_connections") == "the replay of its primary's change"


def test_nor_while_the_primary_has_more() -> None:
    docker = Docker(120)
    wanted, found = replayed(docker, primary=120)
    assert docker.asked == 1
    assert standby.awaits(wanted, found, "max_connections") == "its primary, which has max_connections 120"


def test_nobody_is_asked_where_nothing_becomes_smaller() -> None:
    wanted, found = smaller(60, replayed=0)
    docker, same = Docker(120), {**wanted.settings, "max_connections": "120"}
    for settings in (same, {}):
        kept = Desired.from_dict({**wanted.to_dict(), "settings": settings})
        assert standby.replayed(kept, found, docker) is found
    assert not docker.asked
