# SPDX-License-Identifier: Apache-2.0
"""The catalogue as typed values: what ``image/manifest.yml`` and ``image/extensions/*.yml`` say.

Nothing here reads files (``loading`` does) or decides what an image gets (``solver`` does).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

from ansible_collections.aza.pg.plugins.module_utils.errors import AzaError

Kind = Literal["extension", "module", "tool", "schema"]
Setting = str | int | bool


@dataclass(frozen=True)
class Bundled:
    """Ships in PostgreSQL's own server package."""


@dataclass(frozen=True)
class Apt:
    """A binary package of one Debian archive."""

    source: str
    package: str


@dataclass(frozen=True)
class Build:
    """How a source becomes files."""

    type: str
    subdir: str | None = None
    options: tuple[str, ...] = ()
    features: tuple[str, ...] = ()
    default_features: bool = True
    packages: tuple[str, ...] = ()
    runtime_packages: tuple[str, ...] = ()


@dataclass(frozen=True)
class Git:
    """One commit of a repository; the tag only says where the commit was taken from."""

    repo: str
    commit: str
    build: Build
    tag: str | None = None


@dataclass(frozen=True)
class Tarball:
    """A release archive, fixed by its checksum."""

    url: str
    sha256: str
    build: Build


Source = Bundled | Apt | Git | Tarball


@dataclass(frozen=True)
class Preload:
    """A library for ``shared_preload_libraries``; after, before and conflicts name catalogue entries."""

    library: str
    default: bool = False
    required: bool = False
    workers: int = 0
    first: bool = False
    after: tuple[str, ...] = ()
    before: tuple[str, ...] = ()
    conflicts: tuple[str, ...] = ()


@dataclass(frozen=True)
class Smoke:
    """One step of the proof that an entry works: SQL or a command, and its exact output."""

    expect: str
    sql: str | None = None
    command: tuple[str, ...] = ()
    preload: bool = False


@dataclass(frozen=True)
class Extension:
    """One entry of the catalogue, of whichever kind."""

    name: str
    kind: Kind
    summary: str
    category: str
    license: str
    sources: tuple[Source, ...]
    title: str | None = None
    homepage: str | None = None
    enabled: bool = True
    disabled_reason: str | None = None
    since: int = 0
    sql_name: str | None = None
    create: bool = False
    schema: str | None = None
    database: str | None = None
    requires: tuple[str, ...] = ()
    preload: Preload | None = None
    output_plugins: tuple[str, ...] = ()
    settings: Mapping[str, Setting] = field(default_factory=dict)
    files: tuple[str, ...] = ()
    smoke: tuple[Smoke, ...] = ()
    notes: str | None = None

    @property
    def created_name(self) -> str | None:
        """The name for CREATE EXTENSION; None for what is not an extension."""
        return (self.sql_name or self.name) if self.kind == "extension" else None

    @property
    def bundled(self) -> bool:
        """Whether it ships with PostgreSQL itself."""
        return any(isinstance(source, Bundled) for source in self.sources)

    @property
    def prebuilt(self) -> bool:
        """Whether some archive has it as a binary, so that nothing needs to be compiled."""
        return any(isinstance(source, (Bundled, Apt)) for source in self.sources)

    def source_in(self, archive: str) -> Bundled | Apt | None:
        """Return how ``archive`` provides it, or None when it does not."""
        for source in self.sources:
            if isinstance(source, Bundled) or (isinstance(source, Apt) and source.source == archive):
                return source
        return None


@dataclass(frozen=True)
class Flavour:
    """A set of catalogue entries with a name; ``extends`` and ``include`` add to ``extensions``."""

    name: str
    summary: str
    extends: str | None = None
    include: Literal["bundled", "all"] | None = None
    extensions: tuple[str, ...] = ()


@dataclass(frozen=True)
class Image:
    """One image of a build: its root packages for each archive."""

    name: str
    summary: str
    packages: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True)
class Manifest:
    """What the images are made of, apart from the extensions."""

    majors: tuple[int, ...]
    # The one of them that package and file names are made for.
    major: int
    archives: Mapping[str, str]
    flavours: Mapping[str, Flavour]
    images: Mapping[str, Image]


@dataclass(frozen=True)
class Catalog:
    """Manifest and entries, validated; entries are sorted by name."""

    manifest: Manifest
    extensions: Mapping[str, Extension]

    @cached_property
    def known_words(self) -> dict[str, str]:
        """Every word by which people may ask for an entry, with the entry's name: for did-you-mean."""
        words: dict[str, str] = {}
        for entry in self.extensions.values():
            library = entry.preload.library if entry.preload else None
            packages = [source.package for source in entry.sources if isinstance(source, Apt)]
            for word in (entry.title, entry.sql_name, library, *packages):
                if word:
                    words.setdefault(word.lower(), entry.name)
        return words | {name: name for name in self.extensions}

    def members(self, flavour: str) -> list[str]:
        """Return the flavour's entries by name, sorted: the whole set, whatever a source can give of it."""
        chosen: set[str] = set()
        step: str | None = flavour
        while step:
            part = self.manifest.flavours[step]
            chosen.update(part.extensions)
            if part.include:
                chosen.update(
                    name for name, entry in self.extensions.items() if part.include == "all" or entry.bundled
                )
            step = part.extends
        return sorted(chosen)


def extension_from(document: Mapping[str, Any], major: int) -> Extension:
    """Build an entry from a document that has the shape of ``extension.schema.json``."""
    plain = {
        key: _frozen(value)
        for key, value in document.items()
        if key not in ("sources", "preload", "smoke", "files", "notes")
    }
    return Extension(
        **plain,
        sources=tuple(_source(source, major) for source in document["sources"]),
        preload=Preload(**{k: _frozen(v) for k, v in document["preload"].items()})
        if "preload" in document
        else None,
        files=tuple(_expand(path, major) for path in document.get("files", ())),
        notes=_expand(document["notes"], major) if "notes" in document else None,
        smoke=tuple(Smoke(**{k: _frozen(v) for k, v in step.items()}) for step in document.get("smoke", ())),
    )


def manifest_from(document: Mapping[str, Any], major: int = 0) -> Manifest:
    """Build the manifest from a document that has the shape of ``manifest.schema.json``.

    :param major: the PostgreSQL major to choose; 0 for the first of the manifest.
    :raises AzaError: the manifest does not have that major.
    """
    majors: tuple[int, ...] = tuple(document["postgresql"]["majors"])
    if major and major not in majors:
        raise AzaError(
            f"image_major: {major} is not a major of image/manifest.yml. Valid majors: {', '.join(map(str, majors))}",
            reason="unknown_major",
        )
    major = major or majors[0]
    return Manifest(
        majors=majors,
        major=major,
        archives=dict(document["archives"]),
        flavours={
            name: Flavour(name=name, **{k: _frozen(v) for k, v in flavour.items()})
            for name, flavour in document["flavours"].items()
        },
        images={
            name: Image(
                name=name,
                summary=image["summary"],
                packages={
                    archive: tuple(_expand(package, major) for package in packages)
                    for archive, packages in image["packages"].items()
                },
            )
            for name, image in document["images"].items()
        },
    )


def _source(document: Mapping[str, Any], major: int) -> Source:
    if "apt" in document:
        apt = document["apt"]
        return Apt(source=apt["source"], package=_expand(apt["package"], major))
    for key, kind in (("git", Git), ("tarball", Tarball)):
        if key in document:
            facts = dict(document[key])
            build = Build(**{k: _expanded(v, major) for k, v in facts.pop("build").items()})
            return kind(**facts, build=build)
    return Bundled()


def _expand(text: str, major: int) -> str:
    """Replace ``{major}`` by the PostgreSQL major."""
    return text.replace("{major}", str(major))


def _expanded(value: Any, major: int) -> Any:
    return tuple(_expand(item, major) for item in value) if isinstance(value, list) else value


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
