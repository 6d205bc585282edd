# SPDX-License-Identifier: Apache-2.0
"""``postgres_settings`` → a postgresql.conf file, and back. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ansible_collections.aza.pg.plugins.module_utils.errors import AzaError

NAME = re.compile(r"^[A-Za-z_][A-Za-z0-9_$]*(\.[A-Za-z_][A-Za-z0-9_$]*)*$")
NAME_OF_FILE = "50-inventory.conf"
PATH = f"postgres/conf.d/{NAME_OF_FILE}"

# Settings that the stack itself decides, and the variable (or the reason) that decides them.
OWNED = {
    "data_directory": "the volume holds the data",
    "hba_file": "the rules come from postgres_allow_from",
    "ident_file": "the map is part of the stack",
    "config_file": "the image sets its location",
    "external_pid_file": "the image sets its location",
    "port": "use postgres_port for the host's port; inside the container it is 5432",
    "listen_addresses": "use postgres_publish_address for the host's address",
    "unix_socket_directories": "the socket is where the toolkit and the health check look for it",
    "shared_preload_libraries": "use postgres_extra_preload_libraries",
    "ssl": "use postgres_tls",
    "ssl_cert_file": "use postgres_tls_certificate",
    "ssl_key_file": "use postgres_tls_key",
    "ssl_min_protocol_version": "the stack requires TLS 1.2 or newer",
    "include": "put the settings into postgres_settings",
    "include_dir": "put the settings into postgres_settings",
    "include_if_exists": "put the settings into postgres_settings",
}


def canonical(value: Any) -> str:
    """A YAML value as PostgreSQL would read it: booleans as on/off, lists joined with commas."""
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, (list, tuple)):
        return ", ".join(canonical(item) for item in value)
    return str(value)


def literal(value: str) -> str:
    """Quote for postgresql.conf: always quoted, quotes doubled, backslashes doubled (the file knows escapes).

    >>> literal("it's")
    "'it''s'"
    """
    if "\n" in value or "\r" in value or "\0" in value:
        raise AzaError(
            f"postgres_settings: a value holds a line break, which postgresql.conf cannot hold: {value!r}",
            reason="bad_setting",
        )
    return "'" + value.replace("\\", "\\\\").replace("'", "''") + "'"


def normalise(settings: Mapping[str, Any]) -> dict[str, str]:
    """Names in lower case and values as text; every bad name at once."""
    result: dict[str, str] = {}
    problems = []
    for name, value in settings.items():
        key = str(name).lower()
        if not NAME.match(key):
            problems.append(f"'{name}' is not the name of a setting")
        elif key in OWNED:
            problems.append(f"'{name}' belongs to the stack: {OWNED[key]}")
        elif value is None or isinstance(value, dict):
            problems.append(f"'{name}' needs a value, not {'nothing' if value is None else 'a dictionary'}")
        elif key in result:
            problems.append(f"'{name}' is declared twice")
        else:
            result[key] = canonical(value)
    if problems:
        raise AzaError(f"postgres_settings: {'; '.join(problems)}.", reason="bad_setting")
    return dict(sorted(result.items()))


HEAD = "# Written by aza-pg from postgres_settings. They win over the tuned values.\n"


def render(settings: Mapping[str, str], head: str = HEAD) -> str:
    return head + "".join(f"{name} = {literal(value)}\n" for name, value in settings.items())


_LINE = re.compile(r"^\s*([A-Za-z_][\w.$]*)(?:\s*=\s*|\s+)(?:'((?:[^'\\]|''|\\.)*)'|([^#'\s]+))\s*(?:#.*)?$")


def parse(text: str) -> dict[str, str]:
    """Read a file of that form again (also one that a person edited): the last line of a name wins."""
    result = {}
    for line in text.split("\n"):
        found = _LINE.match(line)
        if found:
            name, quoted, bare = found.groups()
            value = bare if quoted is None else re.sub(r"''|\\(.)", _unescape, quoted)
            result[name.lower()] = value
    return result


def _unescape(match: re.Match[str]) -> str:
    return "'" if match.group(0) == "''" else match.group(1)
