# SPDX-License-Identifier: Apache-2.0
"""Who may come in through PgBouncer: the server's own rules about the network, in PgBouncer's words. Pure.

PgBouncer admits a client only if the server itself would admit it by the same proof, a password by SCRAM. It skips a
line that it cannot parse, so nothing is written that it does not know:

- A rule that admits by SCRAM and cannot be expressed is left out. If a later rule admits its clients, that rule asks
  for the same proof.
- A rule that rejects, or asks for another proof (a client certificate, LDAP), becomes a rejection. If PgBouncer cannot
  express its clients, the rejection covers more of them; if that would reject a client of a later rule, the declaration
  is refused.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Sequence
from itertools import product

from ansible_collections.aza.pg.plugins.module_utils.errors import AzaError
from ansible_collections.aza.pg.plugins.module_utils.objects import hba
from ansible_collections.aza.pg.plugins.module_utils.services.pgbouncer.files import (
    AUTH,
    CONSOLE,
    HEALTH,
    STATS_HBA,
    STATS_USER,
    quoted,
)

DIRECT = "# not through the pool: "
_SCRAM = "scram-sha-256"
_EVERYWHERE = ("0.0.0.0/0", "::/0")
_SAMENET = re.compile(r" samenet (scram-sha-256|reject)$")
# What samenet means to the server in addition to its container's network: every network of every interface.
_INTERFACES = ("127.0.0.0/8", "::1/128", "fe80::/64")


def access(rules: Iterable[hba.Rule], administrator: str) -> str:
    """``pgbouncer_hba.conf`` from the server's own rules about the network. ``samenet`` is left for ``expand``.

    :raises AzaError: PgBouncer would admit a client that the server rejects.
    """
    lines = [
        "# Written by aza-pg from the rules of the server. Its own access comes first: the console by the socket, and",
        "# the health check. Administrators and PgBouncer's own roles do not come in; they use the server's port.",
        f"local {CONSOLE} {AUTH} trust",
        STATS_HBA,
        f"host postgres {HEALTH} 127.0.0.1/32 trust",
        *(f"host {CONSOLE},{AUTH} all {network} reject" for network in _EVERYWHERE),
        *(
            f"host all {AUTH},{HEALTH},{STATS_USER},{quoted(administrator)} {network} reject"
            for network in _EVERYWHERE
        ),
    ]
    network = [rule for rule in rules if rule.type != "local"]
    for place, rule in enumerate(network):
        exact = _lines(rule, _SCRAM if _admits(rule) else "reject")
        if _admits(rule):
            lines += [f"{DIRECT}{rule.text()}"] if exact is None else exact
            continue
        if rule.method != "reject":
            lines.append(f"{DIRECT}{rule.text()}")
        lines += _wider(rule, network[place + 1 :]) if exact is None else exact
    return "\n".join(lines) + "\n"


def _admits(rule: hba.Rule) -> bool:
    """Whether a password by SCRAM is all that the server asks for."""
    return rule.method == _SCRAM and not rule.options


def _lines(rule: hba.Rule, method: str) -> list[str] | None:
    """The lines for exactly the clients of the rule; None if PgBouncer has no words for them."""
    networks = _networks(rule.address)
    if not networks or any(name == "samerole" or _is_pattern(name) for name in rule.databases):
        return None
    if any(_is_pattern(name) for name in rule.roles):
        return None
    # PgBouncer's "all" does not mean physical replication either, and no other line names it.
    databases = [name for name in rule.databases if name != "replication"]
    if not databases:
        return []
    shown = ",".join(name if name in ("all", "sameuser") else quoted(name) for name in databases)
    roles = ",".join(name if name == "all" else quoted(name) for name in rule.roles)
    return [f"{rule.type} {shown} {roles} {network} {method}" for network in networks]


def _is_pattern(name: str) -> bool:
    """Whether it is a group or a regular expression: it stands for names that only the server knows."""
    return name.startswith(("+", "/"))


def _wider(rule: hba.Rule, later: Sequence[hba.Rule]) -> list[str]:
    """A rejection of at least the clients of the rule, unless a later rule admits some client of both."""
    for other in later:
        if _admits(other) and _lines(other, _SCRAM) and _overlap(rule, other):
            raise AzaError(
                f"{rule.where}: PgBouncer cannot tell which clients this rule is about ({rule.text()}), and a later "
                f"rule ({other.text()}) would admit them through the pool. In the first one, use networks and the "
                "names of databases and roles; or set postgres_pgbouncer: false.",
                reason="bad_object",
            )
    return [f"{rule.type} all all {network} reject" for network in _networks(rule.address)]


def _overlap(one: hba.Rule, other: hba.Rule) -> bool:
    """Whether both rules may be about one client. Says yes if that is unknown, except for a network and the addresses
    of the containers: only the host knows these, and there the wider rejection protects."""
    types = one.type == other.type or "host" in (one.type, other.type)
    databases = any(
        _may_match(*pair, "sameuser", "samerole") for pair in product(one.databases, other.databases)
    )
    roles = any(_may_match(*pair) for pair in product(one.roles, other.roles))
    return types and databases and roles and _addresses_overlap(one.address, other.address)


def _may_match(one: str, other: str, *words: str) -> bool:
    if words and "replication" in (one, other):
        return False  # replication does not work through a pool
    return one == other or any(name in ("all", *words) or _is_pattern(name) for name in (one, other))


def _addresses_overlap(one: str, other: str) -> bool:
    if one == other or "all" in (one, other):
        return True
    known = [
        [ipaddress.ip_network(text) for text in _networks(each) if text != "samenet"] for each in (one, other)
    ]
    if all(known):
        return any(a.version == b.version and a.overlaps(b) for a, b in product(*known))
    if "samenet" in (one, other) and any(known):
        return any(network.prefixlen == 0 for network in (*known[0], *known[1]))
    return True


def _networks(address: str) -> list[str]:
    """What PgBouncer calls it; nothing for what it has no word for: a host name, ``samehost``."""
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
    networks = list(subnets)
    for line in text.split("\n"):
        found = _SAMENET.search(line)
        if not found or line.startswith("#"):
            lines.append(line)
            continue
        covered = [*networks, *(_INTERFACES if found[1] == "reject" else ())]
        lines += [f"{line[: found.start()]} {network} {found[1]}" for network in covered]
    return "\n".join(lines)
