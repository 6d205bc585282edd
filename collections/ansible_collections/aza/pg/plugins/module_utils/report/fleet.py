# SPDX-License-Identifier: Apache-2.0
"""The findings of all instances as one thing that can be counted, printed and written. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.aza.pg.plugins.module_utils.plain import plain
from ansible_collections.aza.pg.plugins.module_utils.planning.finding import SEVERITIES, Finding
from ansible_collections.aza.pg.plugins.module_utils.report.clusters import Cluster

FORMAT = 1  # of the JSON report; a field that goes or changes its meaning makes it 2


@dataclass(frozen=True)
class Instance:
    """One instance on its host. ``pending``: the summary of what a deploy would do."""

    host: str
    name: str
    findings: tuple[Finding, ...]
    version: str = ""
    pending: str = ""
    plan: Mapping[str, Any] | None = None
    cluster: str = ""

    @property
    def state(self) -> str:
        return min((item.state for item in self.findings), key=SEVERITIES.index)

    @property
    def counts(self) -> dict[str, int]:
        return {state: sum(item.state == state for item in self.findings) for state in SEVERITIES}

    def of(self, state: str) -> list[Finding]:
        return [item for item in self.findings if item.state == state]

    def to_dict(self) -> dict[str, Any]:
        return {
            "host": self.host,
            "instance": self.name,
            "cluster": self.cluster,
            "version": self.version,
            "state": self.state,
            "counts": self.counts,
            "findings": [item.to_dict() for item in self.findings],
            "plan": self.plan,
        }


def instance(host: str, name: str, result: Mapping[str, Any], cluster: Cluster | None = None) -> Instance:
    """From what ``aza.pg.instance`` with ``state: checked`` returned; nothing returned is a finding too. ``cluster``:
    that of which it is a member, with what is said of it there."""
    message = [
        Finding(*(plain(item.get(key, "")) for key in ("what", "state", "message", "remedy")))
        for item in result.get("findings") or ()
    ]
    if cluster:
        message += (cluster.of_member or {}).get(plain(host), ())
    plan = result.get("plan") or None
    return Instance(
        plain(host),
        plain(name),
        tuple(sorted(message, key=lambda item: SEVERITIES.index(item.state)))
        or (Finding("host", "red", "it was not checked: the run ended before"),),
        plain(result.get("version", "")).split(" ")[0],
        plain(plan["summary"]) if plan and (plan["changes"] or plan["held"]) else "",
        plan,
        cluster.name if cluster else "",
    )


@dataclass(frozen=True)
class Fleet:
    """``at``: when it was inspected, in UTC. ``source``: the inventory."""

    instances: tuple[Instance, ...]
    at: str = ""
    source: str = ""
    clusters: tuple[Cluster, ...] = ()

    @classmethod
    def of(
        cls,
        instances: Iterable[Instance],
        at: str = "",
        source: str = "",
        clusters: Iterable[Cluster] = (),
    ) -> Fleet:
        """Worst first, then by name."""
        worst = sorted(instances, key=lambda item: (SEVERITIES.index(item.state), item.host))
        states = {item.host: item.state for item in worst if item.cluster}
        judged = sorted(
            (one.judged(states) for one in clusters), key=lambda one: (SEVERITIES.index(one.state), one.name)
        )
        return cls(tuple(worst), at, plain(source), tuple(judged))

    @property
    def groups(self) -> list[tuple[Cluster | None, list[Instance]]]:
        """Each cluster with its instances, and at last those that are in none."""
        names = {one.name for one in self.clusters}
        alone = [item for item in self.instances if item.cluster not in names]
        return [
            *((one, [item for item in self.instances if item.cluster == one.name]) for one in self.clusters),
            *([(None, alone)] if alone else []),
        ]

    @property
    def counts(self) -> dict[str, int]:
        """Findings by severity."""
        every: tuple[Instance | Cluster, ...] = (*self.instances, *self.clusters)
        return {state: sum(item.counts[state] for item in every) for state in SEVERITIES}

    @property
    def instance_counts(self) -> dict[str, int]:
        return {state: sum(item.state == state for item in self.instances) for state in SEVERITIES}

    @property
    def state(self) -> str:
        every: tuple[Instance | Cluster, ...] = (*self.instances, *self.clusters)
        return min((item.state for item in every), key=SEVERITIES.index, default="green")

    def summary(self) -> str:
        """``1 cluster, 3 instances: 1 red, 0 yellow, 2 green; findings: 4 red, 2 yellow, 20 green``."""
        clusters = f"{_number(self.clusters, 'cluster')}, " if self.clusters else ""
        instances = _number(self.instances, "instance")
        return f"{clusters}{instances}: {listed(self.instance_counts)}; findings: {listed(self.counts)}"

    def to_dict(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "at": self.at,
            "inventory": self.source,
            "state": self.state,
            "summary": self.summary(),
            "instances": {"total": len(self.instances), **self.instance_counts},
            "findings": self.counts,
            "clusters": [item.to_dict() for item in self.clusters],
            "fleet": [item.to_dict() for item in self.instances],
        }


def _number(items: Sequence[Any], word: str) -> str:
    return f"{len(items)} {word}{'' if len(items) == 1 else 's'}"


def listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{counts[state]} {state}" for state in SEVERITIES)
