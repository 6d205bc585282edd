# SPDX-License-Identifier: Apache-2.0
"""Variables that have a new name: the old one keeps working for a while, with a warning. Pure.

An option of argument_specs lists its old names under ``deprecated_aliases``, as in Ansible:
``{name: postgres_old, version: 2.0.0}``. ``version`` is the first release that does not accept the old name.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ansible_collections.aza.pg.plugins.module_utils.inventory.specs import Option

Path = tuple[str, ...]


def old_names(specs: Mapping[str, Option]) -> dict[str, tuple[str, str]]:
    """Return old name → new name, and the release that removes the old one."""
    return {
        old: (option.name, version)
        for option in specs.values()
        for old, version in option.deprecated_aliases.items()
    }


def renamed(values: Mapping[str, Any], specs: Mapping[str, Option]) -> dict[str, Any]:
    """Return the variables under their new names. A value under the new name has priority."""
    names = old_names(specs)
    old = {names[name][0]: value for name, value in values.items() if name in names}
    return {**old, **{name: value for name, value in values.items() if name not in names}}


def conflicts(values: Mapping[str, Any], specs: Mapping[str, Option]) -> Iterator[tuple[str, str]]:
    """Return old name → why it cannot be used, if the new name is set as well."""
    for old, (new, _) in old_names(specs).items():
        if old in values and new in values:
            yield old, f"{new} is set as well, which is the new name of this variable; remove {old}"


def as_written(path: Path, values: Mapping[str, Any], specs: Mapping[str, Option]) -> Path:
    """Return a path with the old name of its variable, if the inventory sets the variable under that name only."""
    for old, (new, _) in old_names(specs).items():
        if path[0] == new and old in values and new not in values:
            return (old, *path[1:])
    return path


def as_declared(path: Path, specs: Mapping[str, Option]) -> Path:
    """Return a path with the new name of its variable."""
    new, _ = old_names(specs).get(path[0], (path[0], ""))
    return (new, *path[1:])


def warning(old: str, specs: Mapping[str, Option]) -> str:
    """Return what to tell the user about an old name."""
    new, version = old_names(specs)[old]
    return f"deprecated variable; use {new}. Release {version} of aza.pg no longer accepts {old}"
