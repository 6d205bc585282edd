# SPDX-License-Identifier: Apache-2.0
"""Databases: owner, encoding, locale, limits, settings, comments."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ansible_collections.aza.pg.plugins.module_utils.stack import server
from ansible_collections.aza.pg.plugins.module_utils.stack.model import Change, Desired, Observed
from ansible_collections.aza.pg.plugins.module_utils.stack.objects.declared import entries, unique
from ansible_collections.aza.pg.plugins.module_utils.stack.objects.kind import Kind


def _plan(wanted: Desired, found: Observed) -> Iterator[Change]:
    if found.server is not None and wanted.database not in found.server["databases"]:
        yield Change(
            "database",
            wanted.database,
            "create",
            effect="sql",
            after=f"owner {wanted.superuser}",
            origin=wanted.origin("postgres_database"),
            id=f"database {wanted.database}",
        )


def _apply(context: Any, change: Change) -> None:
    server.create_database(context.sql(), change.name, context.wanted.superuser)


DEFAULTS: dict[str, Any] = {
    "state": "present",
    "owner": "",
    "encoding": "UTF8",
    "locale_provider": "",
    "locale": "",
    "template": "",
    "connection_limit": -1,
    "settings": {},
    "comment": "",
    "extensions": [],
    "schemas": [],
    "access": {},
}


def normalise(given: Any) -> list[dict[str, Any]]:
    """``postgres_databases`` with every key."""
    return unique("postgres_databases", entries("postgres_databases", given, DEFAULTS))


KIND = Kind(
    "database",
    _plan,
    declared={"databases": normalise},
    appliers={"database": _apply},
    server={
        "databases": "(select json_object_agg(datname, json_build_object()) from pg_database where not datistemplate)"
    },
    fresh=lambda wanted: {"databases": {"postgres": {}, wanted.database: {}}},
)
