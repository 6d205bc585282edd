# SPDX-License-Identifier: Apache-2.0
"""Read ``image/manifest.yml`` and ``image/extensions/*.yml``, and refuse what does not fit together.

Shape is the schemas' business; here are the rules between fields and between files. All problems are reported
at once, each with file, key, value and what was expected.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any

from ansible_collections.aza.pg.plugins.module_utils.catalog.documents import (
    read_schema,
    read_yaml,
    shape_problems,
)
from ansible_collections.aza.pg.plugins.module_utils.catalog.model import (
    Apt,
    Catalog,
    Extension,
    Manifest,
    extension_from,
    manifest_from,
)
from ansible_collections.aza.pg.plugins.module_utils.catalog.ordering import (
    excludes,
    preload_graph,
    required_chain,
)
from ansible_collections.aza.pg.plugins.module_utils.errors import AzaError, did_you_mean


def load_catalog(image_dir: Path, major: int = 0) -> Catalog:
    """Return the catalogue below ``image_dir``.

    :param major: the PostgreSQL major whose packages and files the entries name; 0 for the first of the manifest.
    :raises AzaError: one that lists everything that is wrong; or one for a major that the manifest does not have.
    """
    problems: list[str] = []
    manifest_path = image_dir / "manifest.yml"
    document = _document(manifest_path, read_schema(image_dir / "manifest.schema.json"), problems)
    manifest = manifest_from(document, major) if document else None

    schema = read_schema(image_dir / "extension.schema.json")
    entries: dict[str, Extension] = {}
    names: set[str] = set()
    for path in sorted((image_dir / "extensions").glob("*.yml")):
        names.add(path.stem)
        document = _document(path, schema, problems)
        if document is None:
            continue
        entry = extension_from(document, manifest.major if manifest else 0)
        problems += (f"{_short(path)}: {problem}" for problem in _within(entry, path.stem))
        entries[path.stem] = entry
    if not names:
        problems.append(f"{_short(image_dir / 'extensions')}: holds no entry (NAME.yml)")

    # Against the names of all files: an entry that is broken is not reported again by those that need it.
    archives = manifest.archives if manifest else None
    for stem, entry in entries.items():
        file = _short(image_dir / "extensions" / f"{stem}.yml")
        problems += (f"{file}: {problem}" for problem in _references(entry, entries, names, archives))
    problems += (f"{_short(image_dir / 'extensions')}: {problem}" for problem in _between(entries))
    if manifest:
        problems += (f"{_short(manifest_path)}: {problem}" for problem in _manifest(manifest, names))
    if not problems:  # Only now is it sure that following requires comes to an end.
        for stem, entry in entries.items():
            file = _short(image_dir / "extensions" / f"{stem}.yml")
            problems += (f"{file}: {problem}" for problem in contradictions(entry, entries))

    if problems or manifest is None:
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        raise AzaError(
            f"The catalogue has {count}:\n" + "\n".join(f"  {problem}" for problem in problems),
            reason="catalog_invalid",
            problems=problems,
        )
    return Catalog(manifest=manifest, extensions=entries)


def load_manifest(image_dir: Path, major: int = 0) -> Manifest:
    """Return the manifest alone, which is much quicker than the catalogue. Arguments and errors are the same."""
    problems: list[str] = []
    document = _document(
        image_dir / "manifest.yml", read_schema(image_dir / "manifest.schema.json"), problems
    )
    if document is None:
        raise AzaError("\n".join(problems), reason="catalog_invalid", problems=problems)
    return manifest_from(document, major)


def _document(path: Path, schema: Mapping[str, Any], problems: list[str]) -> dict[str, Any] | None:
    """Return the document when it has its schema's shape; otherwise note the problems and return None."""
    try:
        document = read_yaml(path)
    except AzaError as error:
        problems.append(error.msg)
        return None
    found = shape_problems(document, schema)
    problems += (f"{_short(path)}: {problem}" for problem in found)
    return None if found else document


def _within(entry: Extension, stem: str) -> Iterator[str]:
    """Yield what is wrong with an entry by itself."""
    if entry.name != stem:
        yield f"name: '{entry.name}' is not the file's name; expected '{stem}'"
    if not entry.enabled and not entry.disabled_reason:
        yield "disabled_reason: missing; an entry with 'enabled: false' says why"
    if entry.enabled and entry.disabled_reason:
        yield "disabled_reason: given, but the entry is enabled; expected 'enabled: false' with it"
    if entry.kind != "extension":
        for key in ("sql_name", "create", "schema", "database"):
            if getattr(entry, key):
                yield f"{key}: only for kind 'extension', this is a {entry.kind}"
    if entry.preload and entry.preload.default and not entry.enabled:
        yield "preload.default: true, but the entry is not enabled"
    if entry.name in entry.requires:
        yield f"requires: '{entry.name}' requires itself"
    for number, step in enumerate(entry.smoke):
        if (step.sql is None) == (not step.command):
            yield f"smoke[{number}]: expected either 'sql' or 'command'"
        if step.preload and not entry.preload:
            yield f"smoke[{number}].preload: true, but the entry has no preload library"
    if entry.prebuilt:
        yield from _prebuilt(entry)


def _prebuilt(entry: Extension) -> Iterator[str]:
    """Yield what an entry lacks that an image can have today: everything that is installed is proven."""
    if not entry.smoke and entry.enabled:
        yield "smoke: missing; whatever an archive has as a binary is proven to work"
    if not entry.files:
        yield "files: missing; expected what must exist after the installation"
        return
    if entry.created_name and f"extension/{entry.created_name}.control" not in entry.files:
        yield f"files: 'extension/{entry.created_name}.control' is missing; CREATE EXTENSION needs it"
    if entry.preload and f"{entry.preload.library}.so" not in entry.files:
        yield f"files: '{entry.preload.library}.so' is missing, the library that preload names"
    for plugin in entry.output_plugins:
        if f"{plugin}.so" not in entry.files:
            yield f"files: '{plugin}.so' is missing, a library that output_plugins names"


def _references(
    entry: Extension,
    entries: Mapping[str, Extension],
    names: Collection[str],
    archives: Collection[str] | None,
) -> Iterator[str]:
    """Yield names in an entry that nothing carries."""
    hints = entry.preload
    named = {"requires": entry.requires}
    if hints:
        named |= {f"preload.{key}": getattr(hints, key) for key in ("after", "before", "conflicts")}
    for key, values in named.items():
        for value in values:
            if value not in names:
                yield f"{key}: '{value}' is not in the catalogue{did_you_mean(value, names)}"
            elif key != "requires" and value in entries and entries[value].preload is None:
                yield f"{key}: '{value}' has no preload library"
            elif key == "requires" and value in entries and entry.enabled and not entries[value].enabled:
                yield f"requires: '{value}' is not enabled, so '{entry.name}' cannot be either"
    for number, source in enumerate(entry.sources):
        if isinstance(source, Apt) and archives is not None and source.source not in archives:
            known = f"; known: {', '.join(archives)}"
            yield f"sources[{number}].apt.source: unknown archive '{source.source}'{known}"


def _between(entries: Mapping[str, Extension]) -> Iterator[str]:
    """Yield what entries cannot all have: one name, library and first place; an order without circles."""
    sql_names: dict[str, list[str]] = {}
    libraries: dict[str, list[str]] = {}
    for stem, entry in entries.items():
        if entry.created_name:
            sql_names.setdefault(entry.created_name, []).append(stem)
        if entry.preload:
            libraries.setdefault(entry.preload.library, []).append(stem)
    for what, owners in (("CREATE EXTENSION", sql_names), ("the preload library", libraries)):
        for name, stems in owners.items():
            if len(stems) > 1:
                yield f"{' and '.join(stems)} both claim {what} '{name}'"
    first = [stem for stem, entry in entries.items() if entry.preload and entry.preload.first]
    if len(first) > 1:
        yield f"{' and '.join(first)} both claim preload.first"
    graphs = {
        "requires": {stem: set(entry.requires) for stem, entry in entries.items()},
        "preload order": preload_graph(entries),
    }
    for what, graph in graphs.items():
        try:
            TopologicalSorter(graph).prepare()
        except CycleError as error:
            yield f"{what} is circular: {' → '.join(error.args[1])}"


def contradictions(entry: Extension, entries: Mapping[str, Extension]) -> Iterator[str]:
    """Yield what keeps an entry from running in one server with all that it requires."""
    chain = required_chain(entry, entries)
    for number, one in enumerate(chain):
        for other in chain[:number]:
            if excludes(one, other):
                yield f"requires: '{one.name}' and '{other.name}' go together, but their preload libraries conflict"
            for key in sorted(one.settings.keys() & other.settings.keys()):
                if one.settings[key] != other.settings[key]:
                    yield f"requires: '{one.name}' and '{other.name}' go together, but differ in settings.{key}"


def _manifest(manifest: Manifest, names: Collection[str]) -> Iterator[str]:
    """Yield what is wrong with the manifest's references."""
    for flavour in manifest.flavours.values():
        key = f"flavours.{flavour.name}"
        for name in flavour.extensions:
            if name not in names:
                yield f"{key}.extensions: '{name}' is not in the catalogue{did_you_mean(name, names)}"
        if flavour.extends and flavour.extends not in manifest.flavours:
            hint = did_you_mean(flavour.extends, manifest.flavours)
            yield f"{key}.extends: '{flavour.extends}' is not a flavour{hint}"
    graph = {
        name: [flavour.extends] if flavour.extends else [] for name, flavour in manifest.flavours.items()
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        yield f"flavours: extends is circular: {' → '.join(error.args[1])}"
    known = ", ".join(manifest.archives)
    for image in manifest.images.values():
        for archive in image.packages:
            if archive not in manifest.archives:
                yield f"images.{image.name}.packages: unknown archive '{archive}'; known: {known}"


def _short(path: Path) -> str:
    """Return the path from the image directory on, as people write it."""
    parts = path.parts
    return "/".join(parts[parts.index("image") :]) if "image" in parts else str(path)
