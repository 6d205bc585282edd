# SPDX-License-Identifier: Apache-2.0
"""Who feeds whom in a cluster, as a picture in SVG that stands in the page itself. Pure.

The primary on the left, an arrow to each replica that it feeds, and so on to the right. Colours come from the page.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from html import escape

from ansible_collections.aza.pg.plugins.module_utils.report.clusters import Cluster, Member

_WIDTH, _HEIGHT = 190, 64  # of a box
_ACROSS, _DOWN = 370, 84  # from one box to the next
_MARGIN = 2  # half a line's width, and a little
_LONGEST = 22  # characters that a box has room for


@dataclass(frozen=True)
class _Place:
    member: Member
    column: int
    row: float

    left = property(lambda self: _MARGIN + self.column * _ACROSS)
    middle = property(lambda self: _MARGIN + self.row * _DOWN + _HEIGHT / 2)


def picture(one: Cluster, signs: dict[str, str]) -> str:
    """``signs``: of each severity, so that nothing is said by colour alone."""
    places = {place.member.host: place for place in _places(one)}
    if not places:
        return ""
    width = max(place.left for place in places.values()) + _WIDTH + _MARGIN
    height = max(place.middle for place in places.values()) + _HEIGHT / 2 + _MARGIN
    said = escape(f"{one.name}: {'; '.join(map(_said, one.members))}")
    parts = [
        f'<svg viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" role="img" aria-label="{said}">',
        *(
            _arrow(places[place.member.upstream], place)
            for place in places.values()
            if _is_fed(place, places)
        ),
        *(_box(place, signs) for place in places.values()),
        "</svg>",
    ]
    return "\n".join(parts)


def _places(one: Cluster) -> Iterator[_Place]:
    """Members stand after the one that feeds them; the leaves take a row each, and who feeds them their middle."""
    names = {member.host for member in one.members}
    children: dict[str, list[Member]] = {}
    for member in one.members:
        children.setdefault(member.upstream if member.upstream in names else "", []).append(member)
    seen: set[str] = set()
    free = 0

    def place(member: Member, column: int) -> list[_Place]:
        nonlocal free
        seen.add(member.host)
        below: list[_Place] = []
        heads = []
        for child in children.get(member.host, ()):
            if child.host not in seen:
                found = place(child, column + 1)
                heads.append(found[0])
                below += found
        if heads:
            row = (heads[0].row + heads[-1].row) / 2
        else:
            row, free = free, free + 1
        return [_Place(member, column, row), *below]

    for member in (*children.get("", ()), *one.members):
        if member.host not in seen:
            yield from place(member, 0)


def _is_fed(place: _Place, places: dict[str, _Place]) -> bool:
    return place.column > 0 and place.member.upstream in places


def _arrow(start: _Place, end: _Place) -> str:
    left, right = start.left + _WIDTH, end.left
    member, y = end.member, end.middle
    look = "" if member.streaming else " broken"
    above = member.behind or "?" if member.streaming else "does not stream"
    below = " · ".join(filter(None, (member.sync, member.tls))) if member.streaming else ""
    text = (left + 50 + right - 8) / 2
    return (
        f'<g class="arrow{look}"><path d="M{left} {start.middle:.0f} C{left + 30} {start.middle:.0f} '
        f'{left + 20:.0f} {y:.0f} {left + 50:.0f} {y:.0f} H{right - 8}"></path>'
        f'<polygon points="{right - 10},{y - 5:.0f} {right - 1},{y:.0f} {right - 10},{y + 5:.0f}"></polygon>'
        f'<text x="{text:.0f}" y="{y - 7:.0f}">{escape(above)}</text>'
        f'<text x="{text:.0f}" y="{y + 17:.0f}">{escape(below)}</text></g>'
    )


def _box(place: _Place, signs: dict[str, str]) -> str:
    member, x, y = place.member, place.left, place.middle - _HEIGHT / 2
    details = " · ".join(
        filter(None, (member.version, f"timeline {member.timeline}" if member.timeline else ""))
    )
    return (
        f'<g class="node {member.state}"><rect x="{x}" y="{y:.0f}" width="{_WIDTH}" height="{_HEIGHT}" rx="8"></rect>'
        f'<text class="name" x="{x + 12}" y="{y + 22:.0f}">{signs[member.state]} {escape(_short(member.host))}</text>'
        f'<text x="{x + 12}" y="{y + 40:.0f}">{escape(member.role)}</text>'
        f'<text x="{x + 12}" y="{y + 55:.0f}">{escape(details)}</text></g>'
    )


def _short(name: str) -> str:
    return name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}…"


def _said(member: Member) -> str:
    if not member.upstream:
        return f"{member.host} is {member.role}"
    how = f"streams from {member.upstream}" if member.streaming else f"does not stream from {member.upstream}"
    return f"{member.host} is {member.role}, {how}{f', {member.behind} behind' if member.behind else ''}"
