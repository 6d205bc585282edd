# SPDX-License-Identifier: Apache-2.0
"""What two instances cannot both have. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.aza.pg.plugins.module_utils.inventory.crosscheck import overlap
from ansible_collections.aza.pg.plugins.module_utils.inventory.declared import Path, text, truth


@dataclass(frozen=True)
class Instance:
    """``values``: the host's variables with their defaults."""

    host: str
    machine: str
    values: Mapping[str, Any]


def collisions(instances: Sequence[Instance]) -> Iterator[tuple[str, Path, str]]:
    """(host, place, sentence), said of the later one."""
    named: dict[tuple[str, str], Instance] = {}
    published: dict[tuple[str, str], list[tuple[str, Instance]]] = {}
    for one in instances:
        cluster, stack = text(one.values.get("postgres_cluster")), text(one.values.get("postgres_stack"))
        # A cluster has many replicas, and one of everything else.
        where = one.machine if stack == "replica" else ""
        other = named.setdefault((f"{stack} {where}", cluster), one)
        if other is not one:
            yield (
                one.host,
                ("postgres_cluster",),
                f"'{cluster}' is the cluster of the host {other.host} too, whose stack is {stack} as well: they would "
                'share secrets and name; give each its own (group_vars: "shop-{{ inventory_hostname_short }}")',
            )
        for port, address in _ports(one):
            for said, neighbour in published.setdefault((one.machine, text(one.values.get(port))), []):
                if neighbour is not one and overlap(said, address):
                    yield (
                        one.host,
                        (port,),
                        f"{text(one.values.get(port))} is taken on that machine by the host {neighbour.host} of this "
                        "inventory; give one of them another port",
                    )
                    break
            published[one.machine, text(one.values.get(port))].append((address, one))


def _ports(one: Instance) -> Iterator[tuple[str, str]]:
    """The variables of the ports that it publishes, with the address."""
    yield "postgres_port", text(one.values.get("postgres_publish_address"))
    for part in ("exporter", "pgbouncer"):
        if truth(one.values.get(f"postgres_{part}")):
            yield f"postgres_{part}_port", text(one.values.get(f"postgres_{part}_publish_address"))
