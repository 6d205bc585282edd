# SPDX-License-Identifier: Apache-2.0
"""One instance that many cases share: described, planned and applied in this process, without Ansible.

What runs on a host, ``aza.pg.stack_apply``, is called as it is. Between two cases everything that a case may leave
behind is taken away.
"""

from __future__ import annotations

import json
import secrets
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import yaml
from ansible_collections.aza.pg.plugins.module_utils.stack import desired as describing
from ansible_collections.aza.pg.plugins.module_utils.stack import objects as kinds
from ansible_collections.aza.pg.plugins.module_utils.stack import observe as observing
from ansible_collections.aza.pg.plugins.module_utils.stack import ready, server
from ansible_collections.aza.pg.plugins.module_utils.stack.docker import Docker
from ansible_collections.aza.pg.plugins.module_utils.stack.host import host_facts
from ansible_collections.aza.pg.plugins.module_utils.stack.model import Desired
from ansible_collections.aza.pg.plugins.module_utils.stack.objects import roles
from ansible_collections.aza.pg.plugins.modules import stack_apply

from stack.instance import ROOT, free_port

from .tables import Case

_ROUNDS = 3
_READY_SECONDS = 120

# Whatever a case can leave in the server, apart from databases. Roles go last: nothing must depend on them.
_CLEAN_CLUSTER = """
alter system reset all;
alter role postgres reset all;
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
        self.port = free_port()
        self.secrets = {"postgres_password": secrets.token_hex(16)}
        self.image = _image(self.docker)
        self.baseline = self.describe()
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
        given = {
            "cluster": self.cluster,
            "stack": "single",
            "image": {"reference": "aza-pg/postgres", "digest": "", "archive": "built here"},
            "memory_mb": 768,
            "shm_size_mb": 128,
            "port": self.port,
            "base_dir": str(self.base),
            "stop_seconds": 20,
            "settings": settings or {},
            "objects": objects or {},
            **parameters,
        }
        return describing.describe(
            describing.Parameters(**given),
            describing.Host(host["uid"], host["gid"], host["home"], self.image),
            lambda document: yaml.safe_dump(document, sort_keys=False),
        )

    def describe_case(self, case: Case) -> Desired:
        declared = dict(case.declared)
        return self.describe(settings=declared.pop("settings", {}), objects=declared, **case.parameters)

    def keep_passwords(self, wanted: Desired, given: Mapping[str, str]) -> None:
        """As the control node keeps them: one for each declared role that has one, made where there was none."""
        for role in roles.with_password(wanted):
            self.secrets.setdefault(f"roles/{role}", secrets.token_hex(16))
        self.secrets |= {f"roles/{role}": password for role, password in given.items()}

    # -- what the host does --------------------------------------------------------------------------

    def run(self, wanted: Desired, allow: tuple[str, ...] = (), check: bool = False) -> dict[str, Any]:
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
            },
            check_mode=check,
            _diff=False,
        )
        if not check:
            self._applied = None  # until it came to rest
        answer: dict[str, Any] = stack_apply.run_apply(module, wanted, self.docker)
        return answer

    def converge(self, wanted: Desired, allow: tuple[str, ...] = ()) -> Outcome:
        """Foretell, apply, and go on until the plan is empty. The real run must do what was foretold."""
        foretold = self.run(wanted, allow, check=True)["plan"]
        outcome = Outcome(_lines(foretold["changes"]), _lines(foretold["held"]))
        for _ in range(_ROUNDS):
            done = self.run(wanted, allow)
            outcome.rounds.append(_lines(done["plan"]["changes"]))
            if not outcome.rounds[-1]:
                break
            now = ready.wait(wanted, self.docker, _READY_SECONDS, done["created"])
            assert now.ready, (now, self.docker.logs(wanted.container, 40))
        assert not outcome.rounds[-1], f"does not come to rest: {outcome.rounds[-1]}"
        assert outcome.rounds[0] == outcome.plan
        assert _lines(done["plan"]["held"]) == outcome.held, done["lines"]
        self._applied = wanted
        return outcome

    def findings(self, wanted: Desired) -> list[str]:
        """What a check says about the server's objects besides changes."""
        found = observing.observe(wanted, self.docker, self.secrets)
        said = [f"{item.severity} {item.what}: {item.said}" for item in kinds.undeclared(wanted, found)]
        for item in kinds.findings(wanted, found):
            said.append(f"{item.state} {item.what}: {item.said}{f'; {item.todo}' if item.todo else ''}")
        return said

    # -- what a test does ----------------------------------------------------------------------------

    def ask(self, statement: str, database: str = "postgres") -> str:
        """The answer as ``psql -At`` prints it."""
        with server.connect(self.baseline.socket_dir, "postgres", database) as connection:
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

    def reset(self) -> None:
        """The state in which every case begins."""
        known = self.ask("select datname from pg_database").split("\n")
        drops = [
            f'drop database "{_quoted(name)}" with (force);'
            for name in known
            if name not in ("postgres", "template0", "template1")
        ]
        templates = (
            "update pg_database set datistemplate = false where datname not in ('template0', 'template1');"
        )
        self.execute("\n".join([templates, *drops, _CLEAN_CLUSTER]))
        names = ", ".join(f"'{name}'" for name in self._extensions)
        self.execute(_CLEAN_POSTGRES.replace("EXTENSIONS", names))
        self.secrets = {"postgres_password": self.secrets["postgres_password"]}
        applied = self._applied
        if applied is None or applied.files != self.baseline.files or applied.settings:
            self.converge(self.baseline, ("restart", "recreate"))
        else:
            self.execute("select pg_reload_conf();")
        self._applied = self.baseline

    def remove(self) -> None:
        wanted = self.baseline
        for item in self.docker.containers(**{"com.docker.compose.project": wanted.project}):
            self.docker.run("rm", "--force", item["Names"], check=False)
        self.docker.run("volume", "rm", "--force", wanted.volume, check=False)
        self.docker.run("network", "rm", wanted.network, check=False)
        shutil.rmtree(self.base, ignore_errors=True)
        if wanted.socket_link:
            Path(wanted.socket_link).unlink(missing_ok=True)


def _lines(changes: list[dict[str, Any]]) -> list[str]:
    return [change["text"] for change in changes]


def _quoted(name: str) -> str:
    return name.replace('"', '""')


def _image(docker: Docker) -> str:
    """The image that was built last, by its id: a build that runs meanwhile changes nothing for this server."""
    record = json.loads((ROOT / ".cache" / "dist" / "images.json").read_text())["postgres"]
    if docker.run("image", "inspect", record["reference"], check=False).returncode:
        docker.run("load", "--quiet", "--input", record["archive"], timeout=1800)
    return docker.run("image", "inspect", "--format", "{{.Id}}", record["reference"]).stdout.strip()
