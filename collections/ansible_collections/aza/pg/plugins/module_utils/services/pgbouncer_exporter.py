# SPDX-License-Identifier: Apache-2.0
"""The exporter of PgBouncer's metrics: a container beside the pooler that may only look. Pure.

It has no secret. It reaches the pooler's console through PgBouncer's Unix socket, which admits nobody but PgBouncer's
own user, so it runs as that user. On the console it goes by a name of ``stats_users``, who may only look.
What PgBouncer has to know of it for that is here: ``SETTINGS``, ``HBA`` and ``USERLIST``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.aza.pg.plugins.module_utils.model.desired import Desired
from ansible_collections.aza.pg.plugins.module_utils.model.observed import Observed
from ansible_collections.aza.pg.plugins.module_utils.model.service import (
    PGBOUNCER_EXPORTER,
    Service,
    container_name,
)
from ansible_collections.aza.pg.plugins.module_utils.planning.finding import Finding
from ansible_collections.aza.pg.plugins.module_utils.services import postgres_exporter as exporter

PORT = 9127
USER = "aza_stats"
PGBOUNCER = exporter.Watched("PgBouncer", "pgbouncer_up")

# A line of auth_hba_file. By peer it cannot be: the user that asks has no name in PgBouncer's container.
HBA = f"local pgbouncer {USER} trust"
# A line of auth_file, where even who is trusted has to stand: with what no password matches, nor SCRAM takes.
USERLIST = f'"{USER}" "md5{"0" * 32}"'


@dataclass(frozen=True)
class PgBouncerExporter:
    """``image``: that of the other exporter, which holds both. ``pooler_port``: PgBouncer's in its container, which is
    in the name of the socket; ``socket_dir``: where that is, below the instance's directory."""

    image: Mapping[str, str]
    port: int = PORT
    publish_address: str = "127.0.0.1"
    pooler_port: int = 6432
    socket_dir: str = "run-pgbouncer"

    def service(self, project: str, pooler: Service) -> Service:
        return Service(
            PGBOUNCER_EXPORTER,
            container_name(project, PGBOUNCER_EXPORTER),
            image=dict(self.image),
            uid=pooler.uid,
            gid=pooler.gid,
            publish_address=self.publish_address,
            port=self.port,
            port_variable="postgres_pgbouncer_exporter_port",
        )

    def compose(self, service: Service) -> dict[str, Any]:
        where = {
            "host": "/var/run/pgbouncer",
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
            "volumes": [f"./{self.socket_dir}:/var/run/pgbouncer:ro"],
        }


def findings(wanted: Desired, found: Observed) -> Iterator[Finding]:
    """What a check says of it: that it runs, and that its metrics say that PgBouncer is up."""
    service, here = wanted.service(PGBOUNCER_EXPORTER), found.containers.get(PGBOUNCER_EXPORTER)
    if service and here:
        yield from exporter.judged(service, here, found.scrapes.get(PGBOUNCER_EXPORTER), PGBOUNCER)


def scrape(service: Service) -> str:
    """Why the metrics cannot be had; empty when they say that PgBouncer is up."""
    return exporter.scrape(service, PGBOUNCER)
