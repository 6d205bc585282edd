# SPDX-License-Identifier: Apache-2.0
"""A primary, a standby that streams from it and a PgBouncer, with the exporters as the stack describes them."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml
from ansible_collections.aza.pg.plugins.module_utils.services import postgres_exporter as exporter
from ansible_collections.aza.pg.plugins.module_utils.services import registry
from ansible_collections.aza.pg.plugins.module_utils.services.pgbouncer import files as pgbouncer
from ansible_collections.aza.pg.tests.unit.declarations import declaration

from .instance import built_image, docker, free_port

_ROLES = """
create role {monitor} login password 'monitor-secret' connection limit 5 in role pg_monitor;
create role replicator login replication password 'replicator-secret';
select pg_create_physical_replication_slot('second', true), pg_create_physical_replication_slot('unused', true);
"""
_FILES = """
cat > "$PGDATA/server.pem" <<'END'
{pem}END
chmod 600 "$PGDATA/server.pem"
printf "%s = '%s'\\n" ssl on ssl_cert_file server.pem ssl_key_file server.pem >> "$PGDATA/postgresql.conf"
echo 'host replication replicator all scram-sha-256' >> "$PGDATA/pg_hba.conf"
"""
_POOLER = {
    "listen_addr": "*",
    "unix_socket_dir": "/var/run/pgbouncer",
    "unix_socket_mode": "0700",
    "pidfile": "",
    "auth_type": "hba",
    "auth_hba_file": "/etc/pgbouncer/hba",
    "auth_file": "/etc/pgbouncer/users",
    "stats_users": pgbouncer.STATS_USER,
    # What the exporter's driver sends with every login.
    "ignore_startup_parameters": "extra_float_digits",
}


# PgBouncer's user, who alone reaches its socket.
POOLER = os.getuid() or 6432


def eventually(condition: Callable[[], Any], what: str, seconds: float = 60) -> None:
    limit = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < limit, f"waited {seconds:.0f} s in vain for {what}"
        time.sleep(0.1)


class Watched:
    def __init__(self, name: str, directory: Path) -> None:
        self.name, self.directory = name, directory
        image = built_image("exporter")
        image |= {"pinned": image["reference"]}
        self.port = free_port()
        declared = declaration(
            cluster=name,
            images=dict.fromkeys(("exporter", "pgbouncer"), image),
            exporter=True,
            exporter_port=free_port(),
            pgbouncer=True,
            pgbouncer_exporter_port=free_port(),
        )
        primary, pooler = (
            registry.service(item).define(declared) for item in ("exporter", "pgbouncer-exporter")
        )
        standby = replace(
            primary.container, container=f"{primary.container.container}-standby", port=free_port()
        )
        self.exporters = {"primary": primary.container, "standby": standby, "pooler": pooler.container}
        self.services = {
            "primary": self._server(
                {"POSTGRES_PASSWORD": "x"},
                ["./init:/docker-entrypoint-initdb.d:ro", "./run-pgbouncer:/var/run/pgbouncer:ro"],
                ports=[f"127.0.0.1:{self.port}:5432"],
            ),
            "standby": self._server(
                {
                    "POSTGRES_ROLE": "replica",
                    "POSTGRES_PRIMARY_HOST": "primary",
                    "POSTGRES_REPLICATION_PASSWORD": "replicator-secret",
                    "POSTGRES_REPLICATION_SLOT": "second",
                },
                run="run-standby",
            ),
            "pgbouncer": {
                "image": built_image("pgbouncer")["reference"],
                "container_name": f"{name}-pgbouncer",
                "user": f"{POOLER}:{POOLER}",
                "volumes": [
                    "./pgbouncer:/etc/pgbouncer:ro",
                    "./run:/var/run/postgresql:ro",
                    "./run-pgbouncer:/var/run/pgbouncer",
                ],
            },
            "primary-exporter": primary.compose,
            "standby-exporter": {
                **primary.compose,
                "container_name": standby.container,
                "ports": [standby.published(exporter.PORT)],
                "volumes": ["./run-standby:/var/run/postgresql:ro"],
            },
            "pgbouncer-exporter": pooler.compose,
        }

    def _server(
        self, environment: dict[str, str], volumes: Any = (), run: str = "run", **more: Any
    ) -> dict[str, Any]:
        return {
            "image": built_image("postgres")["reference"],
            "mem_limit": "512m",
            "environment": environment,
            "volumes": [f"./{run}:/var/run/postgresql", *volumes],
            **more,
        }

    def write(self, name: str, content: str) -> None:
        path = self.directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)

    def start(self) -> None:
        for name in ("run", "run-standby"):
            (self.directory / name).mkdir()
            (self.directory / name).chmod(0o777)  # users of containers
        (self.directory / "run-pgbouncer").mkdir(mode=0o700)
        os.chown(self.directory / "run-pgbouncer", POOLER, POOLER)
        self.write("init/1.sql", _ROLES.format(monitor=exporter.MONITOR))
        self.write("init/2.sh", _FILES.format(pem=_certificate(self.directory)))
        settings = "".join(f"{key} = {value}\n" for key, value in _POOLER.items())
        self.write(
            "pgbouncer/pgbouncer.ini",
            f"[databases]\n* = host=/var/run/postgresql\n[pgbouncer]\n{settings}",
        )
        self.write("pgbouncer/hba", f"{pgbouncer.STATS_HBA}\nhost all all all scram-sha-256\n")
        self.write("pgbouncer/users", pgbouncer.userlist({"postgres": "x"}))
        self.write(exporter.PASSWORD_PATH, "monitor-secret")
        secret = {exporter.SECRET: {"file": f"./{exporter.PASSWORD_PATH}"}}
        project = {"name": self.name, "services": self.services, "secrets": secret}
        self.write("compose.yml", yaml.safe_dump(project))
        self.compose("up", "--detach", "--quiet-pull")

    def compose(self, *arguments: str) -> None:
        docker("compose", "--file", str(self.directory / "compose.yml"), *arguments)

    def psql(self, *arguments: str, user: int | str = "postgres") -> subprocess.CompletedProcess[str]:
        """In the primary's container, by this user of the operating system."""
        command = ["docker", "exec", f"--user={user}", f"{self.name}-primary-1", "psql", "-qAtX"]
        return subprocess.run(
            [*command, "-U", "postgres", *arguments],
            capture_output=True,
            text=True,
            check=False,
        )

    def remove(self) -> None:
        if (self.directory / "compose.yml").is_file():
            self.compose("down", "--volumes", "--timeout", "0")
        shutil.rmtree(self.directory, ignore_errors=True)


def metrics(url: str) -> str:
    with urllib.request.urlopen(url, timeout=20) as answer:
        return str(answer.read().decode())


def _certificate(directory: Path) -> str:
    subprocess.run(
        [
            *(
                "openssl",
                "req",
                "-x509",
                "-newkey",
                "rsa:2048",
                "-nodes",
                "-days",
                "9",
                "-subj",
                "/CN=primary",
            ),
            *("-keyout", "key.pem", "-out", "crt.pem"),
        ],
        cwd=directory,
        capture_output=True,
        check=True,
    )
    return (directory / "key.pem").read_text() + (directory / "crt.pem").read_text()
