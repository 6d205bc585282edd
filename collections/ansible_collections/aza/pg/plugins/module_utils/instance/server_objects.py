# SPDX-License-Identifier: Apache-2.0
"""What an instance's server holds: every kind of object of the toolkit and of its services, observed and planned."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeVar

from ansible_collections.aza.pg.plugins.module_utils.model.desired import Desired
from ansible_collections.aza.pg.plugins.module_utils.model.observed import Observed
from ansible_collections.aza.pg.plugins.module_utils.objects import KINDS as OBJECT_KINDS
from ansible_collections.aza.pg.plugins.module_utils.objects.kind import Facts, Kind, Undeclared
from ansible_collections.aza.pg.plugins.module_utils.planning.change import Change
from ansible_collections.aza.pg.plugins.module_utils.planning.finding import Finding
from ansible_collections.aza.pg.plugins.module_utils.planning.order import ordered
from ansible_collections.aza.pg.plugins.module_utils.services.registry import SERVICES

T = TypeVar("T")

KINDS: tuple[Kind, ...] = (*OBJECT_KINDS, *(kind for service in SERVICES for kind in service.kinds))


def _merged(tables: Iterable[Mapping[str, T]]) -> dict[str, T]:
    """Return all entries of the kinds' tables.

    :raises ValueError: two kinds use the same key, so one of them would get the other's answers.
    """
    merged: dict[str, T] = {}
    for table in tables:
        if twice := sorted(merged.keys() & table.keys()):
            raise ValueError(f"two kinds of objects use the key {twice[0]!r}")
        merged.update(table)
    return merged


SERVER: dict[str, str] = _merged(kind.server for kind in KINDS)
INSIDE: dict[str, str] = _merged(kind.inside for kind in KINDS)
# The keys of ``Desired.objects``: ``roles`` for postgres_roles.
DECLARED: dict[str, Callable[[Any], Any]] = _merged(kind.declared for kind in KINDS)


def questions(wanted: Desired) -> tuple[dict[str, str], dict[str, str]]:
    """What to ask the server, and what in each database: key → SQL."""
    server, inside = dict(SERVER), dict(INSIDE)
    for kind in KINDS:
        server.update(kind.asked(wanted))
        inside.update(kind.asked_inside(wanted))
    return server, inside


def normalise(given: Mapping[str, Any]) -> dict[str, Any]:
    """The declaration of all kinds in full form: ``Desired.objects``. What no kind knows is kept as it is."""
    return {key: DECLARED[key](value) if key in DECLARED else value for key, value in given.items()}


def plan(wanted: Desired, found: Observed) -> Iterator[Change]:
    """All changes to the server's objects, each after what it needs."""
    known = _known(wanted, found)
    if known:
        yield from ordered(change for kind in _kinds(known) for change in kind.plan(wanted, known))


def kind_of(change: Change) -> Kind:
    """Return the kind that a change belongs to.

    :raises StopIteration: no kind has such changes.
    """
    return next(kind for kind in KINDS if kind.name == change.kind and kind.apply)


def apply(context: Any, change: Change) -> None:
    """Apply one change. ``context``: that of ``instance/context.py``."""
    kind = kind_of(change)
    assert kind.apply is not None, change.kind
    kind.apply(context, change)


def simulate(wanted: Desired, server: Facts, change: Change) -> Facts:
    """Return the facts of a server after one change was applied. Pure."""
    return kind_of(change).simulate(wanted, server, change)


def is_tried(change: Change) -> bool:
    """Return whether a change brings values that only a server can judge: the preflight tries them."""
    return any(kind.name == change.kind and kind.is_tried(change) for kind in KINDS)


def problems(wanted: Desired, found: Observed) -> Iterator[str]:
    """Why what is declared cannot be had, all at once."""
    known = _known(wanted, found)
    if known:
        for kind in _kinds(known):
            yield from kind.problems(wanted, known)


def _kinds(found: Observed) -> Iterator[Kind]:
    """The kinds that this server has by itself: on a standby, those that do not come from its primary."""
    in_recovery = (found.server or {}).get("in_recovery")
    return (kind for kind in KINDS if kind.on_standby or not in_recovery)


def _known(wanted: Desired, found: Observed) -> Observed | None:
    """Of a server that exists and does not answer nothing can be said; one that is about to be made is known."""
    if found.server is None:
        begins = {**fresh(wanted), "in_recovery": wanted.standby}
        return None if found.volume else found.with_server(begins)
    return found


def fresh(wanted: Desired) -> dict[str, Any]:
    """What the first start makes: the state that the first plan for the objects begins with."""
    made: dict[str, Any] = {"password_matches": {}, "inside": {}}
    for kind in KINDS:
        made.update(kind.fresh(wanted))
    return made


def undeclared(wanted: Desired, found: Observed) -> Iterator[Undeclared]:
    """What is there and was not declared, as far as ``postgres_undeclared`` does not ignore it."""
    policy = wanted.objects.get("undeclared", {})
    for kind in _kinds(found):
        for item in kind.undeclared(wanted, found) if kind.undeclared else ():
            if policy.get(item.policy, "report") != "ignore":
                yield item


def findings(wanted: Desired, found: Observed) -> Iterator[Finding]:
    """What the kinds say in addition to changes and what is undeclared, of a server that answers."""
    for kind in _kinds(found):
        if kind.findings:
            yield from kind.findings(wanted, found)
