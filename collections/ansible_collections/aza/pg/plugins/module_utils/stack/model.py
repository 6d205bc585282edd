# SPDX-License-Identifier: Apache-2.0
"""The words that the whole engine speaks: what is wanted, what a change is, what a plan is.

Nothing here touches a host. Everything goes through JSON, because the control node says what is wanted and
the target says what is.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

# From the most to the least drastic: the order in which a person should read a plan.
EFFECTS = ("data", "recreate", "restart", "reload", "sql", "none")
EFFECT_MEANING = {
    "data": "data is lost",
    "recreate": "the container is replaced; clients are disconnected for seconds",
    "restart": "clients are disconnected",
    "reload": "active at once, nobody is disconnected",
    "sql": "a statement on the running server",
    "none": "nothing that runs is touched",
}
NEEDS_PERMISSION = ("restart", "recreate")


@dataclass(frozen=True)
class Change:
    """One step from what is to what should be.

    ``before`` and ``after`` are for people, short, and never a secret. ``risk`` is empty when nothing can be
    lost. ``origin`` is where the wish was declared (file and key), ``detail`` what the applier needs besides.
    """

    kind: str
    name: str
    action: str
    effect: str = "none"
    before: str = ""
    after: str = ""
    why: str = ""
    risk: str = ""
    origin: str = ""
    detail: Mapping[str, Any] = field(default_factory=dict)
    # ``role shop``, and the ids of what must be done before: the order of the server's objects comes from these.
    id: str = ""
    needs: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.effect not in EFFECTS:
            raise ValueError(f"unknown effect {self.effect!r}")

    @property
    def object(self) -> str:
        """How a permission names it: ``database shop``."""
        return f"{self.kind} {self.name}"

    def text(self) -> str:
        """What happens, in words: ``create role shop``, ``change role shop  connection limit -1 → 5``.

        A setting that gets another value needs no verb: ``setting work_mem  4MB → 16MB``.
        """
        values = f"{self.before} → {self.after}" if self.before and self.after else self.after or self.before
        verb = "" if (self.kind, self.action) == ("setting", "change") else f"{self.action} "
        parts = [f"{verb}{self.kind} {self.name}", values]
        if self.why:
            parts.append(f"because {self.why}")
        if self.risk:
            parts.append(f"RISK: {self.risk}")
        return "  ".join(part for part in parts if part)

    def line(self) -> str:
        """The text with its effect and origin: ``setting work_mem  4MB → 16MB  reload  (group_vars/all.yml: …)``."""
        parts = [self.text(), "" if self.effect == "none" else self.effect]
        if self.origin:
            parts.append(f"({self.origin})")
        return "  ".join(part for part in parts if part)

    def to_dict(self) -> dict[str, Any]:
        hidden = ("detail", "id", "needs")
        shown = {key: value for key, value in asdict(self).items() if key not in hidden and value != ""}
        return {**shown, "text": self.text()}


@dataclass(frozen=True)
class Plan:
    """Changes in the order in which they are carried out, and those that wait for a permission."""

    changes: tuple[Change, ...] = ()
    held: tuple[Change, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.changes)

    def lines(self) -> list[str]:
        """The plan as a person reads it: grouped by effect, worst first, with one last line that counts."""
        lines: list[str] = []
        for effect in EFFECTS:
            group = [change for change in self.changes if change.effect == effect]
            if group:
                lines.append(f"{effect}: {EFFECT_MEANING[effect]}")
                lines += [f"  {change.line()}" for change in group]
        for reason, group in self.waiting().items():
            lines.append(f"waits for {reason}")
            lines += [f"  {change.line()}" for change in group]
        return [*lines, self.summary()] if lines else []

    def waiting(self) -> dict[str, list[Change]]:
        """What waits, by what it waits for, as it is written in an inventory."""
        result: dict[str, list[Change]] = {}
        losses = [change for change in self.held if change.effect == "data"]
        kept = {change.id for change in self.held}
        for change in self.held:
            if change.effect == "data":
                reason = (
                    f"postgres_allow_loss: {json.dumps([item.object for item in losses], ensure_ascii=False)}"
                )
            elif change.effect in NEEDS_PERMISSION:
                reason = f"postgres_allow_{change.effect}: true"
            else:
                reason = ", ".join(name for name in change.needs if name in kept)
            result.setdefault(reason, []).append(change)
        return result

    def counts(self) -> dict[str, int]:
        """How often each effect takes place: whatever the server has to read, it reads at once."""
        result = {effect: 0 for effect in EFFECTS}
        together: set[str] = set()
        for change in self.changes:
            if change.effect in ("reload", "restart") and change.kind != "container":
                together.add(change.effect)
            else:
                result[change.effect] += 1
        if "restart" in together:
            result["restart"] += 1
        elif "reload" in together:
            result["reload"] = 1
        return result

    def summary(self) -> str:
        """``3 sql, 1 reload, 0 restarts; nothing is lost``: whether it disconnects or loses is always said."""
        waiting = f"{len(self.held)} {'waits' if len(self.held) == 1 else 'wait'}" if self.held else ""
        if not self.changes:
            return "; ".join(filter(None, ("nothing to do", waiting)))
        counts = self.counts()
        parts = [
            f"{counts['sql']} sql",
            _number(counts["reload"], "reload"),
            _number(counts["restart"], "restart"),
        ]
        if counts["recreate"]:
            parts.append(_number(counts["recreate"], "recreated container"))
        if counts["none"]:
            parts.append(f"{counts['none']} without effect on what runs")
        lost = [change.risk or change.object for change in self.changes if change.effect == "data"]
        loss = f"LOST: {'; '.join(lost)}" if lost else "nothing is lost"
        return "; ".join(filter(None, (", ".join(parts), loss, waiting)))

    def to_dict(self) -> dict[str, Any]:
        return {
            "changes": [change.to_dict() for change in self.changes],
            "held": [
                {**change.to_dict(), "waits_for": reason}
                for reason, group in self.waiting().items()
                for change in group
            ],
            "counts": self.counts(),
            "summary": self.summary(),
        }


def _number(count: int, word: str) -> str:
    return f"{count} {word}{'' if count == 1 else 's'}"


def hold(changes: Iterable[Change], allowed: Iterable[str], allow_loss: Iterable[str] = ()) -> Plan:
    """Split changes into those that may run and those that need a permission nobody gave.

    Whoever may recreate may restart. ``allow_loss``: what may be lost, each by kind and name (``database shop``).
    What needs a change that waits, waits with it.
    """
    allowed, losses = set(allowed), set(allow_loss)
    if "recreate" in allowed:
        allowed.add("restart")
    run: list[Change] = []
    held: list[Change] = []
    for change in changes:
        waits = (change.effect in NEEDS_PERMISSION and change.effect not in allowed) or (
            change.effect == "data" and change.object not in losses
        )
        kept = {item.id for item in held if item.id}
        (held if waits or kept.intersection(change.needs) else run).append(change)
    return Plan(tuple(run), tuple(held))


@dataclass(frozen=True)
class File:
    """A file or directory of the instance. ``path`` is relative to the instance's directory.

    ``owner``: ``host`` (whoever deploys) or ``server`` (the user that PostgreSQL runs as). ``text`` is None for
    a directory, and for a secret, whose value travels apart from everything that is printed.
    """

    path: str
    mode: int
    owner: str = "host"
    text: str | None = None
    secret: bool = False
    # What a new content means for a running server.
    effect: str = "none"
    origin: str = ""

    @property
    def is_directory(self) -> bool:
        return self.text is None and not self.secret


@dataclass(frozen=True)
class Desired:
    """What one instance should be on its host."""

    instance: str
    cluster: str
    stack: str
    project: str
    container: str
    volume: str
    network: str
    image: Mapping[str, str]
    files: tuple[File, ...] = ()
    settings: Mapping[str, str] = field(default_factory=dict)
    config_hash: str = ""
    port: int = 5432
    publish_address: str = "127.0.0.1"
    superuser: str = "postgres"
    database: str = "postgres"
    memory_mb: int = 0
    cpus: float = 0
    uid: int = 999
    gid: int = 999
    base_dir: str = ""
    socket_link: str = ""
    stop_seconds: int = 120
    origins: Mapping[str, str] = field(default_factory=dict)
    # What the server should hold, by kind: ``roles``, ``databases``, ``hba``, …; entries with every key.
    objects: Mapping[str, Any] = field(default_factory=dict)

    @property
    def directory(self) -> str:
        return f"{self.base_dir}/{self.instance}"

    @property
    def socket_dir(self) -> str:
        return f"{self.directory}/run"

    @property
    def labels(self) -> dict[str, str]:
        """How everything that belongs to the instance is found again."""
        return {"io.aza-pg.cluster": self.cluster, "io.aza-pg.stack": self.stack}

    def origin(self, variable: str) -> str:
        return self.origins.get(variable, "")

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Desired:
        wanted = cls(**{**data, "files": ()})
        return replace(wanted, files=tuple(File(**item) for item in data.get("files", ())))


@dataclass(frozen=True)
class Observed:
    """What one instance is. Every field is plain data, so that it can be printed as facts.

    ``files``: path → type, mode, uid, gid, sha256 and text, or for a secret ``matches`` (never a value, and
    never a hash of one: a hash of a weak password gives it away).
    ``server`` is None when nobody answered; ``server_error`` says why.
    """

    files: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    container: Mapping[str, Any] | None = None
    strangers: tuple[str, ...] = ()
    volume: bool = False
    network: bool = False
    image: str = ""
    socket_link: str | None = None
    server: Mapping[str, Any] | None = None
    server_error: str = ""
    port_problem: str = ""
    host: Mapping[str, Any] = field(default_factory=dict)

    @property
    def running(self) -> bool:
        return bool(self.container) and (self.container or {}).get("state") == "running"

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


SEVERITIES = ("red", "yellow", "green")


@dataclass(frozen=True)
class Finding:
    """What a check has to say about one thing. ``state``: red is not as declared or does not work, yellow waits or
    deserves a look, green is well. ``todo`` is what helps, empty when nothing has to be done."""

    what: str
    state: str
    said: str
    todo: str = ""

    def __post_init__(self) -> None:
        if self.state not in SEVERITIES:
            raise ValueError(f"unknown severity {self.state!r}")

    def to_dict(self) -> dict[str, str]:
        return {key: str(value) for key, value in asdict(self).items() if value}


CONFIG_HASH = "io.aza-pg.config-hash"


def short(reference: str) -> str:
    """A digest in 12 characters is enough for a person."""
    head, separator, digest = reference.rpartition("sha256:")
    return f"{head}{separator}{digest[:12]}" if separator else reference
