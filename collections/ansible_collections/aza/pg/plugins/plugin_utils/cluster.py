# SPDX-License-Identifier: Apache-2.0
"""The members of a cluster: the hosts of the inventory that are declared so, and their facts."""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ansible.module_utils.parsing.convert_bool import boolean
from ansible_collections.aza.pg.plugins.module_utils.errors import AzaError, did_you_mean
from ansible_collections.aza.pg.plugins.module_utils.quantity import seconds
from ansible_collections.aza.pg.plugins.module_utils.replication import guard
from ansible_collections.aza.pg.plugins.module_utils.replication import topology as replication
from ansible_collections.aza.pg.plugins.module_utils.replication.topology import (
    PRIMARY,
    REPLICA,
    Member,
    slot_name,
)

# Registered by the role's tasks: the facts of the host, again after it was changed, and those at
# members that this run leaves out; and what a deploy of the host ended with.
_LOOK, _LOOK_AGAIN, _LOOKS_ELSEWHERE = "instance_host", "instance_seen_again", "instance_elsewhere"
_RESULT = "instance_result"


def members(
    task_vars: Mapping[str, Any],
    cluster: str,
    me: str,
    look: Mapping[str, Any],
    not_primary: Collection[str] = (),
) -> list[Member]:
    """All members, in the inventory's order. ``look``: what was seen of the host ``me`` just now; ``not_primary``: who
    accepts no writes, as the operator has made sure, although it is unreachable."""
    hostvars = task_vars["hostvars"]
    elsewhere = _results(task_vars.get(_LOOKS_ELSEWHERE))
    found = []
    for host in hostvars:
        values = hostvars[host]
        if values.get("postgres_cluster") != cluster or values.get("postgres_stack") not in (
            PRIMARY,
            REPLICA,
        ):
            continue
        # What could not be inspected again is unknown, whatever it was before.
        facts, error = _facts(
            values.get(_LOOK_AGAIN)
            or (look if host == me else elsewhere.get(host) or values.get(_LOOK) or {})
        )
        found.append(
            Member(
                host=str(host),
                stack=str(values["postgres_stack"]),
                address=address(host, values),
                port=int(values.get("postgres_port") or 5432),
                delay=delay(values),
                upstream=str(values.get("postgres_replicate_from") or ""),
                facts=facts,
                error=error,
                vouched=str(host) in not_primary,
            )
        )
    return found


def deploy_order(task_vars: Mapping[str, Any], host: str) -> str:
    """Whether a host ``writes``, as a single server or a primary, ``follows`` a primary, or ``grows``: then it is
    deployed before its primary, whose settings may at no moment be more than its own."""
    values = task_vars["hostvars"][host]
    if values.get("postgres_stack", "single") == "single":
        return "writes"
    look = values.get(_LOOK) or {}
    role = replication.role(host, members(task_vars, str(values["postgres_cluster"]), host, look))
    if not role.standby:
        return "writes"
    settings = values.get("postgres_settings") or {}
    return "grows" if _may_restart(values) and replication.grows(role.me, settings) else "follows"


def _may_restart(values: Mapping[str, Any]) -> bool:
    return any(boolean(values.get(f"postgres_allow_{what}", False)) for what in ("restart", "recreate"))


def delay(values: Mapping[str, Any]) -> int:
    """How many seconds a replica is behind on purpose."""
    given = values.get("postgres_replay_delay")
    return seconds("postgres_replay_delay", given) if given else 0


def declared(hostvars: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """All clusters of the inventory, as ``aza.pg.findings_table`` takes them."""
    found: dict[str, dict[str, Any]] = {}
    for host in hostvars:
        values = hostvars[host]
        stack = values.get("postgres_stack")
        if not values.get("postgres_cluster") or stack not in (PRIMARY, REPLICA):
            continue
        name = str(values["postgres_cluster"])
        synchronous, tls = values.get("postgres_synchronous_replicas", 0), values.get("postgres_tls", True)
        one = found.setdefault(
            name, {"name": name, "members": [], "synchronous": int(synchronous), "tls": boolean(tls)}
        )
        upstream = str(values.get("postgres_replicate_from") or "")
        one["members"].append(
            {
                "host": str(host),
                "role": str(stack),
                # Also of the declared primary: after a failover it is a replica.
                "slot": slot_name(str(host)),
                "upstream": upstream,
                "delay": float(delay(values)),
            }
        )
    return list(found.values())


def address(host: str, values: Mapping[str, Any]) -> str:
    """Where the other members reach it.

    :raises AzaError: it is not an IP address, which pg_hba.conf requires.
    """
    given = values.get("postgres_address")
    found = str(given or values.get("ansible_host") or host)
    try:
        return str(ipaddress.ip_address(found))
    except ValueError:
        raise AzaError(
            f"{host}: postgres_address is '{found}', which is not an IP address; members of a cluster know each "
            "other by "
            "theirs. Set postgres_address to the address at which the other members reach this host.",
            reason="bad_address",
        ) from None


def environments(task_vars: Mapping[str, Any], cluster: str, me: str) -> dict[str, Mapping[str, Any]]:
    """Return the environments that the other members have recorded on their hosts, as far as these were inspected."""
    hostvars, elsewhere = task_vars["hostvars"], _results(task_vars.get(_LOOKS_ELSEWHERE))
    found = {}
    for host in hostvars:
        values = hostvars[host]
        if str(host) != me and values.get("postgres_cluster") == cluster:
            looks = (elsewhere.get(host), values.get(_LOOK_AGAIN), values.get(_LOOK))
            record = next((look["environment"] for look in looks if look and look.get("environment")), None)
            if record:
                found[str(host)] = record
    return found


def trusts(task_vars: Mapping[str, Any], host: str) -> list[str]:
    """Return the authorities by which a member verifies the others; empty if it was not checked."""
    values = task_vars["hostvars"][host]
    looks = (_results(values.get(_LOOKS_ELSEWHERE)).get(host), values.get(_LOOK_AGAIN), values.get(_LOOK))
    return next((list(look["trusts"]) for look in looks if look and look.get("trusts")), [])


def _results(registered: Any) -> dict[str, Mapping[str, Any]]:
    """Host → what was seen, of a task that was delegated in a loop."""
    results: Iterable[Any] = registered.get("results") or () if isinstance(registered, Mapping) else ()
    return {str(item["item"]): item for item in results if isinstance(item, Mapping) and "item" in item}


def _facts(seen: Mapping[str, Any]) -> tuple[Mapping[str, Any] | None, str]:
    member = seen.get("member")
    if member:
        return dict(member), ""
    if seen.get("unreachable"):
        return None, "it cannot be reached"
    return None, str(seen.get("engine_error") or seen.get("msg") or "")


@dataclass(frozen=True)
class Part:
    """One host's part in its cluster, as the action that deploys it sees it. ``given``: the action's arguments;
    ``member``: the current facts of the host; ``check_mode``: nothing is changed."""

    task_vars: Mapping[str, Any]
    host: str
    given: Mapping[str, Any]
    member: Mapping[str, Any]
    check_mode: bool

    def _members(self) -> list[Member]:
        look = {"member": self.member}
        return members(self.task_vars, self.given["cluster"], self.host, look, self.given["not_primary"])

    def role(self) -> replication.Role | None:
        """What the host is to its cluster, as the servers say; None for a single server."""
        if self.given["stack"] == "single":
            return None
        return replication.role(self.host, self._members(), self.given["synchronous_replicas"])

    def minimums(self, role: replication.Role) -> dict[str, int]:
        """Return the values of its primary that this standby may not have smaller. In check mode, what is declared for
        the primary counts as done, as far as it is permitted."""
        primary = replication.primary_of(role.members)
        if not role.standby or primary is None:
            return {}
        found = {name: int(value) for name, value in ((primary.facts or {}).get("minimums") or {}).items()}
        there = self.task_vars["hostvars"][primary.host]
        # Without data its first deploy is what brings it.
        if self.check_mode and (_may_restart(there) or not primary.has_data):
            found |= replication.declared_minimums(there.get("postgres_settings") or {})
        return found

    def refuse(self, role: replication.Role) -> None:
        """:raises AzaError: a deploy would make or leave something that loses data."""
        primary_planned = self.check_mode and self._makes_the_primary(role.members)
        self._refuse(
            guard.deploy(self.host, role.members, primary_planned, self.given["start_primary"]), role.members
        )

    def refuse_start(self) -> None:
        """:raises AzaError: the server would be a second primary, or could be one."""
        if self.given["stack"] != "single":
            found = self._members()
            self._refuse(guard.start(self.host, found, self.given["start_primary"]), found)

    def no_primary(self) -> str:
        """Return why the server must not be started as a primary if its host has changed since the facts were gathered;
        empty if it may."""
        if self.given["stack"] == "single":
            return ""
        return guard.primary(self.host, self._members(), self.given["start_primary"])

    def keep_the_data(self) -> None:
        """:raises AzaError: data would be removed that other members need, or that none of them has."""
        if not self.given["remove_data"] or self.given["stack"] == "single":
            return
        found, cluster = self._members(), self.given["cluster"]
        self._refuse(guard.remove_data(self.host, found, cluster, self.given["accept_loss"]), found)

    def _refuse(self, why: Iterable[str], found: Collection[Member]) -> None:
        message = [*self._strange_names(), *guard.vouched(tuple(found), self.given["not_primary"]), *why]
        if message:
            raise AzaError(
                f"{self.given['cluster']} on {self.host}: {'; '.join(message)}. Nothing was changed.",
                reason="cluster",
                problems=message,
            )

    def _strange_names(self) -> Iterable[str]:
        """A name that was misspelt must not look as if it had been heeded."""
        named = {
            "not_primary": self.given["not_primary"],
            "start_primary": [self.given["start_primary"]],
            "accept_loss": [self.given["accept_loss"]],
        }
        hosts = [str(host) for host in self.task_vars["hostvars"]]
        for variable, names in named.items():
            for name in names:
                if name and name not in hosts:
                    yield f"{variable}: there is no host '{name}' in the inventory{did_you_mean(name, hosts)}"

    def _makes_the_primary(self, found: Collection[Member]) -> bool:
        """Whether this run plans the declared primary too: beside this host, or before it and without a failure."""
        together = self.task_vars.get("ansible_play_hosts") or ()
        for member in found:
            if member.stack == PRIMARY and member.host != self.host:
                result = self.task_vars["hostvars"][member.host].get(_RESULT) or {}
                return member.host in together or (bool(result) and not result.get("failed"))
        return False
