# SPDX-License-Identifier: Apache-2.0
"""prometheus.yml for the whole inventory, on the control node."""

from __future__ import annotations

from typing import Any

from ansible.plugins.action import ActionBase
from ansible.utils.display import Display
from ansible_collections.aza.pg.plugins.module_utils.errors import AzaError
from ansible_collections.aza.pg.plugins.module_utils.inventory.check import with_defaults
from ansible_collections.aza.pg.plugins.module_utils.inventory.specs import load_specs
from ansible_collections.aza.pg.plugins.module_utils.monitoring import scrape
from ansible_collections.aza.pg.plugins.module_utils.plain import plain
from ansible_collections.aza.pg.plugins.plugin_utils.inventory_sources import role_directories


class ActionModule(ActionBase):
    _requires_connection = False
    _supports_check_mode = True
    _VALID_ARGS = frozenset(("alertmanager", "blackbox_exporter", "node_exporter_port"))

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result = super().run(tmp, task_vars)
        _, given = self.validate_argument_spec(
            argument_spec={
                "alertmanager": {"type": "str", "default": ""},
                "blackbox_exporter": {"type": "str", "default": ""},
                "node_exporter_port": {"type": "int", "default": 0},
            }
        )
        known = task_vars or {}
        try:
            specs = load_specs(role_directories())
        except AzaError as error:
            return {**result, "failed": True, "msg": error.msg, "reason": error.reason}
        hosts = {
            str(name): with_defaults(
                {key: host[key] for key in scrape.VARIABLES if key in host},
                {key: specs[key] for key in scrape.VARIABLES if key in specs},
            )
            for name, host in known["hostvars"].items()
        }
        # Without Ansible's tags, which YAML does not know.
        blackbox, alertmanager = str(given["blackbox_exporter"]), str(given["alertmanager"])
        found = scrape.scrape(hosts, bool(blackbox), given["node_exporter_port"])
        lines = [f"{name}: {', '.join(targets)}" for name, targets in found.jobs.items()]
        Display().display("\n" + "\n".join(f"  {plain(line)}" for line in (*lines, *found.message)) + "\n")
        return {
            **result,
            "changed": False,
            "prometheus": scrape.render(found, blackbox, alertmanager),
            "targets": {name: list(targets) for name, targets in found.jobs.items()},
            "left_out": list(found.message),
        }
