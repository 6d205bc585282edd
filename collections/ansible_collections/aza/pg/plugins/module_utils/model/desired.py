# SPDX-License-Identifier: Apache-2.0
"""The record of what one instance should be on its host.

It travels as JSON from the control node, which knows the inventory, to the managed host.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from ansible_collections.aza.pg.plugins.module_utils.model.claim import Claim
from ansible_collections.aza.pg.plugins.module_utils.model.service import ContainerSpec, File


@dataclass(frozen=True)
class Desired:
    """What one instance should be on its host. The server is the first of its services."""

    instance: str
    cluster: str
    stack: str
    project: str
    volume: str
    network: str
    services: tuple[ContainerSpec, ...]
    files: tuple[File, ...] = ()
    # Files of parts that an instance can have and this one has not: they are removed where they are.
    leftovers: tuple[File, ...] = ()
    other_network: str = ""  # the name of a network with IPv6, or without it, whichever it has not
    settings: Mapping[str, str] = field(default_factory=dict)
    superuser: str = "postgres"
    # The roles that services can have in the server → what their members can do that otherwise only a superuser can.
    service_roles: Mapping[str, str] = field(default_factory=dict)
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
    # Of a standby: its primary's values of the settings that may not be smaller (``names.STANDBY_MINIMUMS``).
    minimums: Mapping[str, int] = field(default_factory=dict)
    # Which environment the control node deploys it for.
    claim: Claim = field(default_factory=Claim)

    def file(self, path: str) -> File:
        """Return the declared file of that path.

        :raises StopIteration: there is none.
        """
        return next(item for item in self.files if item.path == path)

    @property
    def server(self) -> ContainerSpec:
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

    def service(self, name: str) -> ContainerSpec | None:
        return next((item for item in self.services if item.name == name), None)

    def owner(self, item: File, host: tuple[Any, Any]) -> tuple[Any, Any]:
        """The user and group that a file belongs to. ``host``: those of the user that deploys."""
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
            "services": tuple(ContainerSpec(**item) for item in data["services"]),
            "files": tuple(File(**item) for item in data.get("files", ())),
            "leftovers": tuple(File(**item) for item in data.get("leftovers", ())),
        }
        return cls(**{**data, **lists, "claim": Claim.from_dict(data.get("claim", {}))})
