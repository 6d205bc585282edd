# SPDX-License-Identifier: Apache-2.0
"""Which extensions cannot be created before their library is preloaded, as the catalogue says."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ansible_collections.aza.pg.plugins.module_utils.catalog.loading import load_catalog
from ansible_collections.aza.pg.plugins.plugin_utils.prediction import checkout


def preload(start: Path, databases: Iterable[Mapping[str, Any]], extra: Iterable[str]) -> dict[str, Any]:
    """``needed``: extension → library; ``declared``: what the inventory adds. Empty where no extension is declared."""
    directory = checkout(start) / "image"
    if not any(entry.get("extensions") for entry in databases) or not directory.is_dir():
        return {}
    entries = load_catalog(directory).extensions.values()
    needed = {
        item.created_name: item.preload.library
        for item in entries
        if item.created_name and item.preload and item.preload.required
    }
    return {"needed": needed, "declared": list(extra)}
