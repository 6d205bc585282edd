# SPDX-License-Identifier: Apache-2.0
"""Check every host's variables against what the roles declare; all mistakes at once. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.aza.pg.plugins.module_utils.errors import did_you_mean
from ansible_collections.aza.pg.plugins.module_utils.inventory.limits import LIMITS, together
from ansible_collections.aza.pg.plugins.module_utils.inventory.specs import PREFIXES, Option

_TRUTH = ("yes", "no", "true", "false", "on", "off", "1", "0", "y", "n", "t", "f")
_HIDDEN = re.compile(r"password|secret|token|passphrase")
_MEANING = {
    "str": "text",
    "path": "text",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "list": "a list ([a, b] or one - a line)",
    "dict": "a dictionary (key: value)",
}


@dataclass(frozen=True)
class Unresolved:
    """A value that is a template which could not be resolved; ``why`` is Ansible's word."""

    why: str


@dataclass(frozen=True)
class Problem:
    host: str
    # The variable, and within it the key: ("postgres_settings", "work_mem").
    path: tuple[str, ...]
    said: str


def check_host(host: str, values: Mapping[str, Any], specs: Mapping[str, Option]) -> list[Problem]:
    """``values``: the variables of one host that carry one of our prefixes, resolved."""
    found = []
    clean: dict[str, Any] = {}
    for name, value in values.items():
        option = specs.get(name)
        if option is None:
            if name.startswith(PREFIXES):
                hint = did_you_mean(name, specs)
                found.append(Problem(host, (name,), f"there is no such variable{hint}"))
            continue
        said = list(check_value((name,), value, option))
        found += [Problem(host, path, text) for path, text in said]
        if not said:
            clean[name] = value
    if "postgres_cluster" in values:
        found += [Problem(host, (name,), text) for name, text in together(clean)]
    return found


def check_value(path: tuple[str, ...], value: Any, option: Option) -> Iterator[tuple[tuple[str, ...], str]]:
    if isinstance(value, Unresolved):
        yield path, f"the value cannot be resolved: {value.why}"
        return
    if value is None:
        yield path, f"the value is missing; expected {_MEANING.get(option.type, option.type)}"
        return
    if not has_type(value, option.type):
        yield path, f"{show(path, value)} is {_name(value)}; expected {_MEANING[option.type]}"
        return
    if (
        option.choices
        and option.type != "list"
        and str(value) not in [str(choice) for choice in option.choices]
    ):
        hint = did_you_mean(str(value), map(str, option.choices))
        choices = ", ".join(map(str, option.choices))
        yield path, f"{show(path, value)} is not one of {choices}{hint}"
        return
    wrong = False
    for part in _parts(path, value, option):
        wrong = True
        yield part
    limit = LIMITS.get(path[0]) if len(path) == 1 else None
    if limit and not wrong and (said := limit(value)):
        yield path, said if option.type in ("list", "dict") else f"{show(path, value)} {said}"


def _parts(path: tuple[str, ...], value: Any, option: Option) -> Iterator[tuple[tuple[str, ...], str]]:
    """What is inside lists and dictionaries."""
    if option.type == "list":
        # As Ansible does it: the choices of a list are those of its entries.
        inner = Option(option.name, option.elements or "raw", options=option.options, choices=option.choices)
        for number, item in enumerate(value):
            yield from check_value((*path, str(number)), item, inner)
    elif option.type == "dict" and option.options:
        for key, item in value.items():
            if key in option.options:
                yield from check_value((*path, str(key)), item, option.options[key])
            else:
                yield (*path, str(key)), f"there is no such key{did_you_mean(str(key), option.options)}"
        for key, inside in option.options.items():
            if inside.required and key not in value:
                yield path, f"the key '{key}' is missing"


def has_type(value: Any, wanted: str) -> bool:
    """What Ansible would accept, without what it only accepts by accident (true as the text "True")."""
    if wanted in ("raw", "any"):
        return True
    if wanted == "bool":
        return isinstance(value, bool) or str(value).lower() in _TRUTH
    if isinstance(value, bool):
        return False
    if wanted in ("str", "path"):
        return isinstance(value, (str, int, float))
    if wanted == "int":
        return isinstance(value, int) or (
            isinstance(value, str) and bool(re.fullmatch(r"[+-]?\d{1,18}", value))
        )
    if wanted == "float":
        number = r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d{1,3})?"
        return isinstance(value, (int, float)) or (
            isinstance(value, str) and bool(re.fullmatch(number, value))
        )
    return isinstance(value, list if wanted == "list" else dict)


def show(path: tuple[str, ...], value: Any) -> str:
    if any(_HIDDEN.search(part) for part in path):
        return "the value (not shown)"
    text = str(value) if not isinstance(value, str) else f"'{value}'"
    return text if len(text) <= 60 else text[:57] + "…"


def _name(value: Any) -> str:
    for kind, word in ((bool, "true or false"), (str, "text"), (int, "a number"), (float, "a number")):
        if isinstance(value, kind):
            return word
    return "a list" if isinstance(value, (list, tuple)) else "a dictionary"
