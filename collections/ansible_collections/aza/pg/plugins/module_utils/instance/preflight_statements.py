# SPDX-License-Identifier: Apache-2.0
"""The statements that ``image_preflight`` runs on the image's own server, because only a server can judge them:
locales and encodings of databases, settings of roles and databases, times, libraries of sessions. Pure.

Each is one line, as a server for a single user reads it, about objects of its own whose names begin with ``aza_try``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.aza.pg.plugins.module_utils.model.desired import Desired
from ansible_collections.aza.pg.plugins.module_utils.model.observed import Observed
from ansible_collections.aza.pg.plugins.module_utils.objects import locale, session

_ROLE, _DATABASE = "aza_try", "aza_try_{}"
_VARIABLES = {"databases": "postgres_databases", "roles": "postgres_roles"}
# Libraries that each session loads: PostgreSQL takes any name, and then no session begins any more.
_LOADED = {"session_preload_libraries": "", "local_preload_libraries": "$libdir/plugins/"}


@dataclass(frozen=True)
class Statement:
    """``variable`` and ``where``: what is wrong when it fails. Without both, its failure means nothing."""

    sql: str
    variable: str = ""
    where: str = ""


def statements(wanted: Desired, found: Observed) -> list[Statement]:
    """Everything that is declared and needs a server's word; nothing where nothing of the kind is declared."""
    return [*of_databases(wanted, found), *_sessions(wanted), *_libraries(wanted)]


def initdb_arguments(wanted: Desired, found: Observed) -> str:
    """How a server like this one is made, as POSTGRES_INITDB_ARGS says it."""
    if found.server is None:
        return str(wanted.objects.get("initdb_args", ""))
    return locale.initdb(_template1(wanted, found))


# -- databases -------------------------------------------------------------------------------------


def of_databases(wanted: Desired, found: Observed) -> Iterator[Statement]:
    declared = {
        item["name"]: item for item in wanted.objects.get("databases", ()) if item["state"] == "present"
    }
    made: dict[str, str] = {}
    for name, item in declared.items():
        options = locale.options(item, _template1(wanted, found))
        if options:
            yield from _created(name, declared, wanted, found, made)


def _created(
    name: str,
    declared: Mapping[str, Mapping[str, Any]],
    wanted: Desired,
    found: Observed,
    made: dict[str, str],
) -> Iterator[Statement]:
    """The database as it would be created, after the one that it is copied from. ``made``: what was created already, by
    what it is made of."""
    options = _options(name, declared, wanted, found)
    template = options.get("template", "")
    if template and template not in locale.TEMPLATES:
        yield from _created(template, declared, wanted, found, made)
        options["template"] = made[_key(_options(template, declared, wanted, found))]
    key = _key(_options(name, declared, wanted, found))
    if key in made:
        return
    made[key] = _DATABASE.format(len(made))
    chosen = " ".join(
        f"{option.replace('locale provider', 'locale_provider')} {_name(text) if option == 'template' else _text(text)}"
        for option, text in options.items()
    )
    where = f"({name})" if name in declared else ""
    yield Statement(f"create database {made[key]} {chosen}", _VARIABLES["databases"] if where else "", where)
    provider, text = options.get("locale provider", ""), locale.of_options(options)
    if text:
        yield Statement(
            f"copy (select 'locale', {_text(locale.key(provider, text))}, coalesce(datlocale, datcollate) "
            f"from pg_database where datname = '{made[key]}') to stdout"
        )


def _options(
    name: str, declared: Mapping[str, Mapping[str, Any]], wanted: Desired, found: Observed
) -> dict[str, str]:
    """The options of CREATE DATABASE, of a database that is there those that would make it once more."""
    if name in declared:
        return dict(locale.options(declared[name], _template1(wanted, found)))
    is_now = ((found.server or {}).get("databases") or {}).get(name) or {}
    if not is_now.get("locale"):
        return {"template": "template1"}
    entry = {
        "encoding": is_now["encoding"],
        "locale_provider": is_now["provider"],
        "locale": is_now["locale"],
        "template": "template0",
    }
    return dict(locale.options(entry, _template1(wanted, found)))


def _key(options: Mapping[str, str]) -> str:
    return json.dumps(options, sort_keys=True)


def _template1(wanted: Desired, found: Observed) -> Mapping[str, Any]:
    if found.server is None:
        return locale.made_by(str(wanted.objects.get("initdb_args", "")))
    return found.answers.get("template1") or {}


# -- what sessions are given -----------------------------------------------------------------------


def _sessions(wanted: Desired) -> Iterator[Statement]:
    begun = False
    for key, variable in _VARIABLES.items():
        for item in wanted.objects.get(key, ()):
            if item["state"] != "present":
                continue
            where = f"({item['name']})"
            tries = [
                f"set {_setting(name)} to {_values(name, text)}" for name, text in item["settings"].items()
            ]
            tries += [f"valid until {_text(item['valid_until'])}"] if item.get("valid_until") else []
            for attempt in tries:
                if not begun:
                    begun = True
                    yield Statement(f"create role {_ROLE}")
                yield Statement(f"alter role {_ROLE} {attempt}", variable, where)


def _libraries(wanted: Desired) -> Iterator[Statement]:
    """Last, because a library may end the server that loads it at the wrong time."""
    yield from _loaded(wanted.settings, "postgres_settings", "")
    for key, variable in _VARIABLES.items():
        for item in wanted.objects.get(key, ()):
            if item["state"] == "present":
                yield from _loaded(item["settings"], variable, f"({item['name']})")


def _loaded(settings: Mapping[str, str], variable: str, where: str) -> Iterator[Statement]:
    for setting, directory in _LOADED.items():
        for library in session.elements(setting, settings.get(setting, "")):
            path = library if "/" in library else f"{directory}{library}"
            yield Statement(f"load {_text(path)}", variable, f"{where} {setting}".strip())


def _setting(name: str) -> str:
    return ".".join(map(_name, name.split(".")))


def _values(name: str, text: str) -> str:
    parts = (session.elements(name, text) or [""]) if name in session.LISTS else [text]
    return ", ".join(map(_text, parts))


def _name(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'


def _text(text: str) -> str:
    """A literal without a line break: a statement ends with its line."""
    if text.isprintable() and "\\" not in text:
        return "'" + text.replace("'", "''") + "'"
    escaped = text.replace("\0", "").replace("\\", "\\\\").replace("'", "''")
    return "E'" + escaped.replace("\n", "\\n").replace("\r", "\\r") + "'"
