# SPDX-License-Identifier: Apache-2.0
"""Writes each task's result as a line of JSON to the file $AZA_RESULTS: tests need not read Ansible's prose."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: aza_results
type: aggregate
short_description: Results of tasks as lines of JSON
description: For the tests of this repository.
"""


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "aza_results"
    CALLBACK_NEEDS_ENABLED = True

    def _write(self, status: str, result: Any) -> None:
        line = {
            "host": result.host.get_name(),
            "task": result.task.get_name(),
            "status": status,
            "result": result.result,
        }
        with Path(os.environ["AZA_RESULTS"]).open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(line, default=str) + "\n")

    def v2_runner_on_ok(self, result: Any) -> None:
        self._write("ok", result)

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        self._write("failed", result)

    def v2_runner_on_unreachable(self, result: Any) -> None:
        self._write("unreachable", result)
