# SPDX-License-Identifier: Apache-2.0
"""Writes ``docs/reference/extensions.md`` from the catalogue."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from ansible_collections.aza.pg.plugins.module_utils.catalog.model import (
    Apt,
    Bundled,
    Catalog,
    Extension,
    Git,
)
from ansible_collections.aza.pg.plugins.module_utils.catalog.solver import Selection, solve

_INTRODUCTION = """\
<!-- Generated from image/manifest.yml and image/extensions/*.yml by `make docs`; never edited. -->
# Extensions

The extensions that an image can contain. `image_flavour` chooses a set, `image_extensions` adds to it by name. Required
entries are added automatically. Each entry is one file: `image/extensions/NAME.yml`.

Four kinds, kept apart: an **extension** is created with `CREATE EXTENSION`; a **module** is a library that is only
loaded; a **tool** is a program or an output plugin; a **schema** is SQL that is loaded as it is.

Preload: **default** is loaded by every image that has it, until `POSTGRES_SHARED_PRELOAD_LIBRARIES` says otherwise;
**needed** does nothing until it is named in `POSTGRES_EXTRA_PRELOAD_LIBRARIES`; **possible** works without, and does
more, or does it in every session, when it is preloaded. The library's name stands beside it when it differs.
Created: the first start creates it in the default database.
"""
_HEAD = ("Name", "Kind", "Flavours", "Preload", "Created", "Requires", "Comes from", "Purpose")


def render_extensions_page(catalog: Catalog, source: str = "debian") -> str:
    """Return the page; flavours are those that ``source`` can give."""
    selections = {name: solve(catalog, source, name) for name in catalog.manifest.flavours}
    there = {name: _homes(name, selections) for name in catalog.extensions}
    parts = [
        _INTRODUCTION,
        "## Flavours\n",
        f"As built from {catalog.manifest.archives[source]} (`image_source: {source}`).\n",
        *_flavours(catalog, selections),
        "\n## Available extensions\n",
        *_table(
            _HEAD, (_row(e, there[e.name], source) for e in catalog.extensions.values() if there[e.name])
        ),
        "\n## Not available from this source\n",
        "The catalogue knows how these are built; no image that is built from this source has them.\n",
        *_table(("Name", "Kind", "Requires", "Source", "Purpose"), _elsewhere(catalog, there)),
        "\n## Notes\n",
        *(
            f"- **{entry.name}**: {' '.join(_known(entry))}"
            for entry in catalog.extensions.values()
            if _known(entry)
        ),
    ]
    return "\n".join(parts) + "\n"


def _homes(name: str, selections: Mapping[str, Selection]) -> list[str]:
    return [flavour for flavour, s in selections.items() if any(e.name == name for e in s.extensions)]


def _flavours(catalog: Catalog, selections: Mapping[str, Selection]) -> Iterator[str]:
    def row(name: str, selection: Selection) -> tuple[str, ...]:
        kinds = [entry.kind for entry in selection.extensions]
        counts = (str(kinds.count(kind)) for kind in ("extension", "module", "tool"))
        preload = ", ".join(f"`{library}`" for library in selection.preload)
        return (f"`{name}`", catalog.manifest.flavours[name].summary, *counts, preload)

    head = ("Flavour", "What it is", "Extensions", "Modules", "Tools", "Preloaded by default, in this order")
    yield from _table(head, (row(name, selection) for name, selection in selections.items()))


def _row(entry: Extension, flavours: Iterable[str], source: str) -> tuple[str, ...]:
    return (
        _name(entry),
        entry.kind,
        ", ".join(flavours),
        _preload(entry),
        "yes" if entry.create else "",
        ", ".join(entry.requires),
        _origin(entry, source),
        entry.summary,
    )


def _elsewhere(catalog: Catalog, there: Mapping[str, list[str]]) -> Iterator[tuple[str, ...]]:
    for entry in catalog.extensions.values():
        if not there[entry.name]:
            git = next((source for source in entry.sources if isinstance(source, Git)), None)
            source = f"{git.build.type}, {git.tag or git.commit[:12]}" if git else ""
            yield (_name(entry), entry.kind, ", ".join(entry.requires), source, entry.summary)


def _name(entry: Extension) -> str:
    shown = f"[{entry.name}]({entry.homepage})" if entry.homepage else entry.name
    return f"{shown} ({entry.title})" if entry.title else shown


def _preload(entry: Extension) -> str:
    if not entry.preload:
        return ""
    word = "default" if entry.preload.default else "needed" if entry.preload.required else "possible"
    return word if entry.preload.library == entry.name else f"{word} (`{entry.preload.library}`)"


def _origin(entry: Extension, source: str) -> str:
    found = entry.source_in(source)
    if isinstance(found, Bundled):
        return "PostgreSQL"
    return f"`{found.package}`" if isinstance(found, Apt) else ""


def _known(entry: Extension) -> list[str]:
    """Return the sentences that a user of the entry should have read."""
    message = [f"Not enabled: {entry.disabled_reason}"] if entry.disabled_reason else []
    if entry.notes:
        message.append(" ".join(entry.notes.split()))
    if entry.settings:
        pairs = ", ".join(f"`{key} = {value}`" for key, value in entry.settings.items())
        message.append(f"Needs {pairs}.")
    if entry.output_plugins:
        plugins = ", ".join(f"`{plugin}`" for plugin in entry.output_plugins)
        message.append(f"`output_plugin_libraries` must list {plugins}.")
    if entry.preload and entry.preload.conflicts:
        message.append(f"Not to be preloaded together with {', '.join(entry.preload.conflicts)}.")
    return message


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    for row in (head, tuple("---" for _ in head), *rows):
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |"
