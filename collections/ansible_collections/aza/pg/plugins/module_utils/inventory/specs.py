# SPDX-License-Identifier: Apache-2.0
"""Which variables there are: read from the roles' argument_specs, their one home."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from ansible_collections.aza.pg.plugins.module_utils.errors import AzaError

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


def load_specs(role_directories: Iterable[Path]) -> dict[str, Option]:
    """Every variable of every role below these directories; the first declaration of a name counts."""
    known: dict[str, Option] = {}
    for directory in role_directories:
        for path in sorted(directory.glob("*/meta/argument_specs.yml")):
            try:
                document = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
            except yaml.YAMLError as error:
                raise AzaError(f"{path} is no YAML: {error}", reason="bad_argument_specs") from None
            role = path.parent.parent.name
            for entry in (document.get("argument_specs") or {}).values():
                for name, option in (entry.get("options") or {}).items():
                    known.setdefault(name, _option(name, option or {}, role))
    return known


def _option(name: str, given: Mapping[str, Any], role: str) -> Option:
    described = given.get("description") or []
    return Option(
        name=name,
        type=given.get("type", "str"),
        role=role,
        required=bool(given.get("required", False)),
        default=given.get("default"),
        choices=tuple(given.get("choices") or ()),
        elements=given.get("elements", ""),
        options={key: _option(key, value or {}, role) for key, value in (given.get("options") or {}).items()},
        description=(described,) if isinstance(described, str) else tuple(described),
    )
