# SPDX-License-Identifier: Apache-2.0
"""The plans of the verbs that need no declaration: stop, start, remove. Pure, and applied like every other plan."""

from __future__ import annotations

from ansible_collections.aza.pg.plugins.module_utils.errors import AzaError
from ansible_collections.aza.pg.plugins.module_utils.host import huge_pages
from ansible_collections.aza.pg.plugins.module_utils.instance import location, ownership
from ansible_collections.aza.pg.plugins.module_utils.model.desired import Desired
from ansible_collections.aza.pg.plugins.module_utils.model.details import ContainerDetail
from ansible_collections.aza.pg.plugins.module_utils.model.observed import Observed
from ansible_collections.aza.pg.plugins.module_utils.planning.change import Change
from ansible_collections.aza.pg.plugins.module_utils.planning.plan import Plan
from ansible_collections.aza.pg.plugins.module_utils.services.registry import clientless


def stopped(wanted: Desired, found: Observed) -> Plan:
    """The containers stop, everything else stays. Stopping needs no further permission to disconnect clients."""
    running = [
        service
        for service in reversed(wanted.services)
        if service.name in found.containers
        and found.containers[service.name]["state"] not in ("exited", "created", "dead")
    ]
    return Plan(
        tuple(
            Change(
                "container",
                service.container,
                "stop",
                effect="restart" if service.has_clients else "none",
                detail=ContainerDetail(service.name),
            )
            for service in running
        )
    )


def started(wanted: Desired, found: Observed) -> Plan:
    if not found.container:
        raise AzaError(
            f"{wanted.instance} has no container on this host. Deploy it first (ansible-playbook deploy-single.yml).",
            reason="not_deployed",
        )
    # Without systemd nothing else makes the link again after a restart of the host.
    changes = list(location.changes(wanted, found))
    for service in wanted.services:
        state = found.containers.get(service.name, {}).get("state", "running")
        if state != "running":
            action = "restart" if state in ("paused", "restarting") else "start"
            detail = ContainerDetail(service.name)
            changes.append(
                Change("container", service.container, action, why=f"it is {state}", detail=detail)
            )
    return Plan(tuple(changes))


def absent(wanted: Desired, found: Observed, remove_data: bool) -> Plan:
    """Containers, network, files on the host; the data only when it was named. Never an image, never a backup."""
    changes = []
    ours = [item.container for item in reversed(wanted.services) if item.name in found.containers]
    for name in [*found.orphans, *ours]:
        effect = "none" if clientless(wanted.project, name) else "restart"
        changes.append(Change("container", name, "remove", effect=effect))
    for name, exists in ((wanted.network, found.network), (wanted.other_network, found.other_network)):
        if exists:
            changes.append(Change("network", name, "remove"))
    if found.socket_link is not None:
        changes.append(Change("link", wanted.socket_link, "remove"))
    if found.files:
        changes.append(
            Change("directory", wanted.directory, "remove", why="the control node keeps the secrets")
        )
    changes += huge_pages.changes(wanted, found, renewed=False)
    if found.volume and remove_data:
        risk = f"every database of {wanted.instance}"
        changes.append(Change("volume", wanted.volume, "remove", effect="data", risk=risk))
    if remove_data or not found.volume:
        # While there is data, it has an owner.
        changes += ownership.removal(wanted, found)
    return Plan(tuple(changes))
