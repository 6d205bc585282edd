# SPDX-License-Identifier: Apache-2.0
"""The parts of an instance that its host has: recorded environment, images, link to the socket, volume, huge pages."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from ansible_collections.aza.pg.plugins.module_utils.errors import AzaError
from ansible_collections.aza.pg.plugins.module_utils.host import files, huge_pages
from ansible_collections.aza.pg.plugins.module_utils.instance import location, ownership
from ansible_collections.aza.pg.plugins.module_utils.instance import ownership_record as record
from ansible_collections.aza.pg.plugins.module_utils.instance.context import Context
from ansible_collections.aza.pg.plugins.module_utils.instance.part import Part, later
from ansible_collections.aza.pg.plugins.module_utils.model.desired import Desired
from ansible_collections.aza.pg.plugins.module_utils.model.details import ServiceDetail
from ansible_collections.aza.pg.plugins.module_utils.model.observed import Observed
from ansible_collections.aza.pg.plugins.module_utils.model.service import title
from ansible_collections.aza.pg.plugins.module_utils.objects import settings
from ansible_collections.aza.pg.plugins.module_utils.planning.change import Change
from ansible_collections.aza.pg.plugins.module_utils.services import containers


class Environment(Part):
    kinds = (ownership.KIND,)

    def plan(self, wanted: Desired, found: Observed, planned: Sequence[Change]) -> Iterator[Change]:
        yield from ownership.changes(wanted, found)

    def apply(self, context: Context, change: Change) -> None:
        path = record.path_of(context.directory)
        if change.action == "forget":
            path.unlink(missing_ok=True)
            return
        claim = context.wanted.claim
        files.own(record.text(claim.environment, claim.origin, int(time.time())), path, 0o600)

    def simulate(self, wanted: Desired, found: Observed, change: Change) -> Observed:
        if change.action == "forget":
            return replace(found, owner={})
        claim = wanted.claim
        return replace(found, owner={"environment": claim.environment, "from": claim.origin, "file": True})


class Images(Part):
    kinds = ("image",)

    def plan(self, wanted: Desired, found: Observed, planned: Sequence[Change]) -> Iterator[Change]:
        brought = set()
        for service in wanted.services:
            image = service.image
            if found.images.get(service.name) or image["pinned"] in brought:
                continue
            brought.add(image["pinned"])
            built = bool(image.get("archive"))
            yield Change(
                "image",
                image["reference"],
                "load" if built else "pull",
                after=title(image),
                why="not on this host; from the control node's archive"
                if built
                else "not on this host; from its registry",
                detail=ServiceDetail(service.name),
            )

    def apply(self, context: Context, change: Change) -> None:
        name = change.detail_as(ServiceDetail).service
        service = context.wanted.service(name)
        if service and change.action == "pull":
            context.docker.run("pull", "--quiet", service.image["pinned"], timeout=3600)
            return
        if not context.archives.get(name):
            raise AzaError("the image's archive did not reach this host", reason="no_archive")
        context.docker.run("load", "--quiet", "--input", context.archives[name], timeout=1800)

    def simulate(self, wanted: Desired, found: Observed, change: Change) -> Observed:
        loaded = wanted.service(change.detail_as(ServiceDetail).service)
        assert loaded is not None
        same = [item for item in wanted.services if item.image["pinned"] == loaded.image["pinned"]]
        ids = {item.name: f"sha256:{loaded.image['pinned']}" for item in same}
        return replace(found, images={**found.images, **ids})


class SocketLink(Part):
    """/run is empty after a reboot: if systemd runs, it makes the link again."""

    kinds = (location.KIND,)

    def plan(self, wanted: Desired, found: Observed, planned: Sequence[Change]) -> Iterator[Change]:
        yield from location.changes(wanted, found)

    def apply(self, context: Context, change: Change) -> None:
        link, rule = Path(change.name), location.rule_of(context.wanted.instance)
        if change.action == "remove":
            link.unlink(missing_ok=True)
            rule.unlink(missing_ok=True)
            return
        files.link_atomic(link, context.wanted.socket_dir)
        if Path("/run/systemd/system").is_dir() and rule.parent.is_dir():
            files.write_atomic(rule, location.rule(context.wanted).encode(), 0o644, (0, 0))

    def simulate(self, wanted: Desired, found: Observed, change: Change) -> Observed:
        there = None if change.action == "remove" else wanted.socket_dir
        return replace(found, socket_link=there, rule_missing=False)


class Volume(Part):
    kinds = ("volume",)

    def plan(self, wanted: Desired, found: Observed, planned: Sequence[Change]) -> Iterator[Change]:
        if not found.volume:
            yield Change("volume", wanted.volume, "create")

    def apply(self, context: Context, change: Change) -> None:
        if change.action == "remove":
            context.docker.run("volume", "rm", change.name)
            return
        environment = context.wanted.claim.environment
        labels = {**context.wanted.labels, **({record.LABEL: environment} if environment else {})}
        words = [part for key, value in labels.items() for part in ("--label", f"{key}={value}")]
        context.docker.run("volume", "create", *words, change.name)

    def simulate(self, wanted: Desired, found: Observed, change: Change) -> Observed:
        return replace(found, volume=change.action != "remove")


class HugePages(Part):
    kinds = (huge_pages.KIND,)

    def plan(self, wanted: Desired, found: Observed, planned: Sequence[Change]) -> Iterator[Change]:
        if found.huge_pages:
            yield from huge_pages.changes(wanted, found, is_renewed(wanted, found))

    def apply(self, context: Context, change: Change) -> None:
        """In such an order that the kernel never keeps more than the file says: it would be taken for another's."""
        with huge_pages.held():
            seen = huge_pages.of_host()
            should = huge_pages.parse(seen["text"], seen["kernel"]).having(
                context.wanted.instance, change.detail_as(huge_pages.PagesDetail).pages
            )
            if should.total < seen["kernel"]:
                huge_pages.ask_kernel(should.total)
                _write_pages(should.render())
                return
            _write_pages(should.render())
            try:
                huge_pages.ask_kernel(should.total)
            except AzaError:
                _write_pages(seen["text"])
                raise

    def simulate(self, wanted: Desired, found: Observed, change: Change) -> Observed:
        seen = found.huge_pages
        pages = change.detail_as(huge_pages.PagesDetail).pages
        kept = huge_pages.parse(seen["text"], seen["kernel"]).having(wanted.instance, pages)
        return replace(
            found,
            huge_pages={
                **seen,
                "text": kept.render(),
                "kernel": kept.total,
                "modified": later(found),
            },
        )


def is_renewed(wanted: Desired, found: Observed) -> bool:
    """Return whether the next server may share more or less memory than the one that runs, permitted or not."""
    return containers.is_replaced(wanted.server, found) or any(
        change.effect == "restart" for change in settings.changes(wanted, found)
    )


def _write_pages(text: str) -> None:
    if text:
        files.own(text, huge_pages.PATH, 0o644)
    else:
        huge_pages.PATH.unlink(missing_ok=True)
