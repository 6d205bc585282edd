# SPDX-License-Identifier: Apache-2.0
"""The words that the whole engine speaks: what is wanted, what a change is, what a plan is.

Nothing here touches a host. Everything goes through JSON, because the control node says what is wanted and
the target says what is.
"""

from __future__ import annotations

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

    def text(self) -> str:
        """``setting work_mem  4MB → 16MB  (group_vars/all.yml: postgres_settings)``."""
        values = f"{self.before} → {self.after}" if self.before and self.after else self.after or self.before
        parts = [f"{self.action} {self.kind} {self.name}", values]
        if self.why:
            parts.append(f"because {self.why}")
        if self.risk:
            parts.append(f"RISK: {self.risk}")
        if self.origin:
            parts.append(f"({self.origin})")
        return "  ".join(part for part in parts if part)

    def to_dict(self) -> dict[str, Any]:
        hidden = ("detail", "id", "needs")
        return {key: value for key, value in asdict(self).items() if key not in hidden and value != ""}


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
                lines += [f"  {change.text()}" for change in group]
        lines += self.held_lines()
        if self.changes:
            lines.append(self.summary())
        return lines

    def held_lines(self) -> list[str]:
        lines = []
        for change in self.held:
            lines.append(f"waits for postgres_allow_{change.effect}: true")
            lines.append(f"  {change.text()}")
        return lines

    def summary(self) -> str:
        """``1 restart, 2 without effect on what runs; nothing is lost``."""
        if not self.changes:
            return "nothing to do" + (f"; {len(self.held)} waiting" if self.held else "")
        counts = []
        for effect in EFFECTS:
            number = sum(change.effect == effect for change in self.changes)
            if number:
                word = {"none": "without effect on what runs", "data": "loss of data"}.get(effect, effect)
                counts.append(f"{number} {word}")
        lost = [change.risk for change in self.changes if change.effect == "data"]
        return f"{', '.join(counts)}; {'LOST: ' + '; '.join(lost) if lost else 'nothing is lost'}"

    def to_dict(self) -> dict[str, Any]:
        return {
            "changes": [change.to_dict() for change in self.changes],
            "held": [change.to_dict() for change in self.held],
            "summary": self.summary(),
        }


def hold(changes: Iterable[Change], allowed: Iterable[str]) -> Plan:
    """Split changes into those that may run and those that need a permission nobody gave.

    Whoever may recreate may restart.
    """
    allowed = set(allowed)
    if "recreate" in allowed:
        allowed.add("restart")
    run: list[Change] = []
    held: list[Change] = []
    for change in changes:
        needs = change.effect in ("restart", "recreate")
        (held if needs and change.effect not in allowed else run).append(change)
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


CONFIG_HASH = "io.aza-pg.config-hash"


def short(reference: str) -> str:
    """A digest in 12 characters is enough for a person."""
    head, separator, digest = reference.rpartition("sha256:")
    return f"{head}{separator}{digest[:12]}" if separator else reference
