# SPDX-License-Identifier: Apache-2.0
"""A cluster as it is declared, with the facts of its members: which is primary, which streams from which. Pure.

Facts are what ``aza.pg.replication_check`` returned of a member, or the reason why there are none. Every value in them
may be missing: a check that stumbles over a half-dead server is of no use.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from ansible_collections.aza.pg.plugins.module_utils.checks.amounts import lsn, mapping, number, rows, text
from ansible_collections.aza.pg.plugins.module_utils.model.names import STANDBY_MINIMUMS

PRIMARY, REPLICA = "primary", "replica"
NOT_LOOKED_AT = "it was not checked"
NOT_ASKED = "it was not checked: --limit excludes it"
Facts = Mapping[str, Any]


@dataclass(frozen=True)
class Member:
    """``slot``: its physical slot on the server that it streams from, which is also the name that it streams under.
    ``upstream``: the member that this is; empty for the primary. ``delay``: seconds."""

    role: str = PRIMARY
    slot: str = ""
    upstream: str = ""
    delay: float = 0


@dataclass(frozen=True)
class Declared:
    """``synchronous``: how many replicas must confirm a commit. ``lag_bytes``, ``lag_seconds``: what is still well."""

    name: str
    members: Mapping[str, Member] = field(default_factory=dict)
    synchronous: int = 0
    lag_bytes: int = 64 * 2**20
    lag_seconds: float = 30
    sentinel_seconds: float = 5
    tls: bool = True

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Declared:
        """From a task's argument, which has been checked against its specification."""
        known = {key: given[key] for key in cls.__dataclass_fields__ if given.get(key) is not None}
        members = {name: Member(**entry) for name, entry in mapping(given.get("members")).items()}
        return cls(**{**known, "members": members})


@dataclass(frozen=True)
class Synchronous:
    """``synchronous_standby_names``, read. ``*`` in ``names`` stands for all standbys."""

    method: str = ""  # FIRST | ANY
    count: int = 0
    names: tuple[str, ...] = ()

    @classmethod
    def of(cls, setting: str) -> Synchronous:
        """
        >>> Synchronous.of('ANY 2 (db2, "db-3", db4)')
        Synchronous(method='ANY', count=2, names=('db2', 'db-3', 'db4'))
        >>> Synchronous.of("db2, db3")
        Synchronous(method='FIRST', count=1, names=('db2', 'db3'))
        """
        found = re.fullmatch(
            r"\s*(?:(first|any)\s+)?([0-9]+)\s*\((.*)\)\s*", setting, re.IGNORECASE | re.DOTALL
        )
        method, count, inside = found.groups() if found else ("", "1", setting)
        names = re.findall(r'"((?:[^"]|"")*)"|([^\s,"]+)', inside)
        if not names:
            return cls()
        read = (quoted.replace('""', '"') or plain.lower() for quoted, plain in names)
        return cls((method or "first").upper(), int(count), tuple(read))


class View:
    """``declared`` and ``facts`` with what follows from both."""

    def __init__(self, declared: Declared, facts: Mapping[str, Facts | str]) -> None:
        self.declared = declared
        self._facts = facts

    def facts(self, name: str) -> Facts:
        """Empty where the member could not be checked."""
        return mapping(self._facts.get(name))

    def reason(self, name: str) -> str:
        """Why the member could not be checked."""
        return "" if self.facts(name) else text(self._facts.get(name)) or NOT_LOOKED_AT

    def role(self, name: str) -> str:
        """What it is, as it said itself; empty where it did not."""
        recovering = self.facts(name).get("in_recovery")
        return REPLICA if recovering is True else PRIMARY if recovering is False else ""

    @cached_property
    def primaries(self) -> list[str]:
        return [name for name in self.declared.members if self.role(name) == PRIMARY]

    @cached_property
    def primary(self) -> str:
        """The one live primary; empty when there is none or more than one."""
        return self.primaries[0] if len(self.primaries) == 1 else ""

    @cached_property
    def declared_primary(self) -> str:
        return next((name for name, one in self.declared.members.items() if one.role == PRIMARY), "")

    @cached_property
    def standbys(self) -> list[str]:
        return [name for name in self.declared.members if self.role(name) == REPLICA]

    def upstream(self, name: str) -> str:
        """The member that it should stream from. The primary's name stands for the current primary."""
        wanted = self.declared.members[name].upstream
        if wanted in ("", self.declared_primary) or wanted not in self.declared.members:
            wanted = self.primary or self.declared_primary
        return "" if wanted == name else wanted

    def known_as(self, name: str) -> set[str]:
        return {name, self.declared.members[name].slot} - {""}

    def sender(self, source: str, name: str) -> Facts:
        """The connection on ``source`` through which ``name`` is fed."""
        known = self.known_as(name)
        found = [
            row
            for row in rows(self.facts(source).get("senders"))
            if known & {text(row.get("slot_name")), text(row.get("application_name"))}
        ]
        return next((row for row in found if row.get("state") == "streaming"), found[0] if found else {})

    def source(self, name: str) -> str:
        """The member that feeds it; the declared one first."""
        every = filter(None, (self.upstream(name), *self.declared.members))
        return next((other for other in every if other != name and self.sender(other, name)), "")

    def slot(self, holder: str, name: str) -> Facts:
        every = rows(self.facts(holder).get("slots"))
        return next((row for row in every if row.get("name") == name), {})

    def chain(self, name: str) -> Iterator[str]:
        """It, its upstream, and so on; a circle ends."""
        seen: set[str] = set()
        while name and name not in seen:
            seen.add(name)
            yield name
            name = self.upstream(name) if self.role(name) != PRIMARY else ""

    def delay(self, name: str) -> float:
        """Seconds by which it is meant to be behind, with those of the servers that it is fed by."""
        members = self.declared.members
        return sum(members[one].delay for one in self.chain(name) if self.role(one) != PRIMARY)

    def behind(self, name: str) -> float | None:
        """Bytes of WAL that the primary has written and it has not replayed."""
        return self._behind(name, "lag_bytes", "replay_lsn")

    def unreceived(self, name: str) -> float | None:
        """Bytes of WAL that the primary has written and it has not received."""
        return self._behind(name, "receive_lag_bytes", "receive_lsn")

    def _behind(self, name: str, seen_above: str, own: str) -> float | None:
        """What the primary said of it, or the difference of what both said: the later of the two looks is smaller."""
        primary, mine = self.facts(self.primary), self.facts(name)
        written, reached = lsn(primary.get("lsn")), lsn(mine.get(own))
        found = [
            number(self.sender(self.primary, name).get(seen_above)) if self.primary else None,
            written - reached if written is not None and reached is not None else None,
        ]
        known = [max(count, 0) for count in found if count is not None]
        return min(known, default=number(mine.get("replay_bytes")) if own == "replay_lsn" else None)

    def seconds_behind(self, name: str) -> float | None:
        """Return how far a replica is behind.

        A replica only knows the age of the last transaction that it replayed, which grows while there are no writes.
        Once it has replayed the row of this check it is exact; until then the smaller of it and what its upstream
        measured.
        """
        own = number(self.facts(name).get("replay_seconds"))
        if mapping(self.facts(name).get("sentinel")).get("seen"):
            return own
        seen = number(self.sender(self.source(name), name).get("lag_seconds"))
        return min((value for value in (own, seen) if value is not None), default=None)

    @cached_property
    def synchronous(self) -> Synchronous:
        settings = mapping(self.facts(self.primary).get("settings")) if self.primary else {}
        return Synchronous.of(text(settings.get("synchronous_standby_names")))

    @cached_property
    def confirming(self) -> list[str]:
        """The names under which standbys are connected that a commit may wait for."""
        return [
            text(row.get("application_name"))
            for row in rows(self.facts(self.primary).get("senders"))
            if row.get("state") == "streaming" and row.get("sync_state") in ("sync", "quorum", "potential")
        ]

    def minimums(self, name: str) -> dict[str, float]:
        given = mapping(self.facts(name).get("settings"))
        return {key: value for key in STANDBY_MINIMUMS if (value := number(given.get(key))) is not None}

    def asked(self) -> Sequence[str]:
        return [name for name in self.declared.members if self.facts(name)]

    def images(self) -> dict[str, list[str]]:
        """Digest → the members that run it."""
        found: dict[str, list[str]] = {}
        for name in self.asked():
            if image := text(self.facts(name).get("image")):
                found.setdefault(image, []).append(name)
        return found


def undeclared_slots(view: View, holder: str) -> Iterable[Facts]:
    """Physical slots for which no declared member is there."""
    wanted = {one.slot for name, one in view.declared.members.items() if view.upstream(name) == holder}
    for row in rows(view.facts(holder).get("slots")):
        if row.get("type") == "physical" and not row.get("temporary") and text(row.get("name")) not in wanted:
            yield row
