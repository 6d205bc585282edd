# SPDX-License-Identifier: Apache-2.0
"""Read YAML data files strictly, and say as text what is wrong with their shape.

PyYAML keeps the last of two equal keys without a word; here that is an error. JSON Schema's own messages
speak of schemas; ours name the key, the value and what was expected.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from ansible_collections.aza.pg.plugins.module_utils.errors import AzaError, did_you_mean
from ansible_collections.aza.pg.plugins.module_utils.yaml_loader import SafeLoader

if TYPE_CHECKING:
    from jsonschema.exceptions import ValidationError


class _StrictLoader(SafeLoader):
    """SafeLoader that refuses a key given twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _value in node.value:
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                raise yaml.MarkedYAMLError(problem=f"duplicate key '{key}'", problem_mark=key_node.start_mark)
            seen.add(key)
        mapping: dict[Any, Any] = super().construct_mapping(node, deep)
        return mapping


def read_yaml(path: Path) -> Any:
    """Return the document in ``path``; an AzaError names line and column of what cannot be read."""
    try:
        return yaml.load(path.read_text(encoding="utf-8"), Loader=_StrictLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f":{mark.line + 1}:{mark.column + 1}" if mark else ""
        raise AzaError(f"{path}{where}: {error.problem}", reason="yaml_invalid") from error
    except (OSError, UnicodeDecodeError) as error:
        raise AzaError(f"{path}: cannot be read: {error}", reason="file_unreadable") from error


def read_schema(path: Path) -> dict[str, Any]:
    """Return the JSON Schema in ``path``."""
    try:
        schema: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise AzaError(f"{path}: cannot be read: {error}", reason="schema_unreadable") from error
    return schema


def shape_problems(document: object, schema: Mapping[str, Any]) -> list[str]:
    """Return one sentence ``KEY: …`` for every place where ``document`` is not what ``schema`` asks for."""
    # Loaded when there is a document, which most deploys do without.
    from jsonschema import Draft202012Validator

    errors = Draft202012Validator(schema).iter_errors(document)
    return [text for error in sorted(errors, key=lambda e: e.json_path) for text in _explain(error)]


def _explain(error: ValidationError) -> Iterator[str]:
    key = error.json_path.removeprefix("$").removeprefix(".")
    at = f"{key}: " if key else ""
    value, rule = error.instance, error.validator_value
    if error.validator == "additionalProperties" and isinstance(value, dict):
        allowed = error.schema.get("properties", {}) if isinstance(error.schema, Mapping) else {}
        for extra in (name for name in value if name not in allowed):
            yield f"{_join(key, extra)}: unknown key{did_you_mean(str(extra), allowed)}"
    elif error.validator == "required" and isinstance(value, dict) and isinstance(rule, list):
        # jsonschema reports each missing key by itself; its message begins with the key in quotes.
        yield f"{_join(key, error.message.split(chr(39))[1])}: missing"
    elif error.validator == "type":
        wanted = " or ".join(map(str, rule)) if isinstance(rule, list) else rule
        yield f"{at}{_show(value)} is not of type {wanted}"
    elif error.validator == "enum" and isinstance(rule, list):
        known = [str(choice) for choice in rule]
        yield f"{at}{_show(value)} is not one of {', '.join(known)}{did_you_mean(str(value), known)}"
    elif error.validator == "pattern":
        yield f"{at}{_show(value)} does not have the form {rule}"
    else:
        yield f"{at}{error.message}"


def _join(key: str, child: object) -> str:
    return f"{key}.{child}" if key else str(child)


def _show(value: object) -> str:
    """Return the value as JSON, which is how YAML read it, shortened for a message."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 80 else text[:77] + "..."
