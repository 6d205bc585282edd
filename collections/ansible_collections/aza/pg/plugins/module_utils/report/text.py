# SPDX-License-Identifier: Apache-2.0
"""The findings as a terminal shows them: an instance after the other, worst first, and one line for the fleet. Pure."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence

from ansible_collections.aza.pg.plugins.module_utils.planning.finding import SEVERITIES, Finding
from ansible_collections.aza.pg.plugins.module_utils.report.clusters import NONE, Cluster
from ansible_collections.aza.pg.plugins.module_utils.report.fleet import Fleet, Instance, listed

_WIDTH = 96
_STATE = max(len(state) for state in SEVERITIES)
_COLUMNS = ("member", "role", "timeline", "behind", "sync", "slot", "verdict")
Line = tuple[str, str]  # its severity, empty for none, and its text


def lines(fleet: Fleet, every: bool = True) -> Iterator[Line]:
    """``every``: also each thing that is well; otherwise these are one line an instance."""
    shown: tuple[Instance | Cluster, ...] = (*fleet.clusters, *fleet.instances)
    wide = max([len(item.what) for one in shown for item in one.findings], default=0)
    for cluster, instances in fleet.groups:
        if cluster:
            yield from _cluster(cluster, wide)
            yield "", ""
        for one in instances:
            yield from _instance(one, wide, every)
            yield "", ""
    yield fleet.state, f"fleet: {fleet.summary()}"


def _cluster(one: Cluster, wide: int) -> Iterator[Line]:
    """A line for each member, and what concerns all of them."""
    yield one.state, f"cluster {one.name}"
    table = [
        (
            *(member.host, member.role, member.timeline, member.behind, member.sync),
            f"{member.slot} on {member.upstream}" if member.slot else "",
            member.state,
        )
        for member in one.members
    ]
    rows = [_COLUMNS, *(tuple(cell or NONE for cell in row) for row in table)]
    widths = [max(map(len, column)) for column in zip(*rows)]
    for state, row in zip(("", *(member.state for member in one.members)), rows):
        yield state, "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip()
    yield from _findings(one.findings, wide)


def _instance(one: Instance, wide: int, every: bool) -> Iterator[Line]:
    version = f", PostgreSQL {one.version}" if one.version else ""
    yield one.state, f"{one.name} on {one.host}{version}: {listed(one.counts)}"
    yield from _findings([item for item in one.findings if every or item.state != "green"], wide)
    well = ", ".join(dict.fromkeys(item.what for item in one.of("green")))
    if well and not every:
        yield "green", f"  {'green'.ljust(_STATE)}  {well}"


def _findings(shown: Sequence[Finding], wide: int) -> Iterator[Line]:
    for number, item in enumerate(shown):
        yield from _finding(item, wide)
        following = shown[number + 1] if number + 1 < len(shown) else None
        if item.remedy and (following is None or following.remedy != item.remedy):
            yield item.state, f"{' ' * (_STATE + wide + 6)}→ {item.remedy}"


def _finding(item: Finding, wide: int) -> Iterator[Line]:
    first = f"  {item.state.ljust(_STATE)}  {item.what.ljust(wide)}"
    message = textwrap.wrap(item.message, _WIDTH, break_long_words=False, break_on_hyphens=False) or [""]
    for number, line in enumerate(message):
        yield item.state, f"{first if not number else ' ' * len(first)}  {line}"
