# SPDX-License-Identifier: Apache-2.0
"""The base below the packages: bootstrapped from the package archive, or an image of a registry by its digest.

Both give the same Dockerfile its FROM, through a named build context; the locked packages are then brought to their
exact versions in either.
"""

from __future__ import annotations

import hashlib
import json
import os
import pwd
import shutil
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ansible_collections.aza.pg.plugins.module_utils.errors import AzaError
from ansible_collections.aza.pg.plugins.module_utils.image import apt
from ansible_collections.aza.pg.plugins.module_utils.image.lock import RELOCK, Lock, relock
from ansible_collections.aza.pg.plugins.module_utils.image.process import Progress, output, stream
from ansible_collections.aza.pg.plugins.module_utils.image.source import Source

Kind = Literal["bootstrap", "registry"]

# Nothing of the machine that made it stays in the base: not its mirror, not its apt options, not its name.
_FORGET = "etc/apt/sources.list etc/apt/apt.conf.d/99mmdebstrap etc/hostname etc/resolv.conf"
_DPKG_OPTIONS = (
    "path-exclude=/usr/share/man/*",
    "path-exclude=/usr/share/doc/*",
    "path-include=/usr/share/doc/*/copyright",
    "path-exclude=/usr/share/locale/*",
)
_STEPS = tuple(
    f"I: {verb}" for verb in ("running apt-get", "downloading", "extracting", "installing", "creating")
)
_DOCKERFILE = 'FROM scratch\nARG TARGETARCH\nADD rootfs-${TARGETARCH}.tar /\nCMD ["bash"]\n'


@dataclass(frozen=True)
class BaseContext:
    """Return the argument of ``docker buildx build --build-context``, and the base's digest for the image's label."""

    argument: str
    digest: str


def why_no_bootstrap() -> str | None:
    """Return why this machine and account cannot make a root file system, or None when they can."""
    if not shutil.which("mmdebstrap"):
        return "mmdebstrap is not installed (apt-get install mmdebstrap, as root)"
    if os.geteuid() == 0:
        return None
    user = pwd.getpwuid(os.geteuid()).pw_name
    subuid = Path("/etc/subuid")
    if not shutil.which("newuidmap") or not subuid.is_file():
        return "mmdebstrap needs root, or the package uidmap to work without it"
    if not any(line.startswith((f"{user}:", f"{os.geteuid()}:")) for line in subuid.read_text().splitlines()):
        return f"mmdebstrap needs root, or a range of user ids for {user} in /etc/subuid"
    return None


def choose(wanted: str, digest: str | None, no_bootstrap: str | None) -> Kind:
    """Return which base a build uses.

    :param wanted: auto, bootstrap or registry.
    :param digest: of the base image, as locked.
    :param no_bootstrap: what ``why_no_bootstrap`` said.
    """
    if wanted == "bootstrap" or (wanted == "auto" and no_bootstrap is None):
        if no_bootstrap:
            raise AzaError(
                f"image_base: bootstrap is not possible here: {no_bootstrap}; with image_base: registry the base comes "
                "from a container registry and needs no root",
                reason="bootstrap_impossible",
            )
        return "bootstrap"
    if digest is None:
        raise AzaError(
            "the base can come neither from the package archive ("
            + (no_bootstrap or "image_base: registry asks for the other way")
            + ") nor from a registry: the lock has no digest of the base image, because no registry could be "
            f"reached when it was made. Run '{RELOCK}' where one can be reached, or make the base possible here",
            reason="base_unavailable",
        )
    return "registry"


def canonical(image: str) -> str:
    """Return the reference with registry and namespace, as BuildKit compares it."""
    first, slash, _ = image.partition("/")
    if not slash:
        return f"docker.io/library/{image}"
    return image if "." in first or ":" in first or first == "localhost" else f"docker.io/{image}"


def registry_digest(image: str) -> str | None:
    """Ask the registry for the digest behind ``image``; None when it cannot be reached."""
    code, text, _ = output(
        ["docker", "buildx", "imagetools", "inspect", image, "--format", "{{json .Manifest}}"], timeout=30
    )
    try:
        return str(json.loads(text)["digest"]) if code == 0 else None
    except (ValueError, KeyError):
        return None


def bootstrap(
    tar: Path, source: Source, lock: Lock, architecture: str, uri: str, progress: Progress, log: Path
) -> str:
    """Make the root file system of ``architecture`` as the archive ``tar``; return its sha256.

    Its packages must be those of the lock: the archive may have moved on since.
    """
    tar.parent.mkdir(parents=True, exist_ok=True)
    partial = tar.with_suffix(".partial")
    options = [line.rstrip(";") for line in apt.build_options(source).splitlines()]
    repository = source.repositories[0]
    argv = [
        "mmdebstrap",
        f"--variant={source.base.variant}",
        f"--mode={'root' if os.geteuid() == 0 else 'unshare'}",
        f"--architectures={architecture}",
        *(f"--aptopt={option}" for option in options),
        *(f"--dpkgopt={option}" for option in _DPKG_OPTIONS),
        f'--customize-hook=for path in {_FORGET}; do rm -f "$1/$path"; done',
        "--format=tar",
        repository.suite,
        str(partial),
        f"deb {uri} {repository.suite} {' '.join(repository.components)}",
    ]
    progress.step(f"base: root file system of {repository.suite}, {architecture}")
    tail: list[str] = []

    def line(text: str) -> None:
        tail.append(text)
        if text.startswith(_STEPS):
            progress.step(f"base: {text[3:].rstrip('.')}")

    code = stream(argv, log, line=line, tick=progress.tick, env={"SOURCE_DATE_EPOCH": str(lock.base_epoch)})
    if code:
        partial.unlink(missing_ok=True)
        errors = [text for text in tail if text.startswith("E: ")][-3:] or tail[-3:]
        raise AzaError(
            f"mmdebstrap cannot make the base of {repository.suite} for {architecture}: "
            f"{'; '.join(errors)} (log: {log})",
            reason="bootstrap_failed",
            log=str(log),
        )
    require_locked(installed_versions(partial), lock, architecture)
    with partial.open("rb") as file:
        checksum = hashlib.file_digest(file, "sha256").hexdigest()
    partial.rename(tar)
    return checksum


def installed_versions(tar: Path) -> dict[str, str]:
    """Return the packages in the root file system's archive, with their versions."""
    with tarfile.open(tar) as archive:
        status = archive.extractfile("./var/lib/dpkg/status")
        text = status.read().decode() if status else ""
    return {record["Package"]: record["Version"] for record in apt.paragraphs(text)}


def require_locked(found: Mapping[str, str], lock: Lock, architecture: str) -> None:
    """Raise when a base has other packages than the lock says."""
    locked = lock.for_architecture(architecture)
    versions = {name: locked.packages[name].version for name in locked.base}
    differing = [
        f"{name} (locked {versions.get(name, 'not at all')}, served {found.get(name, 'not at all')})"
        for name in sorted({*versions, *found})
        if versions.get(name) != found.get(name)
    ]
    if differing:
        raise stale(lock, differing)


def stale(lock: Lock, packages: Sequence[str]) -> AzaError:
    """Return the error for a lock that the archive has left behind."""
    more = f" and {len(packages) - 3} more" if len(packages) > 3 else ""
    return AzaError(
        f"the mirror no longer serves what {lock.file} has: {', '.join(packages[:3])}{more}; lock "
        f"again with '{relock(lock.major)}', which shows the difference",
        reason="lock_stale",
        packages=list(packages),
    )


def layout(
    cache: Path,
    source: Source,
    lock: Lock,
    architectures: Sequence[str],
    uris: Mapping[str, str],
    progress: Progress,
) -> tuple[BaseContext, list[str]]:
    """Return the bootstrapped base as an OCI layout, made once for each lock, and notices for the user."""
    directory = cache / "base" / base_key(lock, architectures)[:16]
    oci = directory / "oci"
    notices: list[str] = []
    if not (oci / "index.json").is_file():
        context = directory / "context"
        context.mkdir(parents=True, exist_ok=True)
        for architecture in architectures:
            tar = context / f"rootfs-{architecture}.tar"
            if not tar.is_file():
                checksum = bootstrap(
                    tar,
                    source,
                    lock,
                    architecture,
                    uris[source.repositories[0].name],
                    progress,
                    cache / "logs" / f"base-{architecture}.log",
                )
                locked = lock.architectures[architecture].rootfs
                if locked and locked != checksum:
                    notices.append(
                        f"the base for {architecture} has the locked packages, but another mmdebstrap packed it than "
                        "when the lock was made: the images get other digests here"
                    )
        (context / "Dockerfile").write_text(_DOCKERFILE)
        _build_layout(context, oci, lock, architectures, progress, cache / "logs" / "base-layout.log")
        shutil.rmtree(context)
        _forget_old(cache / "base")
    index = json.loads((oci / "index.json").read_text())
    digest: str = index["manifests"][0]["digest"]
    argument = f"{canonical(source.base.image)}=oci-layout://{oci.absolute()}@{digest}"
    return BaseContext(argument, digest), notices


def _forget_old(directory: Path, keep: int = 3) -> None:
    """Remove all but the newest bases: those of the last locks, which other checkouts of this cache may still use."""
    found = sorted(directory.iterdir(), key=lambda path: path.stat().st_mtime, reverse=True)
    for path in found[keep:]:
        shutil.rmtree(path)


def base_key(lock: Lock, architectures: Sequence[str]) -> str:
    """Return a hash of everything that a bootstrapped base is made from."""
    facts = {
        name: {
            package: lock.architectures[name].packages[package].version
            for package in lock.architectures[name].base
        }
        for name in architectures
    }
    return hashlib.sha256(
        json.dumps([lock.suite, lock.base_epoch, facts], sort_keys=True).encode()
    ).hexdigest()


def keep_rootfs(cache: Path, lock: Lock, tar: Path, architecture: str) -> None:
    """Give a root file system that was made for the lock to the build that will need it."""
    context = cache / "base" / base_key(lock, [architecture])[:16] / "context"
    context.mkdir(parents=True, exist_ok=True)
    tar.rename(context / f"rootfs-{architecture}.tar")


def _build_layout(
    context: Path, oci: Path, lock: Lock, architectures: Sequence[str], progress: Progress, log: Path
) -> None:
    partial = oci.with_suffix(".partial")
    shutil.rmtree(partial, ignore_errors=True)
    progress.step("base: OCI layout")
    tail: list[str] = []
    code = stream(
        [
            *("docker", "buildx", "build", "--progress=plain", "--provenance=false"),
            *("--platform", ",".join(f"linux/{name}" for name in architectures)),
            *("--output", f"type=oci,dest={partial},tar=false,rewrite-timestamp=true"),
            str(context),
        ],
        log,
        line=tail.append,
        tick=progress.tick,
        env={"SOURCE_DATE_EPOCH": str(lock.base_epoch)},
    )
    if code:
        raise AzaError(
            f"the base cannot be archived: {'; '.join(tail[-3:])} (log: {log})",
            reason="bootstrap_failed",
            log=str(log),
        )
    partial.rename(oci)
