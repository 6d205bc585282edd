# SPDX-License-Identifier: Apache-2.0
"""The arguments of actions, read from the documentation of their modules: their one home."""

from __future__ import annotations

from typing import Any

import yaml
from ansible_collections.aza.pg.plugins.module_utils.yaml_loader import SafeLoader
from ansible_collections.aza.pg.plugins.modules import stack

_KEYS = ("type", "required", "default", "choices", "elements")


def arguments(documentation: str) -> dict[str, dict[str, Any]]:
    options = yaml.load(documentation, Loader=SafeLoader)["options"]
    return {name: {key: option[key] for key in _KEYS if key in option} for name, option in options.items()}


ARGUMENTS = arguments(stack.DOCUMENTATION)
for _secret in ("password", "tls_key", "tls_ca_key"):
    ARGUMENTS[_secret]["no_log"] = True
