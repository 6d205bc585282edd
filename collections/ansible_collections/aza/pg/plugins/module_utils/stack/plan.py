# SPDX-License-Identifier: Apache-2.0
"""From what should be and what is to the changes between them. Pure: no file, no clock, no environment.

Each kind of object has one function here and one applier in ``apply.py``; their order in ``PLANNERS`` is the
order of application. A new kind of object is a new pair.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator

from ansible_collections.aza.pg.plugins.module_utils.errors import AzaError
from ansible_collections.aza.pg.plugins.module_utils.stack import objects
from ansible_collections.aza.pg.plugins.module_utils.stack import settings as pg
from ansible_collections.aza.pg.plugins.module_utils.stack.model import (
    Change,
    Desired,
    File,
    Observed,
    Plan,
    hold,
    short,
)

# Smallest free space with which a first start is honest: initdb, WAL and the first checkpoints.
DISK_FLOOR_MB = 1024
SOCKET_PATH_MAX = 107

COMPOSE = "compose.yml"

Planner = Callable[[Desired, Observed], Iterator[Change]]


def plan(wanted: Desired, found: Observed, allowed: tuple[str, ...] = ()) -> Plan:
    """What a deploy has to do. ``allowed``: which of restart and recreate somebody has permitted."""
    changes = [change for planner in PLANNERS for change in planner(wanted, found)]
    return hold(changes, allowed, wanted.objects.get("allow_loss") or ())


def problems(wanted: Desired, found: Observed) -> list[str]:
    """Why the plan could not be carried out on this host: everything at once, before anything is touched."""
    host, where = found.host, f"instance {wanted.instance}"
    result = []
    if found.container and found.container["project"] != wanted.project:
        result.append(
            f"a container named {wanted.container} exists already and is not part of {where}; remove or rename it"
        )
    if found.port_problem == "taken":
        result.append(
            f"something else on this host listens on {wanted.publish_address}:{wanted.port} already; choose "
            "another postgres_port or stop it (ss -ltnp shows it)"
        )
    if found.port_problem == "no_address":
        result.append(
            f"postgres_publish_address {wanted.publish_address} is no address of this host; `ip -brief address` lists "
            "those it has"
        )
    memory = host.get("memory_mb") or 0
    if memory and wanted.memory_mb > memory:
        result.append(
            f"postgres_memory asks for {wanted.memory_mb} MB and this host has {memory} MB; choose less, and leave "
            "some to the host"
        )
    cpus = host.get("cpus") or 0
    if cpus and wanted.cpus > cpus:
        result.append(f"postgres_cpus asks for {wanted.cpus:g} processors and this host has {cpus}")
    free = host.get("disk_free_mb")
    if free is not None and free < DISK_FLOOR_MB and not found.volume:
        result.append(
            f"the disk of the Docker Engine has {free} MB left and a new server needs {DISK_FLOOR_MB} MB; make room "
            "there (docker system df)"
        )
    longest = len(f"{wanted.socket_dir}/.s.PGSQL.5432".encode())
    if longest > SOCKET_PATH_MAX:
        result.append(
            f"the path of the socket would have {longest} bytes and Linux allows {SOCKET_PATH_MAX}; set a shorter "
            "postgres_base_dir or postgres_cluster"
        )
    if found.server_error and f'role "{wanted.superuser}" does not exist' in found.server_error:
        result.append(
            f"postgres_user is '{wanted.superuser}', but this server was created with another administrator; the "
            "name is chosen at the first start, so give the old one back"
        )
    return result


def refuse(wanted: Desired, found: Observed) -> None:
    said = problems(wanted, found)
    if said:
        raise AzaError(
            f"{wanted.instance}: {'; '.join(said)}. Nothing was changed.", reason="preflight", problems=said
        )


# -- the host --------------------------------------------------------------------------------------


def _image(wanted: Desired, found: Observed) -> Iterator[Change]:
    if not found.image:
        source = "from the control node's archive" if wanted.image.get("archive") else "from its registry"
        action = "load" if wanted.image.get("archive") else "pull"
        yield Change(
            "image",
            wanted.image["reference"],
            action,
            after=wanted.image["pinned"],
            why=f"not here; {source}",
        )


def _files(wanted: Desired, found: Observed) -> Iterator[Change]:
    for item in wanted.files:
        if item.path == pg.PATH and item.path in found.files and found.server is not None:
            continue  # its settings are changes of their own
        if item.path == COMPOSE and _replaces(wanted, found):
            continue  # written when the container is replaced, not while that waits for a permission
        yield from _file(item, wanted, found)
    for path, state in found.files.items():
        if state.get("foreign"):
            yield Change(
                "file",
                path,
                "remove",
                effect="reload" if found.running else "none",
                why="it stands among the server's settings and the inventory does not know it",
                detail={"path": path},
            )


def _file(item: File, wanted: Desired, found: Observed) -> Iterator[Change]:
    kind = "directory" if item.is_directory else "secret" if item.secret else "file"
    name, detail = item.path or wanted.directory, {"path": item.path}
    owner = (
        (wanted.uid, wanted.gid) if item.owner == "server" else (found.host.get("uid"), found.host.get("gid"))
    )
    is_now = found.files.get(item.path)
    effect = item.effect if found.running else "none"
    if is_now is None:
        yield Change(
            kind, name, "create", effect=effect, after=f"{item.mode:04o}", origin=item.origin, detail=detail
        )
        return
    if is_now["type"] != ("directory" if item.is_directory else "file"):
        raise AzaError(
            f"{wanted.directory}/{item.path} is no {kind} (somebody put something else there). Move it away.",
            reason="foreign_file",
        )
    if (item.secret and is_now["matches"] is False) or (
        item.text is not None and is_now["sha256"] != _sha(item.text)
    ):
        why = "" if item.secret else _difference(str(is_now.get("text", "")), item.text or "")
        yield Change(kind, name, "change", effect=effect, why=why, origin=item.origin, detail=detail)
        return
    before, after = _rights(is_now["mode"], is_now["uid"], is_now["gid"]), _rights(item.mode, *owner)
    if before != after:
        yield Change(kind, name, "set rights of", before=before, after=after, detail=detail)


def _rights(mode: int, uid: object, gid: object) -> str:
    return f"{mode:04o} {uid}:{gid}"


def _sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _difference(before: str, after: str, limit: int = 4) -> str:
    """The lines that differ, in a few words: ``mem_limit: 1024m → mem_limit: 2048m``."""
    old, new = before.splitlines(), after.splitlines()
    gone = [line.strip() for line in old if line not in new and "config-hash" not in line]
    come = [line.strip() for line in new if line not in old and "config-hash" not in line]
    if not gone and not come:
        return "its text was changed"
    parts = [f"{a} → {b}" for a, b in zip(gone, come)]
    parts += [f"without {line}" for line in gone[len(come) :]] + [
        f"with {line}" for line in come[len(gone) :]
    ]
    return "; ".join(parts[:limit]) + (f"; and {len(parts) - limit} more" if len(parts) > limit else "")


def _link(wanted: Desired, found: Observed) -> Iterator[Change]:
    if wanted.socket_link and found.socket_link != wanted.socket_dir:
        yield Change(
            "link", wanted.socket_link, "create", before=found.socket_link or "", after=wanted.socket_dir
        )


def _volume(wanted: Desired, found: Observed) -> Iterator[Change]:
    if not found.volume:
        yield Change("volume", wanted.volume, "create")


def _settings(wanted: Desired, found: Observed) -> Iterator[Change]:
    """One change a setting, when a server is there to say what each one means."""
    file = found.files.get(pg.PATH)
    if file is None or found.server is None:
        return
    text, origin = str(file.get("text", "")), wanted.origin("postgres_settings")
    before, after, known = pg.parse(text), wanted.settings, found.server["settings"]
    for name in sorted(set(before) | set(after)):
        if before.get(name) == after.get(name):
            continue
        context = known.get(name, {}).get("context", "")
        yield Change(
            "setting",
            name,
            "change" if name in before and name in after else "add" if name in after else "remove",
            effect="restart" if context == "postmaster" else "reload",
            before=before.get(name, str(known.get(name, {}).get("value", ""))),
            after=after.get(name, "the tuned or default value"),
            origin=origin,
            detail={"value": after.get(name)},
        )
    if before == after and text != pg.render(wanted.settings):
        yield Change(
            "file", pg.PATH, "change", why="its text was changed, no value was", detail={"path": pg.PATH}
        )


# -- the container ---------------------------------------------------------------------------------


def _container(wanted: Desired, found: Observed) -> Iterator[Change]:
    for name in found.strangers:
        yield Change("container", name, "remove", effect="restart", why="it is no longer part of the stack")
    is_now, pinned = found.container, wanted.image["pinned"]
    if is_now is None:
        yield Change("container", wanted.container, "create", after=short(pinned))
        return
    alive = is_now["state"] in ("running", "restarting", "paused")
    # Replacing or starting what does not run disconnects nobody.
    if _differs(wanted, found):
        compose = next(item for item in wanted.files if item.path == COMPOSE)
        why = _difference(str(found.files.get(COMPOSE, {}).get("text", "")), compose.text or "")
        if why == "its text was changed":
            why = "it was not made from this compose.yml"
        yield Change(
            "container",
            wanted.container,
            "recreate",
            effect="recreate" if is_now["state"] == "running" else "none",
            before=short(is_now["image_reference"]) if is_now["image_reference"] != pinned else "",
            after=short(pinned) if is_now["image_reference"] != pinned else "",
            why=why,
            detail={"path": COMPOSE},
        )
    elif is_now["state"] != "running":
        words = {"restarting": "it fails and is started again and again"}
        why = words.get(is_now["state"], f"it is {is_now['state']}")
        yield Change("container", wanted.container, "restart" if alive else "start", why=why)


def _differs(wanted: Desired, found: Observed) -> bool:
    is_now = found.container or {}
    return is_now["config_hash"] != wanted.config_hash or bool(found.image and is_now["image"] != found.image)


def _replaces(wanted: Desired, found: Observed) -> bool:
    return found.running and _differs(wanted, found)


def _activate(wanted: Desired, found: Observed) -> Iterator[Change]:
    """What was written and is not active yet: an earlier run was interrupted, or somebody edited by hand."""
    if found.server is None:
        return
    waiting = list(found.server["pending_restart"])
    if waiting:
        yield Change(
            "server",
            wanted.instance,
            "restart",
            effect="restart",
            why=f"{', '.join(waiting)} wait for a restart",
        )
    loaded = float(found.server["config_loaded"])
    newer = [
        path
        for path, state in found.files.items()
        if path.startswith("postgres/") and state["type"] == "file" and float(state["modified"]) > loaded
    ]
    if newer:
        why = f"{', '.join(sorted(newer))} changed after the last reload"
        yield Change("server", wanted.instance, "reload", effect="reload", why=why)


PLANNERS: tuple[Planner, ...] = (
    _image,
    _files,
    _link,
    _volume,
    _settings,
    _container,
    _activate,
    objects.plan,
)


# -- the other verbs -------------------------------------------------------------------------------


def plan_stopped(wanted: Desired, found: Observed) -> Plan:
    """The container stops, everything else stays. Whoever says stop means the disconnection."""
    if found.container and found.container["state"] not in ("exited", "created", "dead"):
        return Plan((Change("container", wanted.container, "stop", effect="restart", risk=""),))
    return Plan()


def plan_started(wanted: Desired, found: Observed) -> Plan:
    if not found.container:
        raise AzaError(
            f"{wanted.instance} has no container on this host. Deploy it first (ansible-playbook deploy-single.yml).",
            reason="not_deployed",
        )
    if found.container["state"] == "running":
        return Plan()
    action = "restart" if found.container["state"] in ("paused", "restarting") else "start"
    return Plan((Change("container", wanted.container, action, why=f"it is {found.container['state']}"),))


def plan_absent(wanted: Desired, found: Observed, remove_data: bool) -> Plan:
    """Containers, network, files on the host; the data only when it was named. Never an image, never a backup."""
    changes = []
    names = [wanted.container] if found.container else []
    for name in [*found.strangers, *names]:
        changes.append(Change("container", name, "remove", effect="restart"))
    if found.network:
        changes.append(Change("network", wanted.network, "remove"))
    if found.socket_link is not None:
        changes.append(Change("link", wanted.socket_link, "remove"))
    if found.files:
        changes.append(
            Change("directory", wanted.directory, "remove", why="the control node keeps the secrets")
        )
    if found.volume and remove_data:
        risk = f"every database of {wanted.instance}"
        changes.append(Change("volume", wanted.volume, "remove", effect="data", risk=risk))
    return Plan(tuple(changes))
