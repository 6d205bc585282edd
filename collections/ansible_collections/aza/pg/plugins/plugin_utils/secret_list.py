# SPDX-License-Identifier: Apache-2.0
"""The secrets of a cluster as people are told of them: what each is for, how old it is. Never a value."""

from __future__ import annotations

import stat
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ansible_collections.aza.pg.plugins.module_utils.model.variables import Variables
from ansible_collections.aza.pg.plugins.module_utils.objects import roles
from ansible_collections.aza.pg.plugins.module_utils.replication import topology as replication
from ansible_collections.aza.pg.plugins.module_utils.services import registry
from ansible_collections.aza.pg.plugins.plugin_utils.control_secrets import (
    ADMINISTRATOR,
    ROLES,
    SERVICES,
    SecretStore,
    inventory_passwords,
)

_DAY = 24 * 60 * 60


@dataclass(frozen=True)
class Entry:
    """``used_by`` is empty when nothing uses it. ``given``: the inventory gives the value (Ansible Vault)."""

    name: str
    used_by: str = ""
    given: bool = False
    there: bool = False
    waiting: bool = False
    age_days: int = 0
    mode: str = ""

    @property
    def names(self) -> tuple[str, ...]:
        """What people may call it."""
        return (self.name, self.name.removeprefix(ROLES).removeprefix(SERVICES))

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def uses(variables: Variables) -> dict[str, str]:
    """Return secret → its purpose, of everything that is declared."""
    user = variables["postgres_user"]
    listed = {secret.name: secret.purpose for secret in registry.secrets(registry.declared(variables))}
    listed[ADMINISTRATOR] = f"administrator {user}"
    for name in roles.password_names(roles.normalise(variables["postgres_roles"]), user):
        listed[f"{ROLES}{name}"] = f"role {name}"
    if variables["postgres_stack"] != "single":
        listed[replication.PASSWORD] = "the replicas"
    return listed


def entries(store: SecretStore, variables: Variables) -> list[Entry]:
    """Return what is declared and what is kept, by name."""
    used = uses(variables)
    inventory = inventory_passwords(variables["postgres_password"], variables["postgres_roles"])
    there = store.names()
    found = []
    for name in sorted({*used, *there}):
        files = there.get(name, [])
        # The inventory's own value wins, so the file is what nothing uses.
        for_file = "" if name in inventory and files else used.get(name, "")
        found.append(
            Entry(
                name,
                used_by=for_file,
                there=bool(files),
                waiting=any(path == store.next_path(name) for path in files),
                age_days=int((time.time() - max(path.stat().st_mtime for path in files)) // _DAY)
                if files
                else 0,
                mode=f"{stat.S_IMODE(files[0].stat().st_mode):04o}" if files else "",
                given=name in inventory,
            )
        )
    return found


def asked_for(entry: Entry, rotate: str) -> bool:
    return bool(rotate and entry.used_by and not entry.given and rotate in ("all", *entry.names))


def lines(store: SecretStore, listed: list[Entry], removed: set[str], rotating: set[str]) -> Iterator[str]:
    yield f"secrets of {store.directory.name} in {store.directory}"
    width = max(len(entry.name) for entry in listed)
    for entry in listed:
        message = [f"  {entry.name:<{width}}", *_words(entry, entry.name in removed, entry.name in rotating)]
        yield "  ".join(message)


def _words(entry: Entry, removed: bool, rotating: bool) -> Iterator[str]:
    yield entry.used_by or ("the inventory gives it" if entry.given else "nothing uses it")
    if removed:
        yield "removed"
    elif not entry.there:
        yield "given by the inventory" if entry.given else "made by the next deploy"
    else:
        yield "today" if not entry.age_days else f"{entry.age_days} day{'s' * (entry.age_days > 1)} old"
        yield entry.mode
        if rotating:
            yield "gets a new value"
        elif entry.waiting:
            yield "has a new value that is not in use yet: deploy"


def abandoned_line(directory: Path, names: list[str], removing: str) -> str:
    message = (
        "removed" if removing == directory.name else f"remove them with -e remove_unused={directory.name}"
    )
    return (
        f"no host belongs to {directory.name}, and {directory} holds {len(names)} of its secrets: {message}"
    )
