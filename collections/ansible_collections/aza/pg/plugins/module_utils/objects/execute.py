# SPDX-License-Identifier: Apache-2.0
"""Statements about objects: names and values are composed, never written into a text."""

from __future__ import annotations

from typing import Any


def compose(statement: str, *parts: Any) -> Any:
    """``{}`` takes a name, or what ``value``, ``words`` or another ``compose`` made."""
    from psycopg import sql

    return sql.SQL(statement).format(
        *(sql.Identifier(part) if isinstance(part, str) else part for part in parts)
    )


def value(given: object) -> Any:
    """A literal. What a utility statement takes cannot be a parameter."""
    from psycopg import sql

    return sql.Literal(given)


def keywords(given: str) -> Any:
    """Key words, and identities that the server itself has quoted."""
    from psycopg import sql

    return sql.SQL(given)


def joined(parts: list[Any]) -> Any:
    from psycopg import sql

    return sql.SQL(", ").join(parts)


def execute(connection: Any, statement: str, *parts: Any) -> Any:
    return connection.execute(compose(statement, *parts))


def role(name: str) -> Any:
    """A grantee: the empty name is PUBLIC, which a role cannot be named."""
    return compose("{}", name) if name else keywords("public")
