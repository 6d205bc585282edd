# SPDX-License-Identifier: Apache-2.0
"""Settings that a database or a role gives to its sessions (``ALTER … SET``). Pure, apart from the statement."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ansible_collections.aza.pg.plugins.module_utils.errors import AzaError
from ansible_collections.aza.pg.plugins.module_utils.objects.execute import compose, joined, value
from ansible_collections.aza.pg.plugins.module_utils.objects.within import quoted
from ansible_collections.aza.pg.plugins.module_utils.server import settings as pg
from ansible_collections.aza.pg.plugins.module_utils.server.values import same_value, unfit

# Lists of names: PostgreSQL keeps each name quoted, so that one text with commas would become one odd name.
LISTS = {"local_preload_libraries", "search_path", "session_preload_libraries", "temp_tablespaces"}
# Files, whose case matters. An empty name among them is a library that no session can load, so none can begin.
LIBRARIES = {"local_preload_libraries", "session_preload_libraries"}
# PostgreSQL shows these in no list of its settings.
_UNLISTED = {"role", "seed", "session_authorization"}
_NAME = re.compile(r'\s*(?:"((?:[^"]|"")*)"|([^",]*?))\s*(?:,|$)')


def normalise(where: str, given: Mapping[str, Any]) -> dict[str, str]:
    """Names in lower case, values as text. :raises AzaError: with every bad name at once."""
    message = [f"'{name}' is not the name of a setting" for name in given if not pg.NAME.match(str(name))]
    message += [
        f"'{name}' needs a value"
        for name, item in given.items()
        if pg.NAME.match(str(name)) and (item is None or isinstance(item, Mapping))
    ]
    if message:
        raise AzaError(f"{where}: {'; '.join(message)}.", reason="bad_setting")
    return {str(name).lower(): pg.canonical(item) for name, item in given.items()}


def question(names: Iterable[str]) -> str:
    """What the server knows of these settings: how to compare their values, and where each may be set."""
    wanted = ", ".join(quoted(name) for name in sorted(names))
    return (
        "(select coalesce(json_object_agg(lower(name), json_build_object('context', context, 'vartype', vartype, "
        "'unit', unit, 'enumvals', enumvals, 'min_val', min_val, 'max_val', max_val)), '{}') "
        f"from pg_settings where lower(name) in ({wanted}))"
    )


def problems(where: str, declared: Mapping[str, str], facts: Mapping[str, Any]) -> Iterator[str]:
    """Settings that sessions cannot be given, and values that they cannot have. ``facts``: of the server; without an
    answer to ``question`` nothing can be said."""
    if "session_settings" not in facts:
        return
    for name, text in declared.items():
        info = facts["session_settings"].get(name)
        if info is None:
            # With a dot in it, it may belong to a library that is loaded later.
            message = "" if "." in name or name in _UNLISTED else f"there is no setting '{name}'"
        elif info["context"] in ("internal", "postmaster", "sighup"):
            message = f"'{name}' holds for the whole server; put it into postgres_settings"
        else:
            unfitting = unfit(info, text)
            message = f"{name} {unfitting}" if unfitting else ""
        if message:
            yield f"{where}: settings: {message}"


def observed(stored: Iterable[str] | None) -> dict[str, str]:
    """``pg_db_role_setting.setconfig``: ``name=value``, the name as PostgreSQL spells it (``TimeZone``)."""
    pairs = (item.partition("=") for item in stored or ())
    return {name.lower(): text for name, _, text in pairs}


def after(stored: Iterable[str] | None, name: str, value: str | None) -> list[str]:
    """Return what is stored once a setting got another value; None removes it."""
    others = [item for item in stored or () if item.partition("=")[0].lower() != name]
    return others if value is None else [*others, f"{name}={value}"]


def names(text: str, fold: bool = True) -> list[str]:
    """The elements of a list of names; those without quotes are folded as PostgreSQL does.

    >>> names('"$user", Public')
    ['$user', 'public']
    """
    found = []
    for match in _NAME.finditer(text):
        quoted_name, bare = match.groups()
        if quoted_name is not None:
            found.append(quoted_name.replace('""', '"'))
        elif bare:
            found.append(bare.lower() if fold else bare)
    return found


def elements(name: str, text: str) -> list[str]:
    """What a list of names means: an empty name stands for nothing."""
    return [item for item in names(text, name not in LIBRARIES) if item]


def same(name: str, stored: str, declared: str, info: Mapping[str, Any]) -> bool:
    """Whether both mean the same. PostgreSQL keeps an empty list as ``""``, an empty name, or as nothing."""
    if name not in LISTS:
        return same_value(info, stored, declared)
    broken = name in LIBRARIES and "" in names(stored)
    return not broken and elements(name, stored) == elements(name, declared)


def differences(
    declared: Mapping[str, str], stored: Mapping[str, str], info: Mapping[str, Any]
) -> Iterator[tuple[str, str | None, str | None]]:
    """Name, value now, value wanted; None is none of its own. ``info``: the answer to ``question``."""
    for name in sorted({*declared, *stored}):
        now, wanted = stored.get(name), declared.get(name)
        if now is None or wanted is None or not same(name, now, wanted, info.get(name) or {}):
            yield name, now, wanted


def give(connection: Any, head: Any, name: str, wanted: str | None) -> None:
    """Set it, or with None take it away. ``head`` is ``alter database shop`` or ``alter role shop``."""
    setting = compose(".".join(["{}"] * (name.count(".") + 1)), *name.split("."))
    if wanted is None:
        connection.execute(compose("{} reset {}", head, setting))
        return
    parts = elements(name, wanted) if name in LISTS else [wanted]
    if parts or name not in LIBRARIES:
        listed = joined([value(part) for part in parts or [""]])
        connection.execute(compose("{} set {} to {}", head, setting, listed))
        return
    with connection.transaction():  # no other statement stores an empty list
        connection.execute("select set_config(%s, '', true)", (name,))
        connection.execute(compose("{} set {} from current", head, setting))
