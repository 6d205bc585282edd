# SPDX-License-Identifier: Apache-2.0
"""Records of a service: its container, its files, and how images are named for people."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

SERVER = "postgres"  # the service that is the server
CONFIG_HASH = "io.aza-pg.config-hash"


def container_name(project: str, service: str) -> str:
    return f"{project}-{service}"


@dataclass(frozen=True)
class File:
    """A file or directory of the instance.

    ``path``: relative to the instance's directory. ``owner``: ``host`` (the user that deploys) or the service whose
    user owns it. ``text``: None for a directory and for a secret; ``secret`` is the name of its value, which travels
    apart from everything that is printed.
    """

    path: str
    mode: int
    owner: str = "host"
    text: str | None = None
    secret: str = ""
    # What new content means for the service that reads it, while that runs.
    effect: str = "none"
    reader: str = SERVER
    origin: str = ""
    # The kind of its changes; empty for directory, file or secret, whichever it is.
    kind: str = ""
    # Whether its text names the addresses of the containers' network, which only the host knows once it exists.
    per_network: bool = False

    @property
    def is_directory(self) -> bool:
        return self.text is None and not self.secret

    @property
    def other_reader(self) -> str:
        """The service that reads it, if that is not the server: ``Change.reader``."""
        return "" if self.reader == SERVER else self.reader


@dataclass(frozen=True)
class ContainerSpec:
    """What the container of a service should be, by the service's name in the Compose project.

    ``image``: reference, digest, archive and PostgreSQL major of its record (empty if unknown), and ``pinned``, the
    name that the host's engine has for it.
    ``port``: on the host, from the variable ``port_variable``.
    """

    name: str
    container: str
    image: Mapping[str, str]
    config_hash: str = ""
    # What the engine should show of its container (``host/container_drift.py``); empty if nothing is known.
    expected: Mapping[str, str] = field(default_factory=dict)
    uid: int = 999
    gid: int = 999
    publish_address: str = "127.0.0.1"
    port: int = 0
    port_variable: str = "postgres_port"
    # Whether clients are connected to it. If not, it is replaced and removed without permission.
    has_clients: bool = True

    def published(self, inside: int) -> str:
        """Return Compose's text for the port of the host that leads to ``inside``, a port of the container."""
        address = f"[{self.publish_address}]" if ":" in self.publish_address else self.publish_address
        return f"{address}:{self.port}:{inside}"

    @property
    def address_variable(self) -> str:
        return self.port_variable.removesuffix("port") + "publish_address"


def title(image: Mapping[str, str]) -> str:
    """Return an image's name for people: its reference and the digest of its record.

    Engines with the classic image store show another digest, which is used nowhere else.
    """
    digest = image.get("digest", "")
    return short(f"{image['reference']}@{digest}" if digest else image["pinned"])


def short(reference: str) -> str:
    """Return the reference with its digest cut to 12 characters."""
    head, separator, digest = reference.rpartition("sha256:")
    return f"{head}{separator}{digest[:12]}" if separator else reference
