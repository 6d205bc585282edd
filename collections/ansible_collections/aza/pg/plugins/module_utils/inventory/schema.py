# SPDX-License-Identifier: Apache-2.0
"""Writes ``docs/reference/inventory.schema.json``, by which editors complete and check an inventory's variables.

It says what ``check`` says, as far as JSON Schema can: what it refuses, a run refuses too. A run knows more: what a
template comes to, what contradicts what, what the image holds.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible_collections.aza.pg.plugins.module_utils.inventory.check import NUMBER, TRUTH, WHOLE
from ansible_collections.aza.pg.plugins.module_utils.inventory.docs import plain_text
from ansible_collections.aza.pg.plugins.module_utils.inventory.specs import PREFIXES, Option, load_specs

Schema = dict[str, Any]
_TEMPLATE = {"$ref": "#/$defs/template"}


def _any_case(word: str) -> str:
    """Editors' regular expressions cannot ignore the case."""
    return "".join(f"[{sign}{sign.upper()}]" if sign.isalpha() else sign for sign in word)


_DEFS: Schema = {
    "template": {
        "description": "A template, which Ansible resolves first.",
        "type": "string",
        "pattern": r"\{[{%]",
    },
    "truth": {
        "anyOf": [
            {"type": "boolean"},
            {"enum": [0, 1]},
            {"type": "string", "pattern": f"^(?:{'|'.join(map(_any_case, TRUTH))})$"},
        ]
    },
    "whole": {"anyOf": [{"type": "integer"}, {"type": "string", "pattern": f"^{WHOLE}$"}]},
    "number": {"anyOf": [{"type": "number"}, {"type": "string", "pattern": f"^{NUMBER}$"}]},
    "text": {"type": "string"},
    "measure": {"type": ["string", "number"]},
    "something": {"not": {"type": "null"}},
}
_SCALARS = {
    "str": "text",
    "path": "text",
    "bool": "truth",
    "int": "whole",
    "float": "number",
    "raw": "something",
}


def render_schema(roles: Path) -> str:
    """The schema of a file below group_vars or host_vars. ``roles``: the directory of all roles."""
    ours = "|".join(PREFIXES)
    document = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Variables of an inventory",
        "description": "Generated from roles/*/meta/argument_specs.yml by `make docs`; edit those.",
        "type": ["object", "null"],
        "properties": {name: variable(option) for name, option in load_specs([roles]).items()},
        # Variables with other names belong to the user.
        "patternProperties": {f"^(?!{ours})": True},
        "additionalProperties": False,
        "$defs": _DEFS,
    }
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def variable(option: Option) -> Schema:
    """A variable, or a key within one: its value or a template, and what an editor shows about it."""
    schema: Schema = {}
    if option.description:
        schema["description"] = " ".join(map(plain_text, option.description))
    if option.default not in (None, "", [], {}):
        schema["default"] = option.default
    own = value(option)
    if own in [
        {"$ref": f"#/$defs/{kind}"} for kind in ("something", "text", "measure")
    ]:  # which a template is, too
        return schema | own
    return schema | {"anyOf": [own, _TEMPLATE]}


def value(option: Option) -> Schema:
    """What the value itself may be."""
    if option.bare:
        return {"anyOf": [_dictionary(option.options), value(option.options[option.bare])]}
    if option.type == "list":
        return _limited(option, {"type": "array", "items": variable(option.entry)})
    if option.type == "dict":
        return _limited(option, _dictionary(option.options) if option.options else {"type": "object"})
    if option.choices:
        return {"enum": list(option.choices)}
    kind = "measure" if option.limit and option.limit.takes == "number" else _SCALARS[option.type]
    return _limited(option, {"$ref": f"#/$defs/{kind}"})


def _dictionary(options: Mapping[str, Option]) -> Schema:
    schema: Schema = {
        "type": "object",
        "properties": {key: variable(inside) for key, inside in options.items()},
        "additionalProperties": False,
    }
    required = [key for key, inside in options.items() if inside.required]
    return schema | ({"required": required} if required else {})


def _limited(option: Option, schema: Schema) -> Schema:
    return {**schema, **option.limit.schema} if option.limit else schema
