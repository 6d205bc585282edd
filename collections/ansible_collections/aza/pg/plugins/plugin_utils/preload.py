# SPDX-License-Identifier: Apache-2.0
"""Which extensions cannot be created before their library is preloaded, as the catalogue says. A declared one brings
its library."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ansible_collections.aza.pg.plugins.module_utils.catalog.loading import load_catalog
from ansible_collections.aza.pg.plugins.plugin_utils.project import Project


def preload(project: Project, databases: Iterable[Any], extra: Iterable[str]) -> dict[str, Any]:
    """``needed``: extension → library; ``declared``: what the inventory adds by postgres_extra_preload_libraries, and
    the libraries of declared extensions."""
    libraries = list(extra)
    declared = [name for entry in databases for name in _declared(entry)]
    if not declared or not project.image.is_dir():
        return {"needed": {}, "declared": libraries}
    entries = load_catalog(project.image).extensions.values()
    required = {
        item.created_name: item.preload
        for item in entries
        if item.created_name and item.preload and item.preload.required
    }
    needed = {name: preload.library for name, preload in required.items()}
    # An image with the extension preloads the others by itself.
    brought = [needed[name] for name in declared if name in required and not required[name].default]
    return {"needed": needed, "declared": list(dict.fromkeys([*libraries, *brought]))}


def _declared(entry: Any) -> Iterator[str]:
    """The extensions that the database is to have."""
    if isinstance(entry, Mapping) and entry.get("state") != "absent":
        for item in entry.get("extensions") or ():
            if isinstance(item, str):
                yield item
            elif isinstance(item, Mapping) and item.get("state") != "absent":
                yield str(item.get("name"))
