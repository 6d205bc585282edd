# SPDX-License-Identifier: Apache-2.0
"""From what the inventory says to what the host should hold: files, Compose project, names. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ansible_collections.aza.pg.plugins.module_utils import objects
from ansible_collections.aza.pg.plugins.module_utils.errors import AzaError
from ansible_collections.aza.pg.plugins.module_utils.host import container_drift
from ansible_collections.aza.pg.plugins.module_utils.model.desired import Desired
from ansible_collections.aza.pg.plugins.module_utils.model.names import base_directory, identity
from ansible_collections.aza.pg.plugins.module_utils.model.service import (
    CONFIG_HASH,
    EXPORTER,
    PGBOUNCER,
    PGBOUNCER_EXPORTER,
    SERVER,
    File,
    Service,
    container_name,
)
from ansible_collections.aza.pg.plugins.module_utils.objects import hba
from ansible_collections.aza.pg.plugins.module_utils.objects.settings import STACK_PATH
from ansible_collections.aza.pg.plugins.module_utils.replication import topology as replication
from ansible_collections.aza.pg.plugins.module_utils.server import settings as pg
from ansible_collections.aza.pg.plugins.module_utils.services import postgres_exporter as exporters
from ansible_collections.aza.pg.plugins.module_utils.services.pgbouncer import rules as pool_rules
from ansible_collections.aza.pg.plugins.module_utils.services.pgbouncer import service as poolers
from ansible_collections.aza.pg.plugins.module_utils.services.pgbouncer_exporter import PgBouncerExporter
from ansible_collections.aza.pg.plugins.module_utils.tls import certificate as tls

_STACK_HEAD = (
    "# Written by aza-pg. What the stack itself decides: TLS (postgres_tls), whom the server follows.\n"
)
PASSWORD_PATH = "secrets/postgres_password"
SERVER_UID = 999  # the user postgres of the image


# What an instance without TLS or without exporter, or a primary, must not keep.
_SECRET_PARTS = (
    File(tls.PATH, 0o400, secret=tls.SECRET),
    File(exporters.PASSWORD_PATH, 0o400, secret=exporters.PASSWORD),
    File(replication.PASSFILE_PATH, 0o400, secret=replication.PASSFILE),
)


@dataclass(frozen=True)
class Parameters:
    """The inventory's words, already checked and brought to their type."""

    cluster: str
    stack: str
    image: Mapping[str, Any]
    memory_mb: int
    shm_size_mb: int
    cpus: float = 0
    huge_pages_mb: int = 0
    workload: str = "web"
    storage: str = "ssd"
    autotune: bool = True
    port: int = 5432
    publish_address: str = "127.0.0.1"
    allow_from: Sequence[str] = ()
    # Whether the server speaks TLS; then the network's clients have to.
    tls: bool = False
    database: str = "postgres"
    user: str = "postgres"
    settings: Mapping[str, Any] = field(default_factory=dict)
    extra_preload_libraries: Sequence[str] = ()
    initdb_args: str = ""
    base_dir: str = ""
    stop_seconds: int = 120
    log_max_size: str = "20m"
    log_max_files: int = 5
    origins: Mapping[str, str] = field(default_factory=dict)
    # roles, databases, hba, …: the variables postgres_roles … as they were declared.
    objects: Mapping[str, Any] = field(default_factory=dict)
    # What exports metrics; None where nothing does.
    exporter: exporters.Exporter | None = None
    # What keeps the pools of connections; None where nothing does.
    pgbouncer: poolers.PgBouncer | None = None
    pgbouncer_exporter: PgBouncerExporter | None = None
    # With tls, the facts of the server's certificate (``plugin_utils/certificates.py``), and what verifies others.
    certificate: Mapping[str, Any] = field(default_factory=dict)
    ca: str = ""
    # What this member is to its cluster; None for a single server.
    role: replication.Role | None = None
    # Of a standby, what it may not have less of than its primary.
    floor: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Host:
    """What must be known of the target before anything can be described: who deploys there, and where."""

    uid: int
    gid: int
    home: str
    image_reference: str

    @property
    def is_root(self) -> bool:
        return self.uid == 0


def describe(given: Parameters, host: Host, to_yaml: Callable[[Any], str]) -> Desired:
    """The whole instance. ``to_yaml`` comes from the control node: targets need no YAML library."""
    base = base_directory(given.base_dir, host.uid, host.home)
    names: dict[str, Any] = identity(given.cluster, given.stack, base, host.uid)
    if _has_ipv6(given):
        names |= {"network": names["other_network"], "other_network": names["network"]}
    settings, declared = pg.normalise(given.settings), _objects(given)
    passwd = "" if host.is_root else _passwd(host.uid, host.gid)
    services, compose = _services(given, host, names, passwd)
    project = _compose(given, names, compose)
    header = (
        f"# PostgreSQL, cluster {given.cluster}, stack {given.stack}. Written by aza-pg: an edit here is drift, and "
        "the next deploy takes it back.\n"
        "# By hand:  docker compose -f THIS_FILE up -d | stop | logs -f      "
        "(`down -v` keeps the data: the volume is external)\n"
    )
    source = given.origins.get
    files = [
        File("", 0o755),
        File("postgres", 0o755),
        File("postgres/conf.d", 0o755),
        File("run", 0o755, owner=SERVER),
        File("secrets", 0o700),
        File(
            PASSWORD_PATH,
            0o400,
            owner=SERVER,
            secret="postgres_password",
            origin=source("postgres_password", ""),
        ),
        File(
            hba.PATH,
            0o644,
            text=_hba(given, declared),
            effect="reload",
            origin=source("postgres_allow_from", ""),
        ),
        File(
            hba.IDENT_PATH,
            0o644,
            text=hba.render_ident(given.user, declared.get("ident", ())),
            effect="reload",
        ),
        *tls.files(given.tls, source("postgres_tls_certificate", ""), given.ca if given.role else ""),
        *(replication.files(given.role) if given.role else ()),
        File(STACK_PATH, 0o644, text=_stack_settings(given, declared), effect="reload"),
        File(
            pg.PATH, 0o644, text=pg.render(settings), effect="reload", origin=source("postgres_settings", "")
        ),
        File("compose.yml", 0o644, text=header + to_yaml(project)),
    ]
    if given.pgbouncer:
        files += poolers.files(
            given.pgbouncer, given.tls, *_pools(given, declared, settings), origins=given.origins
        )
    if given.exporter:
        files.insert(6, File(exporters.PASSWORD_PATH, 0o400, owner=EXPORTER, secret=exporters.PASSWORD))
    if passwd:
        files.append(File("passwd", 0o644, text=passwd))
    return Desired(
        **names,
        services=services,
        files=tuple(files),
        leftovers=(
            *(item for item in _SECRET_PARTS if item.path not in {file.path for file in files}),
            *poolers.leftovers(given.pgbouncer is not None, given.tls),
        ),
        settings=settings,
        superuser=given.user,
        database=given.database,
        memory_mb=given.memory_mb,
        cpus=given.cpus,
        huge_pages_mb=given.huge_pages_mb,
        stop_seconds=given.stop_seconds,
        origins=given.origins,
        certificate=given.certificate,
        objects=declared,
        standby=bool(given.role and given.role.standby),
        floor=given.floor,
    )


def _stack_settings(given: Parameters, declared: Mapping[str, Any]) -> str:
    rules = declared.get("hba", ())
    ask = any(rule["method"] == "cert" or "clientcert" in rule["options"] for rule in rules)
    values = tls.settings(given.tls, ask)
    if given.role:
        values |= replication.settings(given.role, given.tls)
    return pg.render(values, _STACK_HEAD)


def _objects(given: Parameters) -> dict[str, Any]:
    """What the inventory declares, and what the stack itself needs in the server."""
    declared = objects.normalise(given.objects)
    declared["preload"] = {**declared.get("preload", {}), "declared": list(given.extra_preload_libraries)}
    declared["initdb_args"] = given.initdb_args
    if given.exporter:
        _add_roles(declared, exporters.OBJECTS, "the exporter", "set postgres_exporter: false")
    if given.pgbouncer:
        _add_roles(declared, poolers.OBJECTS, "PgBouncer", "set postgres_pgbouncer: false")
    if given.role:
        _add_roles(declared, replication.OBJECTS, "the replicas", "choose another name")
        declared["slots"] = [member.slot for member in given.role.downstream]
    return declared


def _add_roles(declared: dict[str, Any], own: Mapping[str, Any], whose: str, instead: str) -> None:
    """The stack's own roles beside the declared ones, which must not have their names."""
    added = objects.normalise(own)["roles"]
    for role in added:
        if any(item["name"] == role["name"] for item in declared.get("roles", ())):
            raise AzaError(
                f"postgres_roles: the role {role['name']} belongs to {whose}, and the stack declares it; take it "
                f"out of the list, or {instead}.",
                reason="bad_object",
            )
    declared["roles"] = [*declared.get("roles", ()), *added]


def _pools(given: Parameters, declared: Mapping[str, Any], settings: Mapping[str, str]) -> tuple[str, str]:
    """PgBouncer's own file, and its rules."""
    assert given.pgbouncer is not None
    databases = declared.get("databases", ())
    name = poolers.server_name(given.pgbouncer, given.tls, given.certificate)
    ini = poolers.render(given.pgbouncer, name, given.tls, given.database, databases, settings)
    rules = hba.rules(given.user, declared.get("hba", ()), given.allow_from, given.tls)
    return ini, pool_rules.access(rules, given.user)


def _has_ipv6(given: Parameters) -> bool:
    """Whether clients may come by IPv6. Without it in the containers' network, the engine would hand them over from
    the address of the network's gateway, which every rule takes for a client of the host."""
    published = [given.publish_address, *([given.pgbouncer.publish_address] if given.pgbouncer else [])]
    return any(":" in address for address in published)


def _services(
    given: Parameters, host: Host, names: Mapping[str, str], passwd: str
) -> tuple[tuple[Service, ...], dict[str, Any]]:
    """The containers of the stack, the server first: as records, and as Compose knows them."""
    uid = SERVER_UID if host.is_root else host.uid
    server = Service(
        SERVER,
        container_name(names["project"], SERVER),
        image={key: str(given.image.get(key) or "") for key in ("reference", "digest", "archive")}
        | {"pinned": host.image_reference},
        uid=uid,
        gid=SERVER_UID if host.is_root else host.gid,
        publish_address=given.publish_address,
        port=given.port,
    )
    described = [(server, _server(given, host, server, passwd), passwd)]
    if given.pgbouncer:
        service = given.pgbouncer.service(names["project"], host.uid, host.gid)
        name = poolers.server_name(given.pgbouncer, given.tls, given.certificate)
        described.append((service, given.pgbouncer.compose(service, name), given.pgbouncer.fixed))
        if given.pgbouncer_exporter:
            metrics = given.pgbouncer_exporter.service(names["project"], service)
            described.append((metrics, given.pgbouncer_exporter.compose(metrics), ""))
    if given.exporter:
        service = given.exporter.service(names["project"], host.uid, host.gid)
        described.append((service, given.exporter.compose(service), ""))
    services, compose = [], {}
    for service, definition, beside in described:
        definition |= {
            "logging": {
                "driver": "local",
                "options": {"max-size": given.log_max_size, "max-file": str(given.log_max_files)},
            }
        }
        if service.image["archive"]:
            # Built, not published: a registry has nothing of that name, and must not be asked.
            definition["pull_policy"] = "never"
        expected = container_drift.expected(definition, names["volume"], names["network"])
        definition = _literal(definition)
        # Another network is another container; the usual one is not part of its definition.
        facts = [definition, beside, *([names["network"]] if _has_ipv6(given) else [])]
        fingerprint = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
        services.append(replace(service, config_hash=fingerprint.hexdigest()[:16], expected=expected))
        definition["labels"] = {**_labels(given), CONFIG_HASH: services[-1].config_hash}
        compose[service.name] = definition
    return tuple(services), compose


def _literal(value: Any) -> Any:
    """The same for Compose, which would put the value of a variable in the place of $NAME."""
    if isinstance(value, Mapping):
        return {key: _literal(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_literal(item) for item in value]
    return value.replace("$", "$$") if isinstance(value, str) else value


def _labels(given: Parameters) -> dict[str, str]:
    return {"io.aza-pg.cluster": given.cluster, "io.aza-pg.stack": given.stack}


def _compose(given: Parameters, names: Mapping[str, str], services: Mapping[str, Any]) -> dict[str, Any]:
    secrets = {"postgres_password": {"file": f"./{PASSWORD_PATH}"}}
    network = _labels(given)
    if given.role:
        # A network whose labels change is made anew by Compose, and a member is primary today and replica tomorrow.
        del network["io.aza-pg.stack"]
    default: dict[str, Any] = {"name": names["network"], "labels": network}
    if _has_ipv6(given):
        default["enable_ipv6"] = True
    if given.exporter:
        secrets[exporters.SECRET] = {"file": f"./{exporters.PASSWORD_PATH}"}
    return {
        "name": names["project"],
        "services": dict(services),
        "secrets": secrets,
        "networks": {"default": default},
        "volumes": {"data": {"name": names["volume"], "external": True}},
    }


def _server(given: Parameters, host: Host, server: Service, passwd: str) -> dict[str, Any]:
    environment = {
        "POSTGRES_USER": given.user,
        "POSTGRES_DB": given.database,
        "POSTGRES_PASSWORD_FILE": "/run/secrets/postgres_password",
        "POSTGRES_WORKLOAD_TYPE": given.workload,
        "POSTGRES_STORAGE_TYPE": given.storage,
        "POSTGRES_HBA_FILE": "/etc/aza-pg/pg_hba.conf",
        "POSTGRES_IDENT_FILE": "/etc/aza-pg/pg_ident.conf",
    }
    if not given.autotune:
        environment["POSTGRES_AUTOTUNE"] = "off"
    if given.extra_preload_libraries:
        environment["POSTGRES_EXTRA_PRELOAD_LIBRARIES"] = ",".join(given.extra_preload_libraries)
    if given.initdb_args:
        environment["POSTGRES_INITDB_ARGS"] = given.initdb_args
    service: dict[str, Any] = {
        "image": host.image_reference,
        "container_name": server.container,
        "restart": "unless-stopped",
        "stop_grace_period": f"{given.stop_seconds}s",
        # PostgreSQL as PID 1 takes any orphan's failure for a crash of its own child and ends every session.
        "init": True,
        "read_only": True,
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges:true"],
        "tmpfs": ["/tmp:mode=1777,size=64m", "/run/aza-pg:mode=1777,size=1m"],
        "mem_limit": f"{given.memory_mb}m",
        "shm_size": f"{given.shm_size_mb}m",
        "environment": environment,
        "secrets": ["postgres_password"],
        "ports": [server.published(5432)],
        # Directories, not single files: a file that is replaced atomically would stay the old one in the container.
        "volumes": ["data:/var/lib/postgresql", "./run:/var/run/postgresql", "./postgres:/etc/aza-pg:ro"],
    }
    if given.cpus:
        service["cpus"] = int(given.cpus) if float(given.cpus).is_integer() else given.cpus
    if passwd:
        service["user"] = f"{host.uid}:{host.gid}"
        service["volumes"].append("./passwd:/etc/passwd:ro")
    return service


def _passwd(uid: int, gid: int) -> str:
    """Peer authentication asks for a name: the ordinary user who deploys is `postgres` in the container."""
    return (
        "root:x:0:0:root:/root:/usr/sbin/nologin\n"
        f"postgres:x:{uid}:{gid}:PostgreSQL administrator:/var/lib/postgresql:/bin/bash\n"
    )


def _hba(given: Parameters, declared: Mapping[str, Any]) -> str:
    monitors = [exporters.MONITOR] if given.exporter else []
    others = (
        [member.address for member in given.role.members if member is not given.role.me] if given.role else []
    )
    replicators = {replication.REPLICATOR: others} if others else {}
    rules = hba.rules(given.user, declared.get("hba", ()), given.allow_from, given.tls, monitors, replicators)
    hba.check(rules, hba.memberships(declared.get("roles", ())))
    return hba.render(rules)


def skeleton(
    cluster: str, stack: str, base_dir: str, host: Mapping[str, Any], user: str = "postgres"
) -> Desired:
    """An instance by its names alone: enough to look at it, stop it, start it or remove it."""
    base = base_directory(base_dir, host["uid"], host["home"])
    paths = ("", "postgres", "postgres/conf.d", "run", "secrets", "compose.yml", STACK_PATH, pg.PATH)
    names: dict[str, Any] = identity(cluster, stack, base, host["uid"])
    no_image = dict.fromkeys(("reference", "digest", "archive", "pinned"), "")
    return Desired(
        **names,
        services=tuple(
            Service(name, container_name(names["project"], name), no_image)
            for name in (SERVER, PGBOUNCER, PGBOUNCER_EXPORTER, EXPORTER)
        ),
        files=(*(File(path, 0) for path in paths), File(PASSWORD_PATH, 0, secret="postgres_password")),
        superuser=user,
    )
