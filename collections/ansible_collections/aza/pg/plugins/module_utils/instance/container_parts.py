# SPDX-License-Identifier: Apache-2.0
"""The parts of an instance that run: its containers with their network, and what makes their files active."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial

from ansible_collections.aza.pg.plugins.module_utils.instance import files
from ansible_collections.aza.pg.plugins.module_utils.instance.context import Context
from ansible_collections.aza.pg.plugins.module_utils.instance.part import Part, later
from ansible_collections.aza.pg.plugins.module_utils.model.desired import Desired
from ansible_collections.aza.pg.plugins.module_utils.model.details import ContainerDetail, FileDetail
from ansible_collections.aza.pg.plugins.module_utils.model.observed import ContainerFacts, Observed
from ansible_collections.aza.pg.plugins.module_utils.model.service import (
    SERVER,
    ContainerSpec,
    container_name,
)
from ansible_collections.aza.pg.plugins.module_utils.planning.change import Change
from ansible_collections.aza.pg.plugins.module_utils.services import containers, registry
from ansible_collections.aza.pg.plugins.module_utils.services.base import Service


class Containers(Part):
    kinds = ("container",)

    def plan(self, wanted: Desired, found: Observed, planned: Sequence[Change]) -> Iterator[Change]:
        yield from containers.orphans(wanted, found, partial(registry.clientless, wanted.project))
        for spec in wanted.services:
            for item in wanted.files:
                if item.per_network and item.reader == spec.name:
                    yield from files.changes(item, wanted, found)
            yield from containers.changes(spec, wanted, found)

    def apply(self, context: Context, change: Change) -> None:
        stop, wait = str(context.wanted.stop_seconds), context.wanted.stop_seconds + 60
        if change.action == "remove":
            context.docker.run("stop", "--time", stop, change.name, timeout=wait)
            context.docker.run("rm", "--force", change.name)
            return
        if change.action == "stop":
            context.docker.run("stop", "--time", stop, change.name, timeout=wait)
            return
        if change.action == "restart":
            context.docker.run("unpause", change.name, check=False)
            context.docker.run("restart", "--time", stop, change.name, timeout=wait)
        else:
            detail = change.detail_as(ContainerDetail)
            if detail.compose:
                files.write(context, context.file(containers.COMPOSE))
            compose = str(context.directory / containers.COMPOSE)
            again = ["--force-recreate"] if change.action == "recreate" else []
            # This service alone: what another one needs is a change of its own, or waits for a permission.
            alone = ["--no-deps", *again, detail.service]
            context.docker.run(
                "compose", "--file", compose, "up", "--detach", "--no-build", *alone, timeout=wait + 300
            )
        registry.service(change.detail_as(ContainerDetail).service).started(context.wanted, context.docker)

    def simulate(self, wanted: Desired, found: Observed, change: Change) -> Observed:
        there = dict(found.containers)
        spec = next((item for item in wanted.services if item.container == change.name), None)
        if spec is None or change.action == "remove":
            orphans = {name: item for name, item in found.orphans.items() if name != change.name}
            if spec:
                there.pop(spec.name, None)
            return replace(found, containers=there, orphans=orphans)
        if change.action == "stop":
            there[spec.name] = {**there[spec.name], "state": "exited"}
            return replace(found, containers=there)
        there[spec.name] = _started(spec, wanted, found)
        found = replace(found, containers=there, network=True)
        if change.detail_as(ContainerDetail).compose:
            item = wanted.file(containers.COMPOSE)
            found = replace(found, files={**found.files, item.path: files.written(item, wanted, found)})
        return read_everything(found) if spec.name == SERVER else found


def _started(spec: ContainerSpec, wanted: Desired, found: Observed) -> ContainerFacts:
    return {
        "state": "running",
        "config_hash": spec.config_hash,
        "image": found.images.get(spec.name, ""),
        "image_reference": spec.image["pinned"],
        "project": wanted.project,
        "since": later(found),
        "edited": [],
    }


def read_everything(found: Observed) -> Observed:
    """Return the facts of a server that has just read all of its files."""
    if found.server is None:
        return found
    now = later(found)
    return replace(
        found, server={**found.server, "config_loaded": now, "started": now, "pending_restart": []}
    )


class Remains(Part):
    """The network and the directories that no service uses any more; removed after its containers."""

    kinds = ("network",)

    def plan(self, wanted: Desired, found: Observed, planned: Sequence[Change]) -> Iterator[Change]:
        if found.other_network:
            yield Change(
                "network",
                wanted.other_network,
                "remove",
                why="no container uses it",
                needs=tuple(f"container {spec.name}" for spec in wanted.services),
            )
        for item in wanted.leftovers:
            if item.is_directory and item.path in found.files:
                yield Change(
                    "directory",
                    item.path,
                    "remove",
                    why="nothing uses it",
                    detail=FileDetail(item.path),
                    # Its files are in use while its container waits for a permission to go.
                    needs=(f"container {container_name(wanted.project, item.reader)}",),
                )

    def apply(self, context: Context, change: Change) -> None:
        context.docker.run("network", "rm", change.name)

    def simulate(self, wanted: Desired, found: Observed, change: Change) -> Observed:
        return replace(
            found,
            other_network=found.other_network and change.name != wanted.other_network,
            network=found.network and change.name != wanted.network,
        )


class Activation(Part):
    """What makes the files of services active. Reload and restart are applied once, by ``apply.py``."""

    def __init__(self, services: Sequence[Service], kinds: tuple[str, ...]) -> None:
        self.services, self.kinds = services, kinds

    def plan(self, wanted: Desired, found: Observed, planned: Sequence[Change]) -> Iterator[Change]:
        for service in self.services:
            if wanted.service(service.name):
                yield from service.changes(wanted, found, planned)

    def apply(self, context: Context, change: Change) -> None:
        """Nothing of its own."""
