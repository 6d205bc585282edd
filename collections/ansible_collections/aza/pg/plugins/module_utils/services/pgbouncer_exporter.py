# SPDX-License-Identifier: Apache-2.0
"""The exporter of PgBouncer's metrics: a container beside the pooler that may only read. Pure, but for ``probe``.

It has no secret. It reaches the pooler's console through PgBouncer's Unix socket, which admits no user but PgBouncer's
own, so it runs as that user. On the console its name is one of ``stats_users``, who may only read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from ansible_collections.aza.pg.plugins.module_utils.model.desired import Desired
from ansible_collections.aza.pg.plugins.module_utils.model.observed import Observed
from ansible_collections.aza.pg.plugins.module_utils.planning.finding import Finding
from ansible_collections.aza.pg.plugins.module_utils.services import postgres_exporter as exporter
from ansible_collections.aza.pg.plugins.module_utils.services.base import Definition, Metrics, Service
from ansible_collections.aza.pg.plugins.module_utils.services.pgbouncer import files as pgbouncer

if TYPE_CHECKING:
    from ansible_collections.aza.pg.plugins.module_utils.services.declaration import Declaration

PORT = 9127
_PGBOUNCER = exporter.Watched("PgBouncer", "pgbouncer_up")


class PgBouncerExporter(Service):
    """The exporter of PgBouncer's metrics, declared where both PgBouncer and the server's exporter are."""

    name = "pgbouncer-exporter"
    label = "PgBouncer's exporter"
    prefix = "postgres_pgbouncer_exporter"
    # The image of the other exporter holds both.
    image = exporter.PostgresExporter.image
    uid = pgbouncer.UID
    image_variable = exporter.PostgresExporter().image_variable
    metrics = Metrics("pgbouncer", "PgBouncer")

    def is_declared(self, variables: Mapping[str, Any]) -> bool:
        return exporter.PostgresExporter().is_declared(variables) and pgbouncer.is_declared(variables)

    def define(self, declaration: Declaration) -> Definition:
        spec = self.container_spec(declaration)
        where = {
            "host": "/var/run/pgbouncer",
            "port": pgbouncer.PORT,
            "user": pgbouncer.STATS_USER,
            "dbname": "pgbouncer",
            "sslmode": "disable",
        }
        compose = {
            **exporter.container(spec, PORT),
            "entrypoint": ["prometheus-pgbouncer-exporter"],
            "command": [
                "--pgBouncer.connectionString=" + " ".join(f"{key}={value}" for key, value in where.items()),
                # The pooler is a process of another container, which cannot be seen from this one.
                "--pgBouncer.pid-file=",
            ],
            "environment": {**exporter.LIMITS},
            "volumes": [f"./{pgbouncer.SOCKET_DIRECTORY}:/var/run/pgbouncer:ro"],
        }
        return Definition(spec, compose)

    def probe(self, wanted: Desired, found: Observed) -> str | None:
        return exporter.scrape_of(self, wanted, found, _PGBOUNCER)

    def findings(self, wanted: Desired, found: Observed) -> Iterator[Finding]:
        """It runs, and its metrics say that PgBouncer is up."""
        yield from exporter.judged(self, wanted, found, _PGBOUNCER)
