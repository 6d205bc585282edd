# SPDX-License-Identifier: Apache-2.0
"""The arguments of actions, read from the documentation of their modules: their one home."""

from __future__ import annotations

from typing import Any

import yaml
from ansible_collections.aza.pg.plugins.module_utils.errors import AzaError
from ansible_collections.aza.pg.plugins.module_utils.yaml_loader import SafeLoader

_KEYS = ("type", "required", "default", "choices", "elements")


def arguments(documentation: str) -> dict[str, dict[str, Any]]:
    """Return the argument spec that a module documents."""
    options = yaml.load(documentation, Loader=SafeLoader)["options"]
    return {name: {key: option[key] for key in _KEYS if key in option} for name, option in options.items()}


def confirm(cluster: str, confirmed: str, remove_data: str) -> None:
    """:raises AzaError: removing the instance, or its data, is not confirmed with the cluster's name."""
    if confirmed != cluster:
        message = f", not '{confirmed}'" if confirmed else ""
        raise AzaError(
            f"Removing {cluster} must be confirmed with the cluster's name: confirm={cluster}{message}. "
            "Nothing was changed.",
            reason="not_confirmed",
        )
    if remove_data not in ("", cluster):
        raise AzaError(
            f"Removing the data must be confirmed with the cluster's name: remove_data={cluster}, "
            f"not '{remove_data}'. Nothing was changed.",
            reason="not_confirmed",
        )
