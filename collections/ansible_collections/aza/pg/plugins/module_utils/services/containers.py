# SPDX-License-Identifier: Apache-2.0
"""The changes to the containers of an instance: made, started, replaced, removed. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ansible_collections.aza.pg.plugins.module_utils.model.desired import Desired
from ansible_collections.aza.pg.plugins.module_utils.model.details import ContainerDetail
from ansible_collections.aza.pg.plugins.module_utils.model.observed import Observed
from ansible_collections.aza.pg.plugins.module_utils.model.service import SERVER, ContainerSpec, short, title
from ansible_collections.aza.pg.plugins.module_utils.planning import differences
from ansible_collections.aza.pg.plugins.module_utils.planning.change import Change

COMPOSE = "compose.yml"
# As Compose calls a new container until the old one is gone.
_HALF_MADE = re.compile(r"[0-9a-f]{12}_(.+)")


def orphans(wanted: Desired, found: Observed, clientless: Callable[[str], bool]) -> Iterator[Change]:
    """Plan the removal of containers of the project that are not its services. ``clientless``: whether no client is
    connected to a container of that name."""
    for name, orphan in found.orphans.items():
        effect = "none" if clientless(name) or not _may_serve(orphan) else "restart"
        half_made = _HALF_MADE.fullmatch(name)
        is_ours = half_made and half_made[1] in {service.container for service in wanted.services}
        why = "an interrupted recreate left it" if is_ours else "it is no longer part of the stack"
        yield Change("container", name, "remove", effect=effect, why=why, id=f"container {name}")


def changes(service: ContainerSpec, wanted: Desired, found: Observed) -> Iterator[Change]:
    """What one service's container needs."""
    is_now, pinned = found.containers.get(service.name), service.image["pinned"]
    # compose.yml waits with the server's container, and every other change of it waits for compose.yml.
    together = "recreate" if replaces(wanted, found) else "none"
    detail = ContainerDetail(service.name)
    # Two servers on one volume destroy its data.
    users = [
        name for name, item in found.orphans.items() if wanted.volume in item["volumes"] and _may_serve(item)
    ]
    first = tuple(f"container {name}" for name in users) if service.name == SERVER else ()
    if is_now is None:
        yield Change(
            "container",
            service.container,
            "create",
            effect=together,
            after=title(service.image),
            detail=detail,
            needs=first,
        )
        return
    alive = is_now["state"] in ("running", "restarting", "paused")
    # Recreating or starting a container that does not run disconnects no client.
    if differs(service, found):
        compose = next(item for item in wanted.files if item.path == COMPOSE)
        texts = str(found.files.get(COMPOSE, {}).get("text", "")), compose.text or ""
        why = (
            differences.of_service(service.name, *texts)
            or differences.of(*texts)
            or "it was not made from this compose.yml"
        )
        edited = () if _is_older(service, found) else _edits(service, found)
        why = "; ".join(edited[:4]) + (f"; and {len(edited) - 4} more" if len(edited) > 4 else "") or why
        disconnects = service.has_clients and is_now["state"] == "running"
        yield Change(
            "container",
            service.container,
            "recreate",
            effect="recreate" if disconnects else together,
            before=short(is_now["image_reference"]) if is_now["image_reference"] != pinned else "",
            after=title(service.image) if is_now["image_reference"] != pinned else "",
            why=why,
            edited=bool(edited),
            detail=ContainerDetail(service.name, compose=True),
            id=f"container {service.name}",
            needs=first,
        )
    elif is_now["state"] != "running":
        words = {"restarting": "it restarts repeatedly"}
        why = words.get(is_now["state"], f"it is {is_now['state']}")
        action = "restart" if alive else "start"
        yield Change("container", service.container, action, why=why, detail=detail, needs=first)
    elif _is_stale(service, wanted, found):
        why = "its password changed after it started"
        yield Change("container", service.container, "restart", why=why, detail=detail)


def _is_stale(service: ContainerSpec, wanted: Desired, found: Observed) -> bool:
    """Whether its secret is replaced now, or was since it started: what is mounted stays what it was.

    The server itself reads its secret only once, at the first start.
    """
    files = [
        found.files.get(item.path) for item in wanted.files if item.secret and item.owner == service.name
    ]
    since = float(found.containers[service.name].get("since") or 0)
    return not service.has_clients and any(
        now is None or now["matches"] is False or (since and float(now["modified"]) > since) for now in files
    )


def differs(service: ContainerSpec, found: Observed) -> bool:
    return _is_older(service, found) or bool(_edits(service, found))


def _is_older(service: ContainerSpec, found: Observed) -> bool:
    """Whether its container was made from another declaration or image."""
    is_now, image = found.containers[service.name], found.images.get(service.name)
    return is_now["config_hash"] != service.config_hash or bool(image and is_now["image"] != image)


def _edits(service: ContainerSpec, found: Observed) -> list[str]:
    """What a user changed of its container after it was made."""
    return list(found.containers[service.name].get("edited", ()))


def _may_serve(container: Mapping[str, Any]) -> bool:
    return container["state"] in ("running", "restarting", "paused")


def is_replaced(service: ContainerSpec, found: Observed) -> bool:
    return service.name in found.containers and differs(service, found)


def replaces(wanted: Desired, found: Observed) -> bool:
    """Whether clients are disconnected by a new container."""
    return any(
        service.has_clients
        and found.containers.get(service.name, {}).get("state") == "running"
        and differs(service, found)
        for service in wanted.services
    )
