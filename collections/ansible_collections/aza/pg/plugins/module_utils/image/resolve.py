# SPDX-License-Identifier: Apache-2.0
"""Make a lock by asking the archives, or find out that the one that is there still serves."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from ansible_collections.aza.pg.plugins.module_utils.catalog import Catalog
from ansible_collections.aza.pg.plugins.module_utils.catalog.model import Apt as AptSource
from ansible_collections.aza.pg.plugins.module_utils.errors import AzaError
from ansible_collections.aza.pg.plugins.module_utils.image import base, engine, mirror
from ansible_collections.aza.pg.plugins.module_utils.image.apt import BASE_ROOTS, Apt
from ansible_collections.aza.pg.plugins.module_utils.image.lock import (
    Architecture,
    Lock,
    carried_over,
    compare,
    now,
    packages_from,
)
from ansible_collections.aza.pg.plugins.module_utils.image.process import Progress
from ansible_collections.aza.pg.plugins.module_utils.image.source import Source


@dataclass(frozen=True)
class Question:
    """What a lock is asked for, and where.

    :param base_image: asked for its digest instead of the source's own image (a registry that mirrors it).
    """

    image_dir: Path
    cache_dir: Path
    source: Source
    mirrors: Mapping[str, str]
    base_image: str | None = None

    def apt(self, architecture: str, uris: Mapping[str, str]) -> Apt:
        """Return an up-to-date apt for ``architecture``."""
        found = Apt(self.cache_dir / "apt", self.source, uris, architecture, self.image_dir / "keys")
        found.update()
        return found


def roots(catalog: Catalog, source: Source) -> list[str]:
    """Return every package that any image, flavour or choice of extensions can ask for by name."""
    found = set(source.companions)
    for image in catalog.manifest.images.values():
        found |= set(image.packages.get(source.name, ()))
    for entry in catalog.extensions.values():
        given = entry.source_in(source.name)
        if entry.enabled and isinstance(given, AptSource):
            found.add(given.package)
    return sorted(found)


def resolve(question: Question, catalog: Catalog, old: Lock | None, say: Callable[[str], None]) -> Lock:
    """Return the lock that the archives give today; ``old`` itself when nothing differs."""
    progress = Progress(say)
    source = question.source
    uris = mirror.mirrors(source, question.mirrors)
    wanted = roots(catalog, source)
    architectures = {}
    for architecture in source.architectures:
        progress.step(f"lock: what {source.name} has for {architecture}")
        asked = question.apt(architecture, uris)
        everything = asked.resolve([*BASE_ROOTS, *wanted])
        architectures[architecture] = Architecture(
            base=tuple(asked.resolve(BASE_ROOTS)), packages=packages_from(asked.describe(everything))
        )
    progress.step(f"lock: the digest of {source.base.image}")
    moment = now()
    new = Lock(
        source=source.name,
        major=catalog.manifest.major,
        suite=source.repositories[0].suite,
        image=source.base.image,
        digest=base.registry_digest(question.base_image or source.base.image),
        resolved_at=moment,
        base_at=moment,
        architectures=architectures,
    )
    return carried_over(old, new)


def with_rootfs(question: Question, lock: Lock, say: Callable[[str], None]) -> Lock:
    """Make the base where this machine can, note its checksum, and leave it for the build."""
    if base.why_no_bootstrap():
        return lock
    own = engine.host_architecture()
    if own not in lock.architectures or lock.architectures[own].rootfs:
        return lock
    uris = mirror.mirrors(question.source, question.mirrors)
    cache = question.cache_dir
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as folder:
        tar = Path(folder) / "rootfs.tar"
        uri = uris[question.source.repositories[0].name]
        log = cache / "logs" / f"base-{own}.log"
        checksum = base.bootstrap(tar, question.source, lock, own, uri, Progress(say), log)
        base.keep_rootfs(cache, lock, tar, own)
    return replace(
        lock,
        architectures={**lock.architectures, own: replace(lock.architectures[own], rootfs=checksum)},
    )


def with_digest(question: Question, lock: Lock) -> Lock:
    """Return the lock with the base image's digest, when a registry can be reached; nothing else is resolved again."""
    return replace(lock, digest=base.registry_digest(question.base_image or question.source.base.image))


def out_of_date(question: Question, wanted: Mapping[str, Mapping[str, str]]) -> list[str]:
    """Return which of the ``wanted`` versions (by architecture and name) the archives no longer serve."""
    uris = mirror.mirrors(question.source, question.mirrors)
    gone: dict[str, None] = {}
    for architecture, versions in wanted.items():
        for name, version in question.apt(architecture, uris).not_served(versions).items():
            gone[f"{name} {version}"] = None
    return list(gone)


def explain(old: Lock | None, new: Lock) -> tuple[str, list[str]]:
    """Return the difference in a sentence and line by line."""
    difference = compare(old, new)
    if old is None:
        counts = ", ".join(f"{len(facts.packages)} for {name}" for name, facts in new.architectures.items())
        return f"locked {counts}", difference.lines()
    return difference.summary, difference.lines()


def require_known(lock: Lock, catalog: Catalog, source: Source) -> None:
    """Raise when the catalogue has packages that the lock does not know yet."""
    for architecture in lock.architectures:
        lock.closure(architecture, roots(catalog, source))
    if set(source.architectures) - set(lock.architectures):
        raise AzaError(
            f"{lock.file} does not cover "
            f"{', '.join(sorted(set(source.architectures) - set(lock.architectures)))}",
            reason="lock_incomplete",
        )
