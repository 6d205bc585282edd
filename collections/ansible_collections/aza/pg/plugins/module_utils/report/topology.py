# SPDX-License-Identifier: Apache-2.0
"""Which member feeds which in a cluster, as a drawing for the page. Pure.

The primary on the left, an arrow to each replica that it feeds, and so on to the right. Colours come from the page.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ansible_collections.aza.pg.plugins.module_utils.report.clusters import Cluster, Member

_WIDTH, _HEIGHT = 190, 64  # of a box
_ACROSS, _DOWN = 370, 84  # from one box to the next
_MARGIN = 2  # half a line's width, and a little
_LONGEST = 19  # characters that a box has room for


@dataclass(frozen=True)
class _Place:
    member: Member
    column: int
    row: float

    left = property(lambda self: _MARGIN + self.column * _ACROSS)
    middle = property(lambda self: _MARGIN + self.row * _DOWN + _HEIGHT / 2)


@dataclass(frozen=True)
class Arrow:
    """From a member to the one that it feeds. ``x``, ``y``: the middle of its text."""

    path: str
    head: str
    x: int
    y: int
    above: str
    below: str
    streaming: bool


@dataclass(frozen=True)
class Box:
    x: int
    y: int
    state: str
    name: str
    role: str
    details: str
    width: int = _WIDTH
    height: int = _HEIGHT


@dataclass(frozen=True)
class Drawing:
    """What the template draws as SVG. ``label``: the same as text."""

    width: int
    height: int
    label: str
    arrows: list[Arrow]
    boxes: list[Box]


def draw(one: Cluster) -> Drawing | None:
    """Return where each member and each arrow is; None without members."""
    places = {place.member.host: place for place in _places(one)}
    if not places:
        return None
    return Drawing(
        max(place.left for place in places.values()) + _WIDTH + _MARGIN,
        round(max(place.middle for place in places.values()) + _HEIGHT / 2 + _MARGIN),
        f"{one.name}: {'; '.join(map(_described, one.members))}",
        [_arrow(places[place.member.upstream], place) for place in places.values() if _is_fed(place, places)],
        [_box(place) for place in places.values()],
    )


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


def _arrow(start: _Place, end: _Place) -> Arrow:
    left, right = start.left + _WIDTH, end.left
    member, y, from_y = end.member, round(end.middle), round(start.middle)
    return Arrow(
        f"M{left} {from_y} C{left + 30} {from_y} {left + 20} {y} {left + 50} {y} H{right - 8}",
        f"{right - 10},{y - 5} {right - 1},{y} {right - 10},{y + 5}",
        round((left + 50 + right - 8) / 2),
        y,
        member.behind or "?" if member.streaming else "does not stream",
        " · ".join(filter(None, (member.sync, member.tls))) if member.streaming else "",
        member.streaming,
    )


def _box(place: _Place) -> Box:
    member = place.member
    timeline = f"timeline {member.timeline}" if member.timeline else ""
    return Box(
        place.left,
        round(place.middle - _HEIGHT / 2),
        member.state,
        _short(member.host),
        member.role,
        " · ".join(filter(None, (member.version, timeline))),
    )


def _short(name: str) -> str:
    return name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}…"


def _described(member: Member) -> str:
    if not member.upstream:
        return f"{member.host} is {member.role}"
    how = f"streams from {member.upstream}" if member.streaming else f"does not stream from {member.upstream}"
    return f"{member.host} is {member.role}, {how}{f', {member.behind} behind' if member.behind else ''}"
