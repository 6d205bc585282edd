# SPDX-License-Identifier: Apache-2.0
"""What is, in one look: files, containers, volume, network, image, server, host. Changes nothing."""

from __future__ import annotations

import hashlib
import hmac
import os
import stat
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from ansible_collections.aza.pg.plugins.module_utils.errors import AzaError
from ansible_collections.aza.pg.plugins.module_utils.host import (
    container_drift,
    data_volume,
    huge_pages,
    ports,
)
from ansible_collections.aza.pg.plugins.module_utils.host.docker import PROJECT, Docker, subnets
from ansible_collections.aza.pg.plugins.module_utils.host.facts import engine_facts, host_facts
from ansible_collections.aza.pg.plugins.module_utils.instance import location, server_objects
from ansible_collections.aza.pg.plugins.module_utils.instance import ownership_record as record
from ansible_collections.aza.pg.plugins.module_utils.model.desired import Desired
from ansible_collections.aza.pg.plugins.module_utils.model.facts import ServerFacts
from ansible_collections.aza.pg.plugins.module_utils.model.observed import ContainerFacts, FileFacts, Observed
from ansible_collections.aza.pg.plugins.module_utils.model.service import (
    CONFIG_HASH,
    SERVER,
    ContainerSpec,
    File,
)
from ansible_collections.aza.pg.plugins.module_utils.server import connection as server
from ansible_collections.aza.pg.plugins.module_utils.server import settings as pg
from ansible_collections.aza.pg.plugins.module_utils.services import registry
from ansible_collections.aza.pg.plugins.module_utils.tls import certificate as tls
from ansible_collections.aza.pg.plugins.module_utils.tls import handshake

_TEXT_LIMIT = 256 * 1024
# Before the name of a secret: the value that it had before a rotation that goes on.
PREVIOUS = "previous/"


def observe(
    wanted: Desired, docker: Docker, secrets: Mapping[str, str] | None = None, settings: Iterable[str] = ()
) -> Observed:
    """Observe everything that ``wanted`` speaks of. Secrets are compared here and go nowhere.

    ``settings``: further settings of the server to bring along.
    """
    secrets = secrets or {}
    directory, host = Path(wanted.directory), host_facts()
    files = {
        item.path: found for item in wanted.files if (found := _file(directory, item, secrets)) is not None
    }
    # A file that was put among our settings takes part in the server's configuration.
    for extra in sorted((directory / "postgres" / "conf.d").glob("*.conf")):
        path = str(extra.relative_to(directory))
        files.setdefault(path, {**(_file(directory, File(path, 0), {}) or {}), "foreign": True})
    for item in wanted.leftovers:
        if (left := _file(directory, item, {})) is not None:
            files[item.path] = {**left, "foreign": True}
    names = [service.container for service in wanted.services]
    pinned = {service.image["pinned"] for service in wanted.services} - {""}
    objects = filter(None, (wanted.volume, wanted.network, wanted.other_network))
    # What waits for the engine more than it works.
    with ThreadPoolExecutor(3) as pool:
        asked = pool.submit(docker.inspect, *names, *objects, *sorted(pinned))
        listed = pool.submit(docker.containers, wanted.project)
        engine = pool.submit(engine_facts, docker)
        # Loading it takes as long as they do.
        server.driver()
    inspected = asked.result()
    containers: dict[str, ContainerFacts] = {
        service.name: {
            **_container(item),
            "edited": _edited(service, item, inspected, wanted.directory),
            "elsewhere": location.elsewhere(item["Config"].get("Labels") or {}, directory),
        }
        for service in wanted.services
        for item in inspected
        if item.get("Name") == f"/{service.container}"
    }
    orphans = {name: item for name, item in sorted(listed.result().items()) if name not in names}
    running = containers.get(SERVER, {}).get("state") == "running"
    answer, error = _server(wanted, files, secrets, settings) if running else (None, "")
    volume = next(
        (item for item in inspected if item.get("Name") == wanted.volume and "Mountpoint" in item), None
    )
    return Observed(
        files=files,
        containers=containers,
        orphans=orphans,
        volume=volume is not None,
        owner=record.read(directory, (volume or {}).get("Labels")),
        network=any(item.get("Name") == wanted.network and "IPAM" in item for item in inspected),
        other_network=_other_network(wanted, inspected),
        subnets=subnets(wanted.network, inspected),
        images=_images(wanted, [item for item in inspected if "RootFS" in item]),
        socket_link=_link(wanted.socket_link),
        rule_missing=location.rule_missing(wanted, host),
        server=answer,
        server_error=error,
        data_major=_data_major(wanted, answer, docker) if volume is not None else "",
        image_major=_image_major(wanted, inspected),
        certificate_in_use=handshake.fingerprint(wanted.server) if answer and wanted.certificate else "",
        reports=_reports(wanted, containers),
        port_problems={
            service.name: problem
            for service in wanted.services
            if (problem := ports.problem(service, containers))
        },
        huge_pages=huge_pages.observe(wanted),
        host={**host, **engine.result()},
    )


def _data_major(wanted: Desired, answer: Mapping[str, Any] | None, docker: Docker) -> str:
    """Return the major version of the data: from the server that answers, or from the files in the volume."""
    if answer is not None:
        return str(answer["version"]).partition(".")[0]
    return str(data_volume.observe(docker, wanted.volume, wanted.container).get("version", ""))


def _image_major(wanted: Desired, inspected: Iterable[Mapping[str, Any]]) -> str:
    """Return the major version of the server's image: from its environment, or from its record before it is loaded."""
    images = [item for item in inspected if "RootFS" in item]
    known = _images(wanted, images).get(SERVER)
    for item in images:
        if item["Id"] == known:
            words = dict(word.split("=", 1) for word in (item.get("Config") or {}).get("Env") or ())
            return str(words.get("PG_MAJOR", ""))
    return wanted.image.get("major", "")


def _reports(wanted: Desired, containers: Mapping[str, ContainerFacts]) -> dict[str, Any]:
    """Return what each running service reports about itself."""
    running = [
        item.name for item in wanted.services if containers.get(item.name, {}).get("state") == "running"
    ]
    reports = {name: registry.service(name).observe(wanted, containers[name]) for name in running}
    return {name: report for name, report in reports.items() if report is not None}


def _other_network(wanted: Desired, inspected: Iterable[Mapping[str, Any]]) -> bool:
    found = [item for item in inspected if item.get("Name") == wanted.other_network and "IPAM" in item]
    connected = {str(one["Name"]) for item in found for one in (item.get("Containers") or {}).values()}
    return bool(found) and all(name.startswith(f"{wanted.project}-") for name in connected)


def _images(wanted: Desired, images: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Service → id of its image, where the engine has it: by the digest of its name, or by that id."""
    known = {
        name.rpartition("@")[2]: str(item["Id"])
        for item in images
        for name in (item["Id"], *(item.get("RepoDigests") or ()))
    }
    found = {
        service.name: known.get(service.image["pinned"].rpartition("@")[2], "") for service in wanted.services
    }
    return {name: identity for name, identity in found.items() if identity}


def _file(directory: Path, item: File, secrets: Mapping[str, str]) -> FileFacts | None:
    full = directory / item.path
    try:
        status = full.lstat()
        found: FileFacts = {
            "mode": stat.S_IMODE(status.st_mode),
            "uid": status.st_uid,
            "gid": status.st_gid,
            "modified": status.st_mtime,
        }
        if stat.S_ISDIR(status.st_mode):
            return {**found, "type": "directory"}
        if not stat.S_ISREG(status.st_mode):
            return {**found, "type": "other"}
        found["type"] = "file"
        content = full.read_bytes()
    except FileNotFoundError:
        return None
    except NotADirectoryError:
        return None
    except PermissionError:
        raise AzaError(
            f"This user may not read {full}: the instance was deployed by another user. Deploy as that user.",
            reason="foreign_instance",
            path=str(full),
        ) from None
    if item.secret:
        wanted = secrets.get(item.secret)
        found["matches"] = None if wanted is None else hmac.compare_digest(content, wanted.encode())
        previous = secrets.get(f"{PREVIOUS}{item.secret}", "")
        found["was_ours"] = bool(previous) and hmac.compare_digest(content, previous.encode())
        if item.secret == tls.SECRET:
            found["certificate"] = tls.read(content)
            found["authority"] = tls.authority(content)
        return found
    found["sha256"] = hashlib.sha256(content).hexdigest()
    if len(content) <= _TEXT_LIMIT:
        found["text"] = content.decode("utf-8", "replace")
    return found


def _container(item: Mapping[str, Any]) -> ContainerFacts:
    state = item["State"]
    return {
        "id": item["Id"],
        "state": state["Status"],
        "health": (state.get("Health") or {}).get("Status", ""),
        "exit_code": state["ExitCode"],
        "oom_killed": bool(state.get("OOMKilled")),
        "error": state.get("Error", ""),
        "restarts": item.get("RestartCount", 0),
        "started": state["StartedAt"],
        "since": _seconds(state["StartedAt"]),
        "image": item["Image"],
        "image_reference": item["Config"]["Image"],
        "config_hash": (item["Config"].get("Labels") or {}).get(CONFIG_HASH, ""),
        "published": [
            f"{binding.get('HostIp') or '0.0.0.0'}:{binding['HostPort']}"
            for bindings in (item["HostConfig"].get("PortBindings") or {}).values()
            for binding in bindings or []
        ],
        "project": (item["Config"].get("Labels") or {}).get(PROJECT, ""),
    }


def _edited(
    service: ContainerSpec,
    container: Mapping[str, Any],
    inspected: Iterable[Mapping[str, Any]],
    directory: str,
) -> list[str]:
    """In which ways it is not what its definition says."""
    image = next((item for item in inspected if item.get("Id") == container["Image"]), {})
    return container_drift.differences(
        service.expected, container, image, (directory, os.path.realpath(directory))
    )


def _seconds(moment: str) -> float:
    """``2026-01-31T12:00:00.123456789Z`` → seconds since 1970; 0 for what never started."""
    whole, _, fraction = moment.rstrip("Z").partition(".")
    start = datetime.strptime(whole, "%Y-%m-%dT%H:%M:%S").replace(tzinfo=timezone.utc)
    return max(0.0, start.timestamp() + float(f"0.{fraction or 0}"))


def _server(
    wanted: Desired,
    files: Mapping[str, Mapping[str, Any]],
    secrets: Mapping[str, str],
    settings: Iterable[str],
) -> tuple[ServerFacts | None, str]:
    if not server.psycopg_version():
        return None, "this Python has no psycopg"
    names = {*settings, *wanted.settings, *wanted.minimums, *huge_pages.questions(wanted)} | set(
        pg.parse(str(files.get(pg.PATH, {}).get("text", "")))
    )
    for kind in ("roles", "databases"):
        names.update(name for item in wanted.objects.get(kind, ()) for name in item.get("settings") or ())
    try:
        return server.observe(
            wanted.socket_dir,
            wanted.superuser,
            server.Question(
                names, _passwords(wanted, secrets), databases(wanted), *server_objects.questions(wanted)
            ),
        ), ""
    except server.ServerError as error:
        return None, str(error)


def _passwords(wanted: Desired, secrets: Mapping[str, str]) -> dict[str, str]:
    """Role → the password that it should have: the administrator's, and those of the declared roles."""
    found = {name.partition("/")[2]: value for name, value in secrets.items() if name.startswith("roles/")}
    if "postgres_password" in secrets:
        found[wanted.superuser] = secrets["postgres_password"]
    return found


def databases(wanted: Desired) -> set[str]:
    """The databases that the declaration speaks of, and those that one is copied from."""
    declared = wanted.objects.get("databases", ())
    copied = {item["template"] for item in declared} - {"", "template0", "template1"}
    return {"postgres", wanted.database, *copied, *(item["name"] for item in declared)}


def _link(path: str) -> str | None:
    if not path or not Path(path).is_symlink():
        return None
    return str(Path(path).readlink())
