# SPDX-License-Identifier: Apache-2.0
"""Roles: attributes, passwords, settings, comments. (Memberships are a kind of their own.)"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ansible_collections.aza.pg.plugins.module_utils.stack import server
from ansible_collections.aza.pg.plugins.module_utils.stack.model import Change, Desired, Observed
from ansible_collections.aza.pg.plugins.module_utils.stack.objects.declared import entries, unique
from ansible_collections.aza.pg.plugins.module_utils.stack.objects.kind import Kind


def _plan(wanted: Desired, found: Observed) -> Iterator[Change]:
    if found.server is not None and found.server["password_matches"].get(wanted.superuser) is False:
        yield Change(
            "role",
            wanted.superuser,
            "set the password of",
            effect="sql",
            why="the server knows another one than the control node",
            origin=wanted.origin("postgres_password"),
            id=f"role {wanted.superuser}",
        )


def _apply(context: Any, change: Change) -> None:
    server.set_password(context.sql(), change.name, context.secrets["postgres_password"])


DEFAULTS: dict[str, Any] = {
    "state": "present",
    "login": True,
    "superuser": False,
    "createdb": False,
    "createrole": False,
    "replication": False,
    "bypassrls": False,
    "inherit": True,
    "connection_limit": -1,
    "valid_until": "",
    "password": "",
    "passwordless": False,
    "member_of": [],
    "settings": {},
    "comment": "",
    "reassign_to": "",
}


def normalise(given: Any) -> list[dict[str, Any]]:
    """``postgres_roles`` with every key. The passwords travel apart from it, as secrets."""
    return [
        {**item, "password": ""}
        for item in unique("postgres_roles", entries("postgres_roles", given, DEFAULTS))
    ]


def with_password(wanted: Desired) -> list[str]:
    """The declared roles that log in with a password; the administrator's own is kept apart."""
    return [
        item["name"]
        for item in wanted.objects.get("roles", ())
        if item["state"] == "present"
        and item["login"]
        and not item["passwordless"]
        and item["name"] != wanted.superuser
    ]


KIND = Kind("role", _plan, declared={"roles": normalise}, appliers={"role": _apply})
