# SPDX-License-Identifier: Apache-2.0
"""Files that are generated from a role's argument_specs: its defaults, and the typed record of its variables."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.aza.pg.plugins.module_utils.inventory.specs import Option
from ansible_collections.aza.pg.plugins.module_utils.yaml_dumper import dump

_HEAD = "Generated from roles/{role}/meta/argument_specs.yml by `make docs`."
_TYPES = {
    "str": "str",
    "int": "int",
    "float": "float",
    "bool": "bool",
    "dict": "dict[str, Any]",
    "list": "list[Any]",
}


def of_role(specs: Mapping[str, Option], role: str) -> list[Option]:
    """Return the variables of one role, in the order of its argument_specs."""
    return [option for option in specs.values() if option.role == role]


def render_defaults(options: Iterable[Option], role: str) -> str:
    """Return ``defaults/main.yml``: every variable that has a default. Others are derived if they are not set."""
    values = {option.name: _default(option) for option in options if option.default is not None}
    return f"---\n# {_HEAD.format(role=role)}\n{dump(values)}"


def _default(option: Option) -> Any:
    """Return the default, or the value under an old name of the variable."""
    value = option.default
    for old in option.deprecated_aliases:
        inner = value[3:-3] if value != option.default else json.dumps(value)
        value = f"{{{{ {old} | default({inner}) }}}}"
    return value


def render_record(options: Iterable[Option], role: str) -> str:
    """Return the source of ``model/variables.py``."""
    fields = "".join(f"    {option.name}: {_annotation(option)}\n" for option in options)
    return (
        "# SPDX-License-Identifier: Apache-2.0\n"
        f'"""The variables of an instance.\n\n{_HEAD.format(role=role)}\n"""\n\n'
        "from __future__ import annotations\n\n"
        "from typing import Any, TypedDict\n\n\n"
        f"class Variables(TypedDict):\n{fields}"
    )


def _annotation(option: Option) -> str:
    if option.type == "list" and option.elements == "str":
        return "list[str]"
    return _TYPES.get(option.type, "Any")
