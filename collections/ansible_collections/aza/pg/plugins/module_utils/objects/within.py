# SPDX-License-Identifier: Apache-2.0
"""What the kinds inside a database share: which databases are declared, who owns them, what is in them. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ansible_collections.aza.pg.plugins.module_utils.model.desired import Desired
from ansible_collections.aza.pg.plugins.module_utils.model.observed import Observed

# What stands in a database that was just made from template1 or template0.
STOCK: dict[str, Any] = {
    "schemas": {"public": {"owner": "pg_database_owner", "comment": "", "extension": ""}},
    "extensions": {"plpgsql": {"version": "", "schema": "pg_catalog", "relocatable": False}},
    "grants": [["public", "schema", "pg_database_owner", [["", "USAGE"]], 1]],
    "columns": [],
    "defaults": [],
    "lost": {},
    "paths": {},
}


def databases(wanted: Desired, state: str = "present") -> Iterator[dict[str, Any]]:
    """The entries of postgres_databases in that state."""
    return (item for item in wanted.objects.get("databases", ()) if item["state"] == state)


def owner(wanted: Desired, entry: Mapping[str, Any]) -> str:
    return str(entry["owner"]) or wanted.superuser


def known(found: Observed) -> Mapping[str, Any]:
    """What was observed of the server; a planner of objects is only asked when there is something."""
    return found.answers


def inside(found: Observed, entry: Mapping[str, Any]) -> Mapping[str, Any]:
    """What is in the database, or will be once it has been made."""
    seen, name = known(found)["inside"], entry["name"]
    if name in seen:
        return {**STOCK, **seen[name]}
    if name in known(found)["databases"]:
        return {}
    # What the template was not asked is taken for what a new database has.
    copied = {key: item for key, item in seen.get(entry["template"], {}).items() if item is not None}
    return {**STOCK, **copied, "lost": {}, "paths": {}}


def with_inside(server: Mapping[str, Any], database: str, **new: Any) -> Mapping[str, Any]:
    """Return the facts of a server with other ones of what is in one database."""
    seen = server["inside"]
    return {**server, "inside": {**seen, database: {**seen.get(database, {}), **new}}}


def quoted(text: str) -> str:
    """A literal in a question that is put together before there is a connection. Standard strings are asked for by
    the E prefix's absence: nothing but a quote can end one.

    >>> quoted("it's")
    "'it''s'"
    """
    return "'" + text.replace("\0", "").replace("'", "''") + "'"


def identifier(name: str) -> str:
    """A name as people type it in SQL.

    >>> identifier("shop"), identifier("Shop 1")
    ('shop', '"Shop 1"')
    """
    plain = re.fullmatch(r"[a-z_][a-z0-9_]*", name)
    return name if plain else '"' + name.replace('"', '""') + '"'


def only_in(names: Iterable[str], expression: str) -> str:
    """An expression that is asked in these databases, and null in all others."""
    listed = ", ".join(quoted(name) for name in sorted(names))
    return f"case when current_database() in ({listed}) then ({expression}) end"


def rows_here(rows: Iterable[tuple[str, ...]], columns: str) -> str:
    """A table of texts, of which each database sees those rows that begin with its name. ``columns``: of the rest."""
    values = ", ".join(f"({', '.join(map(quoted, row))})" for row in sorted(rows))
    return f"(select {columns} from (values {values}) v(database, {columns}) where database = current_database())"


def listing(parts: Iterable[str], most: int = 4) -> str:
    """A list for people: the first few, and how many more.

    >>> listing(["a", "b", "c"], most=2)
    'a, b and 1 more'
    """
    given = list(parts)
    more = len(given) - most
    return ", ".join(given) if more <= 0 else f"{', '.join(given[:most])} and {more} more"
