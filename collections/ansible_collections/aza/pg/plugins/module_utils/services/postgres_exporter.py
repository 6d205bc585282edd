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
from typing import Any
from urllib.parse import urlencode

from ansible_collections.aza.pg.plugins.module_utils.model.desired import Desired
from ansible_collections.aza.pg.plugins.module_utils.model.observed import Observed
from ansible_collections.aza.pg.plugins.module_utils.model.service import EXPORTER, Service, container_name
from ansible_collections.aza.pg.plugins.module_utils.objects.roles import MONITOR as MONITOR
from ansible_collections.aza.pg.plugins.module_utils.planning.finding import Finding
from ansible_collections.aza.pg.plugins.module_utils.server import pinned

SECRET = "exporter_password"
PASSWORD_PATH = f"secrets/{SECRET}"
# The name of the role's password among the secrets of all roles.
PASSWORD = f"roles/{MONITOR}"
PORT = 9187
# A user that nothing else on the host or in the image is.
UID = 9187
_SCRAPE_SECONDS = 10
_AGAIN_SECONDS = 3

# What the stack declares in the server for it.
OBJECTS: Mapping[str, Any] = {
    "roles": [
        {
            "name": MONITOR,
            "member_of": ["pg_monitor"],
            "connection_limit": 5,
            "comment": "the exporter of aza-pg",
        }
    ]
}

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
    """What an exporter looks at, in words, and the metric that says whether it is up."""

    name: str
    metric: str


THE_SERVER = Watched("the server", "pg_up")
# Its rights are more than those of who may own the database.
_WHERE = urlencode({"host": "/var/run/postgresql", "sslmode": "disable", **pinned.for_role()}, safe="/,")


@dataclass(frozen=True)
class Exporter:
    """``image``: reference, digest and archive of its record, and how the host's engine names it (``pinned``)."""

    image: Mapping[str, str]
    port: int = PORT
    publish_address: str = "127.0.0.1"

    def service(self, project: str, uid: int, gid: int) -> Service:
        """``uid``, ``gid``: who deploys. An ordinary user can give a file to nobody but himself."""
        return Service(
            EXPORTER,
            container_name(project, EXPORTER),
            image=dict(self.image),
            uid=uid or UID,
            gid=gid if uid else UID,
            publish_address=self.publish_address,
            port=self.port,
            port_variable="postgres_exporter_port",
        )

    def compose(self, service: Service) -> dict[str, Any]:
        return {
            **container(service, PORT),
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


def container(service: Service, port: int) -> dict[str, Any]:
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


def findings(wanted: Desired, found: Observed) -> Iterator[Finding]:
    """What a check says of it: that it runs, and that its metrics say that the server is up."""
    service, here = wanted.service(EXPORTER), found.containers.get(EXPORTER)
    if service and here:  # otherwise none is wanted, or the plan says that it is missing
        yield from judged(service, here, found.scrapes.get(EXPORTER), THE_SERVER)


def judged(
    service: Service, here: Mapping[str, Any], said: str | None, watched: Watched
) -> Iterator[Finding]:
    """Of any exporter. ``here``: its container; ``said``: what ``scrape`` said, None where it was not asked."""
    if here["state"] != "running":
        yield Finding(service.name, "red", f"it is {here['state']} (exit code {here['exit_code']})")
    elif said is not None:
        if said:
            yield Finding(service.name, "red", said, f"docker logs {service.container}")
        else:
            yield Finding(
                service.name, "green", f"its metrics say that {watched.name} is up (port {service.port})"
            )
    if here["restarts"]:
        yield Finding(service.name, "yellow", f"it fell and was started again {here['restarts']} times")


def scrape(service: Service, watched: Watched = THE_SERVER) -> str:
    """Why the metrics cannot be had; empty when they say that what is watched is up.

    Asked again for some seconds: after a restart of the server the exporter learns from a first question that its old
    connection is gone.
    """
    deadline = time.monotonic() + _AGAIN_SECONDS
    while (said := _scrape(service, watched)) and time.monotonic() < deadline:
        time.sleep(0.2)
    return said


def _scrape(service: Service, watched: Watched) -> str:
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
