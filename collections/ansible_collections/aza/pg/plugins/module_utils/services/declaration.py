# SPDX-License-Identifier: Apache-2.0
"""What the control node knows before it describes an instance: variables, images, tuning, certificate, cluster."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.aza.pg.plugins.module_utils.model.names import base_directory, identity
from ansible_collections.aza.pg.plugins.module_utils.model.variables import Variables
from ansible_collections.aza.pg.plugins.module_utils.quantity import seconds
from ansible_collections.aza.pg.plugins.module_utils.replication import topology as replication


@dataclass(frozen=True)
class Host:
    """Who deploys on the managed host, and that user's home directory."""

    uid: int
    gid: int
    home: str

    @property
    def is_root(self) -> bool:
        return self.uid == 0


@dataclass(frozen=True)
class Tuned:
    """What the tuning rules give for the container. Sizes in MB."""

    memory_mb: int
    shm_size_mb: int
    huge_pages_mb: int = 0
    max_connections: int = 100


@dataclass(frozen=True)
class Declaration:
    """``images``: by their names in the image manifest, the record of each with ``pinned``, the name that the host's
    engine has for it. ``certificate``: facts of the server's certificate; empty without TLS. ``authority``: the root
    (PEM) that verifies it. ``member``: what the instance is to its cluster; None for a single server.
    """

    variables: Variables
    host: Host
    images: Mapping[str, Mapping[str, str]]
    tuned: Tuned
    origins: Mapping[str, str] = field(default_factory=dict)
    certificate: Mapping[str, Any] = field(default_factory=dict)
    authority: str = ""
    member: replication.Role | None = None
    # Of a standby: the minimum of each setting that may not be smaller than its primary's.
    minimums: Mapping[str, int] = field(default_factory=dict)
    # The libraries that the image and the declared extensions preload, and of these the ones that the image does not.
    preload: Mapping[str, Any] = field(default_factory=dict)
    libraries: tuple[str, ...] = ()
    # What the server should hold, by kind, in full form: what is declared, and what the services need.
    objects: Mapping[str, Any] = field(default_factory=dict)
    # The roles of services that log in through the server's Unix socket with a password.
    socket_roles: tuple[str, ...] = ()

    @property
    def stop_seconds(self) -> int:
        """How long the server may take to stop."""
        return int(seconds("postgres_stop_grace_period", self.variables["postgres_stop_grace_period"]))

    @property
    def names(self) -> dict[str, str]:
        """Every name that cluster and stack give the instance."""
        variables = self.variables
        base = base_directory(variables["postgres_base_dir"], self.host.uid, self.host.home)
        return identity(variables["postgres_cluster"], variables["postgres_stack"], base, self.host.uid)

    @property
    def project(self) -> str:
        return self.names["project"]

    @property
    def server_address(self) -> str:
        """The address of the host that the server's port is published on: loopback, but in a cluster the member's."""
        given = self.variables["postgres_publish_address"]
        return given or (self.member.me.address if self.member else "127.0.0.1")

    def value(self, name: str) -> Any:
        """Return the value of a variable whose name is put together."""
        values: Mapping[str, Any] = self.variables
        return values[name]

    def published(self, prefix: str) -> str:
        """Return the address of the host that the port ``PREFIX_port`` is published on; by default the server's."""
        return str(self.value(f"{prefix}_publish_address") or self.server_address)

    def origin(self, variable: str) -> str:
        return self.origins.get(variable, "")
