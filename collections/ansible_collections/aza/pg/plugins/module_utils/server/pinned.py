# SPDX-License-Identifier: Apache-2.0
"""The settings that every session of the toolkit starts with. Pure.

The owner of a database can set most settings for all sessions in it, a superuser's too, and can create functions and
operators in it. Startup options have precedence over the settings of databases and roles, so what is pinned here holds:
names resolve to PostgreSQL's own objects, no library of the owner's choice is loaded, and no time-out ends the session.
"""

from __future__ import annotations

from collections.abc import Mapping

# Only superusers may set these at the start of a session. For others this is not needed: without such a privilege no
# role can set them for another role, and what a trigger runs has the rights of the session.
_SUPERUSER: Mapping[str, str] = {
    "session_preload_libraries": "",
    # Also those that fire at login. ``server.for_changes`` switches them on where extensions need them.
    "event_triggers": "off",
    # The toolkit compares some messages.
    "lc_messages": "C",
}
_EVERYBODY: Mapping[str, str] = {
    # Temporary objects come last: they would be found first otherwise.
    "search_path": "pg_catalog, pg_temp",
    "role": "none",
    "local_preload_libraries": "",
    "row_security": "off",
    # Catalog queries need no view and no foreign table of a user.
    "restrict_nonsystem_relation_kind": "view, foreign-table",
    "transaction_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
    "idle_session_timeout": "0",
    "exit_on_error": "off",
    "default_transaction_read_only": "off",
    "default_transaction_deferrable": "off",
    "default_transaction_isolation": "read committed",
    # What the toolkit writes can be written again, so no statement waits for a replica that is not there.
    "synchronous_commit": "local",
    "default_tablespace": "",
    "temp_tablespaces": "",
    "default_table_access_method": "heap",
    "standard_conforming_strings": "on",
    "transform_null_equals": "off",
    "quote_all_identifiers": "off",
    "array_nulls": "on",
    "bytea_output": "hex",
    "DateStyle": "ISO, MDY",
    "IntervalStyle": "postgres",
    "extra_float_digits": "1",
    "xmlbinary": "base64",
    "xmloption": "content",
    "client_min_messages": "warning",
    "plan_cache_mode": "auto",
    # The queries are small and their plans large: compiling them would take longer than answering.
    "jit": "off",
}
_FOR_ROLE = (
    "search_path",
    "role",
    "local_preload_libraries",
    "restrict_nonsystem_relation_kind",
    "transaction_timeout",
    "idle_in_transaction_session_timeout",
    "idle_session_timeout",
    "exit_on_error",
)
# What may take part in a change of the server's objects, such as the script of an extension that uses views.
_NOT_FOR_CHANGES = ("restrict_nonsystem_relation_kind",)


def options(
    *, superuser: bool = True, changes: bool = False, statement_seconds: float = 15, lock_seconds: float = 5
) -> str:
    """Return libpq's ``options``.

    ``superuser``: whether the role may set what only superusers may. ``changes``: whether the session executes DDL.
    The time-outs are in seconds; 0 is none.
    """
    settings = {**_EVERYBODY, **(_SUPERUSER if superuser else {})}
    settings |= {
        "statement_timeout": f"{statement_seconds:g}s",
        "lock_timeout": f"{lock_seconds:g}s",
    }
    kept = {name: text for name, text in settings.items() if not (changes and name in _NOT_FOR_CHANGES)}
    return " ".join(f"-c {name}={_escaped(text)}" for name, text in kept.items())


def for_role() -> dict[str, str]:
    """Return the settings for a client that only reads and is not a superuser, such as an exporter; without spaces,
    with which not every client's connection string can deal."""
    settings = {name: _EVERYBODY[name].replace(" ", "") for name in _FOR_ROLE}
    return {**settings, "statement_timeout": "0"}


def is_refused(error: str) -> bool:
    """Whether a server refuses the options because the role is not a superuser, in whatever language it says so.

    >>> is_refused('FATAL:  permission denied to set parameter "event_triggers"')
    True
    """
    return any(f'"{name}"' in error for name in _SUPERUSER)


def _escaped(text: str) -> str:
    """A space separates options unless a backslash precedes it.

    >>> _escaped("pg_catalog, pg_temp")
    'pg_catalog,\\\\ pg_temp'
    """
    return text.replace("\\", "\\\\").replace(" ", "\\ ")
