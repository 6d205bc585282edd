# SPDX-License-Identifier: Apache-2.0
"""All hosts' variables against the roles' argument_specs, on the control node, before any host is touched."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Mapping
from typing import Any

from ansible.errors import AnsibleError
from ansible.plugins.action import ActionBase
from ansible_collections.aza.pg.plugins.module_utils.errors import AzaError
from ansible_collections.aza.pg.plugins.module_utils.inventory import deprecated
from ansible_collections.aza.pg.plugins.module_utils.inventory.check import Host, Problem, check_inventory
from ansible_collections.aza.pg.plugins.module_utils.inventory.declared import written
from ansible_collections.aza.pg.plugins.module_utils.inventory.files import remarks
from ansible_collections.aza.pg.plugins.module_utils.inventory.plain import Unresolved, plain, printable
from ansible_collections.aza.pg.plugins.module_utils.inventory.specs import PREFIXES, load_specs
from ansible_collections.aza.pg.plugins.plugin_utils import hooks
from ansible_collections.aza.pg.plugins.plugin_utils.image_contents import contents_for
from ansible_collections.aza.pg.plugins.plugin_utils.inventory_sources import (
    extra_variables,
    role_directories,
    sources_of,
)

_HOSTS_SHOWN = 3
_DEEPEST = 20
# What resolving a template may raise.
_FAILURES = (AnsibleError, KeyError, RecursionError)


class ActionModule(ActionBase):
    _requires_connection = False
    _supports_check_mode = True
    _VALID_ARGS = frozenset()

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result = super().run(tmp, task_vars)
        task_vars = task_vars or {}
        try:
            specs = load_specs(role_directories())
        except AzaError as error:
            return {**result, "failed": True, "msg": error.msg, "reason": error.reason}
        reader = _Reader(task_vars["hostvars"], self._templar)
        hosts = {str(name): reader.host(name) for name in task_vars["hostvars"]}
        sources = sources_of(task_vars)
        found = check_inventory(hosts, specs, contents_for())
        found += remarks(sources, hosts, specs)
        found += hooks.problems(hosts, {name: reader.directory(name) for name in hosts})
        number = sum(len(host.values) for host in hosts.values())
        result |= {"changed": False, "checked": {"hosts": len(hosts), "values_of_ours": number}}
        extra = extra_variables(self._loader)

        def place_of(problem: Problem) -> str:
            return sources.find(problem.path, problem.host, hosts[problem.host].groups, extra)

        old = [
            Problem(name, (variable,), deprecated.warning(variable, specs))
            for name, host in hosts.items()
            for variable in sorted(deprecated.old_names(specs).keys() & host.values.keys())
        ]
        if old:
            result["warnings"] = _lines(old, place_of, len(hosts))
        if found:
            lines = _lines(found, place_of, len(hosts))
            count = f"{len(lines)} mistakes" if len(lines) > 1 else "a mistake"
            result |= {
                "failed": True,
                "reason": "bad_inventory",
                "msg": f"The inventory has {count}; no host was touched.\n" + "\n".join(lines),
            }
        return result


def _lines(found: list[Problem], place_of: Callable[[Problem], str], everybody: int) -> list[str]:
    """One line for each mistake, however many hosts have it: place, variable, what is wrong."""
    merged: dict[tuple[str, tuple[str, ...], str], list[str]] = {}
    for problem in found:
        place = problem.place or place_of(problem) or f"host {problem.host}"
        hosts = merged.setdefault((place, problem.path, problem.message), [])
        if problem.host not in hosts:
            hosts.append(problem.host)
    ordered = sorted(merged.items(), key=lambda item: _sortable(item[0][0]))
    return [
        f"{place}: {printable(written(path))}: {message}{'' if len(hosts) == everybody else _some(hosts)}"
        for (place, path, message), hosts in ordered
    ]


def _sortable(place: str) -> tuple[str, int]:
    file, _, line = place.rpartition(":")
    return (file, int(line)) if line.isdigit() else (place, 0)


def _some(hosts: list[str]) -> str:
    more = f" and {len(hosts) - _HOSTS_SHOWN} more" if len(hosts) > _HOSTS_SHOWN else ""
    return f" (host {', '.join(hosts[:_HOSTS_SHOWN])}{more})"


class _Reader:
    """The variables of all hosts as plain data. What holds no template is not resolved but taken as it is written,
    and once for however many hosts: with many hosts and roles that is most of the work."""

    def __init__(self, hostvars: Any, templar: Any) -> None:
        self.hostvars, self.templar = hostvars, templar
        # By identity; the value is kept, or its identity might be given to another.
        self.seen: dict[int, tuple[Any, Any]] = {}

    def host(self, name: Any) -> Host:
        raw = self.hostvars.raw_get(name)

        def value(key: str, default: Any = None) -> Any:
            return self._value(raw[key], raw) if key in raw else default

        return Host(
            {str(key): value(key) for key in raw if str(key).startswith(PREFIXES)},
            _machine(value("ansible_connection", "ssh"), value("ansible_host", name), value("ansible_port")),
            value("group_names", []),
        )

    def directory(self, name: str) -> str:
        """Return the directory of the inventory that a host comes from."""
        return str(self.hostvars.raw_get(name).get("inventory_dir") or "")

    def _value(self, written_down: Any, raw: Any) -> Any:
        known = self.seen.get(id(written_down))
        if known:
            return known[1]
        if _is_static(written_down):
            value = plain(written_down)
            self.seen[id(written_down)] = (written_down, value)
            return value
        templar = self.templar.copy_with_new_env(available_variables={**raw, "hostvars": self.hostvars})
        try:
            return plain(templar.template(written_down), _FAILURES)
        except _FAILURES:
            # One entry that cannot be resolved is no reason to say nothing about the others.
            return plain(_piecewise(written_down, templar))


def _is_static(raw: Any, depth: int = 0) -> bool:
    """Nothing to resolve or decrypt in it."""
    if isinstance(raw, str):
        return "{" not in raw
    if isinstance(raw, (Mapping, list)) and depth < _DEEPEST:
        return all(
            _is_static(item, depth + 1) for item in (raw.values() if isinstance(raw, Mapping) else raw)
        )
    return raw is None or isinstance(raw, (bool, int, float, datetime.date))


def _piecewise(raw: Any, templar: Any, depth: int = 0) -> Any:
    if isinstance(raw, (Mapping, list)) and depth > _DEEPEST:
        return Unresolved(f"it has more than {_DEEPEST} levels, or contains itself")
    if isinstance(raw, Mapping):
        return {key: _piecewise(item, templar, depth + 1) for key, item in raw.items()}
    if isinstance(raw, list):
        return [_piecewise(item, templar, depth + 1) for item in raw]
    try:
        return templar.template(raw)
    except _FAILURES as error:
        return Unresolved(str(error).partition("\n")[0])


def _machine(connection: Any, address: Any, port: Any) -> str:
    """What tells whether two hosts of the inventory are the same machine. Behind one address may be several,
    distinguished by their port."""
    return "local" if connection == "local" else f"{connection} {address} {port}"
