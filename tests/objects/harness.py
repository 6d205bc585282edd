# SPDX-License-Identifier: Apache-2.0
"""One instance that many cases share: described, planned and applied in this process, without Ansible.

What runs on a host, ``aza.pg.instance_apply``, is called as it is. Between two cases everything that a case may leave
behind is taken away.
"""

from __future__ import annotations

import json
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psycopg
from ansible_collections.aza.pg.plugins.module_utils.errors import AzaError
from ansible_collections.aza.pg.plugins.module_utils.host.docker import Docker
from ansible_collections.aza.pg.plugins.module_utils.host.facts import host_facts
from ansible_collections.aza.pg.plugins.module_utils.instance import observe as observing
from ansible_collections.aza.pg.plugins.module_utils.instance import readiness as ready
from ansible_collections.aza.pg.plugins.module_utils.instance import server_objects
from ansible_collections.aza.pg.plugins.module_utils.instance.describe import describe
from ansible_collections.aza.pg.plugins.module_utils.model.desired import Desired
from ansible_collections.aza.pg.plugins.module_utils.model.service import SERVER
from ansible_collections.aza.pg.plugins.module_utils.objects import roles
from ansible_collections.aza.pg.plugins.module_utils.quantity import megabytes
from ansible_collections.aza.pg.plugins.module_utils.services.declaration import Host
from ansible_collections.aza.pg.plugins.module_utils.services.postgres_exporter import PostgresExporter
from ansible_collections.aza.pg.plugins.module_utils.tls import certificate as tls
from ansible_collections.aza.pg.plugins.module_utils.yaml_dumper import dump
from ansible_collections.aza.pg.plugins.modules import instance_apply
from ansible_collections.aza.pg.plugins.plugin_utils import certificates
from ansible_collections.aza.pg.tests.unit.declarations import declaration

from stack.instance import ROOT, free_port

from .tables import Case

_ROUNDS = 3
# What Docker says when a container's processes, on a busy machine with control groups of version 1, could not be
# stopped all at once. They run on then, as if nothing had been typed.
_NOT_FROZEN = "unable to freeze"
_FREEZES = 20
_READY_SECONDS = 120

# Whatever a case can leave in the server, apart from databases. Roles go last: nothing must depend on them.
_CLEAN_CLUSTER = """
alter system reset all;
alter role all reset all;
alter role postgres reset all;
alter database template0 allow_connections false;
alter role postgres connection limit -1 valid until 'infinity';
comment on role postgres is null;
alter database postgres owner to postgres;
alter database postgres reset all;
alter database postgres connection limit -1;
comment on database postgres is null;
grant connect, temporary on database postgres to public;
"""
_CLEAN_POSTGRES = """
do $clean$
declare
    thing record;
begin
    -- A case may have left functions of the same names in public.
    perform pg_catalog.set_config('search_path', 'pg_catalog', true);
    perform pg_drop_replication_slot(slot_name) from pg_replication_slots where not active;
    for thing in select parname as name from pg_parameter_acl loop
        execute format('revoke all on parameter %s from public', thing.name);
    end loop;
    for thing in select format('revoke %I from %I cascade', pg_get_userbyid(roleid), pg_get_userbyid(member)) as name
        from pg_auth_members where oid >= 16384 and pg_get_userbyid(member) ~ '^pg_'
    loop
        execute thing.name;
    end loop;
    for thing in select rolname as name from pg_roles where rolname !~ '^pg_' and rolname <> 'postgres' loop
        execute format('drop owned by %I cascade', thing.name);
    end loop;
    for thing in select nspname as name from pg_namespace where nspname !~ '^pg_|^information_schema$' loop
        execute format('drop schema %I cascade', thing.name);
    end loop;
    for thing in select extname as name from pg_extension where extname <> 'plpgsql' loop
        execute format('drop extension if exists %I cascade', thing.name);
    end loop;
    create schema public authorization pg_database_owner;
    grant usage on schema public to public;
    comment on schema public is 'standard public schema';
    perform set_config('search_path', 'public', true);
    for thing in select unnest(array[EXTENSIONS]::text[]) as name loop
        execute format('create extension if not exists %I', thing.name);
    end loop;
    for thing in select rolname as name from pg_roles where rolname !~ '^pg_' and rolname <> 'postgres' loop
        execute format('drop role %I', thing.name);
    end loop;
end
$clean$;
"""


@dataclass
class Outcome:
    """What a run did: the plan's lines, what waited, and the lines of every round."""

    plan: list[str]
    held: list[str]
    rounds: list[list[str]] = field(default_factory=list)


class Server:
    """``with Server() as it``: a running instance without any declared object, and its removal."""

    def __init__(self) -> None:
        self.docker = Docker()
        self.cluster = f"azatest-{secrets.token_hex(3)}"
        self.base = Path(tempfile.mkdtemp(prefix=f"{self.cluster}-"))
        self.inventory = self.base / "inventory"
        self.port = free_port()
        self.secrets = {"postgres_password": secrets.token_hex(16)}
        self.image, self.exporter_image = (
            _image(self.docker, name) for name in (SERVER, PostgresExporter.image)
        )
        self.baseline = self.describe()
        # The names in the tables, and what they are here.
        self.words = {
            "/opt/aza-pg": str(self.base),
            "shop-single": self.baseline.instance,
            "9188": str(free_port()),
            "9189": str(free_port()),
        }
        self._applied: Desired | None = None
        self._extensions: list[str] = []

    def __enter__(self) -> Server:
        try:
            self.converge(self.baseline)
            self._extensions = self.ask("select extname from pg_extension order by 1").split()
        except BaseException:
            self.remove()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()

    # -- what the control node does ------------------------------------------------------------------

    def describe(
        self,
        objects: Mapping[str, Any] | None = None,
        settings: Mapping[str, Any] | None = None,
        **parameters: Any,
    ) -> Desired:
        host = host_facts()
        images = {
            name: {"reference": f"aza-pg/{name}", "digest": "", "archive": "built here", "pinned": pinned}
            for name, pinned in (("postgres", self.image), ("exporter", self.exporter_image))
        }
        given = {
            "cluster": self.cluster,
            "images": images,
            "memory_mb": 768,
            "port": self.port,
            "base_dir": str(self.base),
            "stop_grace_period": "20s",
            "initdb_args": "--no-sync",
            "settings": settings or {},
            "host": Host(host["uid"], host["gid"], host["home"]),
            **(objects or {}),
            **parameters,
        }
        return describe(declaration(**given), dump)

    def describe_case(self, case: Case, days_ago: int = 0) -> Desired:
        declared, parameters = dict(case.declared), dict(case.parameters)
        if "memory" in parameters:
            parameters["memory_mb"] = megabytes("postgres_memory", parameters.pop("memory"))
        if parameters.get("exporter"):
            parameters.setdefault("exporter_port", int(self.words["9188"]))
        request = certificates.CertificateRequest(
            "db1",
            tls.names(["localhost", "127.0.0.1", *parameters.pop("tls_names", ())]),
            certificate=parameters.pop("tls_certificate", ""),
            key=parameters.pop("tls_key", ""),
        )
        if parameters.get("tls"):
            parameters["certificate"] = self._certificate(request, days_ago)
        return self.describe(settings=declared.pop("settings", {}), objects=declared, **parameters)

    def _certificate(self, request: certificates.CertificateRequest, days_ago: int) -> dict[str, Any]:
        """The facts of the one that the control node keeps or makes; key and chain are a secret from now on."""
        bundle = certificates.Certificates(
            self.inventory / "secrets",
            self.cluster,
            certificates.now() - timedelta(days=days_ago),
            lambda path: (self.inventory / path).read_text(),
        ).server(request)
        self.secrets[tls.SECRET] = bundle.pem
        return bundle.facts

    def keep_passwords(self, wanted: Desired, given: Mapping[str, str]) -> None:
        """As the control node keeps them: one for each declared role that has one, made where there was none."""
        for role in roles.with_password(wanted):
            self.secrets.setdefault(f"roles/{role}", secrets.token_hex(16))
        self.secrets |= {f"roles/{role}": password for role, password in given.items()}

    # -- what the host does --------------------------------------------------------------------------

    def run(
        self, wanted: Desired, allow: tuple[str, ...] = (), check: bool = False, settle: float = 0
    ) -> dict[str, Any]:
        """One call of the host's module: observe, plan and, unless it is a check, apply."""
        module: Any = SimpleNamespace(
            params={
                "phase": "apply",
                "state": "present",
                "secrets": self.secrets,
                "who": "the tests",
                "archives": {},
                "allow": list(allow),
                "remove_data": False,
                "no_primary": "",
                "settle": settle,
            },
            check_mode=check,
            _diff=False,
        )
        try:
            answer: dict[str, Any] = instance_apply.run_apply(module, wanted, self.docker)
        except AzaError as error:
            if "done" in error.details:
                self._applied = None
            raise  # what is refused changes nothing; the next case finds out if it did
        if answer["plan"]["changes"] and not check:
            self._applied = None  # until it came to rest
        return answer

    def converge(self, wanted: Desired, allow: tuple[str, ...] = ()) -> Outcome:
        """Foretell, apply, and go on until the plan is empty. The real run must do what was predicted."""
        predicted = self.run(wanted, allow, check=True)["plan"]
        outcome = Outcome(_lines(predicted["changes"]), _lines(predicted["held"]))
        outcome.rounds, held = self.settle(wanted, allow)
        assert outcome.rounds[0] == outcome.plan
        assert held == outcome.held
        return outcome

    def settle(self, wanted: Desired, allow: tuple[str, ...] = ()) -> tuple[list[list[str]], list[str]]:
        """Apply until the plan is empty: the lines of every round, and of what waits."""
        rounds: list[list[str]] = []
        for _ in range(_ROUNDS):
            done = self.run(wanted, allow)
            rounds.append(_lines(done["plan"]["changes"]))
            if not rounds[-1]:
                break
            now = ready.wait(wanted, self.docker, _READY_SECONDS, done["created"])
            assert now.ready, (now, self.docker.logs(wanted.container, 40))
        assert not rounds[-1], f"does not converge: {rounds[-1]}"
        self._applied = wanted
        return rounds, _lines(done["plan"]["held"])

    def findings(self, wanted: Desired) -> list[str]:
        """What a check says about the server's objects in addition to changes."""
        found = observing.observe(wanted, self.docker, self.secrets)
        message = [
            f"{item.severity} {item.what}: {item.message}"
            for item in server_objects.undeclared(wanted, found)
        ]
        for item in (*server_objects.findings(wanted, found), *tls.findings(wanted, found)):
            message.append(
                f"{item.state} {item.what}: {item.message}{f'; {item.remedy}' if item.remedy else ''}"
            )
        return message

    # -- what a test does ----------------------------------------------------------------------------

    def type(self, commands: str) -> str:
        """What a user types as root, and what is printed."""

        def once() -> subprocess.CompletedProcess[str]:
            return subprocess.run(
                ["sh", "-euc", commands], cwd=self.inventory, capture_output=True, text=True, check=False
            )

        done = once()
        for _ in range(_FREEZES):
            if _NOT_FROZEN not in done.stderr:
                break
            done = once()
        assert done.returncode == 0, (commands, done.stdout, done.stderr)
        return done.stdout.strip()

    def connect(self, database: str = "postgres", user: str = "postgres") -> Any:
        """As a user does who knows nothing of the toolkit: by the socket, with the settings of the database."""
        return psycopg.connect(
            host=self.baseline.socket_dir,
            user=user,
            dbname=database,
            password=self.secrets.get(f"roles/{user}"),
            autocommit=True,
        )

    def ask(self, statement: str, database: str = "postgres") -> str:
        """The answer as ``psql -At`` prints it."""
        with self.connect(database) as connection:
            cursor = connection.execute(statement)
            while cursor.nextset():
                pass  # of several statements the last one answers
            found = cursor.pgresult
            rows = range(found.ntuples)
            columns = range(found.nfields)
            return "\n".join(
                "|".join((found.get_value(row, column) or b"").decode() for column in columns) for row in rows
            )

    def execute(self, statements: str, database: str = "postgres") -> None:
        """As the administrator, with psql, each statement for itself."""
        command = ["psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-U", "postgres", "-d", database]
        self.docker.run("exec", "-i", self.baseline.container, *command, stdin=statements)

    def reset(self, deployed: Mapping[str, Any] | None = None, days_ago: int = 0) -> None:
        """The state in which a case begins: without any declared object, ``deployed`` with these parameters."""
        if self._applied is None:  # a case ended in its middle
            self.settle(self.baseline, ("restart", "recreate"))
        self._clean()
        self.secrets = {"postgres_password": self.secrets["postgres_password"]}
        shutil.rmtree(self.inventory, ignore_errors=True)
        self.inventory.mkdir()
        if deployed:
            begin = self.describe_case(Case("", {}, parameters=deployed), days_ago)
            self.keep_passwords(begin, {})
        else:
            begin = self.baseline
        applied = self._applied
        if deployed or applied is None or applied.files != begin.files or applied.settings:
            self.settle(begin, ("restart", "recreate"))
        else:
            self.ask("select pg_reload_conf()")
        self._applied = begin

    def _clean(self) -> None:
        names = ", ".join(f"'{name}'" for name in self._extensions)
        with self.connect() as connection:
            connection.execute("set search_path = pg_catalog")
            connection.execute(
                "update pg_database set datistemplate = false where datname !~ '^template[01]$'"
            )
            known = connection.execute("select datname from pg_database where datname !~ '^template[01]$'")
            for (name,) in known.fetchall():
                self._clean_database(name)
                if name != "postgres":
                    connection.execute(f'drop database "{_quoted(name)}" with (force)')
            for statement in _CLEAN_CLUSTER.strip().split("\n"):
                connection.execute(statement)
            left = "select spcname from pg_tablespace where spcname !~ '^pg_'"
            for (name,) in connection.execute(left).fetchall():
                connection.execute(f'drop tablespace "{_quoted(name)}"')
            connection.execute(_CLEAN_POSTGRES.replace("EXTENSIONS", names))

    def _clean_database(self, name: str) -> None:
        """What can only be removed from inside."""
        inside = "where database = current_database()"
        here = "where subdbid = (select oid from pg_database where datname = current_database())"
        with self.connect() as connection:
            open_to = "select datallowconn and datconnlimit <> -2 from pg_database where datname = %s"
            if not connection.execute(open_to, (name,)).fetchone()[0]:
                return
        with self.connect(name) as connection:
            for (gid,) in connection.execute(f"select gid from pg_prepared_xacts {inside}").fetchall():
                connection.execute(f"rollback prepared '{gid}'")
            for (found,) in connection.execute(f"select subname from pg_subscription {here}").fetchall():
                connection.execute(f'alter subscription "{found}" disable')
                connection.execute(f'alter subscription "{found}" set (slot_name = none)')
                connection.execute(f'drop subscription "{found}"')

    def remove(self) -> None:
        wanted = self.baseline
        for name in self.docker.containers(wanted.project):
            self.docker.run("rm", "--force", name, check=False)
        self.docker.run("volume", "rm", "--force", wanted.volume, check=False)
        self.docker.run("network", "rm", wanted.network, check=False)
        self.docker.run("image", "rm", "--force", f"{wanted.instance}:by-hand", check=False)
        shutil.rmtree(self.base, ignore_errors=True)
        if wanted.socket_link:
            Path(wanted.socket_link).unlink(missing_ok=True)


def _lines(changes: list[dict[str, Any]]) -> list[str]:
    return [change["text"] for change in changes]


def _quoted(name: str) -> str:
    return name.replace('"', '""')


def _image(docker: Docker, name: str) -> str:
    """The image that was built last, by its id: a build that runs meanwhile changes nothing for this server."""
    record = json.loads((ROOT / ".cache" / "dist" / "images.json").read_text())[name]
    if docker.run("image", "inspect", record["reference"], check=False).returncode:
        docker.run("load", "--quiet", "--input", record["archive"], timeout=1800)
    return docker.run("image", "inspect", "--format", "{{.Id}}", record["reference"]).stdout.strip()
