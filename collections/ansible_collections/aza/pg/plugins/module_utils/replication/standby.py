# SPDX-License-Identifier: Apache-2.0
"""When a standby may have less of what it may not have less of than its primary (``names.STANDBY_MINIMUMS``).

PostgreSQL compares what a standby starts with to what its primary had where its replay stands, which pg_control keeps,
and refuses to start with less. So a smaller value comes after the primary has it, and after the standby has replayed
that. (The image starts a standby with enough whatever is set; only then the smaller value has no effect.)
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ansible_collections.aza.pg.plugins.module_utils.host.docker import Docker
from ansible_collections.aza.pg.plugins.module_utils.model.desired import Desired
from ansible_collections.aza.pg.plugins.module_utils.model.names import STANDBY_MINIMUMS
from ansible_collections.aza.pg.plugins.module_utils.model.observed import Observed

# A standby notices after wal_retrieve_retry_interval (5 s) that its primary is there again.
REPLAY_SECONDS = 30
_REPLAY = "the replay of its primary's change"
# As pg_controldata names them: https://www.postgresql.org/docs/18/app-pgcontroldata.html
_CONTROL = {
    "max_connections setting": "max_connections",
    "max_worker_processes setting": "max_worker_processes",
    "max_wal_senders setting": "max_wal_senders",
    "max_prepared_xacts setting": "max_prepared_transactions",
    "max_locks_per_xact setting": "max_locks_per_transaction",
}


def shrinks(wanted: Desired, found: Observed) -> dict[str, int]:
    """What a running standby has more of than is declared for it: the declared values."""
    if not wanted.standby or not (found.server or {}).get("in_recovery"):
        return {}
    known: Mapping[str, Any] = (found.server or {})["settings"]
    result = {}
    for name in STANDBY_MINIMUMS:
        value, has = wanted.settings.get(name, ""), str((known.get(name) or {}).get("raw"))
        if value.isdigit() and has.isdigit() and int(value) < int(has):
            result[name] = int(value)
    return result


def awaits(wanted: Desired, found: Observed, name: str) -> str:
    """What a smaller value of a setting waits for; empty when it need not wait."""
    value = shrinks(wanted, found).get(name)
    if value is None:
        return ""
    if value < wanted.minimums.get(name, 0):
        return f"its primary, which has {name} {wanted.minimums[name]}"
    return _REPLAY if value < found.control.get(name, 0) else ""


def observe_minimums(wanted: Desired, found: Observed, docker: Docker) -> Observed:
    """With what pg_control keeps, where that matters."""
    if not shrinks(wanted, found):
        return found
    done = docker.run("exec", wanted.container, "bash", "-c", 'LC_ALL=C pg_controldata "$PGDATA"')
    lines = (line.partition(":") for line in done.stdout.splitlines())
    kept = {_CONTROL[key]: int(value) for key, _, value in lines if key in _CONTROL}
    return replace(found, control=kept)


def replayed(wanted: Desired, found: Observed, docker: Docker, seconds: float = REPLAY_SECONDS) -> Observed:
    """The same, once the standby has replayed what a smaller value waits for, or ``seconds`` have passed."""
    deadline = time.monotonic() + seconds
    while True:
        now = observe_minimums(wanted, found, docker)
        if _REPLAY not in {awaits(wanted, now, name) for name in shrinks(wanted, now)}:
            return now
        if time.monotonic() >= deadline:
            return now
        time.sleep(0.5)
