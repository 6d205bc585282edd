# SPDX-License-Identifier: Apache-2.0
"""Orders that are the same every time: of entries by what they require, of libraries by their hints."""

from __future__ import annotations

import heapq
from collections.abc import Collection, Iterable, Mapping
from graphlib import TopologicalSorter

from ansible_collections.aza.pg.plugins.module_utils.catalog.model import Extension


def in_order(graph: Mapping[str, Collection[str]]) -> list[str]:
    """Return the keys so that each stands after what it maps to; among equals the alphabet decides."""
    sorter = TopologicalSorter({name: [n for n in before if n in graph] for name, before in graph.items()})
    sorter.prepare()
    result: list[str] = []
    ready: list[str] = []
    while sorter.is_active():
        for name in sorter.get_ready():
            heapq.heappush(ready, name)
        name = heapq.heappop(ready)
        result.append(name)
        sorter.done(name)
    return result


def preload_order(entries: Iterable[Extension]) -> list[str]:
    """Return the libraries of ``entries`` in an order that satisfies every hint."""
    by_name = {entry.name: entry for entry in entries}
    ordered = (by_name[name].preload for name in in_order(preload_graph(by_name)))
    return [preload.library for preload in ordered if preload]


def preload_graph(entries: Mapping[str, Extension]) -> dict[str, set[str]]:
    """Return, for every entry with a library, the entries whose libraries must stand before it."""
    graph: dict[str, set[str]] = {stem: set() for stem, entry in entries.items() if entry.preload}
    for stem in graph:
        hints = entries[stem].preload
        if hints is None:
            continue
        graph[stem].update(name for name in hints.after if name in graph)
        for name in hints.before:
            if name in graph:
                graph[name].add(stem)
        if hints.first:
            for name in graph:
                if name != stem:
                    graph[name].add(stem)
    return graph


def required_chain(entry: Extension, entries: Mapping[str, Extension]) -> list[Extension]:
    """Return all that the entry requires, each after what it requires itself, and the entry at the end."""
    found: list[Extension] = []
    for name in sorted(entry.requires):
        found += (e for e in required_chain(entries[name], entries) if e not in found)
    return [*found, entry]


def excludes(one: Extension, other: Extension) -> bool:
    """Whether the libraries of the two must not be loaded into one server."""
    if not one.preload or not other.preload:
        return False
    return other.name in one.preload.conflicts or one.name in other.preload.conflicts
