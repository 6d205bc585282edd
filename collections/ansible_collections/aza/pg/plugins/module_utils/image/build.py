# SPDX-License-Identifier: Apache-2.0
"""Build context + lock + base → images: as OCI archives, in the engine, and on record.

The archive is the product: it is bit for bit the same whenever it is made from the same lock. The engine takes it from
there, so that what runs is what was made.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from ansible_collections.aza.pg.plugins.module_utils.errors import AzaError, did_you_mean
from ansible_collections.aza.pg.plugins.module_utils.image import apt, base, engine, mirror, records
from ansible_collections.aza.pg.plugins.module_utils.image.archive import add_docker_manifest
from ansible_collections.aza.pg.plugins.module_utils.image.lock import Lock
from ansible_collections.aza.pg.plugins.module_utils.image.process import Progress, output, stream
from ansible_collections.aza.pg.plugins.module_utils.image.progress import BuildEvents
from ansible_collections.aza.pg.plugins.module_utils.image.records import Record
from ansible_collections.aza.pg.plugins.module_utils.image.render import (
    Tree,
    fingerprint,
    packages_fingerprint,
    read_tree,
)
from ansible_collections.aza.pg.plugins.module_utils.image.source import KEYS_IN_BUILD, Source, deb822

# A seventh smaller than gzip makes it, and quicker both ways; engines take it since version 23.
_COMPRESSION = "compression=zstd,force-compression=true"
_LABEL = "org.opencontainers.image."


@dataclass(frozen=True)
class Order:
    """What is to be built.

    :param build_dir: the rendered context.
    :param cache_dir: for the base and the logs.
    :param dist_dir: for the archives and the record.
    :param architectures: Debian names; one, but for a release.
    """

    build_dir: Path
    cache_dir: Path
    dist_dir: Path
    source: Source
    lock: Lock
    images: Sequence[str]
    architectures: Sequence[str]
    repository: str = "aza-pg"
    base: str = "auto"
    base_image: str | None = None
    mirrors: Mapping[str, str] = field(default_factory=dict)
    build_date: str | None = None
    vcs_ref: str | None = None
    no_cache: bool = False


@dataclass(frozen=True)
class Task:
    """One image of an order, and what becomes of it."""

    image: str
    tag: str
    labels: Mapping[str, str]
    inputs: str
    record: Record | None
    action: str
    """build | load | none"""


@dataclass(frozen=True)
class Plan:
    """What an order comes to."""

    tasks: list[Task]
    base: base.Kind
    build_date: str
    vcs_ref: str

    @property
    def changed(self) -> bool:
        return any(task.action != "none" for task in self.tasks)


def vcs_ref(build_dir: Path) -> str:
    """Return the last commit that touched the context, with ``-dirty`` when it was changed since.

    Outside of git: ``unknown``.
    """
    git = ["git", "-C", str(build_dir)]
    code, commit, _ = output([*git, "log", "-1", "--format=%H", "--", "."])
    if code or not commit.strip():
        return "unknown"
    dirty = output([*git, "status", "--porcelain", "--", "."])[1].strip()
    return commit.strip() + ("-dirty" if dirty else "")


def plan(order: Order) -> Plan:
    """Compare the order with what was built last; nothing is changed, nothing fetched."""
    tree = read_tree(order.build_dir)
    kind = base.choose(order.base, order.lock.digest, base.why_no_bootstrap())
    build_date = order.build_date or order.lock.resolved_at
    ref = order.vcs_ref or vcs_ref(order.build_dir)
    past = records.read(order.dist_dir)
    foundation = order.lock.digest if kind == "registry" else base.base_key(order.lock, order.architectures)
    tasks = []
    for image in order.images:
        facts = _facts(tree, image)
        if facts["major"] not in (None, order.lock.major):
            raise AzaError(
                f"{order.build_dir}: the build context is of PostgreSQL {facts['major']}, expected {order.lock.major}. "
                "Write it again: 'ansible-playbook build.yml --tags render'",
                reason="context_stale",
            )
        reference = f"{order.repository}/{image}:{facts['tag']}"
        inputs = hashlib.sha256(
            json.dumps(
                [
                    fingerprint(tree, image),
                    *(kind, foundation, order.lock.epoch, build_date, ref, reference, _COMPRESSION),
                    sorted(order.architectures),
                ]
            ).encode()
        ).hexdigest()
        record = past.get(image)
        tasks.append(
            Task(
                image,
                reference,
                facts["labels"],
                inputs,
                record,
                _action(record, inputs, no_cache=order.no_cache),
            )
        )
    return Plan(tasks, kind, build_date, ref)


def _facts(tree: Tree, image: str) -> dict[str, Any]:
    name = f"{image}/image.json"
    if name not in tree:
        known = [path.split("/")[0] for path in tree if path.endswith("/image.json") and path.count("/") == 1]
        raise AzaError(
            f"image_build_images: the build context has no image '{image}'{did_you_mean(image, known)}; "
            f"known: {', '.join(known) or 'none, it has not been rendered'}",
            reason="unknown_image",
        )
    facts: dict[str, Any] = json.loads(tree[name].content)
    return facts


def _action(record: Record | None, inputs: str, *, no_cache: bool) -> str:
    if no_cache or record is None or record.get("inputs") != inputs or not Path(record["archive"]).is_file():
        return "build"
    return "none" if engine.image_id(record["reference"]) == record["id"] else "load"


@contextmanager
def alone(cache_dir: Path, say: Callable[[str], None]) -> Iterator[None]:
    """Let one build at a time use the cache and the record of this checkout."""
    cache_dir.mkdir(parents=True, exist_ok=True)
    with (cache_dir / "build.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("waiting for another build of this checkout")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def execute(order: Order, planned: Plan, say: Callable[[str], None]) -> tuple[dict[str, Record], list[str]]:
    """Carry the plan out; return the records of all images of the order, and notices for the user."""
    containerd = engine.require()
    progress = Progress(say)
    notices: list[str] = []
    done: dict[str, Record] = {task.image: task.record for task in planned.tasks if task.record}
    if any(task.action == "build" for task in planned.tasks):
        context, uris, notices = _base(order, planned.base, progress)
        with tempfile.TemporaryDirectory(prefix="aza-pg-") as folder:
            secrets = _secrets(order.source, uris, Path(folder))
            for task in planned.tasks:
                if task.action == "build":
                    done[task.image] = _build(
                        order, planned, task, context, secrets, progress, containerd=containerd
                    )
                    records.store(order.dist_dir, {task.image: done[task.image]})
    for task in planned.tasks:
        if task.action == "load":
            progress.step(f"{task.image}: loading into the Docker Engine")
            engine.load(Path(done[task.image]["archive"]))
    return done, notices


def _base(
    order: Order, kind: base.Kind, progress: Progress
) -> tuple[base.BaseContext, dict[str, str], list[str]]:
    """Return the base, and the addresses of the archives (none: the base's own package sources serve)."""
    if kind == "registry":
        image = order.base_image or order.source.base.image
        argument = f"{base.canonical(order.source.base.image)}=docker-image://{image}@{order.lock.digest}"
        plain = not order.mirrors and len(order.source.repositories) == 1
        uris = {} if plain else mirror.mirrors(order.source, order.mirrors)
        return base.BaseContext(argument, str(order.lock.digest)), uris, []
    uris = mirror.mirrors(order.source, order.mirrors)
    context, notices = base.layout(
        order.cache_dir, order.source, order.lock, order.architectures, uris, progress
    )
    return context, uris, notices


def _secrets(source: Source, uris: Mapping[str, str], folder: Path) -> list[str]:
    """Return the options that give the build its package archives. Secrets: they leave no trace in image or cache."""
    (folder / "apt.conf").write_text(apt.build_options(source))
    options = [f"--secret=id=apt.conf,src={folder}/apt.conf"]
    if uris:
        (folder / "apt.sources").write_text(deb822(source, uris, keys=KEYS_IN_BUILD))
        options.append(f"--secret=id=apt.sources,src={folder}/apt.sources")
    return options


def _build(
    order: Order,
    planned: Plan,
    task: Task,
    context: base.BaseContext,
    secrets: Sequence[str],
    progress: Progress,
    *,
    containerd: bool,
) -> Record:
    started = time.monotonic()
    order.dist_dir.mkdir(parents=True, exist_ok=True)
    archive = order.dist_dir.absolute() / f"{task.tag.replace('/', '_').replace(':', '_')}.tar"
    partial = archive.with_suffix(".partial")
    log = order.cache_dir.absolute() / "logs" / f"build-{task.image}.log"
    metadata = log.with_suffix(".json")
    labels = {f"{_LABEL}base.digest": context.digest}
    annotations = {
        **task.labels,
        **labels,
        f"{_LABEL}created": planned.build_date,
        f"{_LABEL}revision": planned.vcs_ref,
    }
    exporter = (
        f"type=oci,dest={partial},rewrite-timestamp=true,{_COMPRESSION}" if containerd else "type=docker"
    )
    argv = [
        *("docker", "buildx", "build", "--progress=rawjson", "--provenance=false", "--sbom=false"),
        *(f"--target={task.image}", f"--tag={task.tag}"),
        f"--platform={','.join(f'linux/{name}' for name in order.architectures)}",
        f"--build-context={context.argument}",
        *secrets,
        f"--build-arg=BUILD_DATE={planned.build_date}",
        f"--build-arg=VCS_REF={planned.vcs_ref}",
        *(f"--label={key}={value}" for key, value in labels.items()),
        *((f"--annotation={key}={value}" for key, value in annotations.items()) if containerd else ()),
        *(["--no-cache"] if order.no_cache else []),
        f"--metadata-file={metadata}",
        f"--output={exporter}",
        str(order.build_dir),
    ]
    events = BuildEvents(lambda text: progress.step(f"{task.image}: {text}"), progress.detail)
    progress.step(f"{task.image}: starting the build")
    code = stream(
        argv, log, line=events.feed, tick=progress.tick, env={"SOURCE_DATE_EPOCH": str(order.lock.epoch)}
    )
    if code:
        partial.unlink(missing_ok=True)
        raise _failure(order, task, events, log)
    if not containerd:
        return _classic_record(order, task, archive, time.monotonic() - started)
    add_docker_manifest(partial, task.tag)
    partial.rename(archive)
    progress.step(f"{task.image}: loading into the Docker Engine")
    engine.load(archive)
    digest, layers = describe(archive)
    return {
        **_record(order, task, archive, time.monotonic() - started),
        "digest": digest,
        "id": engine.image_id(task.tag) or digest,
        "layers": layers,
        "sizes": {
            "compressed": sum(layer["compressed"] for layer in layers),
            "unpacked": engine.unpacked_bytes(task.tag),
        },
        "steps": {"all": events.done, "cached": events.cached},
    }


def _record(order: Order, task: Task, archive: Path, seconds: float) -> Record:
    tree = read_tree(order.build_dir)
    facts = _facts(tree, task.image)
    return {
        "reference": task.tag,
        "archive": str(archive),
        "source": order.source.name,
        # Only the server's image has a flavour and a PostgreSQL major.
        "flavour": facts["flavour"],
        "major": facts["major"],
        "architectures": list(order.architectures),
        "inputs": task.inputs,
        "packages": packages_fingerprint(tree, task.image),
        "locked_at": order.lock.resolved_at,
        "duration": round(seconds, 1),
        "built_at": datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
    }


def _classic_record(order: Order, task: Task, archive: Path, seconds: float) -> Record:
    """Record an image of an engine without the containerd store, which knows it by its configuration's id."""
    found = engine.image_id(task.tag)
    code, _, errors = output(["docker", "save", "--output", str(archive), task.tag], timeout=1800)
    if code or not found:
        raise AzaError(
            f"the Docker Engine cannot export the image {task.tag}: {errors.strip()}", reason="save_failed"
        )
    return {
        **_record(order, task, archive, seconds),
        "digest": found,
        "id": found,
        "layers": [],
        "sizes": {"compressed": archive.stat().st_size, "unpacked": engine.unpacked_bytes(task.tag)},
    }


def _failure(order: Order, task: Task, events: BuildEvents, log: Path) -> AzaError:
    gone = events.not_served()
    if gone:
        return base.stale(order.lock, gone)
    return AzaError(
        f"the image '{task.image}' cannot be built: {events.failed_step} failed:\n  "
        + "\n  ".join(events.reasons())
        + f"\nfull log: {log}",
        reason="build_failed",
        step=events.failed_step,
        log=str(log),
        lines=events.reasons(),
    )


def describe(archive: Path) -> tuple[str, list[dict[str, Any]]]:
    """Return the digest of the image in an OCI archive, and its layers with their sizes.

    Of an image for several architectures the layers are those of the first.
    """
    with tarfile.open(archive) as tar:

        def blob(digest: str) -> bytes:
            file = tar.extractfile(f"blobs/{digest.replace(':', '/')}")
            return file.read() if file else b""

        index = tar.extractfile("index.json")
        top = json.loads(index.read() if index else b"{}")["manifests"][0]
        document = json.loads(blob(top["digest"]))
        if "manifests" in document:
            document = json.loads(blob(document["manifests"][0]["digest"]))
    return top["digest"], [
        {"digest": layer["digest"], "compressed": layer["size"]} for layer in document["layers"]
    ]
