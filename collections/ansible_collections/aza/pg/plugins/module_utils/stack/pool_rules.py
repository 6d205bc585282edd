# SPDX-License-Identifier: Apache-2.0
"""Who may come in through PgBouncer: the server's own rules about the network, in PgBouncer's words. Pure."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable

from ansible_collections.aza.pg.plugins.module_utils.errors import AzaError
from ansible_collections.aza.pg.plugins.module_utils.stack import pgbouncer_exporter
from ansible_collections.aza.pg.plugins.module_utils.stack.model import File
from ansible_collections.aza.pg.plugins.module_utils.stack.objects import hba
from ansible_collections.aza.pg.plugins.module_utils.stack.pgbouncer import (
    AUTH,
    CONSOLE,
    HBA,
    HEALTH,
    quoted,
)

_EVERYWHERE = ("0.0.0.0/0", "::/0")
_SAMENET = re.compile(r" samenet (?=(?:scram-sha-256|reject)$)")


def access(rules: Iterable[hba.Rule], administrator: str) -> str:
    """``pgbouncer_hba.conf`` from the server's own rules about the network. ``samenet`` is left for ``expand``.

    PgBouncer leaves out a line that it does not understand: what it would not, never gets there.
    :raises AzaError: for a rejection that it could not be told of.
    """
    lines = [
        "# Written by aza-pg from the rules of the server. Its own access comes first: the console by the socket, and",
        "# the health check. Administrators and PgBouncer's own roles do not come in; they use the server's port.",
        f"local {CONSOLE} {AUTH} trust",
        pgbouncer_exporter.HBA,
        f"host postgres {HEALTH} 127.0.0.1/32 trust",
        *(f"host {CONSOLE},{AUTH} all {network} reject" for network in _EVERYWHERE),
        *(
            f"host all {AUTH},{HEALTH},{pgbouncer_exporter.USER},{quoted(administrator)} {network} reject"
            for network in _EVERYWHERE
        ),
    ]
    for rule in rules:
        if rule.type == "local":
            continue
        text, problem = _translated(rule)
        if problem and rule.method == "reject":
            raise AzaError(
                f"{rule.where}: PgBouncer knows no {problem}, so it could not reject these clients ({rule.text()}); "
                "say it with names and networks, or set postgres_pgbouncer: false.",
                reason="bad_object",
            )
        lines += [f"# not through the pool: {rule.text()}"] if problem else text
    return "\n".join(lines) + "\n"


def _translated(rule: hba.Rule) -> tuple[list[str], str]:
    """Its lines, and what PgBouncer does not know of it."""
    databases = [name for name in rule.databases if name != "replication"]
    if any(name == "samerole" or name.startswith("/") for name in databases):
        return [], "samerole and no patterns"
    if any(name.startswith(("+", "/")) for name in rule.roles):
        return [], "groups and no patterns"
    if rule.method not in ("scram-sha-256", "reject"):
        return [], f"method {rule.method} here"
    networks = _networks(rule.address)
    if not networks:
        return [], f"address {rule.address}"
    if not databases:
        return [], ""  # replication: nobody gets in for it anyway
    shown = ",".join(name if name in ("all", "sameuser") else quoted(name) for name in databases)
    roles = ",".join(name if name == "all" else quoted(name) for name in rule.roles)
    return [f"{rule.type} {shown} {roles} {network} {rule.method}" for network in networks], ""


def _networks(address: str) -> list[str]:
    if address == "samenet":
        return [address]
    if address == "all":
        return list(_EVERYWHERE)
    try:
        return [str(ipaddress.ip_network(address, strict=False))]
    except ValueError:
        return []


def expand(text: str, subnets: Iterable[str]) -> str:
    """The rules with the networks of the containers in the place of ``samenet``, a word unknown to PgBouncer."""
    lines: list[str] = []
    for line in text.splitlines():
        if _SAMENET.search(line) and not line.startswith("#"):
            lines += [_SAMENET.sub(f" {subnet} ", line) for subnet in subnets]
        else:
            lines.append(line)
    return "\n".join(lines) + "\n"


def here(item: File, subnets: Iterable[str]) -> str | None:
    """The text of a file on a host whose container network has these addresses."""
    return expand(item.text, subnets) if item.path == HBA and item.text is not None else item.text
