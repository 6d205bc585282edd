# SPDX-License-Identifier: Apache-2.0
"""Findings about PgBouncer: logins, the role that the server sees, settings, databases, load. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.aza.pg.plugins.module_utils.checks.amounts import (
    count,
    duration,
    listed,
    mapping,
    rows,
    text,
)
from ansible_collections.aza.pg.plugins.module_utils.instance.findings import same
from ansible_collections.aza.pg.plugins.module_utils.planning.finding import Finding

CONSOLE = "pgbouncer"  # its own database, which is no pool of clients
_REFUSALS = ("authentication failed", "no such user", "login rejected")
_DEPLOY = "deploy to restore it"


@dataclass(frozen=True)
class Declared:
    """``config``: as in pgbouncer.ini, key → value. ``databases``: name → what its line says (pool_size, pool_mode …),
    of which only what is there is compared. ``clients_share``: of max_client_conn, what is still well."""

    databases: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)
    tls: bool = True
    wait_seconds: float = 1
    clients_share: float = 0.8


def judge(declared: Declared, facts: Mapping[str, Any]) -> list[Finding]:
    """``facts``: as ``aza.pg.pgbouncer_check`` returned them."""
    return [
        *_logins(declared, facts),
        *_wrong_password(facts),
        *_console(declared, mapping(facts.get("console"))),
    ]


def _logins(declared: Declared, facts: Mapping[str, Any]) -> Iterator[Finding]:
    client, well = text(facts.get("client")), []
    for name, given in mapping(facts.get("databases")).items():
        found = mapping(given)
        problems = list(_login(declared, client, str(name), found))
        yield from problems
        if not problems:
            well.append(str(name))
    if well:
        under = " under TLS" if declared.tls else ""
        message = f"{client} reaches {listed(well)} with its own role{under}"
        message += "; prepared statements outlive their transaction"
        yield Finding("pool", "green", message)


def _login(declared: Declared, client: str, name: str, found: Mapping[str, Any]) -> Iterator[Finding]:
    if found.get("error") or not found:
        message = f"{client} does not reach {name}: {found.get('error') or 'nothing was tried'}"
        yield Finding(
            "pool", "red", message, "read PgBouncer's log: its server, its auth_query, or the password"
        )
        return
    if found.get("session_user") != client:
        message = f"in {name} the server sees {client} as {found.get('session_user')}: its privileges are that role's"
        yield Finding("pool", "red", message, f"remove user= from the line of {name} in pgbouncer.ini")
    if declared.tls and not found.get("tls"):
        message = f"{client} reaches {name} without TLS"
        yield Finding(
            "pool tls",
            "red",
            message,
            "client_tls_sslmode must be require, and the client's sslmode verify-full",
        )
    if not found.get("prepared"):
        message = (
            f"a prepared statement does not outlive its transaction in {name}: {found.get('prepared_error')}"
        )
        yield Finding("pool prepared", "red", message, "set max_prepared_statements above 0")


def _wrong_password(facts: Mapping[str, Any]) -> Iterator[Finding]:
    found = mapping(facts.get("wrong_password"))
    message = text(found.get("message"))
    if not found:
        return
    if not found.get("refused"):
        yield Finding(
            "pool password",
            "red",
            f"PgBouncer admits {text(facts.get('client'))} with a wrong password",
            "auth_type must be scram-sha-256 (or hba with it), never trust or any",
        )
    elif any(words in message.lower() for words in _REFUSALS):
        yield Finding("pool password", "green", "a wrong password is rejected")
    else:
        unclear = f"whether a wrong password is rejected is unknown: {message}"
        yield Finding("pool password", "yellow", unclear, "see the findings about logins")


def _console(declared: Declared, found: Mapping[str, Any]) -> Iterator[Finding]:
    if not found:
        return
    if found.get("error"):
        message = f"its console does not answer: {found['error']}"
        yield Finding(
            "pool console", "red", message, "check that PgBouncer runs, and the permissions of its socket"
        )
        return
    yield from _config(declared, mapping(found.get("config")))
    yield from _databases(declared, found)
    yield from _load(declared, found)


def _config(declared: Declared, is_now: Mapping[str, Any]) -> Iterator[Finding]:
    differ = [
        f"{key} is {is_now.get(key, 'unknown')}, declared is {value}"
        for key, value in declared.config.items()
        if not same(str(is_now.get(key, "")), str(value))
    ]
    yield from (Finding("pool settings", "red", message, _DEPLOY) for message in differ)
    if declared.config and not differ:
        yield Finding("pool settings", "green", f"all {len(declared.config)} settings match the inventory")


def _databases(declared: Declared, found: Mapping[str, Any]) -> Iterator[Finding]:
    is_now = {str(row.get("name")): row for row in rows(found.get("databases"))}
    bad = False
    for name, wanted in declared.databases.items():
        for message, remedy in _database(name, mapping(wanted), is_now.get(name)):
            bad = True
            yield Finding("pool databases", "red", message, remedy)
    if declared.databases and not bad:
        yield Finding("pool databases", "green", f"{listed(declared.databases)}: as declared")
    undeclared = sorted(set(is_now) - set(declared.databases) - {CONSOLE, "*"})
    if declared.databases and undeclared:
        message = f"not declared: {listed(undeclared)}"
        yield Finding(
            "pool databases", "yellow", message, "declare the ones in use; a deploy removes the others"
        )


def _database(
    name: str, wanted: Mapping[str, Any], is_now: Mapping[str, Any] | None
) -> Iterator[tuple[str, str]]:
    if is_now is None:
        yield f"PgBouncer does not know {name}", _DEPLOY
        return
    if is_now.get("force_user"):
        yield f"every client of {name} becomes {is_now['force_user']} on the server", _DEPLOY
    for word, remedy in (("paused", "RESUME"), ("disabled", "ENABLE")):
        if str(is_now.get(word) or "0") != "0":
            yield f"{name} is {word}: its clients wait or are rejected", f"on its console: {remedy} {name}"
    for key, value in wanted.items():
        live = is_now.get(key)
        if not same("" if live is None else str(live), str(value)):
            yield f"{key} of {name} is {live}, declared is {value}", _DEPLOY


def _load(declared: Declared, found: Mapping[str, Any]) -> Iterator[Finding]:
    pools = [row for row in rows(found.get("pools")) if row.get("database") != CONSOLE]
    waiting = sum(count(row.get("cl_waiting")) for row in pools)
    longest = max((_seconds(row) for row in pools), default=0.0)
    worst = max(pools, key=_seconds, default={})
    if waiting and longest > declared.wait_seconds:
        yield Finding(
            "pool queue",
            "red",
            f"{waiting:.0f} clients wait for a server, one for {duration(longest)} ({worst.get('database')} as "
            f"{worst.get('user')})",
            "find the transactions that hold the pool (pg_stat_activity: idle in transaction), or enlarge it",
        )
    else:
        yield Finding(
            "pool queue", "green", "no client waits for a server" if not waiting else "clients wait briefly"
        )
    clients = count(mapping(found.get("lists")).get("used_clients"))
    most = count(mapping(found.get("config")).get("max_client_conn"))
    if not most:
        return
    message = f"{clients:.0f} of {most:.0f} clients"
    if clients > most * declared.clients_share:
        yield Finding(
            "pool clients", "yellow", f"{message}: the limit is almost reached", "raise max_client_conn"
        )
    else:
        yield Finding("pool clients", "green", message)


def _seconds(pool: Mapping[str, Any]) -> float:
    return count(pool.get("maxwait")) + count(pool.get("maxwait_us")) / 1e6
