# SPDX-License-Identifier: Apache-2.0
"""The lock (``image/locks/SOURCE-MAJOR.yml``): exact versions and checksums, and enough of the dependencies to compute,
offline, the packages of any flavour and of any choice of extensions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import yaml
from ansible_collections.aza.pg.plugins.module_utils.errors import AzaError
from ansible_collections.aza.pg.plugins.module_utils.image.depends import Offer, clauses
from ansible_collections.aza.pg.plugins.module_utils.yaml_loader import SafeLoader

RELOCK = "ansible-playbook playbooks/lock.yml"


def relock(major: int) -> str:
    """Return the command that writes the lock of a PostgreSQL major."""
    return f"{RELOCK} -e image_major={major}"


@dataclass(frozen=True)
class Package:
    """One package at its exact version.

    :param depends: one entry a dependency, with the names (``a|b``) among the locked packages that satisfy it.
    """

    version: str
    sha256: str
    size: int
    architecture: str
    depends: tuple[str, ...] = ()

    def filename(self, name: str) -> str:
        """Return the name under which apt keeps the package's file."""
        return f"{name}_{self.version.replace(':', '%3a')}_{self.architecture}.deb"


@dataclass(frozen=True)
class Architecture:
    """What is locked for one architecture.

    :param base: packages of the base root file system.
    :param rootfs: sha256 of the bootstrapped base's archive; None where it was not made when the lock was.
    """

    base: tuple[str, ...]
    packages: Mapping[str, Package]
    rootfs: str | None = None


@dataclass(frozen=True)
class Lock:
    """What one source resolved to for one PostgreSQL major.

    :param digest: of the base image in a registry; None where none was reachable.
    :param base_at: when the base's packages became what they are: a new extension leaves the base as it is.
    """

    source: str
    major: int
    suite: str
    image: str
    resolved_at: str
    base_at: str
    architectures: Mapping[str, Architecture]
    digest: str | None = None

    @property
    def file(self) -> str:
        """The lock's path in the repository, for messages."""
        return f"image/locks/{file_name(self.source, self.major)}"

    @property
    def epoch(self) -> int:
        """The time of the lock, which every build from it takes for its own."""
        return _epoch(self.resolved_at)

    @property
    def base_epoch(self) -> int:
        """The same for the base."""
        return _epoch(self.base_at)

    def closure(self, architecture: str, roots: Iterable[str], given: Iterable[str] = ()) -> list[str]:
        """Return ``roots`` with all that they need, sorted, without the packages that are ``given``.

        Where several locked packages satisfy a dependency, one that is there anyway is preferred, then the first.
        """
        packages = self.for_architecture(architecture).packages
        present = set(given)
        pending = sorted(set(roots) - present)
        unknown = [name for name in pending if name not in packages]
        if unknown:
            raise AzaError(
                f"{self.file} does not have the package {', '.join(unknown)} for "
                f"{architecture}: lock again with '{relock(self.major)}'",
                reason="lock_incomplete",
                packages=unknown,
            )
        chosen = set(pending)
        while pending:
            for clause in packages[pending.pop(0)].depends:
                names = clause.split("|")
                if not any(name in chosen or name in present for name in names):
                    if names[0] not in packages:
                        raise AzaError(
                            f"{self.file} is damaged: it lacks the package {names[0]} for "
                            f"{architecture}, which others need: lock again with '{relock(self.major)}'",
                            reason="lock_incomplete",
                            packages=[names[0]],
                        )
                    chosen.add(names[0])
                    pending.append(names[0])
        return sorted(chosen)

    def for_architecture(self, architecture: str) -> Architecture:
        """Return what is locked for ``architecture``."""
        if architecture not in self.architectures:
            raise AzaError(
                f"{self.file} has nothing for {architecture}, only for "
                f"{', '.join(self.architectures)}: add it to image/sources/{self.source}.yml and lock again "
                f"with '{relock(self.major)}'",
                reason="lock_incomplete",
            )
        return self.architectures[architecture]


def packages_from(records: Iterable[Mapping[str, str]]) -> dict[str, Package]:
    """Turn the archive's records into locked packages, with dependencies reduced to what is among them."""
    by_name = {record["Package"]: record for record in records}
    offer = Offer(by_name.values())
    locked = {}
    for name, record in sorted(by_name.items()):
        needs = []
        for clause in clauses(record):
            able = offer.satisfying(clause)
            if not able:
                wanted = " or ".join(relation.name for relation in clause)
                raise AzaError(
                    f"the archive's {name} needs {wanted}, which apt did not choose", reason="unsolvable"
                )
            if name not in able:
                needs.append("|".join(able))
        locked[name] = Package(
            version=record["Version"],
            sha256=record["SHA256"],
            size=int(record["Size"]),
            architecture=record["Architecture"],
            depends=tuple(dict.fromkeys(needs)),
        )
    return locked


# --- the file ---------------------------------------------------------------------------------------------------


def file_name(source: str, major: int) -> str:
    """Return the name of the lock file of a source and a PostgreSQL major."""
    return f"{source}-{major}.yml"


def path_of(image_dir: Path, source: str, major: int) -> Path:
    """Return the path of the lock file of ``source`` and ``major``."""
    return image_dir / "locks" / file_name(source, major)


def load_lock(image_dir: Path, source: str, major: int) -> Lock:
    """Return the lock of ``source`` for the PostgreSQL major ``major``.

    :raises AzaError: the file does not exist, is damaged, or is the lock of another source or major.
    """
    path = path_of(image_dir, source, major)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise AzaError(
            f"{path} does not exist: make it with '{relock(major)}'", reason="lock_missing"
        ) from None
    try:
        document = yaml.load(text, Loader=SafeLoader)
        lock = _lock_from(document)
    except (yaml.YAMLError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise AzaError(
            f"{path} is damaged ({error!r}): lock again with '{relock(major)}'", reason="lock_invalid"
        ) from error
    if (lock.source, lock.major) != (source, major):
        raise AzaError(
            f"{path} is the lock of {lock.source} for PostgreSQL {lock.major}, expected {source} for PostgreSQL "
            f"{major}: lock again with '{relock(major)}'",
            reason="lock_invalid",
        )
    return lock


def dump_lock(lock: Lock) -> str:
    """Return the lock as text: one package a line, so that a difference reads well."""
    lines = [
        "---",
        f"# Written by '{RELOCK}'; do not edit.",
        f"source: {lock.source}",
        f"major: {lock.major}",
        f"resolved_at: {_quoted(lock.resolved_at)}",
        "base:",
        f"  image: {lock.image}",
        f"  digest: {_quoted(lock.digest)}",
        f"  suite: {lock.suite}",
        f"  made_at: {_quoted(lock.base_at)}",
        "architectures:",
    ]
    for name, architecture in sorted(lock.architectures.items()):
        lines += [
            f"  {name}:",
            f"    rootfs: {_quoted(architecture.rootfs)}",
            f"    base: {_flow(list(architecture.base))}",
            "    packages:",
        ]
        for package_name, package in sorted(architecture.packages.items()):
            facts: dict[str, Any] = {
                "version": package.version,
                "sha256": package.sha256,
                "size": package.size,
                "architecture": package.architecture,
                "depends": list(package.depends),
            }
            lines.append(f"      {package_name}: {_flow(facts)}")
    return "\n".join(lines) + "\n"


def _quoted(text: str | None) -> str:
    """Return text that YAML cannot take for a number or a date: a checksum may have no letter in it."""
    return f"'{text}'" if text else "null"


def _flow(value: object) -> str:
    text: str = yaml.safe_dump(value, default_flow_style=True, width=1 << 20, sort_keys=False)
    return text.strip()


def _lock_from(document: Mapping[str, Any]) -> Lock:
    return Lock(
        source=document["source"],
        major=int(document["major"]),
        suite=document["base"]["suite"],
        image=document["base"]["image"],
        digest=document["base"]["digest"],
        resolved_at=document["resolved_at"],
        base_at=document["base"]["made_at"],
        architectures={
            name: Architecture(
                base=tuple(facts["base"]),
                rootfs=facts["rootfs"],
                packages={
                    package: Package(**{**locked, "depends": tuple(locked["depends"])})
                    for package, locked in facts["packages"].items()
                },
            )
            for name, facts in document["architectures"].items()
        },
    )


# --- comparing two locks ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Difference:
    """What a new lock changes; each line is made for a reader."""

    added: list[str]
    removed: list[str]
    changed: list[str]
    base: list[str]

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.changed or self.base)

    @property
    def summary(self) -> str:
        """One sentence."""
        if not self:
            return "nothing has changed"
        counts = [f"{len(self.changed)} changed", f"{len(self.added)} added", f"{len(self.removed)} removed"]
        return "packages: " + ", ".join(counts) + ("; " + "; ".join(self.base) if self.base else "")

    def lines(self) -> list[str]:
        """All of it, one line a package."""
        return (
            [f"~ {line}" for line in self.base + self.changed]
            + [f"+ {line}" for line in self.added]
            + [f"- {line}" for line in self.removed]
        )


def compare(old: Lock | None, new: Lock) -> Difference:
    """Return what ``new`` changes; equal changes on several architectures are listed once."""
    added: dict[str, list[str]] = {}
    removed: dict[str, list[str]] = {}
    changed: dict[str, list[str]] = {}
    base: list[str] = []
    for name in sorted({*(old.architectures if old else ()), *new.architectures}):
        before = old.architectures[name].packages if old and name in old.architectures else {}
        after = new.architectures[name].packages if name in new.architectures else {}
        for package in sorted({*before, *after}):
            was, now = before.get(package), after.get(package)
            if was is None and now is not None:
                added.setdefault(f"{package} {now.version}", []).append(name)
            elif now is None and was is not None:
                removed.setdefault(f"{package} {was.version}", []).append(name)
            elif was is not None and now is not None and was.version != now.version:
                changed.setdefault(f"{package} {was.version} → {now.version}", []).append(name)
            elif was != now:
                # The archive rebuilt it under the same version, or its dependencies are satisfied by others.
                changed.setdefault(
                    f"{package} {now.version if now else ''} (same version, other facts)", []
                ).append(name)
    if old and (old.image, old.digest) != (new.image, new.digest):
        base.append(f"base image {old.image}@{old.digest or '?'} → {new.image}@{new.digest or '?'}")
    if old and old.suite != new.suite:
        base.append(f"suite {old.suite} → {new.suite}")
    everywhere = len(new.architectures)

    def texts(found: Mapping[str, list[str]]) -> list[str]:
        return [
            text if len(names) == everywhere else f"{text} ({', '.join(names)})"
            for text, names in found.items()
        ]

    return Difference(added=texts(added), removed=texts(removed), changed=texts(changed), base=base)


def carried_over(old: Lock | None, new: Lock) -> Lock:
    """Return ``new``, or ``old`` where nothing differs: an unchanged archive must not change the lock.

    What only some machines can find out (registry digest, bootstrapped base) is kept while it still holds.
    """
    if old is None:
        return new
    if new.digest is None and old.image == new.image:
        new = replace(new, digest=old.digest)
    if not compare(old, new):
        return old
    if old.suite == new.suite and all(
        name in old.architectures and _base_versions(old, name) == _base_versions(new, name)
        for name in new.architectures
    ):
        kept = {
            name: replace(architecture, rootfs=old.architectures[name].rootfs)
            for name, architecture in new.architectures.items()
        }
        new = replace(new, base_at=old.base_at, architectures=kept)
    return new


def _base_versions(lock: Lock, architecture: str) -> dict[str, str]:
    locked = lock.architectures[architecture]
    return {name: locked.packages[name].version for name in locked.base}


def _epoch(moment: str) -> int:
    return int(datetime.fromisoformat(moment.replace("Z", "+00:00")).timestamp())


def now() -> str:
    """Return the present time as a lock notes it."""
    return datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
