# SPDX-License-Identifier: Apache-2.0
"""The control node's half of aza.pg.instance_host: a host that does not run it is said to be unreachable, and why."""

from __future__ import annotations

from typing import Any

from ansible_collections.aza.pg.plugins.plugin_utils.instance_action import InstanceAction


class ActionModule(InstanceAction):
    def perform(self) -> dict[str, Any]:
        return self.on_target("instance_host", **self._task.args)
