# SPDX-License-Identifier: Apache-2.0
"""Where this machine gets packages from: read from apt's own configuration, so that no host is named in the project."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ansible_collections.aza.pg.plugins.module_utils.errors import AzaError
from ansible_collections.aza.pg.plugins.module_utils.image.process import output
from ansible_collections.aza.pg.plugins.module_utils.image.source import Repository, Source

_FORMAT = "$(REPO_URI)|$(ORIGIN)|$(LABEL)|$(CODENAME)|$(COMPONENT)"


@dataclass(frozen=True)
class Target:
    """One index that the machine's apt uses. Origin, label and code name are empty before an ``apt-get update``."""

    uri: str
    origin: str
    label: str
    codename: str
    component: str


def parse_targets(text: str) -> list[Target]:
    """Read what ``apt-get indextargets`` printed; a field that apt did not know stays ``$(NAME)`` and means empty."""
    targets = []
    for line in text.splitlines():
        fields = ["" if field.startswith("$(") else field for field in line.split("|")]
        if len(fields) == 5 and fields[0]:
            targets.append(Target(*fields))
    return targets


def find_mirror(targets: list[Target], repository: Repository) -> str | None:
    """Return the address of the archive: of its suite if the machine has that, else of any suite of that archive."""
    candidates = [t for t in targets if (t.origin, t.label) == (repository.origin, repository.label)]
    if not candidates and not any(t.origin for t in targets):
        # No lists yet, as in a fresh container: an archive is then known by the last part of its path alone.
        candidates = [t for t in targets if t.uri.rstrip("/").rpartition("/")[2] == repository.label.lower()]
    candidates.sort(key=lambda target: target.codename != repository.suite)
    return candidates[0].uri if candidates else None


def mirrors(source: Source, given: Mapping[str, str]) -> dict[str, str]:
    """Return the address of every archive of ``source``: as given, else as this machine's apt is configured."""
    unknown = sorted(set(given) - {repository.name for repository in source.repositories})
    if unknown:
        raise AzaError(
            f"image_mirrors: the source '{source.name}' has no archive '{unknown[0]}', only "
            + ", ".join(repository.name for repository in source.repositories),
            reason="unknown_mirror",
        )
    missing = [repository for repository in source.repositories if repository.name not in given]
    targets: list[Target] = []
    if missing:
        targets = parse_targets(
            output(["apt-get", "indextargets", "--format", _FORMAT, "Created-By: Packages"])[1]
        )
    found = dict(given)
    for repository in missing:
        uri = find_mirror(targets, repository)
        if uri is None:
            raise AzaError(
                f"this machine's apt has no archive with origin '{repository.origin}' and label "
                f"'{repository.label}': set image_mirrors: {{{repository.name}: ADDRESS}}",
                reason="mirror_unknown",
            )
        found[repository.name] = uri
    return found
