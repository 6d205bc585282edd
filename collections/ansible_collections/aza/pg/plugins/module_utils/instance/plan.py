# SPDX-License-Identifier: Apache-2.0
"""From what should be and what is to the changes between them. Pure: no file, no clock, no environment.

Each kind of object has one function here and one applier in ``apply.py``; their order in ``PLANNERS`` is the
order of application. A new kind of object is a new pair.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator

from ansible_collections.aza.pg.plugins.module_utils import objects
from ansible_collections.aza.pg.plugins.module_utils.errors import AzaError
from ansible_collections.aza.pg.plugins.module_utils.host import huge_pages, ports
from ansible_collections.aza.pg.plugins.module_utils.instance import location, ownership
from ansible_collections.aza.pg.plugins.module_utils.model.desired import Desired
from ansible_collections.aza.pg.plugins.module_utils.model.names import IPV6_SUFFIX
from ansible_collections.aza.pg.plugins.module_utils.model.observed import Observed
from ansible_collections.aza.pg.plugins.module_utils.model.service import (
    PGBOUNCER,
    File,
    container_name,
    title,
)
from ansible_collections.aza.pg.plugins.module_utils.objects import hba, settings
from ansible_collections.aza.pg.plugins.module_utils.planning import differences
from ansible_collections.aza.pg.plugins.module_utils.planning.change import Change
from ansible_collections.aza.pg.plugins.module_utils.planning.plan import Plan, hold
from ansible_collections.aza.pg.plugins.module_utils.replication import standby
from ansible_collections.aza.pg.plugins.module_utils.server import settings as pg
from ansible_collections.aza.pg.plugins.module_utils.services import containers
from ansible_collections.aza.pg.plugins.module_utils.services.pgbouncer import drift as pool_drift
from ansible_collections.aza.pg.plugins.module_utils.services.pgbouncer import rules as pool_rules
from ansible_collections.aza.pg.plugins.module_utils.services.pgbouncer import service as pgbouncer
from ansible_collections.aza.pg.plugins.module_utils.tls import certificate as tls

# Smallest free space with which a first start is honest: initdb, WAL and the first checkpoints.
DISK_FLOOR_MB = 1024
SOCKET_PATH_MAX = 107
# A call takes seconds to get there; clocks that are kept by NTP differ by far less than this.
MOST_SKEW_SECONDS = 60

# The first Docker Engine whose rules for IPv6 are on and which chooses addresses for such a network itself.
IPV6_ENGINE = 27

Planner = Callable[[Desired, Observed], Iterator[Change]]


def plan(wanted: Desired, found: Observed, allowed: tuple[str, ...] = ()) -> Plan:
    """What a deploy has to do. ``allowed``: which of restart and recreate somebody has permitted."""
    changes = [change for planner in PLANNERS for change in planner(wanted, found)]
    planned = hold(changes, allowed, wanted.objects.get("allow_loss") or ())
    if _starts_another_server(wanted, planned.changes):
        return Plan((*planned.changes, *huge_pages.afterwards(wanted, found)), planned.held)
    return planned


def _starts_another_server(wanted: Desired, changes: Iterable[Change]) -> bool:
    """Whether the server that runs afterwards is another one."""
    return any(
        change.name == wanted.container and change.action != "remove"
        if change.kind == "container"
        else change.effect == "restart"
        for change in changes
    )


def problems(wanted: Desired, found: Observed) -> list[str]:
    """Why the plan could not be carried out on this host: everything at once, before anything is touched."""
    host, where = found.host, f"instance {wanted.instance}"
    result = []
    for service in wanted.services:
        here, problem = found.containers.get(service.name), found.port_problems.get(service.name, "")
        if here and here["project"] != wanted.project:
            result.append(
                f"a container named {service.container} exists already and is not part of {where}; remove or rename "
                "it"
            )
        if problem.startswith(ports.OF_SERVICE):
            other = wanted.service(problem[len(ports.OF_SERVICE) :])
            result.append(
                f"{service.port_variable} {service.port}: {other.container if other else problem} of this instance "
                "still publishes that port. Give it another port and deploy, then deploy this one"
            )
        if problem == ports.TAKEN:
            result.append(
                f"something else on this host listens on {service.publish_address}:{service.port} already; choose "
                f"another {service.port_variable} or stop it (ss -ltnp shows it)"
            )
        if problem == ports.NO_ADDRESS:
            result.append(
                f"{service.address_variable} {service.publish_address} is no address of this host; "
                "`ip -brief address` lists those it has"
            )
    result += _same_ports(wanted)
    result += tls.problems(wanted, found)
    engine = str(host.get("engine") or "")
    major = engine.partition(".")[0]
    if wanted.network.endswith(IPV6_SUFFIX) and major.isdecimal() and int(major) < IPV6_ENGINE:
        result.append(
            f"an IPv6 address is published, and Docker Engine {engine} hides the addresses of IPv6 clients from the "
            f"server, so that no rule could tell them apart; install Docker Engine {IPV6_ENGINE} or later, or publish "
            "an IPv4 address"
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
    skew = float(host.get("skew") or 0)
    if abs(skew) > MOST_SKEW_SECONDS:
        result.append(
            f"the clock of this host is {abs(skew):.0f} s {'ahead of' if skew > 0 else 'behind'} the control node's; "
            "certificates, lag and logs cannot be judged by it: set one of them right (timedatectl, chrony)"
        )
    if wanted.huge_pages_mb:
        result += huge_pages.problems(wanted, found, _is_renewed(wanted, found))
    result += objects.problems(wanted, found)
    return result


def _same_ports(wanted: Desired) -> Iterator[str]:
    """Two services of one instance on one port; what only one of them would get."""
    for number, one in enumerate(wanted.services):
        for other in wanted.services[number + 1 :]:
            everywhere = {"0.0.0.0", "::"} & {one.publish_address, other.publish_address}
            if one.port == other.port != 0 and (everywhere or one.publish_address == other.publish_address):
                yield (
                    f"{one.port_variable} and {other.port_variable} are both {one.port}; choose another one for one of "
                    "them"
                )


def refuse(wanted: Desired, found: Observed) -> None:
    said = problems(wanted, found)
    if said:
        raise AzaError(
            f"{wanted.instance}: {'; '.join(said)}. Nothing was changed.", reason="preflight", problems=said
        )


# -- the host --------------------------------------------------------------------------------------


def _image(wanted: Desired, found: Observed) -> Iterator[Change]:
    brought = set()
    for service in wanted.services:
        image = service.image
        if found.images.get(service.name) or image["pinned"] in brought:
            continue
        brought.add(image["pinned"])
        source = "from the control node's archive" if image.get("archive") else "from its registry"
        yield Change(
            "image",
            image["reference"],
            "load" if image.get("archive") else "pull",
            after=title(image),
            why=f"not here; {source}",
            detail={"service": service.name},
        )


def _files(wanted: Desired, found: Observed) -> Iterator[Change]:
    for item in wanted.files:
        if item.path == pg.PATH and item.path in found.files and found.server is not None:
            continue  # its settings are changes of their own
        if item.path == containers.COMPOSE and containers.replaces(wanted, found):
            continue  # written when the container is replaced, not while that waits for a permission
        if item.path == pgbouncer.HBA:
            continue  # written when there is a network, whose addresses stand in it
        yield from _file(item, wanted, found)
    leftovers = {item.path: item for item in wanted.leftovers}
    for path, state in found.files.items():
        if state.get("foreign") and not (path in leftovers and leftovers[path].is_directory):
            left = path in leftovers
            yield Change(
                "secret" if left else "file",
                path,
                "remove",
                effect="none" if left or not found.running else "reload",
                why="nothing uses it any more"
                if left
                else "it stands among the server's settings and the inventory does not know it",
                detail={"path": path},
            )


def _file(item: File, wanted: Desired, found: Observed) -> Iterator[Change]:
    kind = "directory" if item.is_directory else "secret" if item.secret else "file"
    if item.path in (pgbouncer.AUTHORITY, tls.CA_PATH):
        kind = tls.KIND  # it goes with the server's: whoever renews only certificates brings both
    name, detail = item.path or wanted.directory, item.detail
    owner = wanted.owner(item, (found.host.get("uid"), found.host.get("gid")))
    is_now = found.files.get(item.path)
    runs = found.containers.get(item.reader, {}).get("state") == "running"
    effect = item.effect if runs else "none"
    text = pool_rules.here(item, found.subnets)
    if item.secret == tls.SECRET and (is_now is None or is_now.get("matches") is False):
        yield tls.change(item, wanted, is_now, effect)
        return
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
    if (item.secret and is_now["matches"] is False) or (text is not None and is_now["sha256"] != _sha(text)):
        if item.path in hba.KIND_OF_PATH:
            yield from hba.changes(item, str(is_now.get("text", "")), effect, wanted)
            return
        if item.path == settings.STACK_PATH:
            yield from settings.stack_changes(item, str(is_now.get("text", "")), effect)
            return
        why = ""
        if not item.secret:
            before = str(is_now.get("text", ""))
            why = (
                tls.replaced(before, text or "")
                or differences.of(before, text or "")
                or "its text was changed"
            )
        yield Change(kind, name, "change", effect=effect, why=why, origin=item.origin, detail=detail)
        return
    before, after = _rights(is_now["mode"], is_now["uid"], is_now["gid"]), _rights(item.mode, *owner)
    if before != after:
        yield Change(kind, name, "set rights of", before=before, after=after, detail=detail)


def _rights(mode: int, uid: object, gid: object) -> str:
    return f"{mode:04o} {uid}:{gid}"


def _sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _volume(wanted: Desired, found: Observed) -> Iterator[Change]:
    if not found.volume:
        yield Change("volume", wanted.volume, "create")


def _huge_pages(wanted: Desired, found: Observed) -> Iterator[Change]:
    if found.huge_pages:
        yield from huge_pages.changes(wanted, found, _is_renewed(wanted, found))


def _is_renewed(wanted: Desired, found: Observed) -> bool:
    """Whether the server that runs shares what the next one will not, be that one permitted yet or not."""
    return containers.is_replaced(wanted.server, found) or any(
        change.effect == "restart" for change in settings.changes(wanted, found)
    )


# -- the containers --------------------------------------------------------------------------------


def _containers(wanted: Desired, found: Observed) -> Iterator[Change]:
    yield from containers.orphans(wanted, found)
    for service in wanted.services:
        if service.name == PGBOUNCER:
            rules = next(item for item in wanted.files if item.path == pgbouncer.HBA)
            yield from _file(rules, wanted, found)
        yield from containers.changes(service, wanted, found)
    if found.other_network:
        yield Change(
            "network",
            wanted.other_network,
            "remove",
            why="no container uses it any more",
            needs=tuple(f"container {service.name}" for service in wanted.services),
        )
    for item in wanted.leftovers:
        if item.is_directory and item.path in found.files:
            yield Change(
                "directory",
                item.path,
                "remove",
                why="nothing uses it any more",
                detail={"path": item.path},
                # Its files are in use while its container waits for a permission to go.
                needs=(f"container {container_name(wanted.project, PGBOUNCER)}",),
            )


def _activate(wanted: Desired, found: Observed) -> Iterator[Change]:
    """What was written and is not active yet: an earlier run was interrupted, or somebody edited by hand.

    What is about to be written anyway becomes active with that.
    """
    if found.server is None:
        return
    planned = [*_files(wanted, found), *settings.changes(wanted, found)]
    about = {change.name for change in planned if change.kind == "setting"}
    waiting = [name for name in found.server["pending_restart"] if name.lower() not in about]
    if waiting:
        yield Change(
            "server",
            wanted.instance,
            "restart",
            effect="restart",
            why=f"{', '.join(waiting)} wait for a restart",
        )
    # Its primary grew meanwhile: the standby has stopped replaying, and asks it anew at its next start.
    now = found.server["settings"]
    behind = [
        f"{name} {least}"
        for name, least in wanted.floor.items()
        if name not in about and name in now and int(now[name]["raw"]) < least
    ]
    if behind and not waiting:
        why = f"its primary has {', '.join(behind)}, and with less it does not replay"
        yield Change("server", wanted.instance, "restart", effect="restart", why=why)
    fresh = waiting or behind or containers.is_replaced(wanted.server, found)
    if not fresh and huge_pages.restarts(wanted, found):
        why = "it was started before huge pages were reserved for it"
        yield Change("server", wanted.instance, "restart", effect="restart", why=why)
    for name, value in standby.shrinks(wanted, found).items():
        if name not in about and now[name].get("source") == "command line":
            why = f"it was started with more than {name} {value}, which was still to be replayed"
            yield Change(
                "server",
                wanted.instance,
                "restart",
                effect="restart",
                why=why,
                awaits=standby.awaits(wanted, found, name),
            )
    loaded = float(found.server["config_loaded"])
    written = {
        change.detail.get("path", pg.PATH) if change.kind == "setting" else change.detail.get("path")
        for change in planned
        if change.effect == "reload" and not change.detail.get("reset")
    }
    # What the server reads whenever it needs it (the passfile, the authority of others) waits for no reload.
    unread = {item.path for item in wanted.files if item.effect == "none"}
    newer = [
        path
        for path, state in found.files.items()
        if path.startswith("postgres/")
        and path not in unread
        and state["type"] == "file"
        and float(state["modified"]) > loaded
    ]
    there = (found.files.get(tls.PATH) or {}).get("certificate") or {}
    shown = found.certificate_in_use
    if shown and there and shown != there["fingerprint"] and tls.PATH not in {*newer, *written}:
        why = f"it shows clients another certificate than {tls.PATH}"
        yield Change("server", wanted.instance, "reload", effect="reload", why=why)
    if set(newer) - written:
        why = f"{', '.join(sorted(set(newer) - written))} changed after the last reload"
        yield Change("server", wanted.instance, "reload", effect="reload", why=why)


def _activate_pgbouncer(wanted: Desired, found: Observed) -> Iterator[Change]:
    yield from pool_drift.reload(wanted, found, [*_files(wanted, found), *_containers(wanted, found)])


PLANNERS: tuple[Planner, ...] = (
    ownership.changes,
    _image,
    _files,
    location.changes,
    _volume,
    _huge_pages,
    settings.changes,
    _containers,
    _activate,
    objects.plan,
    _activate_pgbouncer,
)
