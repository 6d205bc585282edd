# SPDX-License-Identifier: Apache-2.0
"""From what the inventory says to what the host should hold: files, Compose project, names. Pure."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.aza.pg.plugins.module_utils.errors import AzaError
from ansible_collections.aza.pg.plugins.module_utils.stack import objects
from ansible_collections.aza.pg.plugins.module_utils.stack import settings as pg
from ansible_collections.aza.pg.plugins.module_utils.stack.model import CONFIG_HASH, Desired, File

CLUSTER_NAME = re.compile(r"^[a-z][a-z0-9-]{0,38}[a-z0-9]$|^[a-z]$")
STACKS = ("single", "primary", "replica")
IDENT_MAP = "aza"
PASSWORD_PATH = "secrets/postgres_password"
SERVER_UID = 999  # the user postgres of the image


@dataclass(frozen=True)
class Parameters:
    """The inventory's words, already checked and brought to their type."""

    cluster: str
    stack: str
    image: Mapping[str, Any]
    memory_mb: int
    shm_size_mb: int
    cpus: float = 0
    workload: str = "web"
    storage: str = "ssd"
    autotune: bool = True
    port: int = 5432
    publish_address: str = "127.0.0.1"
    allow_from: Sequence[str] = ()
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


def instance_name(cluster: str, stack: str) -> str:
    return f"{cluster}-{stack}"


def base_directory(wanted: str, uid: int, home: str) -> str:
    return (wanted or ("/opt/aza-pg" if uid == 0 else f"{home}/.local/share/aza-pg")).rstrip("/")


def identity(cluster: str, stack: str, base_dir: str, uid: int) -> dict[str, str]:
    """All derived names of an instance: the one place where they are made."""
    if not CLUSTER_NAME.fullmatch(cluster):
        raise AzaError(
            f"postgres_cluster: '{cluster}' is no cluster name. Use lower-case letters, digits and dashes, a letter "
            "first, at most 40 characters.",
            reason="bad_cluster_name",
        )
    instance = instance_name(cluster, stack)
    return {
        "instance": instance,
        "cluster": cluster,
        "stack": stack,
        "project": f"aza-pg-{instance}",
        "container": f"aza-pg-{instance}-postgres",
        "volume": f"aza-pg-{instance}-data",
        "network": f"aza-pg-{instance}",
        "base_dir": base_dir,
        # Only root owns /run; an ordinary user's socket is reached by its long path.
        "socket_link": f"/run/aza-pg/{instance}" if uid == 0 else "",
    }


def describe(given: Parameters, host: Host, to_yaml: Callable[[Any], str]) -> Desired:
    """The whole instance. ``to_yaml`` comes from the control node: targets need no YAML library."""
    base = base_directory(given.base_dir, host.uid, host.home)
    names: dict[str, Any] = identity(given.cluster, given.stack, base, host.uid)
    uid, gid = (SERVER_UID, SERVER_UID) if host.is_root else (host.uid, host.gid)
    settings = pg.normalise(given.settings)
    passwd = "" if host.is_root else _passwd(uid, gid)
    project = _compose(given, host, names, passwd)
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
        File("run", 0o755, owner="server"),
        File("secrets", 0o700),
        File(PASSWORD_PATH, 0o400, owner="server", secret=True, origin=source("postgres_password", "")),
        File(
            "postgres/pg_hba.conf",
            0o644,
            text=_hba(given),
            effect="reload",
            origin=source("postgres_allow_from", ""),
        ),
        File("postgres/pg_ident.conf", 0o644, text=_ident(given.user), effect="reload"),
        File(
            pg.PATH, 0o644, text=pg.render(settings), effect="reload", origin=source("postgres_settings", "")
        ),
        File("compose.yml", 0o644, text=header + to_yaml(project)),
    ]
    if passwd:
        files.append(File("passwd", 0o644, text=passwd))
    return Desired(
        **names,
        image={key: str(given.image.get(key) or "") for key in ("reference", "digest", "archive")}
        | {"pinned": host.image_reference},
        files=tuple(files),
        settings=settings,
        config_hash=project["services"]["postgres"]["labels"][CONFIG_HASH],
        port=given.port,
        publish_address=given.publish_address,
        superuser=given.user,
        database=given.database,
        memory_mb=given.memory_mb,
        cpus=given.cpus,
        uid=uid,
        gid=gid,
        stop_seconds=given.stop_seconds,
        origins=given.origins,
        objects=objects.normalise(given.objects),
    )


def _compose(given: Parameters, host: Host, names: Mapping[str, str], passwd: str) -> dict[str, Any]:
    labels = {"io.aza-pg.cluster": given.cluster, "io.aza-pg.stack": given.stack}
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
        "container_name": names["container"],
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
        "ports": [f"{_bracket(given.publish_address)}:{given.port}:5432"],
        # Directories, not single files: a file that is replaced atomically would stay the old one in the container.
        "volumes": ["data:/var/lib/postgresql", "./run:/var/run/postgresql", "./postgres:/etc/aza-pg:ro"],
        "logging": {
            "driver": "local",
            "options": {"max-size": given.log_max_size, "max-file": str(given.log_max_files)},
        },
    }
    if given.image.get("archive"):
        # Built, not published: a registry has nothing of that name, and must not be asked.
        service["pull_policy"] = "never"
    if given.cpus:
        service["cpus"] = int(given.cpus) if float(given.cpus).is_integer() else given.cpus
    if passwd:
        service["user"] = f"{host.uid}:{host.gid}"
        service["volumes"].append("./passwd:/etc/passwd:ro")
    fingerprint = json.dumps([service, passwd], sort_keys=True).encode()
    service["labels"] = {**labels, CONFIG_HASH: hashlib.sha256(fingerprint).hexdigest()[:16]}
    return {
        "name": names["project"],
        "services": {"postgres": service},
        "secrets": {"postgres_password": {"file": f"./{PASSWORD_PATH}"}},
        "networks": {"default": {"name": names["network"], "labels": labels}},
        "volumes": {"data": {"name": names["volume"], "external": True}},
    }


def _bracket(address: str) -> str:
    return f"[{address}]" if ":" in address else address


def _passwd(uid: int, gid: int) -> str:
    """Peer authentication asks for a name: the ordinary user who deploys is `postgres` in the container."""
    return (
        "root:x:0:0:root:/root:/usr/sbin/nologin\n"
        f"postgres:x:{uid}:{gid}:PostgreSQL administrator:/var/lib/postgresql:/bin/bash\n"
    )


def _hba(given: Parameters) -> str:
    rules = [
        "# Written by aza-pg. Who may connect: the host's administrator through the socket, everyone else with a",
        "# password, from the container's own network (where the published port ends) and from what was asked for.",
        "# TYPE  DATABASE  USER  ADDRESS  METHOD",
        f"local   all       {_hba_name(given.user)}  peer map={IDENT_MAP}",
        "local   all       all   scram-sha-256",
        "host    all       all   samenet  scram-sha-256",
    ]
    rules += [f"host    all       all   {network}  scram-sha-256" for network in given.allow_from]
    return "\n".join(rules) + "\n"


def _ident(superuser: str) -> str:
    lines = [
        "# Written by aza-pg. Who of the host (and of the image) is the server's administrator.",
        "# MAP  SYSTEM  ROLE",
    ]
    lines += [f"{IDENT_MAP}  {system}  {_hba_name(superuser)}" for system in ("root", "postgres")]
    return "\n".join(lines) + "\n"


def _hba_name(name: str) -> str:
    """Quoted, a name is only itself: no keyword, no group, no pattern."""
    return '"' + name.replace('"', '""') + '"'


def skeleton(
    cluster: str, stack: str, base_dir: str, host: Mapping[str, Any], user: str = "postgres"
) -> Desired:
    """An instance by its names alone: enough to look at it, stop it, start it or remove it."""
    base = base_directory(base_dir, host["uid"], host["home"])
    paths = ("postgres", "postgres/conf.d", "run", "secrets", PASSWORD_PATH, "compose.yml", pg.PATH)
    names: dict[str, Any] = identity(cluster, stack, base, host["uid"])
    return Desired(
        **names,
        image={"reference": "", "digest": "", "archive": "", "pinned": ""},
        files=tuple(File(path, 0, secret=path == PASSWORD_PATH) for path in ("", *paths)),
        superuser=user,
        port=0,
    )
