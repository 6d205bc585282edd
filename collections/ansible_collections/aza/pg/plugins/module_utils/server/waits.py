# SPDX-License-Identifier: Apache-2.0
"""What a statement waits for, seen from another session while it takes long: the reason when it is cancelled."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

from ansible_collections.aza.pg.plugins.module_utils.server import connection as server

# Before a lock's time is up (5 s), and not for what is quick.
_AFTER_SECONDS = 3
_WAITS = """
select string_agg(format('%%s %%s', a.wait_event_type, a.wait_event) || coalesce(' (held by ' || (
    select string_agg(format('process %%s of role %%s%%s', b.pid, b.usename,
        case when b.state like 'idle in transaction%%' then
            format(', idle in its transaction for %%s s', extract(epoch from clock_timestamp() - b.state_change)::int)
        end), '; ' order by b.pid)
    from pg_stat_activity b where b.pid = any(pg_blocking_pids(a.pid))) || ')', ''), '; ')
from pg_stat_activity a where a.pid = any(%s) and a.state = 'active' and a.wait_event is not null
"""
REASONS = {"57014": "statement_timeout", "55P03": "lock_timeout"}


class Watch:
    """``with Watch(connect, pids) as watch``: ``watch.begin()`` before each step; ``watch.said`` is what it waits for.

    ``connect`` opens a session of its own, ``pids`` are the processes of those that are watched.
    """

    def __init__(self, connect: Callable[[], Any], pids: Callable[[], Iterable[int]]) -> None:
        self._connect, self._pids = connect, pids
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._observe, daemon=True)
        self.begin()

    def begin(self) -> None:
        self.message, self._since = "", time.monotonic()

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()

    def _observe(self) -> None:
        while not self._stop.wait(1):
            pids = list(self._pids())
            if pids and time.monotonic() - self._since > _AFTER_SECONDS:
                # Without a connection there is no reason, and the statement has its time-out all the same.
                with suppress(*server.failures()), self._connect() as connection:
                    self.message = connection.execute(_WAITS, (pids,)).fetchone()[0] or self.message
