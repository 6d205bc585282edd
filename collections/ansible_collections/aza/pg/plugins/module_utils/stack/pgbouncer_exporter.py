# SPDX-License-Identifier: Apache-2.0
"""The exporter of PgBouncer's metrics: a container beside the pooler that may only look. Pure.

It has no secret. It reaches the pooler's console through the directory of its Unix socket, as a user of PgBouncer's
``stats_users``, who may look and do nothing else. PgBouncer lets that user in by ``HBA``; it cannot tell by peer who
asks, because the exporter's user has no name in PgBouncer's container. The exporter's driver sends one parameter at
each login, which PgBouncer has to let pass (``SETTINGS``).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.aza.pg.plugins.module_utils.stack import exporter
from ansible_collections.aza.pg.plugins.module_utils.stack.model import (
    PGBOUNCER_EXPORTER,
    Desired,
    Finding,
    Observed,
    Service,
    container_name,
)

PORT = 9127
# A user that nothing else on the host or in the image is.
UID = 9127
USER = "aza_stats"
PGBOUNCER = exporter.Watched("PgBouncer", "pgbouncer_up")

# What PgBouncer needs to know of it: settings of pgbouncer.ini, and a line of its auth_hba_file.
SETTINGS: Mapping[str, str] = {"stats_users": USER, "ignore_startup_parameters": "extra_float_digits"}
HBA = f"local pgbouncer {USER} trust"


@dataclass(frozen=True)
class PgBouncerExporter:
    """``image``: that of the other exporter, which holds both. ``pooler_port``: PgBouncer's in its container, which is
    in the name of the socket; ``socket_dir``: where that is, below the instance's directory."""

    image: Mapping[str, str]
    port: int = PORT
    publish_address: str = "127.0.0.1"
    pooler_port: int = 6432
    socket_dir: str = "run-pgbouncer"

    def service(self, project: str, uid: int, gid: int) -> Service:
        """``uid``, ``gid``: who deploys."""
        return Service(
            PGBOUNCER_EXPORTER,
            container_name(project, PGBOUNCER_EXPORTER),
            image=dict(self.image),
            uid=uid or UID,
            gid=gid if uid else UID,
            publish_address=self.publish_address,
            port=self.port,
            port_variable="postgres_pgbouncer_exporter_port",
        )

    def compose(self, service: Service) -> dict[str, Any]:
        where = {
            "host": "/run/pgbouncer",
            "port": self.pooler_port,
            "user": USER,
            "dbname": "pgbouncer",
            "sslmode": "disable",
        }
        return {
            **exporter.container(service, PORT),
            "entrypoint": ["prometheus-pgbouncer-exporter"],
            "command": [
                "--pgBouncer.connectionString=" + " ".join(f"{key}={value}" for key, value in where.items()),
                # The pooler is a process of another container, of which there is nothing to be seen here.
                "--pgBouncer.pid-file=",
            ],
            "environment": {**exporter.LIMITS},
            "volumes": [f"./{self.socket_dir}:/run/pgbouncer:ro"],
        }


def findings(wanted: Desired, found: Observed, said: str | None) -> Iterator[Finding]:
    """What a check says of it. ``said``: what ``scrape`` said, None where it was not asked."""
    service, here = wanted.service(PGBOUNCER_EXPORTER), found.containers.get(PGBOUNCER_EXPORTER)
    if service and here:
        yield from exporter.judged(service, here, said, PGBOUNCER)


def scrape(service: Service) -> str:
    """Why the metrics cannot be had; empty when they say that PgBouncer is up."""
    return exporter.scrape(service, PGBOUNCER)
