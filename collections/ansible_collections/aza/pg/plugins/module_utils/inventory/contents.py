# SPDX-License-Identifier: Apache-2.0
"""What an image holds, as far as an inventory has to fit it: extensions, and libraries to preload. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.aza.pg.plugins.module_utils.catalog.model import Catalog, Extension
from ansible_collections.aza.pg.plugins.module_utils.catalog.solver import Selection
from ansible_collections.aza.pg.plugins.module_utils.errors import did_you_mean


@dataclass(frozen=True)
class Contents:
    # By the name that CREATE EXTENSION takes.
    extensions: Mapping[str, Extension]
    # Preloaded without being asked for, and all that can be.
    preloaded: frozenset[str]
    libraries: Mapping[str, Extension]
    # Names that are no preload library and can be loaded all the same.
    loadable: frozenset[str]
    catalog: Catalog
    flavour: str

    def missing(self, name: str) -> str:
        """Why there is no extension of that name in the image, and what to do."""
        entry = self.catalog.extensions.get(name)
        if entry and entry.created_name is None:
            return f"'{name}' is a {entry.kind}, which needs no CREATE EXTENSION; leave it out"
        if entry and not entry.enabled:
            return f"the extension '{name}' is disabled in the catalogue: {entry.disabled_reason}"
        if entry:
            return (
                f"the extension '{name}' is not in the image (flavour {self.flavour}); "
                f"add it to image_extensions and build: ansible-playbook build.yml"
            )
        word = self.catalog.known_words.get(name.lower())
        hint = f"; did you mean '{word}'?" if word else did_you_mean(name, self.extensions)
        return f"there is no extension '{name}' in the image or the catalogue{hint}"

    def requires(self, name: str) -> list[str]:
        """The extensions that one needs, by the names that CREATE EXTENSION takes."""
        entries = [self.catalog.extensions[required] for required in self.extensions[name].requires]
        return [entry.created_name for entry in entries if entry.created_name]


def chosen_major(values: Mapping[str, Any]) -> int:
    """Return the PostgreSQL major that the variables choose; 0 for the manifest's default or an invalid value."""
    text = str(values.get("image_major") or 0)
    return int(text) if text.isdecimal() else 0


def contents_of(catalog: Catalog, selection: Selection, built: Collection[str] = ()) -> Contents:
    """``built``: entries that the image has which was built last, whatever it was built from."""
    known = [catalog.extensions[name] for name in built if name in catalog.extensions]
    entries = list({entry.name: entry for entry in [*selection.extensions, *known]}.values())
    return Contents(
        extensions={entry.created_name: entry for entry in entries if entry.created_name},
        preloaded=frozenset(selection.preload),
        libraries={entry.preload.library: entry for entry in entries if entry.preload},
        loadable=frozenset(
            {entry.name for entry in entries} | {name for entry in entries for name in entry.output_plugins}
        ),
        catalog=catalog,
        flavour=selection.flavour,
    )
