# SPDX-License-Identifier: Apache-2.0
"""What the image of a host holds: as the inventory chooses it from the catalogue, or as it was built last."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from ansible_collections.aza.pg.plugins.module_utils.catalog import Catalog, load_catalog, solve
from ansible_collections.aza.pg.plugins.module_utils.inventory.contents import (
    Contents,
    chosen_major,
    contents_of,
)
from ansible_collections.aza.pg.plugins.plugin_utils.project import Project, find


def contents_for() -> Callable[[Mapping[str, Any]], Contents | None]:
    """A function from a host's variables to its image's contents; None where there is no catalogue.

    Each choice is read and solved once, for however many hosts.
    """
    catalogue = cache(load_catalog)

    @cache
    def solved(
        project: Project, major: int, source: str, flavour: str, extensions: tuple[str, ...]
    ) -> Contents | None:
        if not (project.image / "manifest.yml").is_file():
            return None
        catalog: Catalog = catalogue(project.image, major)
        return contents_of(catalog, solve(catalog, source, flavour, list(extensions)), _built(project.facts))

    def contents(values: Mapping[str, Any]) -> Contents | None:
        chosen = values.get("image_extensions")
        return solved(
            find(values.get("image_dir")),
            chosen_major(values),
            str(values.get("image_source")),
            str(values.get("image_flavour")),
            tuple(map(str, chosen)) if isinstance(chosen, list) else (),
        )

    return contents


def _built(facts: Path) -> list[str]:
    """The entries in the image whose build context was written last: a build may have chosen more with -e."""
    try:
        described = json.loads((facts / "image.json").read_text(encoding="utf-8"))
        return [str(entry["name"]) for entry in described["extensions"]]
    except (OSError, ValueError, KeyError, TypeError):
        return []
