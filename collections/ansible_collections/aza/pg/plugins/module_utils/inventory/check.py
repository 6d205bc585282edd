# SPDX-License-Identifier: Apache-2.0
"""Check every host's variables against what the roles declare; all mistakes at once. Pure.

Values are plain data (``plain``). First each value by itself, then what contradicts what on one host, then
between hosts.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ansible_collections.aza.pg.plugins.module_utils.errors import unknown_key
from ansible_collections.aza.pg.plugins.module_utils.inventory import deprecated
from ansible_collections.aza.pg.plugins.module_utils.inventory.contents import Contents
from ansible_collections.aza.pg.plugins.module_utils.inventory.crosscheck import contradictions
from ansible_collections.aza.pg.plugins.module_utils.inventory.declared import hint
from ansible_collections.aza.pg.plugins.module_utils.inventory.fleet import Instance, clusters, collisions
from ansible_collections.aza.pg.plugins.module_utils.inventory.plain import Moment, Unresolved, printable
from ansible_collections.aza.pg.plugins.module_utils.inventory.specs import PREFIXES, Option

TRUTH = ("yes", "no", "true", "false", "on", "off", "1", "0", "y", "n", "t", "f")
WHOLE = r"[+-]?[0-9]{1,18}"
NUMBER = r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,3})?"
_WHOLE, _NUMBER = re.compile(WHOLE), re.compile(NUMBER)
_HIDDEN = re.compile(r"password|passwd|secret|token|passphrase|(^|_)key$")
_MEANING = {
    "str": "text",
    "path": "text",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "list": "a list ([a, b] or one - a line)",
    "dict": "a dictionary (key: value)",
    "raw": "a value",
}
_TEXT = ("str", "path")
QUOTES = "put it in quotes, because YAML converts text that looks like a number, a date or a boolean (0123 becomes 83)"
Path = tuple[str, ...]


@dataclass(frozen=True)
class Problem:
    host: str
    # The variable, and within it the key: ("postgres_settings", "work_mem").
    path: Path
    message: str
    # File and line, where they are not those of the value that counts for the host.
    place: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "message", printable(self.message))


@dataclass(frozen=True)
class Host:
    """One host of the inventory. ``machine``: what tells whether two hosts are the same machine. ``groups``: besides
    all."""

    values: Mapping[str, Any]
    machine: str = ""
    groups: Sequence[str] = ()


def check_inventory(
    hosts: Mapping[str, Host],
    specs: Mapping[str, Option],
    contents: Callable[[Mapping[str, Any]], Contents | None] = lambda _: None,
) -> list[Problem]:
    """``contents``: what the image holds that a host with these variables runs, as far as that is known."""
    found: list[Problem] = []
    instances = []
    for name, host in hosts.items():
        found += [Problem(name, (old,), text) for old, text in deprecated.conflicts(host.values, specs)]
        values = deprecated.renamed(host.values, specs)
        found += check_host(name, values, specs, contents)
        if "postgres_cluster" in values:
            instances.append(Instance(name, host.machine or name, with_defaults(values, specs)))
    found += [
        Problem(name, path, message) for name, path, message in (*collisions(instances), *clusters(instances))
    ]
    return [
        replace(problem, path=deprecated.as_written(problem.path, hosts[problem.host].values, specs))
        for problem in found
    ]


def with_defaults(values: Mapping[str, Any], specs: Mapping[str, Option]) -> dict[str, Any]:
    return {**{name: option.default for name, option in specs.items()}, **values}


def check_host(
    host: str,
    values: Mapping[str, Any],
    specs: Mapping[str, Option],
    contents: Callable[[Mapping[str, Any]], Contents | None] = lambda _: None,
) -> list[Problem]:
    """``values``: the variables of one host that carry one of our prefixes."""
    found = []
    for name, value in values.items():
        option = specs.get(name)
        if option is not None:
            found += [Problem(host, path, text) for path, text in check_value((name,), value, option)]
        elif name.startswith(PREFIXES):
            found.append(Problem(host, (name,), f"unknown variable{hint(name, tuple(specs))}"))
    if "postgres_cluster" in values:
        message = {problem.path for problem in found}
        chosen = {
            name: value for name, value in values.items() if name not in specs or value != specs[name].default
        }
        found += [
            Problem(host, path, text)
            for path, text in contradictions(with_defaults(values, specs), chosen, contents)
            # What is wrong by itself has been said; what it contradicts may be because of that.
            if path not in message
        ]
    return found


def check_value(path: Path, value: Any, option: Option) -> Iterator[tuple[Path, str]]:
    if isinstance(value, Unresolved):
        yield from _unresolved(path, value)
        return
    if value is None:
        yield path, f"the value is missing; expected {_MEANING.get(option.type, option.type)}"
        return
    bare = option.bare
    if bare and not isinstance(value, dict):
        if isinstance(value, list):
            yield path, f"this is a list; expected a {bare}, or a dictionary with the key '{bare}'"
        else:
            yield from check_value(path, value, option.options[bare])
        return
    if not has_type(value, option.type, option.limit.takes if option.limit else ""):
        remedy = f": {QUOTES}" if option.type in _TEXT and isinstance(value, (int, float, Moment)) else ""
        yield path, f"{show(path, value, option)} is {_name(value)}; expected {_MEANING[option.type]}{remedy}"
        return
    if option.choices and option.type != "list" and value not in option.choices:
        known = tuple(map(str, option.choices))
        choices = ", ".join(choice or "empty" for choice in known)
        yield path, f"{show(path, value, option)} is not one of {choices}{hint(str(value), known)}"
        return
    wrong = False
    for part in _parts(path, value, option):
        wrong = True
        yield part
    if option.limit and not wrong and (message := option.limit(value)):
        yield path, message if isinstance(value, (list, dict)) else f"{show(path, value, option)} {message}"


def _parts(path: Path, value: Any, option: Option) -> Iterator[tuple[Path, str]]:
    """What is inside lists and dictionaries."""
    if isinstance(value, list):
        for number, item in enumerate(value):
            yield from check_value((*path, str(number)), item, option.entry)
    elif isinstance(value, dict) and option.options:
        for key, item in value.items():
            if key in option.options:
                yield from check_value((*path, key), item, option.options[key])
            else:
                yield (*path, key), unknown_key(key, option.options)
        for key, inside in option.options.items():
            if inside.required and key not in value:
                yield path, f"the key '{key}' is missing"
    elif isinstance(value, dict):
        yield from _unresolved(path, value)


def _unresolved(path: Path, value: Any) -> Iterator[tuple[Path, str]]:
    """Return problems in a dictionary with free keys."""
    if isinstance(value, Unresolved):
        yield path, f"the value cannot be resolved: {value.why}"
    elif isinstance(value, (dict, list)):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _unresolved((*path, str(key)), item)


def has_type(value: Any, wanted: str, takes: str = "") -> bool:
    """What Ansible would accept, without what it only accepts by accident (true as the text "True"; 0123, which is the
    number 83, as the text "83"). ``takes``: what may stand for a text (``Limit``)."""
    if wanted in ("raw", "any"):
        return True
    if wanted == "bool":
        return (
            isinstance(value, bool)
            or (isinstance(value, (int, float)) and value in (0, 1))
            or (isinstance(value, str) and value.lower() in TRUTH)
        )
    if isinstance(value, bool):
        return False
    if wanted in _TEXT:
        number = isinstance(value, (int, float)) and takes == "number"
        return number or (isinstance(value, str) and (not isinstance(value, Moment) or takes == "moment"))
    if wanted == "int":
        return (
            isinstance(value, int)
            or (isinstance(value, float) and value.is_integer())
            or (isinstance(value, str) and bool(_WHOLE.fullmatch(value)))
        )
    if wanted == "float":
        return isinstance(value, (int, float)) or (isinstance(value, str) and bool(_NUMBER.fullmatch(value)))
    return isinstance(value, list if wanted == "list" else dict)


def show(path: Path, value: Any, option: Option) -> str:
    """The value as it may stand in a sentence: one line, not too long, and no secret."""
    if option.secret or any(_HIDDEN.search(part) for part in path):
        return "the value (not shown)"
    if isinstance(value, (list, dict)):
        return "this"
    text = printable(f"'{value}'" if isinstance(value, str) else str(value))
    return text if len(text) <= 60 else text[:57] + "…"


_NAMES: tuple[tuple[Any, str], ...] = (
    (bool, "true or false"),
    (Moment, "a date"),
    (str, "text"),
    ((int, float), "a number"),
    (list, "a list"),
)


def _name(value: Any) -> str:
    for kind, word in _NAMES:
        if isinstance(value, kind):
            return word
    return "a dictionary"
