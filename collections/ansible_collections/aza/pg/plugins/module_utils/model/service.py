# SPDX-License-Identifier: Apache-2.0
"""Records of a service: its container, its files, and the names that they have on a host."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


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
