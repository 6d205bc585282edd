# SPDX-License-Identifier: Apache-2.0
"""The arguments of aza.pg.stack, read from its documentation: their one home."""

from __future__ import annotations

from typing import Any

import yaml
from ansible_collections.aza.pg.plugins.modules import stack

_KEYS = ("type", "required", "default", "choices", "elements")


def _arguments() -> dict[str, dict[str, Any]]:
    options = yaml.safe_load(stack.DOCUMENTATION)["options"]
    return {name: {key: option[key] for key in _KEYS if key in option} for name, option in options.items()}


ARGUMENTS = _arguments()
for _secret in ("password", "tls_key", "tls_ca_key"):
    ARGUMENTS[_secret]["no_log"] = True
