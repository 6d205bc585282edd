# SPDX-License-Identifier: Apache-2.0
"""From entries as people write them to entries with every key, whatever their kind. Pure."""

from __future__ import annotations

import copy
import unicodedata
from collections.abc import Mapping
from typing import Any

from ansible_collections.aza.pg.plugins.module_utils.errors import AzaError, unknown_key


def entries(
    variable: str, given: Any, defaults: Mapping[str, Any], key: str = "name"
) -> list[dict[str, Any]]:
    """Each entry of a list with every key of ``defaults``; a bare text is an entry with only ``key``.

    :raises AzaError: an entry that is not a dictionary, an unknown key, an entry without ``key``.
    """
    result: list[dict[str, Any]] = []
    for number, item in enumerate(given or ()):
        entry = item if isinstance(item, Mapping) else {key: item}
        where = f"{variable}[{number}]"
        if not isinstance(item, (str, Mapping)):
            raise AzaError(
                f"{where}: expected a dictionary with the key '{key}', not {item!r}.", reason="bad_object"
            )
        for name in entry:
            if name not in defaults and name != key:
                message = unknown_key(str(name), [key, *defaults])
                raise AzaError(f"{where}.{name}: {message}", reason="bad_object")
        if not entry.get(key):
            raise AzaError(f"{where}: the key '{key}' is missing.", reason="bad_object")
        filled = {**copy.deepcopy(dict(defaults)), **entry}
        filled[key] = name_of(f"{where}: {key}", entry[key])
        for name, default in defaults.items():
            filled[name] = _as_type(f"{where} ({filled[key]}): {name}", filled[name], default)
        result.append(filled)
    return result


def name_of(where: str, given: Any) -> str:
    """The name of an object of the server.

    :raises AzaError: it is not text, or not a name that PostgreSQL, its files and a terminal can hold.
    """
    message = "is not text; put it in quotes" if not isinstance(given, str) else unfit_name(given)
    if message:
        raise AzaError(f"{where}: {given!r} {message}.", reason="bad_object")
    return str(given)


def unfit_name(name: str) -> str:
    """Why no object can have that name; empty when one can. PostgreSQL cuts a longer name off, and the lines of its
    files hold no line break."""
    if not 1 <= len(name.encode(errors="surrogatepass")) <= 63:
        return "is not a name of 1 to 63 bytes"
    return unfit_sign(name)


def unfit_sign(text: str) -> str:
    """Why the text cannot stand in a line of a file or on a terminal; empty when it can."""
    found = next((sign for sign in text if unicodedata.category(sign) in _UNPRINTED), "")
    return f"has a control character in it (U+{ord(found):04X})" if found else ""


# Control characters (a line break, NUL), halves of characters, and line separators.
_UNPRINTED = ("Cc", "Cs", "Zl", "Zp")
_WORDS = {"yes": True, "true": True, "on": True, "no": False, "false": False, "off": False}
_TYPES: dict[type, tuple[str, tuple[type, ...]]] = {
    bool: ("yes or no", (bool,)),
    int: ("a whole number", (int,)),
    str: ("text", (str,)),
    list: ("a list", (list, tuple)),
    dict: ("a dictionary", (Mapping,)),
}


def _as_type(where: str, value: Any, default: Any) -> Any:
    """The value as the type of its default: what is left empty is the default, ``"yes"`` is a truth. A number is not
    text: YAML has turned into one what was written."""
    if value is None or default is None:
        return copy.deepcopy(default) if value is None else value
    given = value
    if isinstance(default, bool):
        given = _WORDS.get(str(value).strip().lower(), value)
    elif isinstance(default, int) and isinstance(value, str) and value.strip().lstrip("+-").isdecimal():
        given = int(value)
    words, types = _TYPES[type(default)]
    if not isinstance(given, types) or (isinstance(given, bool) and not isinstance(default, bool)):
        shown = "something else" if where.endswith("password") else repr(value)
        quotes = " Put it in quotes." if isinstance(default, str) and isinstance(value, (int, float)) else ""
        raise AzaError(f"{where}: expected {words}, not {shown}.{quotes}", reason="bad_object")
    return given


def unique(variable: str, given: list[dict[str, Any]], key: str = "name") -> list[dict[str, Any]]:
    """:raises AzaError: when two entries speak of the same object."""
    seen: set[str] = set()
    for item in given:
        if item[key] in seen:
            raise AzaError(f"{variable}: '{item[key]}' is declared twice.", reason="bad_object")
        seen.add(item[key])
    return given
