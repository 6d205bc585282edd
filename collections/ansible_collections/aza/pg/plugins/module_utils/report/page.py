# SPDX-License-Identifier: Apache-2.0
"""The findings as one HTML file, from a Jinja template and a style sheet. For the control node only.

The page forbids itself every request (Content-Security-Policy), so that it may be mailed, kept and opened anywhere.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.aza.pg.plugins.module_utils.report import topology
from ansible_collections.aza.pg.plugins.module_utils.report.clusters import NONE, Cluster
from ansible_collections.aza.pg.plugins.module_utils.report.fleet import Fleet, Instance
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

_TEMPLATES = Path(__file__).with_name("templates")
# No severity is shown by colour alone: each has a sign and its word.
_SIGNS = {"red": "✕", "yellow": "!", "green": "✓"}
_VERDICTS = {
    "red": "Drift or failures found",
    "yellow": "Everything works and matches the inventory; some items are pending or need attention",
    "green": "Everything works and matches the inventory",
}


@dataclass(frozen=True)
class _Group:
    """A cluster with its instances, each with its number on the page; without a cluster, the other instances."""

    cluster: Cluster | None
    instances: list[tuple[int, Instance]]
    drawing: topology.Drawing | None
    members: Sequence[tuple[str, ...]]
    pools: Sequence[tuple[str, ...]]


def render(fleet: Fleet) -> str:
    """Return the page."""
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template("page.html.j2").render(
        fleet=fleet,
        groups=list(_groups(fleet)),
        signs=_SIGNS,
        verdicts=_VERDICTS,
        none_sign=NONE,
        # Our own file, which holds no data.
        style=Markup((_TEMPLATES / "page.css").read_text(encoding="utf-8")),
    )


def _groups(fleet: Fleet) -> Iterator[_Group]:
    numbers = {id(one): number for number, one in enumerate(fleet.instances)}
    for cluster, instances in fleet.groups:
        numbered = [(numbers[id(one)], one) for one in instances]
        if cluster is None:
            yield _Group(None, numbered, None, [], [])
            continue
        members = [
            (
                *(one.host, one.role, one.version, one.bouncer.removeprefix("PgBouncer "), one.timeline),
                *(one.behind, one.sync, one.slot, one.tls),
            )
            for one in cluster.members
        ]
        pools = [
            (
                *(one.database, one.user, one.host, one.mode, one.clients, one.waiting, one.longest),
                *(one.servers, one.idle),
            )
            for one in cluster.pools
        ]
        yield _Group(cluster, numbered, topology.draw(cluster), members, pools)
