# SPDX-License-Identifier: Apache-2.0
"""Source profiles (``image/sources/NAME.yml``): which base and which package archives an image is made from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ansible_collections.aza.pg.plugins.module_utils.catalog.documents import (
    read_schema,
    read_yaml,
    shape_problems,
)
from ansible_collections.aza.pg.plugins.module_utils.errors import AzaError, did_you_mean

KEYS_IN_BUILD = "/run/build/keys"
SYSTEM_KEYRINGS = "/usr/share/keyrings"


@dataclass(frozen=True)
class Repository:
    """One signed package archive. Its address is the machine's business: see ``mirror``."""

    name: str
    suite: str
    components: tuple[str, ...]
    origin: str
    label: str
    keyring: str | None = None
    key: str | None = None


@dataclass(frozen=True)
class Base:
    """The root file system below the packages."""

    image: str
    variant: str = "minbase"


@dataclass(frozen=True)
class Source:
    """One profile."""

    name: str
    summary: str
    base: Base
    repositories: tuple[Repository, ...]
    architectures: tuple[str, ...]
    check_valid_until: bool = True
    companions: tuple[str, ...] = field(default=())

    @property
    def keys(self) -> list[str]:
        """Key files of ours (below ``image/keys``) that the build needs."""
        return sorted({repository.key for repository in self.repositories if repository.key})


def load_source(image_dir: Path, name: str) -> Source:
    """Read and validate the profile ``name``."""
    path = image_dir / "sources" / f"{name}.yml"
    if not path.is_file():
        known = sorted(file.stem for file in path.parent.glob("*.yml"))
        raise AzaError(
            f"image_source: unknown source '{name}'{did_you_mean(name, known)}; known: {', '.join(known)}",
            reason="unknown_source",
        )
    document = read_yaml(path)
    problems = shape_problems(document, read_schema(image_dir / "source.schema.json"))
    if not problems and document["name"] != name:
        problems = [f"name: is '{document['name']}', but the file is called {path.name}"]
    if problems:
        raise AzaError("\n".join(f"{path}: {problem}" for problem in problems), reason="source_invalid")
    return Source(
        name=name,
        summary=document["summary"],
        base=Base(**document["base"]),
        repositories=tuple(
            Repository(**{**entry, "components": tuple(entry["components"])})
            for entry in document["repositories"]
        ),
        architectures=tuple(document["architectures"]),
        check_valid_until=document.get("check_valid_until", True),
        companions=tuple(document.get("companions", ())),
    )


def deb822(source: Source, uris: Mapping[str, str], *, keys: str) -> str:
    """Return the archives as an apt sources file.

    :param uris: address of each repository, by name.
    :param keys: directory of our own key files, as seen by the apt that will read the text.
    """
    stanzas = []
    for repository in source.repositories:
        signed_by = (
            f"{keys}/{repository.key}" if repository.key else f"{SYSTEM_KEYRINGS}/{repository.keyring}"
        )
        stanzas.append(
            f"Types: deb\nURIs: {uris[repository.name]}\nSuites: {repository.suite}\n"
            f"Components: {' '.join(repository.components)}\nSigned-By: {signed_by}\n"
        )
    return "\n".join(stanzas)
