# SPDX-License-Identifier: Apache-2.0
"""An instance on a test host: its names, what it is right now, and how to speak to its server."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass
from typing import Any

# Everything about an instance that a run could change, one fact a line. Times of modification are part of it: writing
# the same text again is a change too. Not the sockets, which belong to the server; nothing of an instance beside it.
_FACTS = r"""
cd / && for base in {directory} {socket}; do
  [ -e $base ] || [ -h $base ] || continue
  find $base -path '*/run/*' -prune -o -printf 'path %p %y %m %U:%G %T@ %l\n'
  find $base -path '*/run/*' -prune -o -type f -print0 | xargs -0 -r sha256sum
done
docker ps -aq --no-trunc --filter label=com.docker.compose.project={project} | xargs -r docker inspect --format \
  'container {form}'
docker volume ls -q --filter name={project} | sed 's/^/volume /'
docker network ls -q --no-trunc --filter name={project} | sed 's/^/network /'
docker images -q --no-trunc | sed 's/^/image /'
"""

_CONTAINER = "{{.Name}} {{.Id}} {{.Image}} {{.State.Status}} {{.State.StartedAt}} {{.RestartCount}}"
# A standby's roles and databases are its primary's: they are no change of its own.
_SERVER_FACTS = """
select 'started '||pg_postmaster_start_time()||' loaded '||pg_conf_load_time();
select concat_ws(' ', 'setting', name, setting, source, pending_restart) from pg_settings where source <> 'session';
select concat_ws(' ', 'role', rolname, rolsuper, md5(rolpassword)) from pg_authid where not pg_is_in_recovery();
select concat_ws(' ', 'database', datname, datdba) from pg_database where not pg_is_in_recovery();
select concat_ws(' ', 'slot', slot_name) from pg_replication_slots;
"""


@dataclass(frozen=True)
class Instance:
    """``host`` is testinfra's; the names are what the documentation promises to operators."""

    host: Any
    name: str
    variables: dict[str, Any]

    @property
    def cluster(self) -> str:
        return str(self.variables["postgres_cluster"])

    @property
    def machine(self) -> str:
        """The container that is its host: named by the address, unless that is one for SSH."""
        by_ssh = self.variables.get("ansible_connection") == "ssh"
        return self.name if by_ssh else str(self.variables.get("ansible_host", self.name))

    @property
    def address(self) -> str:
        """Where the other members of its cluster reach it."""
        return str(self.variables.get("postgres_address", "127.0.0.1"))

    @property
    def instance(self) -> str:
        """A primary and its replicas are called as their cluster: which of them a host is can change."""
        stack = self.variables.get("postgres_stack", "single")
        return f"{self.cluster}-{stack}" if stack == "single" else self.cluster

    @property
    def container(self) -> str:
        return f"aza-pg-{self.instance}-postgres"

    @property
    def exporter(self) -> str:
        return f"aza-pg-{self.instance}-exporter"

    @property
    def pgbouncer(self) -> str:
        return f"aza-pg-{self.instance}-pgbouncer"

    @property
    def pool_exporter(self) -> str:
        return f"aza-pg-{self.instance}-pgbouncer-exporter"

    @property
    def volume(self) -> str:
        return f"aza-pg-{self.instance}-data"

    @property
    def directory(self) -> str:
        return f"/opt/aza-pg/{self.instance}"

    @property
    def socket(self) -> str:
        return f"/run/aza-pg/{self.instance}"

    @property
    def port(self) -> int:
        return int(self.variables.get("postgres_port", 5432))

    @property
    def pool_exporter_port(self) -> int:
        return int(self.variables.get("postgres_pgbouncer_exporter_port", 9127))

    @property
    def exporter_port(self) -> int:
        return int(self.variables.get("postgres_exporter_port", 9187))

    @property
    def pool_port(self) -> int:
        return int(self.variables.get("postgres_pgbouncer_port", 6432))

    @property
    def database(self) -> str:
        return str(self.variables.get("postgres_database", "postgres"))

    @property
    def user(self) -> str:
        return str(self.variables.get("postgres_user", "postgres"))

    def run(self, command: str) -> str:
        """The output of a command on the host that must succeed."""
        done = self.host.run(command)
        if "OCI runtime exec failed" in done.stderr:
            # An engine within an engine could not start it, as happens on a busy machine: nothing has run.
            done = self.host.run(command)
        assert done.rc == 0, f"{self.name}: {command}\n{done.stdout}{done.stderr}"
        return str(done.stdout)

    def sql(self, statement: str, database: str = "postgres") -> str:
        """By the host's own psql where it has one, which costs half of the one in the container."""
        at_hand = "postgresql-client" in self.variables.get("test_host_packages", ())
        # Itself, not Debian's wrapper in Perl; and not by the link in /run, which a restart of the host takes.
        own = f"/usr/lib/postgresql/*/bin/psql -h {self.directory}/run"
        psql = own if at_hand else f"docker exec {self.container} psql"
        quoted = shlex.quote(statement)
        return self.run(f"{psql} -qAtX -U {self.user} -d {database} -c {quoted}").strip()

    def inspect(self, container: str = "") -> dict[str, Any]:
        """The server's container, or another one."""
        found: list[dict[str, Any]] = json.loads(self.run(f"docker inspect {container or self.container}"))
        return found[0]

    def says_up(self, port: int, what: str) -> bool:
        """Whether an exporter says that what it watches is up. Asked first after a restart, it says no."""
        fetch = (
            f"import urllib.request as r; print(r.urlopen('http://127.0.0.1:{port}/metrics').read().decode())"
        )
        return f"\n{what}_up 1\n" in self.run(f"python3 -c {shlex.quote(fetch)}")

    def identity(self) -> tuple[str, str]:
        """Changes when the container is replaced, or its server restarted."""
        return self.inspect()["Id"], self.sql("select pg_postmaster_start_time()")

    def facts(self) -> set[str]:
        """What the host and its server are, for comparing with later."""
        command = _FACTS.format(
            directory=self.directory, socket=self.socket, project=f"aza-pg-{self.instance}", form=_CONTAINER
        )
        lines = self.run(command).splitlines()
        if f"/{self.container} " in "\n".join(lines) and self.inspect()["State"]["Running"]:
            lines += self.sql(_SERVER_FACTS).splitlines()
        return set(lines)
