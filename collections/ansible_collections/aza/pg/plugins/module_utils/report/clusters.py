# SPDX-License-Identifier: Apache-2.0
"""A cluster in a report: one line per member, the topology, and its pools. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from ansible_collections.aza.pg.plugins.module_utils.checks import amounts
from ansible_collections.aza.pg.plugins.module_utils.checks.cluster import PRIMARY, REPLICA, Declared, View
from ansible_collections.aza.pg.plugins.module_utils.checks.pgbouncer import CONSOLE
from ansible_collections.aza.pg.plugins.module_utils.checks.replication import judge
from ansible_collections.aza.pg.plugins.module_utils.plain import plain
from ansible_collections.aza.pg.plugins.module_utils.planning.finding import SEVERITIES, Finding

NONE = "–"
# Of a pool, and what SHOW POOLS calls it.
_COLUMNS = {
    "database": "database",
    "user": "user",
    "mode": "pool_mode",
    "clients": "cl_active",
    "waiting": "cl_waiting",
    "servers": "sv_active",
    "idle": "sv_idle",
}


@dataclass(frozen=True)
class Member:
    """``upstream``: the member that feeds it, or should; ``streaming`` says which. ``live`` is empty where it did not
    say what it is."""

    host: str
    declared: str
    live: str
    version: str = ""
    timeline: str = ""
    upstream: str = ""
    streaming: bool = False
    behind: str = ""
    sync: str = ""
    slot: str = ""
    tls: str = ""
    bouncer: str = ""
    state: str = "green"

    @property
    def role(self) -> str:
        if not self.live:
            return f"? (declared {self.declared})"
        return self.live if self.live == self.declared else f"{self.live} (declared {self.declared})"


@dataclass(frozen=True)
class Pool:
    host: str
    database: str
    user: str
    mode: str
    clients: str
    waiting: str
    servers: str
    idle: str
    longest: str


@dataclass(frozen=True)
class Cluster:
    """``findings`` concern all of it; those of a member stand with its instance, ``of_member``."""

    name: str
    findings: tuple[Finding, ...]
    members: tuple[Member, ...]
    pools: tuple[Pool, ...] = ()
    of_member: Mapping[str, tuple[Finding, ...]] | None = None

    @property
    def state(self) -> str:
        every = [*(item.state for item in self.findings), *(one.state for one in self.members)]
        return min(every, key=SEVERITIES.index, default="green")

    @property
    def counts(self) -> dict[str, int]:
        return {state: sum(item.state == state for item in self.findings) for state in SEVERITIES}

    def judged(self, states: Mapping[str, str]) -> Cluster:
        """With the verdict on each member's instance, which knows more than its replication."""
        return replace(
            self, members=tuple(replace(one, state=states.get(one.host, one.state)) for one in self.members)
        )

    def to_dict(self) -> dict[str, Any]:
        return {
            "cluster": self.name,
            "state": self.state,
            "findings": [item.to_dict() for item in self.findings],
            "members": [asdict(one) for one in self.members],
            "pools": [asdict(one) for one in self.pools],
        }


def cluster(
    given: Mapping[str, Any], replication: Mapping[str, Any], bouncers: Mapping[str, Any] | None = None
) -> Cluster:
    """``given``: as in the argument of ``aza.pg.findings_table``. ``replication`` and ``bouncers``: member and what
    ``aza.pg.replication_check`` and ``aza.pg.pgbouncer_check`` returned there."""
    declared = Declared.of(given)
    results = {name: amounts.mapping(replication.get(name)) for name in declared.members}
    message: dict[str, Any] = {
        name: result.get("facts") or _reason(result) for name, result in results.items()
    }
    view, found = View(declared, message), judge(declared, message)
    pools = {name: amounts.mapping((bouncers or {}).get(name)) for name in declared.members}
    of_member = {
        name: tuple(_plain(item) for item in (*found[name], *_said_of(pools[name])))
        for name in declared.members
    }
    return Cluster(
        plain(declared.name),
        _sorted(map(_plain, found[""])),
        tuple(
            _member(view, name, amounts.mapping(pools[name].get("facts")), of_member[name])
            for name in _order(view)
        ),
        tuple(
            row
            for name in declared.members
            for row in _pools(name, amounts.mapping(pools[name].get("facts")))
        ),
        {plain(name): items for name, items in of_member.items()},
    )


def _reason(result: Mapping[str, Any]) -> str:
    """Why there are no facts: the module's own words, or Ansible's where it could not be run."""
    why = amounts.text(result.get("error")) or amounts.text(result.get("msg"))
    return f"it cannot be reached: {why}" if result.get("unreachable") is True else why


def _said_of(result: Mapping[str, Any]) -> Iterator[Finding]:
    for item in amounts.rows(result.get("findings")):
        yield Finding(*(str(item.get(key, "")) for key in ("what", "state", "message", "remedy")))


def _plain(item: Finding) -> Finding:
    return Finding(*(plain(value) for value in (item.what, item.state, item.message, item.remedy)))


def _sorted(items: Any) -> tuple[Finding, ...]:
    return tuple(sorted(items, key=lambda item: SEVERITIES.index(item.state)))


def _order(view: View) -> Iterator[str]:
    """The primary first, each replica after the server that feeds it."""
    every = list(view.declared.members)
    children: dict[str, list[str]] = {}
    for name in every:
        children.setdefault(_feeder(view, name), []).append(name)
    seen: set[str] = set()

    def below(name: str) -> Iterator[str]:
        for child in children.get(name, ()):
            if child not in seen:
                seen.add(child)
                yield child
                yield from below(child)

    yield from below("")
    yield from (name for name in every if name not in seen)  # those who feed each other in a circle


def _feeder(view: View, name: str) -> str:
    return "" if view.role(name) == PRIMARY else view.source(name) or view.upstream(name)


def _member(view: View, name: str, bouncer: Mapping[str, Any], found: tuple[Finding, ...]) -> Member:
    facts, feeder, one = view.facts(name), _feeder(view, name), view.declared.members[name]
    sender = view.sender(feeder, name) if feeder else {}
    timeline = amounts.number(facts.get("timeline"))
    return Member(
        host=plain(name),
        declared=plain(one.role),
        live=view.role(name),
        version=plain(amounts.text(facts.get("version")).split(" ")[0]),
        timeline="" if timeline is None else f"{timeline:.0f}",
        upstream=plain(feeder),
        streaming=sender.get("state") == "streaming",
        behind=_behind(view, name),
        sync=plain(amounts.text(sender.get("sync_state"))),
        slot=plain(amounts.text(sender.get("slot_name"))),
        tls=plain(amounts.text(sender.get("tls_version"))) if sender.get("tls") else "",
        bouncer=plain(amounts.text(amounts.mapping(bouncer.get("console")).get("version"))),
        state=min((item.state for item in found), key=SEVERITIES.index, default="green"),
    )


def _behind(view: View, name: str) -> str:
    if view.role(name) != REPLICA:
        return ""
    count, seconds = view.behind(name), view.seconds_behind(name)
    parts = [
        amounts.size(count) if count is not None else "",
        amounts.duration(seconds) if seconds is not None else "",
    ]
    return ", ".join(filter(None, parts))


def _pools(name: str, facts: Mapping[str, Any]) -> Iterator[Pool]:
    for row in amounts.rows(amounts.mapping(facts.get("console")).get("pools")):
        if row.get("database") != CONSOLE:
            longest = amounts.count(row.get("maxwait")) + amounts.count(row.get("maxwait_us")) / 1e6
            yield Pool(
                host=plain(name),
                longest=amounts.duration(longest),
                **{field: plain(row.get(column, "")) for field, column in _COLUMNS.items()},
            )
