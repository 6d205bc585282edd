# SPDX-License-Identifier: Apache-2.0
"""The order of changes to the server's objects, derived from what each one needs. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from graphlib import CycleError, TopologicalSorter

from ansible_collections.aza.pg.plugins.module_utils.errors import AzaError
from ansible_collections.aza.pg.plugins.module_utils.planning.change import Change


def ordered(changes: Iterable[Change]) -> list[Change]:
    """Each change after those whose ``id`` stands in its ``needs``; what needs nothing keeps its place.

    ``*`` stands for every change that does not say so too: what names it must be gone before a role is.

    Several changes may share an id (a role's attributes and its comment): who names it waits for all of them.
    :raises AzaError: for a circular dependency.
    """
    given = list(changes)
    numbers: dict[str, list[int]] = {}
    for number, change in enumerate(given):
        if change.id:
            numbers.setdefault(change.id, []).append(number)
    sorter: TopologicalSorter[int] = TopologicalSorter()
    for number, change in enumerate(given):
        before = {needed for name in change.needs for needed in numbers.get(name, ())} - {number}
        if "*" in change.needs:
            before |= {other for other, item in enumerate(given) if "*" not in item.needs}
        sorter.add(number, *sorted(before))
    try:
        sorter.prepare()
    except CycleError as error:
        names = " → ".join(given[number].id or given[number].name for number in error.args[1])
        raise AzaError(
            f"Circular dependency: {names}. Declare one of them without the other.",
            reason="circle",
        ) from None
    result = []
    while sorter.is_active():
        ready = sorted(sorter.get_ready())
        result += [given[number] for number in ready]
        sorter.done(*ready)
    return result
