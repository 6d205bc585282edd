# SPDX-License-Identifier: Apache-2.0
"""The PostgreSQL server as a service of the stack: its container, its files, its reload."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from ansible_collections.aza.pg.plugins.module_utils.errors import AzaError
from ansible_collections.aza.pg.plugins.module_utils.host import huge_pages
from ansible_collections.aza.pg.plugins.module_utils.host.docker import Docker
from ansible_collections.aza.pg.plugins.module_utils.model import paths
from ansible_collections.aza.pg.plugins.module_utils.model.desired import Desired
from ansible_collections.aza.pg.plugins.module_utils.model.details import ResetDetail, SettingDetail, path_of
from ansible_collections.aza.pg.plugins.module_utils.model.facts import ServerFacts
from ansible_collections.aza.pg.plugins.module_utils.model.observed import Observed
from ansible_collections.aza.pg.plugins.module_utils.model.service import SERVER, ContainerSpec, File
from ansible_collections.aza.pg.plugins.module_utils.objects import hba
from ansible_collections.aza.pg.plugins.module_utils.objects.settings import STACK_PATH
from ansible_collections.aza.pg.plugins.module_utils.planning.change import Change
from ansible_collections.aza.pg.plugins.module_utils.planning.finding import Finding
from ansible_collections.aza.pg.plugins.module_utils.replication import standby
from ansible_collections.aza.pg.plugins.module_utils.replication import topology as replication
from ansible_collections.aza.pg.plugins.module_utils.server import connection as server
from ansible_collections.aza.pg.plugins.module_utils.server import settings as pg
from ansible_collections.aza.pg.plugins.module_utils.services import client_address, containers
from ansible_collections.aza.pg.plugins.module_utils.services.base import Definition, Secret, Service
from ansible_collections.aza.pg.plugins.module_utils.tls import certificate as tls

if TYPE_CHECKING:
    from ansible_collections.aza.pg.plugins.module_utils.services.declaration import Declaration

PASSWORD = "postgres_password"
PASSWORD_PATH = "secrets/postgres_password"
PORT = 5432
_RELOAD_SECONDS = 10
_STACK_HEAD = (
    "# Written by aza-pg. What the stack sets: TLS (postgres_tls), the upstream server of a replica.\n"
)


class Postgres(Service):
    name = SERVER
    label = "the server"
    prefix = "postgres"
    image = "postgres"
    uid = 999  # the user postgres of the image
    has_clients = True
    secrets = (Secret(PASSWORD, "administrator", PASSWORD_PATH),)
    skeleton = ("postgres", "postgres/conf.d", "run", STACK_PATH, pg.PATH)

    def is_declared(self, variables: Mapping[str, Any]) -> bool:
        return True

    def define(self, declaration: Declaration) -> Definition:
        spec = self.container_spec(declaration)
        passwd = "" if declaration.host.is_root else _passwd(declaration)
        return Definition(
            spec, _compose(declaration, spec, passwd), tuple(_files(declaration, passwd)), passwd
        )

    def leftovers(self, declaration: Declaration) -> tuple[File, ...]:
        """An instance without TLS keeps no key, and a primary no password of a replica."""
        follows = declaration.member is not None and declaration.member.standby
        encrypted = declaration.variables["postgres_tls"]
        return (
            *(() if encrypted else (File(tls.PATH, 0o400, secret=tls.SECRET),)),
            *(() if follows else (File(replication.PASSFILE_PATH, 0o400, secret=replication.PASSFILE),)),
        )

    def probe(self, wanted: Desired, found: Observed) -> dict[str, str]:
        return client_address.probe(wanted.server) if found.server else {}

    def changes(self, wanted: Desired, found: Observed, planned: Iterable[Change]) -> Iterator[Change]:
        yield from activation(wanted, found, list(planned))

    def reload(self, wanted: Desired, docker: Docker) -> None:
        """SIGHUP, then a query whether the server took the files: a refused file must not go unnoticed."""
        before = _state(wanted)
        # Not `docker kill --signal HUP`: the engine takes a container that got any signal for stopped by hand, and
        # does not start it when the host starts again.
        docker.run("exec", wanted.container, "bash", "-c", "kill -HUP 1")
        if before is None:
            return
        deadline = time.monotonic() + _RELOAD_SECONDS
        while True:
            now = _state(wanted)
            errors = [*now["config_errors"], *now["hba_errors"]] if now else []
            if errors:
                raise AzaError(
                    f"the server rejects its configuration and keeps the old one: {'; '.join(errors)}",
                    reason="bad_setting",
                )
            if now and now["config_loaded"] > before["config_loaded"]:
                return
            if time.monotonic() > deadline:
                raise AzaError(f"the server did not reload within {_RELOAD_SECONDS} s", reason="no_reload")
            time.sleep(0.1)

    def findings(self, wanted: Desired, found: Observed) -> Iterator[Finding]:
        yield from client_address.findings(wanted, found)

    @property
    def secret_paths(self) -> tuple[str, ...]:
        return (PASSWORD_PATH, replication.PASSFILE_PATH)

    def read_back(self, files: Mapping[str, str]) -> dict[str, str]:
        password = replication.password_of(files.get(replication.PASSFILE_PATH, ""))
        return {**super().read_back(files), **({replication.PASSWORD: password} if password else {})}


def _state(wanted: Desired) -> ServerFacts | None:
    try:
        return server.observe(wanted.socket_dir, wanted.superuser, server.Question())
    except server.ServerError:
        return None


# -- container and files -------------------------------------------------------------------------------


def _compose(declaration: Declaration, spec: ContainerSpec, passwd: str) -> dict[str, Any]:
    variables, tuned = declaration.variables, declaration.tuned
    environment = {
        "POSTGRES_USER": variables["postgres_user"],
        "POSTGRES_DB": variables["postgres_database"],
        "POSTGRES_PASSWORD_FILE": "/run/secrets/postgres_password",
        "POSTGRES_WORKLOAD_TYPE": variables["postgres_workload"],
        "POSTGRES_STORAGE_TYPE": variables["postgres_storage"],
        "POSTGRES_HBA_FILE": "/etc/aza-pg/pg_hba.conf",
        "POSTGRES_IDENT_FILE": "/etc/aza-pg/pg_ident.conf",
    }
    if not variables["postgres_autotune"]:
        environment["POSTGRES_AUTOTUNE"] = "off"
    if declaration.libraries:
        environment["POSTGRES_EXTRA_PRELOAD_LIBRARIES"] = ",".join(declaration.libraries)
    if variables["postgres_initdb_args"]:
        environment["POSTGRES_INITDB_ARGS"] = variables["postgres_initdb_args"]
    service: dict[str, Any] = {
        "image": spec.image["pinned"],
        "container_name": spec.container,
        "restart": "unless-stopped",
        "stop_grace_period": f"{declaration.stop_seconds}s",
        # PostgreSQL as PID 1 takes any orphan's failure for a crash of its own child and ends every session.
        "init": True,
        "read_only": True,
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges:true"],
        "tmpfs": ["/tmp:mode=1777,size=64m", "/run/aza-pg:mode=1777,size=1m"],
        "mem_limit": f"{tuned.memory_mb}m",
        "shm_size": f"{tuned.shm_size_mb}m",
        "environment": environment,
        "secrets": ["postgres_password"],
        "ports": [spec.published(PORT)],
        # Directories, not single files: a file that is replaced atomically would stay the old one in the container.
        "volumes": [f"data:{paths.VOLUME}", "./run:/var/run/postgresql", "./postgres:/etc/aza-pg:ro"],
    }
    cpus = float(variables["postgres_cpus"])
    if cpus:
        service["cpus"] = int(cpus) if cpus.is_integer() else cpus
    if passwd:
        service["user"] = f"{declaration.host.uid}:{declaration.host.gid}"
        service["volumes"].append("./passwd:/etc/passwd:ro")
    return service


def _passwd(declaration: Declaration) -> str:
    """Peer authentication needs a name: the ordinary user who deploys is `postgres` in the container."""
    uid, gid = declaration.host.uid, declaration.host.gid
    return (
        "root:x:0:0:root:/root:/usr/sbin/nologin\n"
        f"postgres:x:{uid}:{gid}:PostgreSQL administrator:{paths.VOLUME}:/bin/bash\n"
    )


def _files(declaration: Declaration, passwd: str) -> Iterator[File]:
    variables, source, member = declaration.variables, declaration.origin, declaration.member
    yield File("postgres", 0o755)
    yield File("postgres/conf.d", 0o755)
    yield File("run", 0o755, owner=SERVER)
    yield File(PASSWORD_PATH, 0o400, owner=SERVER, secret=PASSWORD, origin=source("postgres_password"))
    yield File(hba.PATH, 0o644, text=_hba(declaration), effect="reload", origin=source("postgres_allow_from"))
    ident = hba.render_ident(variables["postgres_user"], declaration.objects.get("ident", ()))
    yield File(hba.IDENT_PATH, 0o644, text=ident, effect="reload")
    yield from tls.files(
        variables["postgres_tls"],
        source("postgres_tls_certificate"),
        declaration.authority if member else "",
    )
    if member:
        yield from replication.files(member)
    yield File(STACK_PATH, 0o644, text=_stack_settings(declaration), effect="reload")
    settings = pg.normalise(variables["postgres_settings"])
    yield File(pg.PATH, 0o644, text=pg.render(settings), effect="reload", origin=source("postgres_settings"))
    if passwd:
        yield File("passwd", 0o644, text=passwd)


def _stack_settings(declaration: Declaration) -> str:
    rules = declaration.objects.get("hba", ())
    ask = any(rule["method"] == "cert" or "clientcert" in rule["options"] for rule in rules)
    encrypted = declaration.variables["postgres_tls"]
    values = tls.settings(encrypted, ask)
    if declaration.member:
        values |= replication.settings(declaration.member, encrypted)
    return pg.render(values, _STACK_HEAD)


def _hba(declaration: Declaration) -> str:
    variables, member, declared = declaration.variables, declaration.member, declaration.objects
    others = [other.address for other in member.members if other is not member.me] if member else []
    rules = hba.rules(
        variables["postgres_user"],
        declared.get("hba", ()),
        variables["postgres_allow_from"],
        variables["postgres_tls"],
        list(declaration.socket_roles),
        {replication.REPLICATOR: others} if others else {},
    )
    hba.check(rules, hba.memberships(declared.get("roles", ())))
    return hba.render(rules)


# -- what was written and is not active ----------------------------------------------------------------


def activation(wanted: Desired, found: Observed, planned: list[Change]) -> Iterator[Change]:
    """Plan a restart or reload for what was written and is not active: an earlier run was interrupted, or a user
    edited a file. ``planned``: the changes of this plan; what they write becomes active with them.
    """
    if found.server is None:
        return
    yield from _restarts(wanted, found, {change.name for change in planned if change.kind == "setting"})
    yield from _reloads(wanted, found, planned)


def _restart(wanted: Desired, why: str, awaits: str = "") -> Change:
    return Change("server", wanted.instance, "restart", effect="restart", why=why, awaits=awaits)


def _restarts(wanted: Desired, found: Observed, about: set[str]) -> Iterator[Change]:
    """``about``: the settings that are planned."""
    facts = found.server or {}
    waiting = [name for name in facts["pending_restart"] if name.lower() not in about]
    if waiting:
        yield _restart(wanted, f"{', '.join(waiting)} wait for a restart")
    # Its primary has larger values now: the standby stopped replaying, and reads them at its next start.
    now = facts["settings"]
    behind = [
        f"{name} {least}"
        for name, least in wanted.minimums.items()
        if name not in about and name in now and int(now[name]["raw"]) < least
    ]
    if behind and not waiting:
        yield _restart(wanted, f"its primary has {', '.join(behind)}, and with less it does not replay")
    fresh = waiting or behind or containers.is_replaced(wanted.server, found)
    if not fresh and huge_pages.restarts(wanted, found):
        yield _restart(wanted, "it was started before huge pages were reserved for it")
    for name, value in standby.shrinks(wanted, found).items():
        if name not in about and now[name].get("source") == "command line":
            why = f"it was started with more than {name} {value}, which was still to be replayed"
            yield _restart(wanted, why, standby.awaits(wanted, found, name))


def _reloads(wanted: Desired, found: Observed, planned: list[Change]) -> Iterator[Change]:
    loaded = float((found.server or {})["config_loaded"])
    written = {
        pg.PATH if isinstance(change.detail, SettingDetail) else path_of(change)
        for change in planned
        if change.effect == "reload" and not isinstance(change.detail, ResetDetail)
    }
    # What the server reads whenever it needs it (the passfile, the authority of others) needs no reload.
    unread = {item.path for item in wanted.files if item.effect == "none"}
    newer = {
        path
        for path, state in found.files.items()
        if path.startswith("postgres/")
        and path not in unread
        and state["type"] == "file"
        and float(state["modified"]) > loaded
    }
    there = (found.files.get(tls.PATH) or {}).get("certificate") or {}
    shown = found.certificate_in_use
    if shown and there and shown != there["fingerprint"] and tls.PATH not in {*newer, *written}:
        why = f"it presents another certificate than {tls.PATH}"
        yield Change("server", wanted.instance, "reload", effect="reload", why=why)
    if newer - written:
        why = f"{', '.join(sorted(newer - written))} changed after the last reload"
        yield Change("server", wanted.instance, "reload", effect="reload", why=why)
