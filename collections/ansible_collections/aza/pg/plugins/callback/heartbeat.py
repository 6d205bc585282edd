# SPDX-License-Identifier: Apache-2.0
"""Say every few seconds which task is still running, so that no minute passes in silence."""

from __future__ import annotations

DOCUMENTATION = r"""
name: heartbeat
type: aggregate
short_description: Say which task is still running
version_added: 0.1.0
description:
  - Installing an engine or pulling packages can take minutes in which a module cannot speak.
  - Prints the running task and its elapsed time every O(interval) seconds; where all tasks are short, nothing.
  - Silent for the actions of this collection that run on the control node; these tell their progress themselves.
options:
  interval:
    description: Seconds between two lines; 0 turns them off.
    type: int
    default: 20
    env:
      - name: AZA_HEARTBEAT_INTERVAL
    ini:
      - section: callback_heartbeat
        key: interval
author:
  - aza-pg maintainers (@aza-pg)
"""

import os
import sys
import threading
import time

from ansible.executor.stats import AggregateStats
from ansible.playbook.task import Task
from ansible.plugins.callback import CallbackBase
from ansible.plugins.loader import action_loader
from ansible_collections.aza.pg.plugins.module_utils.plain import plain


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "aza.pg.heartbeat"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self) -> None:
        super().__init__()
        self._running = ("", 0.0)
        self._stopped = threading.Event()
        self._ticker: threading.Thread | None = None

    def v2_playbook_on_task_start(self, task: Task, is_conditional: bool) -> None:
        # Our own actions tell their progress themselves, and better.
        speaks = task.action.startswith("aza.pg.") and action_loader.has_plugin(task.action)
        self._running = ("" if speaks else task.get_name().strip(), time.monotonic())
        interval = self.get_option("interval")
        if self._ticker is None and interval > 0:
            self._ticker = threading.Thread(target=self._tick, args=(interval,), daemon=True)
            self._ticker.start()

    def v2_playbook_on_stats(self, stats: AggregateStats) -> None:
        self._stopped.set()

    def _tick(self, interval: int) -> None:
        seen, reported = self._running, 0
        while not self._stopped.wait(1):
            name, started = running = self._running
            if running != seen:
                seen, reported = running, 0
            elapsed = int(time.monotonic() - started)
            if name and elapsed >= reported + interval:
                reported = elapsed
                # Straight to the terminal: Ansible forks its workers, and a lock of its display that this thread
                # held at that moment would never be released in the child.
                os.write(sys.stdout.fileno(), f"        ... {plain(name)}: {elapsed} s\n".encode())
