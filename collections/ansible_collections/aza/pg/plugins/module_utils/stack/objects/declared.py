# SPDX-License-Identifier: Apache-2.0
"""From entries as people write them to entries with every key, whatever their kind. Pure."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from ansible_collections.aza.pg.plugins.module_utils.errors import AzaError, did_you_mean


def entries(
    variable: str, given: Any, defaults: Mapping[str, Any], key: str = "name"
) -> list[dict[str, Any]]:
    """Each entry of a list with every key of ``defaults``; a bare text is an entry with only ``key``.

    :raises AzaError: an entry that is no dictionary, an unknown key, an entry without ``key``.
    """
    result: list[dict[str, Any]] = []
    for number, item in enumerate(given or ()):
        entry = {key: item} if isinstance(item, str) else item
        where = f"{variable}[{number}]"
        if not isinstance(entry, Mapping):
            raise AzaError(
                f"{where}: expected a dictionary with the key '{key}', not {item!r}.", reason="bad_object"
            )
        for name in entry:
            if name not in defaults and name != key:
                hint = did_you_mean(str(name), [key, *defaults])
                raise AzaError(f"{where}: there is no key '{name}'{hint}", reason="bad_object")
        if not entry.get(key):
            raise AzaError(f"{where}: the key '{key}' is missing.", reason="bad_object")
        filled = {**copy.deepcopy(dict(defaults)), **entry, key: str(entry[key])}
        for name, default in defaults.items():
            filled[name] = _as_type(f"{where} ({filled[key]}): {name}", filled[name], default)
        result.append(filled)
    return result


_WORDS = {"yes": True, "true": True, "on": True, "no": False, "false": False, "off": False}
_TYPES: dict[type, tuple[str, tuple[type, ...]]] = {
    bool: ("yes or no", (bool,)),
    int: ("a whole number", (int,)),
    str: ("text", (str,)),
    list: ("a list", (list, tuple)),
    dict: ("a dictionary", (Mapping,)),
}


def _as_type(where: str, value: Any, default: Any) -> Any:
    """The value as the type of its default: what is left empty is the default, ``"yes"`` is a truth, 5 may be text."""
    if value is None or default is None:
        return copy.deepcopy(default) if value is None else value
    given = value
    if isinstance(default, bool):
        given = _WORDS.get(str(value).strip().lower(), value)
    elif isinstance(default, int) and isinstance(value, str) and value.strip().lstrip("+-").isdecimal():
        given = int(value)
    elif isinstance(default, str) and not isinstance(value, (bool, list, Mapping)):
        given = str(value)  # a number, or what YAML takes for a date
    words, types = _TYPES[type(default)]
    if not isinstance(given, types) or (isinstance(given, bool) and not isinstance(default, bool)):
        shown = "something else" if where.endswith("password") else repr(value)
        raise AzaError(f"{where}: expected {words}, not {shown}.", reason="bad_object")
    return given


def unique(variable: str, given: list[dict[str, Any]], key: str = "name") -> list[dict[str, Any]]:
    """:raises AzaError: when two entries speak of the same object."""
    seen: set[str] = set()
    for item in given:
        if item[key] in seen:
            raise AzaError(f"{variable}: '{item[key]}' stands there twice.", reason="bad_object")
        seen.add(item[key])
    return given
