# SPDX-License-Identifier: Apache-2.0
"""The exporter of PostgreSQL's metrics: a container beside the server that may only look. Pure, but for ``scrape``.

It reaches the server through the socket's directory, as a role of its own, and knows no other secret than the
password of that role. What it has in common with PgBouncer's exporter (``pgbouncer_exporter``) is here as well.
"""

from __future__ import annotations

import http.client
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from ansible_collections.aza.pg.plugins.module_utils.model.desired import Desired
from ansible_collections.aza.pg.plugins.module_utils.model.observed import Observed
from ansible_collections.aza.pg.plugins.module_utils.model.service import ContainerSpec, File
from ansible_collections.aza.pg.plugins.module_utils.planning.finding import Finding
from ansible_collections.aza.pg.plugins.module_utils.server import pinned
from ansible_collections.aza.pg.plugins.module_utils.services.base import (
    Definition,
    Metrics,
    Secret,
    Service,
)
from ansible_collections.aza.pg.plugins.module_utils.yaml_values import truth

if TYPE_CHECKING:
    from ansible_collections.aza.pg.plugins.module_utils.services.declaration import Declaration

SECRET = "exporter_password"
PASSWORD_PATH = f"secrets/{SECRET}"
# The name of the role's password among the secrets of all roles.
MONITOR = "aza_monitor"
PASSWORD = f"roles/{MONITOR}"
PORT = 9187
# A user that nothing else on the host or in the image is.
UID = 9187
_SCRAPE_SECONDS = 10
_AGAIN_SECONDS = 3

# Of what the exporter leaves out by default, what the alert rules and dashboards of docs/monitoring need.
COLLECTORS = ("database_wraparound", "postmaster", "stat_checkpointer", "stat_wal_receiver")

# The garbage collector knows the container's limit, so that an exporter is not killed at it.
LIMITS: Mapping[str, str] = {"GOMEMLIMIT": "96MiB"}

# Alive is what answers; whether the server is up is what it answers.
_HEALTH = (
    "exec 3<>/dev/tcp/127.0.0.1/%d && printf 'GET / HTTP/1.0\\r\\n\\r\\n' >&3 && grep -q '^HTTP.* 200 ' <&3"
)


@dataclass(frozen=True)
class Watched:
    """What an exporter looks at, as text, and the metric that says whether it is up."""

    name: str
    metric: str


THE_SERVER = Watched("the server", "pg_up")
# Its rights are more than those of who may own the database.
_WHERE = urlencode({"host": "/var/run/postgresql", "sslmode": "disable", **pinned.for_role()}, safe="/,")


class PostgresExporter(Service):
    """The exporter of the server's metrics."""

    name = "exporter"
    label = "the exporter"
    prefix = "postgres_exporter"
    image = "exporter"
    uid = UID
    roles = (
        {
            "name": MONITOR,
            "member_of": ["pg_monitor"],
            "connection_limit": 5,
            "comment": "the exporter of aza-pg",
        },
    )
    way_out = "set postgres_exporter: false"
    socket_roles = (MONITOR,)
    secrets = (Secret(PASSWORD, "the exporter", PASSWORD_PATH),)
    metrics = Metrics("postgres", "the server")

    def is_declared(self, variables: Mapping[str, Any]) -> bool:
        return truth(variables.get(self.prefix, True))

    def define(self, declaration: Declaration) -> Definition:
        spec = self.container_spec(declaration)
        compose = {
            **container(spec, PORT),
            "command": [f"--collector.{name}" for name in COLLECTORS],
            "environment": {
                "DATA_SOURCE_URI": f"/postgres?{_WHERE}",
                "DATA_SOURCE_USER": MONITOR,
                "DATA_SOURCE_PASS_FILE": f"/run/secrets/{SECRET}",
                **LIMITS,
            },
            "secrets": [SECRET],
            "volumes": ["./run:/var/run/postgresql:ro"],
        }
        password = File(PASSWORD_PATH, 0o400, owner=self.name, secret=PASSWORD)
        return Definition(spec, compose, (password,))

    def leftovers(self, declaration: Declaration) -> tuple[File, ...]:
        declared = self.is_declared(declaration.variables)
        return () if declared else (File(PASSWORD_PATH, 0o400, secret=PASSWORD),)

    def probe(self, wanted: Desired, found: Observed) -> str | None:
        return scrape_of(self, wanted, found, THE_SERVER)

    def findings(self, wanted: Desired, found: Observed) -> Iterator[Finding]:
        """It runs, and its metrics say that the server is up."""
        yield from judged(self, wanted, found, THE_SERVER)


def container(service: ContainerSpec, port: int) -> dict[str, Any]:
    """What Compose is told of any exporter. ``port``: where it listens in its container."""
    return {
        "image": service.image["pinned"],
        "container_name": service.container,
        "restart": "unless-stopped",
        "user": f"{service.uid}:{service.gid}",
        "read_only": True,
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges:true"],
        "mem_limit": "128m",
        "ports": [service.published(port)],
        "healthcheck": {
            "test": ["CMD", "bash", "-c", _HEALTH % port],
            "interval": "30s",
            "timeout": "5s",
            "start_period": "30s",
        },
    }


def judged(service: Service, wanted: Desired, found: Observed, watched: Watched) -> Iterator[Finding]:
    """Report on any exporter: that it runs, and what its metrics say of what it watches."""
    spec, here = wanted.service(service.name), found.containers.get(service.name)
    if not spec or not here:
        return  # it is not declared, or the plan says that it is missing
    problem = found.probes.get(service.name)
    if here["state"] != "running":
        yield Finding(service.name, "red", f"it is {here['state']} (exit code {here['exit_code']})")
    elif problem is not None:
        if problem:
            yield Finding(service.name, "red", problem, f"docker logs {spec.container}")
        else:
            yield Finding(
                service.name, "green", f"its metrics say that {watched.name} is up (port {spec.port})"
            )
    if here["restarts"]:
        yield Finding(service.name, "yellow", f"it restarted {here['restarts']} times")


def scrape_of(service: Service, wanted: Desired, found: Observed, watched: Watched) -> str | None:
    """Return why the metrics of a running exporter cannot be had, or an empty text; None if it does not run."""
    spec = wanted.service(service.name)
    running = found.containers.get(service.name, {}).get("state") == "running"
    return scrape(spec, watched) if spec and running else None


def scrape(service: ContainerSpec, watched: Watched = THE_SERVER) -> str:
    """Why the metrics cannot be had; empty when they say that what is watched is up.

    Asked again for some seconds: after a restart of the server the exporter learns from a first question that its old
    connection is gone.
    """
    deadline = time.monotonic() + _AGAIN_SECONDS
    while (message := _scrape(service, watched)) and time.monotonic() < deadline:
        time.sleep(0.2)
    return message


def _scrape(service: ContainerSpec, watched: Watched) -> str:
    address = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(service.publish_address, service.publish_address)
    connection = http.client.HTTPConnection(address, service.port, timeout=_SCRAPE_SECONDS)
    try:
        connection.request("GET", "/metrics")
        answer = connection.getresponse()
        text = answer.read().decode("utf-8", "replace")
    except (OSError, http.client.HTTPException) as error:
        return f"port {service.port} of {address} gives no metrics: {error or type(error).__name__}"
    finally:
        connection.close()
    return judge(answer.status, text, watched)


def judge(status: int, text: str, watched: Watched = THE_SERVER) -> str:
    found = re.search(rf"^{watched.metric}(?:\{{[^}}]*\}})? (\S+)$", text, re.MULTILINE)
    if status != 200 or not found:
        return f"the answer (HTTP {status}) says nothing about {watched.metric}"
    if float(found.group(1)) != 1:
        return f"it does not reach {watched.name} ({watched.metric} 0); its log says why"
    return ""
