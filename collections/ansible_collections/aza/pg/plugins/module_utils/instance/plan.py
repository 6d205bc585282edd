# SPDX-License-Identifier: Apache-2.0
"""From the declared and the observed state to the changes between them. Pure: no file, no clock, no environment."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from ansible_collections.aza.pg.plugins.module_utils.host import huge_pages
from ansible_collections.aza.pg.plugins.module_utils.instance import (
    container_parts,
    files,
    host_parts,
    server_objects,
)
from ansible_collections.aza.pg.plugins.module_utils.instance.context import Context
from ansible_collections.aza.pg.plugins.module_utils.instance.part import Part
from ansible_collections.aza.pg.plugins.module_utils.model.desired import Desired
from ansible_collections.aza.pg.plugins.module_utils.model.observed import Observed
from ansible_collections.aza.pg.plugins.module_utils.planning.change import Change
from ansible_collections.aza.pg.plugins.module_utils.planning.plan import Plan, hold
from ansible_collections.aza.pg.plugins.module_utils.services.registry import SERVICES


class Objects(Part):
    """What the server holds: every kind of ``server_objects.KINDS``."""

    kinds = tuple(kind.name for kind in server_objects.KINDS if kind.apply)

    def plan(self, wanted: Desired, found: Observed, planned: Sequence[Change]) -> Iterator[Change]:
        yield from server_objects.plan(wanted, found)

    def apply(self, context: Context, change: Change) -> None:
        server_objects.apply(context, change)

    def simulate(self, wanted: Desired, found: Observed, change: Change) -> Observed:
        return (
            found.with_server(server_objects.simulate(wanted, found.answers, change))
            if found.server
            else found
        )


# In the order in which their changes are applied. What talks to the server (``Objects``) comes after everything
# that the server reads.
PARTS: tuple[Part, ...] = (
    host_parts.Environment(),
    host_parts.Images(),
    files.Files(),
    files.Rules(),
    host_parts.SocketLink(),
    host_parts.Volume(),
    host_parts.HugePages(),
    files.Settings(),
    container_parts.Containers(),
    container_parts.Remains(),
    container_parts.Activation(SERVICES[:1], ("server",)),
    Objects(),
    container_parts.Activation(SERVICES[1:], tuple(service.name for service in SERVICES[1:])),
)


def part_of(change: Change) -> Part:
    """Return the part that applies a change."""
    return next(part for part in PARTS if change.kind in part.kinds)


def plan(wanted: Desired, found: Observed, allowed: tuple[str, ...] = ()) -> Plan:
    """Return what a deploy does. ``allowed``: which of restart and recreate have permission."""
    changes: list[Change] = []
    for part in PARTS:
        changes += part.plan(wanted, found, tuple(changes))
    planned = hold(changes, allowed, wanted.objects.get("allow_loss") or ())
    if starts_server(wanted, planned.changes):
        return Plan((*planned.changes, *huge_pages.afterwards(wanted, found)), planned.held)
    return planned


def starts_server(wanted: Desired, changes: Iterable[Change]) -> bool:
    """Return whether another server process runs after the changes."""
    return any(
        change.name == wanted.container and change.action != "remove"
        if change.kind == "container"
        else change.effect == "restart"
        for change in changes
    )


def simulate(plan: Plan, wanted: Desired, found: Observed) -> Observed:
    """Return what would be observed after the plan was applied. Pure."""
    for change in plan.changes:
        found = part_of(change).simulate(wanted, found, change)
    effects = {change.effect for change in plan.changes if not change.reader and change.kind != "container"}
    if effects & {"reload", "restart"}:
        found = container_parts.read_everything(found)
    return found
