# SPDX-License-Identifier: Apache-2.0
"""What the hosts of an inventory cannot both have, and what the members of a cluster have to agree on. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.aza.pg.plugins.module_utils.errors import did_you_mean
from ansible_collections.aza.pg.plugins.module_utils.inventory.crosscheck import overlap, published
from ansible_collections.aza.pg.plugins.module_utils.inventory.declared import Path
from ansible_collections.aza.pg.plugins.module_utils.inventory.limits import is_address
from ansible_collections.aza.pg.plugins.module_utils.model.names import CLUSTER_NAME, STACKS, identity
from ansible_collections.aza.pg.plugins.module_utils.replication.topology import slot_name
from ansible_collections.aza.pg.plugins.module_utils.services.registry import SERVICES, derived_names
from ansible_collections.aza.pg.plugins.module_utils.yaml_values import text


@dataclass(frozen=True)
class Instance:
    """``values``: the host's variables with their defaults."""

    host: str
    machine: str
    values: Mapping[str, Any]


def collisions(instances: Sequence[Instance]) -> Iterator[tuple[str, Path, str]]:
    """(host, place, sentence), said of the later one."""
    published: dict[tuple[str, str], list[tuple[str, Instance]]] = {}
    yield from _names(instances)
    for one in instances:
        for port, address in _ports(one):
            for message, neighbour in published.setdefault((one.machine, text(one.values.get(port))), []):
                if neighbour is not one and overlap(message, address):
                    yield (
                        one.host,
                        (port,),
                        f"{text(one.values.get(port))} is taken on that machine by the host {neighbour.host} of this "
                        "inventory; give one of them another port",
                    )
                    break
            published[one.machine, text(one.values.get(port))].append((address, one))


def _names(instances: Sequence[Instance]) -> Iterator[tuple[str, Path, str]]:
    """What would be called alike: secrets and certificates on the control node, everything else on a machine."""
    named: dict[str, list[Instance]] = {}
    on_machines: dict[str, list[tuple[Instance, dict[str, str]]]] = {}
    for one in instances:
        cluster = text(one.values.get("postgres_cluster"))
        if not CLUSTER_NAME.fullmatch(cluster) or _stack(one) not in STACKS:
            continue
        known = named.setdefault(cluster, [])
        message = next((why for other in known if (why := _same_cluster(other, one))), "")
        known.append(one)
        derived = derived_names(identity(cluster, _stack(one), "", 0))
        neighbours = on_machines.setdefault(one.machine, [])
        for other, taken in neighbours if not message else ():
            same = sorted(taken.keys() & derived.keys())
            if same and text(other.values.get("postgres_cluster")) == cluster:
                message = (
                    f"'{cluster}' is the cluster of the host {other.host} too, which is the same machine: a machine "
                    "carries one member of a cluster, because both would have the same names. Take one of them out"
                )
            elif same:
                message = (
                    f"'{cluster}' ({_stack(one)}) would call its {derived[same[0]]} '{same[0]}', and on the same "
                    f"machine the host {other.host} calls its {taken[same[0]]} so. Rename one of the clusters"
                )
            if message:
                break
        neighbours.append((one, derived))
        if message:
            yield one.host, ("postgres_cluster",), message


def _same_cluster(first: Instance, one: Instance) -> str:
    """Why two hosts cannot both belong to a cluster of one name, empty when they can."""
    stacks = (_stack(first), _stack(one))
    if "single" not in stacks and stacks != ("primary", "primary"):
        return ""
    cluster = text(one.values.get("postgres_cluster"))
    whose = f"whose stack is {stacks[0]}" + (" as well" if stacks[0] == stacks[1] else "")
    return (
        f"'{cluster}' is the cluster of the host {first.host} too, {whose}: they would share secrets"
        f"{' and name' if stacks[0] == stacks[1] else ''}; give each its own "
        '(group_vars: "shop-{{ inventory_hostname_short }}")'
    )


def _ports(one: Instance) -> Iterator[tuple[str, str]]:
    """The variables of the ports that it publishes, with the address."""
    for service in SERVICES:
        if service.is_declared(one.values):
            yield f"{service.prefix}_port", published(one.values, service)


def clusters(instances: Sequence[Instance]) -> Iterator[tuple[str, Path, str]]:
    """(host, place, sentence) of clusters that could not work."""
    named: dict[str, list[Instance]] = {}
    for one in instances:
        if _stack(one) in ("primary", "replica"):
            named.setdefault(text(one.values.get("postgres_cluster")), []).append(one)
    for cluster, members in named.items():
        if all(_stack(member) == "replica" for member in members):
            yield (
                members[0].host,
                ("postgres_stack",),
                f"the cluster '{cluster}' has no primary; declare one of its hosts so",
            )
        yield from _addresses(members)
        yield from _slots(members)
        yield from _upstreams(cluster, members)
        yield from _synchronous(members)


def _stack(one: Instance) -> str:
    return text(one.values.get("postgres_stack"))


def _addresses(members: Sequence[Instance]) -> Iterator[tuple[str, Path, str]]:
    """Members know each other by addresses; what is given and is none is said of the value itself."""
    seen: dict[tuple[str, str], Instance] = {}
    for member in members:
        given = text(member.values.get("postgres_address"))
        address = given or member.machine
        if not given and not is_address(address):
            yield (
                member.host,
                ("postgres_address",),
                f"is missing, and '{address}' is not an IP address; members of a cluster use IP addresses: set it "
                "to the address at which the other members reach this host",
            )
        other = seen.setdefault((address, text(member.values.get("postgres_port"))), member)
        # Of one machine the ports have been compared.
        if other.machine != member.machine and is_address(address):
            yield (
                member.host,
                ("postgres_address",),
                f"'{address}' is that of {other.host} as well, with the same postgres_port; each member needs its own",
            )


def _slots(members: Sequence[Instance]) -> Iterator[tuple[str, Path, str]]:
    seen: dict[str, str] = {}
    for member in members:
        other = seen.setdefault(slot_name(member.host), member.host)
        if other != member.host:
            yield (
                member.host,
                ("postgres_cluster",),
                f"the slot of this host would have the name '{slot_name(member.host)}', as that of {other}; "
                "rename one of "
                "the hosts in the inventory",
            )


def _upstreams(cluster: str, members: Sequence[Instance]) -> Iterator[tuple[str, Path, str]]:
    variable = "postgres_replicate_from"
    follows = {member.host: text(member.values.get(variable)) for member in members}
    for host, upstream in follows.items():
        if upstream and upstream not in follows:
            hint = did_you_mean(upstream, list(follows))
            yield host, (variable,), f"'{upstream}' is not a member of the cluster '{cluster}'{hint}"
        passed, at = {host}, upstream
        while at in follows and at not in passed:
            passed.add(at)
            at = follows[at]
        if at == host:
            yield (
                host,
                (variable,),
                "the replicas stream from each other in a circle; one of them must stream from the primary",
            )


def _synchronous(members: Sequence[Instance]) -> Iterator[tuple[str, Path, str]]:
    variable = "postgres_synchronous_replicas"
    given = {member.host: text(member.values.get(variable)) or "0" for member in members}
    first = members[0].host
    for host, count in given.items():
        if count != given[first]:
            yield (
                host,
                (variable,),
                f"it is {given[first]} on {first}; the members of a cluster need the same",
            )
    able = [
        member
        for member in members
        if _stack(member) == "replica"
        and not text(member.values.get("postgres_replay_delay"))
        and not text(member.values.get("postgres_replicate_from"))
    ]
    if given[first].isdigit() and int(given[first]) > len(able):
        yield (
            first,
            (variable,),
            f"{given[first]} replicas must confirm each transaction and only {len(able)} can: no write would ever "
            "return",
        )
