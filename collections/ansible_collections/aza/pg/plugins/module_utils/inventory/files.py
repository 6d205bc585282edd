# SPDX-License-Identifier: Apache-2.0
"""What is wrong with the files of an inventory, in addition to the values: duplicate keys, secrets in plain text,
numbers that YAML reads differently. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from ansible_collections.aza.pg.plugins.module_utils.inventory.check import Host, Problem
from ansible_collections.aza.pg.plugins.module_utils.inventory.deprecated import as_declared, renamed
from ansible_collections.aza.pg.plugins.module_utils.inventory.sources import Scope, Sources, Turned
from ansible_collections.aza.pg.plugins.module_utils.inventory.specs import PREFIXES, Option, places
from ansible_collections.aza.pg.plugins.module_utils.yaml_values import truth

_OTHER_BASE = re.compile(r"[+-]?0[0-9_]+")
_DECIMAL = re.compile(r"[+-]?[0-9_]+(\.[0-9_]*)?([eE][+-]?[0-9]+)?|[+-]?0x[0-9a-fA-F_]+")
_OCTAL_SETTINGS = ("_mode", "_permissions")
_SETTINGS = ("postgres_settings", "postgres_roles[].settings", "postgres_databases[].settings")
_ALLOWED = "postgres_allow_plain_passwords"


def remarks(sources: Sources, hosts: Mapping[str, Host], specs: Mapping[str, Option]) -> Iterator[Problem]:
    for remark in sources.twice:
        if remark.path[0].startswith(PREFIXES):
            for host in _in(remark.scope, hosts):
                message = f"the key is given twice, first at {remark.first}; leave one of the two out"
                yield Problem(host, remark.path, message, remark.place)
    known = places(specs)
    for turned in sources.turned:
        if message := _misread(as_declared(turned.path, specs), turned, known):
            for host in _in(turned.scope, hosts):
                yield Problem(host, turned.path, message, turned.place)
    secret = {where for where, option in known.items() if option.secret}
    for remark in sources.plain:
        if _where(as_declared(remark.path, specs)) in secret:
            for host in _in(remark.scope, hosts):
                values = renamed(hosts[host].values, specs)
                if "postgres_cluster" in values and not truth(values.get(_ALLOWED)):
                    what = "password" if remark.path[-1].endswith("password") else "key"
                    yield Problem(
                        host,
                        remark.path,
                        f"this {what} is readable in the file; encrypt it (ansible-vault encrypt_string)"
                        f"{', leave it out to have one made' if what == 'password' else ''}, or allow it with "
                        f"{_ALLOWED}: true",
                        remark.place,
                    )


def _misread(path: tuple[str, ...], turned: Turned, known: Mapping[str, Option]) -> str:
    """What is wrong with a number that has another text than the one that is written. Where text is expected, every
    number is refused with the value itself. ``path``: its place, with the new name of the variable."""
    option, inside = _option(path, known)
    if option is None or option.secret:
        return ""
    message = f"{turned.written} is read by YAML as {turned.read}; "
    other = bool(_OTHER_BASE.fullmatch(turned.written)) or ":" in turned.written
    if not inside:
        numeric = option.type in ("int", "float") or (option.limit and option.limit.takes == "number")
        return f"{message}write the number that is meant, without leading zeros" if numeric and other else ""
    if option.type != "dict":
        return ""
    if option.where == "postgres_settings" and turned.path[-1].endswith(_OCTAL_SETTINGS):
        return ""  # PostgreSQL takes both for the same
    # A setting with a dot is mostly a text, of which 1.10 and 1.1 are two.
    exact = "." in turned.path[-1] or option.where not in _SETTINGS
    lost = other or exact or not _DECIMAL.fullmatch(turned.written)
    return f"{message}put it in quotes" if lost else ""


def _option(path: tuple[str, ...], known: Mapping[str, Option]) -> tuple[Option | None, bool]:
    """The variable or key that the place belongs to, and whether the place is inside its value, under a key that is
    not declared."""
    for depth in range(len(path), 0, -1):
        if option := known.get(_where(path[:depth])):
            return option, depth < len(path)
    return None, False


def _in(scope: Scope, hosts: Mapping[str, Host]) -> list[str]:
    kind, wanted = scope
    if kind == "host":
        return [wanted] if wanted in hosts else []
    return [name for name, host in hosts.items() if wanted == "all" or wanted in host.groups]


def _where(path: tuple[str, ...]) -> str:
    """``postgres_roles[].password``, for any entry."""
    return path[0] + "".join("[]" if part.isdigit() else f".{part}" for part in path[1:])
