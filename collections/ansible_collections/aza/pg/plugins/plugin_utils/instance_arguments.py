# SPDX-License-Identifier: Apache-2.0
"""The arguments of actions, read from the documentation of their modules: their one home."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import yaml
from ansible_collections.aza.pg.plugins.module_utils.errors import AzaError
from ansible_collections.aza.pg.plugins.module_utils.inventory.check import check_value
from ansible_collections.aza.pg.plugins.module_utils.inventory.declared import written
from ansible_collections.aza.pg.plugins.module_utils.inventory.plain import plain
from ansible_collections.aza.pg.plugins.module_utils.inventory.specs import Option
from ansible_collections.aza.pg.plugins.module_utils.yaml_loader import SafeLoader
from ansible_collections.aza.pg.plugins.modules import instance

_KEYS = ("type", "required", "default", "choices", "elements")


def arguments(documentation: str) -> dict[str, dict[str, Any]]:
    options = yaml.load(documentation, Loader=SafeLoader)["options"]
    return {name: {key: option[key] for key in _KEYS if key in option} for name, option in options.items()}


def pooled(given: Mapping[str, Any]) -> bool:
    """Whether PgBouncer runs beside the server, which the stack decides unless it is said."""
    return given["stack"] != "single" if given["pgbouncer"] is None else bool(given["pgbouncer"])


def misfits(given: Mapping[str, Any]) -> Iterator[str]:
    """What an argument cannot be, each a sentence without its period: above all a number where text is expected, which
    Ansible would take for the text of it. What roles, databases and rules are, their kinds say."""
    for name, argument in ARGUMENTS.items():
        text = argument["type"] == "str" or argument.get("elements") == "str"
        if text and given.get(name) is not None:
            option = Option(
                name,
                argument["type"],
                elements=argument.get("elements", ""),
                secret=argument.get("no_log", False),
                where=f"postgres_{name}",
            )
            for path, said in check_value((name,), plain(given[name]), option):
                yield f"{written(path)}: {said}"


def confirm(given: Mapping[str, Any]) -> None:
    """:raises AzaError: removing the instance, or its data, is not confirmed with the cluster's name."""
    cluster = given["cluster"]
    if given["confirm"] != cluster:
        said = f", not '{given['confirm']}'" if given["confirm"] else ""
        raise AzaError(
            f"Removing {cluster} must be confirmed with the cluster's name: confirm={cluster}{said}. "
            "Nothing was changed.",
            reason="not_confirmed",
        )
    if given["remove_data"] not in ("", cluster):
        raise AzaError(
            f"Removing the data must be confirmed with the cluster's name: remove_data={cluster}, "
            f"not '{given['remove_data']}'. Nothing was changed.",
            reason="not_confirmed",
        )


ARGUMENTS = arguments(instance.DOCUMENTATION)
for _secret in ("password", "tls_key", "tls_ca_key"):
    ARGUMENTS[_secret]["no_log"] = True
