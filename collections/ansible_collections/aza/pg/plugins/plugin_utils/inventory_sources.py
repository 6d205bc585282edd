# SPDX-License-Identifier: Apache-2.0
"""From Ansible's variables to the places they were written at."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible import constants as C  # noqa: N812, the name that Ansible's own code uses
from ansible.utils.vars import load_extra_vars
from ansible_collections.aza.pg.plugins.module_utils.inventory.sources import Sources, read
from ansible_collections.aza.pg.plugins.plugin_utils import project


def sources_of(task_vars: Mapping[str, Any]) -> Sources:
    inventories = [Path(str(source)) for source in task_vars.get("ansible_inventory_sources") or []]
    playbook = task_vars.get("playbook_dir")
    return read([path for path in inventories if path.exists()], Path(str(playbook)) if playbook else None)


def extra_variables(loader: Any) -> set[str]:
    """The names that the command line gave with -e."""
    return set(load_extra_vars(loader))


def origins(task_vars: Mapping[str, Any], loader: Any, prefix: str) -> dict[str, str]:
    """For this host: variable → where it was declared."""
    sources, extra = sources_of(task_vars), extra_variables(loader)
    host, groups = str(task_vars["inventory_hostname"]), list(map(str, task_vars.get("group_names") or []))
    names = {path[0] for tables in sources.found.values() for table in tables for path in table} | extra
    return {
        str(name): f"{place}: {name}"
        for name in sorted(names)
        if name.startswith(prefix) and (place := sources.find((name,), host, groups, extra))
    }


def role_directories() -> list[Path]:
    """Return the directories of the roles whose argument_specs declare the variables: first the collection's."""
    configured = [Path(str(path)) for path in C.config.get_config_value("DEFAULT_ROLES_PATH")]
    # In a checkout, the configured one is a link to the collection's.
    return list(dict.fromkeys(path.resolve() for path in [project.ROLES, *configured] if path.is_dir()))
