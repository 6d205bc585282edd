# SPDX-License-Identifier: Apache-2.0
"""Reads ``image/tuning.yml`` (control node only: it needs PyYAML and jsonschema)."""

from __future__ import annotations

import json
from pathlib import Path

import yaml
from ansible_collections.aza.pg.plugins.module_utils.errors import AzaError
from ansible_collections.aza.pg.plugins.module_utils.tuning.rules import Rules, build_rules
from ansible_collections.aza.pg.plugins.module_utils.yaml_loader import SafeLoader


def load_rules(path: Path, checked: bool = False) -> Rules:
    """Return the rules in a file, checked against ``tuning.schema.json`` beside it and against themselves.

    ``checked``: it was validated against the schema before; that takes longer than reading it.
    """
    try:
        data = yaml.load(path.read_text(encoding="utf-8"), Loader=SafeLoader)
        mistakes = [] if checked else _mistakes(path, data)
    except OSError as error:
        raise AzaError(f"{error.filename} cannot be read: {error.strerror}", reason="tuning_rules") from error
    except yaml.YAMLError as error:
        raise AzaError(f"{path.name} is not YAML: {error}", reason="tuning_rules") from error
    if mistakes:
        raise AzaError("\n".join(mistakes), reason="tuning_rules", mistakes=mistakes)
    return build_rules(data, where=path.name)


def _mistakes(path: Path, data: object) -> list[str]:
    from jsonschema import Draft202012Validator

    schema = json.loads(path.with_name("tuning.schema.json").read_text(encoding="utf-8"))
    return [
        f"{path.name}: {error.json_path.removeprefix('$.')}: {error.message}"
        for error in Draft202012Validator(schema).iter_errors(data)
    ]
