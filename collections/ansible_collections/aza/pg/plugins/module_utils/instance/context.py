# SPDX-License-Identifier: Apache-2.0
"""What applying a plan needs: the declaration, the engine, secrets, image archives, connections to the server."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from ansible_collections.aza.pg.plugins.module_utils.host.docker import Docker
from ansible_collections.aza.pg.plugins.module_utils.model.desired import Desired
from ansible_collections.aza.pg.plugins.module_utils.model.service import File
from ansible_collections.aza.pg.plugins.module_utils.server import connection as server

_CONNECTIONS = 4
# Long enough for the update of a large extension, or for all objects of a role to get another owner.
_STATEMENT_SECONDS = 900


@dataclass
class Context:
    """``archives``: service → the archive of its image on this host. ``connections``: kept from change to change."""

    wanted: Desired
    docker: Docker
    secrets: Mapping[str, str] = field(default_factory=dict)
    archives: Mapping[str, str] = field(default_factory=dict)
    connections: dict[str, Any] = field(default_factory=dict)

    @property
    def directory(self) -> Path:
        return Path(self.wanted.directory)

    def file(self, path: str) -> File:
        """Return the declared file of that path."""
        return self.wanted.file(path)

    def sql(self, database: str = "postgres") -> Any:
        """Return a connection as the administrator, in autocommit. A few are kept for the changes that follow."""
        kept = self.connections.pop(database, None)
        if kept is None:
            others = [name for name in self.connections if name != "postgres"]
            for name in others[: max(0, len(others) + 1 - _CONNECTIONS)]:
                self.close(name)
            kept = self._connect(database)
        self.connections[database] = kept  # the last one used is the last one to go
        return kept

    def _connect(self, database: str) -> Any:
        connect = partial(
            server.connect,
            self.wanted.socket_dir,
            self.wanted.superuser,
            database,
            statement_seconds=_STATEMENT_SECONDS,
            changes=True,
        )
        if self.connections:
            with suppress(server.ServerError):
                return connect(full_seconds=0)
            # On a full server the kept connections may be those that are missing.
            self.close()
        return connect()

    def observer(self) -> Any:
        return server.connect(self.wanted.socket_dir, self.wanted.superuser)

    def processes(self) -> list[int]:
        """Return the process numbers of the server that carry out the changes."""
        return [kept.info.backend_pid for kept in list(self.connections.values()) if not kept.closed]

    def close(self, database: str = "") -> None:
        """Close the connection to one database (it is about to be dropped), or all."""
        for name in [database] if database else list(self.connections):
            if name in self.connections:
                self.connections.pop(name).close()
