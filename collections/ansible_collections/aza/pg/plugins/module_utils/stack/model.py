# SPDX-License-Identifier: Apache-2.0
"""The words that the whole engine speaks: what is wanted, what a change is, what a plan is.

Nothing here touches a host. Everything goes through JSON, because the control node says what is wanted and
the target says what is.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from ansible_collections.aza.pg.plugins.module_utils.plain import plain
from ansible_collections.aza.pg.plugins.module_utils.stack.claim import Claim

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
    # What has to happen first, other than a permission: ``the end of its use``.
    awaits: str = ""
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

        A setting or a certificate that gets another value needs no verb: ``setting work_mem  4MB → 16MB``.
        """
        values = f"{self.before} → {self.after}" if self.before and self.after else self.after or self.before
        quiet = (("setting", "change"), ("certificate", "change"))
        verb = "" if (self.kind, self.action) in quiet else f"{self.action} "
        parts = [f"{verb}{self.kind} {self.name}", values]
        if self.why:
            parts.append(f"because {self.why}")
        if self.risk:
            parts.append(f"RISK: {self.risk}")
        return plain("  ".join(part for part in parts if part))

    def line(self) -> str:
        """The text with its effect and origin: ``setting work_mem  4MB → 16MB  reload  (group_vars/all.yml: …)``."""
        parts = [self.text(), "" if self.effect == "none" else self.effect]
        if self.origin:
            parts.append(f"({plain(self.origin)})")
        return "  ".join(part for part in parts if part)

    def to_dict(self) -> dict[str, Any]:
        hidden = ("detail", "id", "needs")
        shown = {
            key: plain(value) for key, value in asdict(self).items() if key not in hidden and value != ""
        }
        return {**shown, "text": self.text()}


@dataclass(frozen=True)
class Plan:
    """Changes in the order in which they are carried out, and those that wait, mostly for a permission."""

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
        losses = [change for change in self.held if change.effect == "data" and not change.awaits]
        kept = {change.id for change in self.held}
        for change in self.held:
            if change.awaits:
                reason = change.awaits
            elif change.effect == "data":
                reason = (
                    f"postgres_allow_loss: {json.dumps([item.object for item in losses], ensure_ascii=False)}"
                )
            elif change.effect in NEEDS_PERMISSION:
                reason = f"postgres_allow_{change.effect}: true"
            else:
                reason = ", ".join(name for name in change.needs if name in kept)
            result.setdefault(plain(reason), []).append(change)
        return result

    def counts(self) -> dict[str, int]:
        """How often each effect takes place: whatever the server has to read, it reads at once."""
        result = dict.fromkeys(EFFECTS, 0)
        together: set[str] = set()
        for change in self.changes:
            if change.effect == "reload" and change.detail.get("reader") == PGBOUNCER:
                together.add(PGBOUNCER)
            elif change.effect in ("reload", "restart") and change.kind != "container":
                together.add(change.effect)
            else:
                result[change.effect] += 1
        if "restart" in together:
            result["restart"] += 1
        elif "reload" in together:
            result["reload"] = 1
        result["reload"] += PGBOUNCER in together
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
        loss = f"LOST: {plain('; '.join(lost))}" if lost else "nothing is lost"
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
    """Split changes into those that may run and those that cannot yet, or need a permission nobody gave.

    Whoever may recreate may restart. ``allow_loss``: what may be lost, each by kind and name (``database shop``).
    What needs a change that waits, waits with it.
    """
    allowed, losses = set(allowed), set(allow_loss)
    if "recreate" in allowed:
        allowed.add("restart")
    run: list[Change] = []
    held: list[Change] = []
    for change in changes:
        forbidden = (change.effect in NEEDS_PERMISSION and change.effect not in allowed) or (
            change.effect == "data" and change.object not in losses
        )
        kept = {item.id for item in held if item.id}
        (held if change.awaits or forbidden or kept.intersection(change.needs) else run).append(change)
    return Plan(tuple(run), tuple(held))


@dataclass(frozen=True)
class File:
    """A file or directory of the instance. ``path`` is relative to the instance's directory.

    ``owner``: ``host`` (whoever deploys) or the service whose user it belongs to. ``text`` is None for a directory,
    and for a secret: ``secret`` is the name of its value, which travels apart from everything that is printed.
    """

    path: str
    mode: int
    owner: str = "host"
    text: str | None = None
    secret: str = ""
    # What a new content means for the service that reads it, while that runs.
    effect: str = "none"
    reader: str = "postgres"
    origin: str = ""

    @property
    def is_directory(self) -> bool:
        return self.text is None and not self.secret

    @property
    def detail(self) -> dict[str, str]:
        """What an applier has to know of it. The server is who reads what nobody else is said to."""
        return {"path": self.path} | ({"reader": self.reader} if self.reader != "postgres" else {})


SERVER = "postgres"  # the service that is the server
EXPORTER = "exporter"
PGBOUNCER = "pgbouncer"
PGBOUNCER_EXPORTER = "pgbouncer-exporter"
# Services that no client is connected to: they are replaced and removed without asking.
CLIENTLESS = (EXPORTER, PGBOUNCER_EXPORTER)


def container_name(project: str, service: str) -> str:
    return f"{project}-{service}"


def derived_names(identity: Mapping[str, str]) -> dict[str, str]:
    """Return every name that an instance may take on its engine, with what is called so. Containers, volumes and
    networks are looked for by their names alone, so two instances of one machine can share none of them."""
    services = (SERVER, EXPORTER, PGBOUNCER, PGBOUNCER_EXPORTER)
    return {
        **{container_name(identity["project"], name): "container" for name in services},
        identity["volume"]: "volume",
        identity["network"]: "network",
    }


@dataclass(frozen=True)
class Service:
    """One container of the stack, by its name in the Compose project.

    ``image``: reference, digest and archive of its record, and ``pinned``, how the host's engine names it. Its
    ``port`` on the host is that of the variable ``port_variable``.
    """

    name: str
    container: str
    image: Mapping[str, str]
    config_hash: str = ""
    # What the engine should show of its container (``container_drift.py``); empty where nothing is known.
    expected: Mapping[str, str] = field(default_factory=dict)
    uid: int = 999
    gid: int = 999
    publish_address: str = "127.0.0.1"
    port: int = 0
    port_variable: str = "postgres_port"

    def published(self, inside: int) -> str:
        """How Compose is told which port of the host leads to which one inside the container."""
        address = f"[{self.publish_address}]" if ":" in self.publish_address else self.publish_address
        return f"{address}:{self.port}:{inside}"

    @property
    def has_clients(self) -> bool:
        return self.name not in CLIENTLESS

    @property
    def address_variable(self) -> str:
        return self.port_variable.removesuffix("port") + "publish_address"


@dataclass(frozen=True)
class Desired:
    """What one instance should be on its host. The server is the first of its services."""

    instance: str
    cluster: str
    stack: str
    project: str
    volume: str
    network: str
    services: tuple[Service, ...]
    files: tuple[File, ...] = ()
    # Files of parts that an instance can have and this one has not: they are removed where they are.
    leftovers: tuple[File, ...] = ()
    other_network: str = ""  # the name of a network with IPv6, or without it, whichever it has not
    settings: Mapping[str, str] = field(default_factory=dict)
    superuser: str = "postgres"
    database: str = "postgres"
    memory_mb: int = 0
    cpus: float = 0
    # What the host keeps of its memory in huge pages for this server.
    huge_pages_mb: int = 0
    base_dir: str = ""
    socket_link: str = ""
    stop_seconds: int = 120
    origins: Mapping[str, str] = field(default_factory=dict)
    # Fingerprint and expiry of the server's certificate, why it is a new one, and what else a check tells of it.
    certificate: Mapping[str, Any] = field(default_factory=dict)
    # What the server should hold, by kind: ``roles``, ``databases``, ``hba``, …; entries with every key.
    objects: Mapping[str, Any] = field(default_factory=dict)
    # Whether it follows another server: what that one holds comes from there.
    standby: bool = False
    # Of a standby: what its primary has of what it may not have less of (``names.FLOOR``).
    floor: Mapping[str, int] = field(default_factory=dict)
    # Which environment the control node deploys it for.
    claim: Claim = field(default_factory=Claim)

    @property
    def server(self) -> Service:
        return self.services[0]

    @property
    def container(self) -> str:
        return self.server.container

    @property
    def image(self) -> Mapping[str, str]:
        return self.server.image

    @property
    def config_hash(self) -> str:
        return self.server.config_hash

    @property
    def port(self) -> int:
        return self.server.port

    @property
    def publish_address(self) -> str:
        return self.server.publish_address

    @property
    def uid(self) -> int:
        return self.server.uid

    @property
    def gid(self) -> int:
        return self.server.gid

    def service(self, name: str) -> Service | None:
        return next((item for item in self.services if item.name == name), None)

    def is_clientless(self, container: str) -> bool:
        return container in [container_name(self.project, name) for name in CLIENTLESS]

    def owner(self, item: File, host: tuple[Any, Any]) -> tuple[Any, Any]:
        """The user and group that a file belongs to. ``host``: those of whoever deploys."""
        service = self.service(item.owner)
        return (service.uid, service.gid) if service else host

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
        lists = {
            "services": tuple(Service(**item) for item in data["services"]),
            "files": tuple(File(**item) for item in data.get("files", ())),
            "leftovers": tuple(File(**item) for item in data.get("leftovers", ())),
        }
        return cls(**{**data, **lists, "claim": Claim.from_dict(data.get("claim", {}))})


@dataclass(frozen=True)
class Observed:
    """What one instance is. Every field is plain data, so that it can be printed as facts.

    ``files``: path → type, mode, uid, gid, sha256 and text, or for a secret ``matches`` (never a value, and
    never a hash of one: a hash of a weak password gives it away).
    ``containers``, ``images`` (their id) and ``port_problems``: by the name of the service, as far as there are any.
    ``orphans``: further containers of the project, each with its ``state`` and the names of its ``volumes``. ``server``
    is None when nobody answered; ``server_error`` says why.
    """

    files: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    containers: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    orphans: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    volume: bool = False
    network: bool = False
    other_network: bool = False  # whether it exists, and connects nothing but containers of the instance
    # The addresses of the containers' network.
    subnets: tuple[str, ...] = ()
    images: Mapping[str, str] = field(default_factory=dict)
    socket_link: str | None = None
    # Whether systemd does not make the link again when the host starts.
    rule_missing: bool = False
    # The environment that is recorded as the instance's: ``environment``, ``from``, ``since``, and ``file``.
    owner: Mapping[str, Any] = field(default_factory=dict)
    server: Mapping[str, Any] | None = None
    server_error: str = ""
    # What pg_control of a standby keeps of what it may not have less of; where nobody asked, nothing.
    control: Mapping[str, int] = field(default_factory=dict)
    # Fingerprint of the certificate that clients are shown; empty where that could not be asked.
    certificate_in_use: str = ""
    # Exporter → why its metrics cannot be had, empty when they can; those that were asked for.
    scrapes: Mapping[str, str] = field(default_factory=dict)
    # What PgBouncer says of itself (``console.py``); None when it does not answer, or is not asked.
    pgbouncer: Mapping[str, Any] | None = None
    port_problems: Mapping[str, str] = field(default_factory=dict)
    client_address: Mapping[str, str] = field(default_factory=dict)  # what ``client_address.probe`` says
    # What ``huge_pages.look`` says; empty where they are nothing to the instance.
    huge_pages: Mapping[str, Any] = field(default_factory=dict)
    host: Mapping[str, Any] = field(default_factory=dict)

    @property
    def container(self) -> Mapping[str, Any] | None:
        return self.containers.get(SERVER)

    @property
    def image(self) -> str:
        return self.images.get(SERVER, "")

    @property
    def running(self) -> bool:
        return bool(self.container) and (self.container or {}).get("state") == "running"

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


SEVERITIES = ("red", "yellow", "green")


@dataclass(frozen=True)
class Finding:
    """What a check has to say about one thing. ``state``: red is not as declared or does not work, yellow waits or
    deserves a look, green is well. ``todo`` is what helps, empty when nothing has to be done. Each becomes one line,
    whatever a server or a host put into it."""

    what: str
    state: str
    said: str
    todo: str = ""

    def __post_init__(self) -> None:
        if self.state not in SEVERITIES:
            raise ValueError(f"unknown severity {self.state!r}")
        for name in ("what", "said", "todo"):
            object.__setattr__(self, name, plain(getattr(self, name)))

    def to_dict(self) -> dict[str, str]:
        return {key: str(value) for key, value in asdict(self).items() if value}


CONFIG_HASH = "io.aza-pg.config-hash"


def title(image: Mapping[str, str]) -> str:
    """Return how people know a declared image: by its name and the digest of its record.

    Engines with the classic image store call it by another digest, of which nothing else speaks.
    """
    digest = image.get("digest", "")
    return short(f"{image['reference']}@{digest}" if digest else image["pinned"])


def short(reference: str) -> str:
    """A digest in 12 characters is enough for a person."""
    head, separator, digest = reference.rpartition("sha256:")
    return f"{head}{separator}{digest[:12]}" if separator else reference
