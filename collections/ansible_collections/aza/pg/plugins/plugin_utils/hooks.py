# SPDX-License-Identifier: Apache-2.0
"""The user's own task files that run at certain points of a playbook (``postgres_hooks``)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from ansible_collections.aza.pg.plugins.module_utils.inventory.check import Host, Problem
from ansible_collections.aza.pg.plugins.module_utils.inventory.limits import PATHS

VARIABLE = "postgres_hooks"


class _Loader(yaml.SafeLoader):
    """Reads the structure of a task file; tags of Ansible (``!vault``, ``!unsafe``) are accepted."""


_Loader.add_multi_constructor("!", lambda *_: "")


def files(hooks: Any, point: str, inventory_dir: str) -> list[str]:
    """Return the absolute paths of the task files of one point. Relative paths start at the inventory's directory."""
    given = hooks.get(point) if isinstance(hooks, Mapping) else None
    paths = [given] if isinstance(given, str) else given or ()
    return [str(Path(inventory_dir) / str(path)) for path in paths]


def problems(hosts: Mapping[str, Host], directories: Mapping[str, str]) -> Iterator[Problem]:
    """Find task files that cannot be used, before the first host is changed.

    :param directories: host → the directory of its inventory.
    """
    checked: dict[str, str] = {}
    for name, host in hosts.items():
        hooks = host.values.get(VARIABLE)
        if not isinstance(hooks, Mapping):
            continue  # its type is checked with all others
        for point, given in hooks.items():
            if PATHS(given):
                continue
            for number, path in enumerate(files(hooks, str(point), directories.get(name, ""))):
                if path not in checked:
                    checked[path] = _unfit(path)
                if checked[path]:
                    entry = (str(number),) if isinstance(given, list) else ()
                    yield Problem(name, (VARIABLE, str(point), *entry), checked[path])


def _unfit(path: str) -> str:
    """Return why a file is not a task file; empty if it is one."""
    if not Path(path).is_file():
        return f"there is no file {path}. Paths are relative to the directory of the inventory"
    try:
        text = Path(path).read_text(encoding="utf-8")
        if text.startswith("$ANSIBLE_VAULT;"):
            return ""  # Ansible decrypts it when it runs.
        tasks = yaml.load(text, Loader=_Loader) or []
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
        return f"{path} is not valid YAML: {' '.join(str(error).split())}"
    if not isinstance(tasks, list) or not all(isinstance(task, Mapping) for task in tasks):
        return f"{path} is not a task file: expected a list of tasks, as in roles/NAME/tasks/main.yml"
    if any("hosts" in task for task in tasks):
        return f"{path} is a playbook: expected a list of tasks without 'hosts'"
    return ""
