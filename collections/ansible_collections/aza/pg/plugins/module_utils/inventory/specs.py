# SPDX-License-Identifier: Apache-2.0
"""Which variables there are: read from the roles' argument_specs, their one home.

Beyond what Ansible reads: entries with `elements: raw` and options are dictionaries of these keys, or the bare value
of the one that is required (`extensions: [hstore, {name: vector, schema: api}]`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml
from ansible_collections.aza.pg.plugins.module_utils.errors import AzaError
from ansible_collections.aza.pg.plugins.module_utils.inventory.limits import Limit, limit_of
from ansible_collections.aza.pg.plugins.module_utils.yaml_loader import SafeLoader

# What belongs to us: a variable with such a name that no role declares is a mistake.
PREFIXES = ("postgres_", "image_", "pgbouncer_", "docker_engine_", "aza_")


@dataclass(frozen=True)
class Option:
    """One variable, or one key of a dictionary in a variable."""

    name: str
    type: str = "str"
    role: str = ""
    required: bool = False
    default: Any = None
    choices: tuple[Any, ...] = ()
    elements: str = ""
    options: Mapping[str, Option] = field(default_factory=dict)
    description: tuple[str, ...] = ()
    # Whether it is never shown, and does not belong into a file as plain text.
    secret: bool = False
    # Old names of the variable → the release that no longer accepts them (``inventory/deprecated.py``).
    deprecated_aliases: Mapping[str, str] = field(default_factory=dict)
    # As people write the place: ``postgres_databases[].name``.
    where: str = ""

    @cached_property
    def entry(self) -> Option:
        """What each entry of a list is. As Ansible does it, the choices of a list are those of its entries."""
        return Option(
            self.name,
            self.elements or "raw",
            options=self.options,
            choices=self.choices,
            secret=self.secret,
            where=f"{self.where}[]",
        )

    @cached_property
    def bare(self) -> str:
        """The key that stands for an entry which is not a dictionary; empty where there is no such short form."""
        required = [key for key, inside in self.options.items() if inside.required]
        return required[0] if self.type == "raw" and required else ""

    @cached_property
    def limit(self) -> Limit | None:
        return limit_of(self.where)


def load_specs(role_directories: Iterable[Path]) -> dict[str, Option]:
    """Every variable of every role below these directories; the first declaration of a name counts."""
    known: dict[str, Option] = {}
    for directory in role_directories:
        for path in sorted(directory.glob("*/meta/argument_specs.yml")):
            try:
                document = yaml.load(path.read_text(encoding="utf-8"), Loader=SafeLoader) or {}
            except yaml.YAMLError as error:
                raise AzaError(f"{path} is not valid YAML: {error}", reason="bad_argument_specs") from None
            role = path.parent.parent.name
            for entry in (document.get("argument_specs") or {}).values():
                for name, option in (entry.get("options") or {}).items():
                    known.setdefault(name, _option(name, option or {}, role, name))
    return known


def _option(name: str, given: Mapping[str, Any], role: str, where: str) -> Option:
    described = given.get("description") or []
    kind = given.get("type", "str")
    below = f"{where}[]" if kind == "list" else where
    return Option(
        name=name,
        type=kind,
        role=role,
        required=bool(given.get("required", False)),
        default=given.get("default"),
        choices=tuple(given.get("choices") or ()),
        elements=given.get("elements", ""),
        options={
            key: _option(key, value or {}, role, f"{below}.{key}")
            for key, value in (given.get("options") or {}).items()
        },
        description=(described,) if isinstance(described, str) else tuple(described),
        secret=bool(given.get("no_log", False)),
        deprecated_aliases={
            str(alias["name"]): str(alias["version"]) for alias in given.get("deprecated_aliases") or ()
        },
        where=where,
    )


def places(specs: Mapping[str, Option]) -> dict[str, Option]:
    """Every variable and every key within, by its place as people write it."""
    found = {}
    for option in specs.values():
        found[option.where] = option
        if option.type == "list":
            found[option.entry.where] = option.entry
        found |= places(option.options)
    return found
