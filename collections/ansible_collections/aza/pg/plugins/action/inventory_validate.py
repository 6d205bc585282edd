# SPDX-License-Identifier: Apache-2.0
"""All hosts' variables against the roles' argument_specs, on the control node, before any host is touched."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ansible import constants as C  # noqa: N812, the name that Ansible's own code uses
from ansible.errors import AnsibleError
from ansible.plugins.action import ActionBase
from ansible_collections.aza.pg.plugins.module_utils.errors import AzaError
from ansible_collections.aza.pg.plugins.module_utils.inventory.check import Problem, Unresolved, check_host
from ansible_collections.aza.pg.plugins.module_utils.inventory.specs import PREFIXES, load_specs
from ansible_collections.aza.pg.plugins.plugin_utils.inventory_sources import extra_variables, sources_of

_HOSTS_SHOWN = 3


class ActionModule(ActionBase):
    _requires_connection = False
    _supports_check_mode = True
    _VALID_ARGS = frozenset()

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result = super().run(tmp, task_vars)
        task_vars = task_vars or {}
        try:
            specs = load_specs(_role_directories(task_vars))
        except AzaError as error:
            return {**result, "failed": True, "msg": error.msg, "reason": error.reason}
        found: list[Problem] = []
        hosts = list(task_vars["hostvars"])
        number = 0
        for host in hosts:
            values = dict(_values(task_vars["hostvars"], host))
            number += len(values)
            found += check_host(str(host), values, specs)
        result |= {"changed": False, "checked": {"hosts": len(hosts), "values_of_ours": number}}
        if found:
            lines = self._lines(found, task_vars)
            count = f"{len(lines)} mistakes" if len(lines) > 1 else "a mistake"
            result |= {
                "failed": True,
                "reason": "bad_inventory",
                "msg": f"The inventory has {count}; no host was touched.\n" + "\n".join(lines),
            }
        return result

    def _lines(self, found: list[Problem], task_vars: dict[str, Any]) -> list[str]:
        """One line for each mistake, however many hosts have it: place, variable, what is wrong."""
        sources, extra = sources_of(task_vars), extra_variables(self._loader)
        merged: dict[tuple[str, tuple[str, ...], str], list[str]] = {}
        for problem in found:
            groups = [str(group) for group in task_vars["hostvars"][problem.host].get("group_names") or []]
            place = sources.find(problem.path, problem.host, groups, extra) or f"host {problem.host}"
            merged.setdefault((place, problem.path, problem.said), []).append(problem.host)
        everybody = len(list(task_vars["hostvars"]))
        ordered = sorted(merged.items(), key=lambda item: _sortable(item[0][0]))
        return [
            f"{place}: {_key(path)}: {said}{'' if len(hosts) == everybody else _some(hosts)}"
            for (place, path, said), hosts in ordered
        ]


def _sortable(place: str) -> tuple[str, int]:
    file, _, line = place.rpartition(":")
    return (file, int(line)) if line.isdigit() else (place, 0)


def _some(hosts: list[str]) -> str:
    more = f" and {len(hosts) - _HOSTS_SHOWN} more" if len(hosts) > _HOSTS_SHOWN else ""
    return f" (host {', '.join(hosts[:_HOSTS_SHOWN])}{more})"


def _key(path: tuple[str, ...]) -> str:
    """``postgres_allow_from[1]``, ``postgres_settings.work_mem``."""
    return path[0] + "".join(f"[{part}]" if part.isdigit() else f".{part}" for part in path[1:])


def _values(hostvars: Any, host: str) -> Iterator[tuple[str, Any]]:
    variables = hostvars[host]
    for name in list(variables):
        if not str(name).startswith(PREFIXES):
            continue
        try:
            # Without Ansible's tags, and as plain data all the way down.
            yield str(name), json.loads(json.dumps(variables[name], default=str))
        except (AnsibleError, KeyError) as error:
            yield str(name), Unresolved(str(error).splitlines()[0])


def _role_directories(task_vars: dict[str, Any]) -> list[Path]:
    configured = [Path(str(path)) for path in C.config.get_config_value("DEFAULT_ROLES_PATH")]
    beside = Path(str(task_vars.get("playbook_dir", "."))).parent / "roles"
    return [path for path in [beside, *configured] if path.is_dir()]
