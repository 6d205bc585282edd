# SPDX-License-Identifier: Apache-2.0
"""From a flavour and a choice to what exactly an image gets, in which order.

A flavour is a selection "as far as the source has it": entries that the source lacks are left out, with the reason.
A name that the user typed is an order: what cannot be had is an error. The same input always gives the same
result.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ansible_collections.aza.pg.plugins.module_utils.catalog.model import (
    Apt,
    Catalog,
    Extension,
    Git,
    Tarball,
)
from ansible_collections.aza.pg.plugins.module_utils.catalog.ordering import (
    excludes,
    in_order,
    preload_order,
)
from ansible_collections.aza.pg.plugins.module_utils.errors import AzaError, did_you_mean


@dataclass(frozen=True)
class Selection:
    """What one image gets. Lists are in the order in which they are to be used."""

    source: str
    flavour: str
    extensions: list[Extension]
    """In dependency order: whatever an entry requires stands before it."""
    packages: list[str]
    """Root packages of the postgres image: the server's, then those of the entries."""
    preload: list[str]
    """Libraries that are preloaded unless the user says otherwise."""
    opt_in_preload: list[str]
    """Libraries that are there and can be preloaded."""
    preload_order: list[str]
    """All of the above in the one order that satisfies every hint: sort a user's choice by it."""
    preload_workers: dict[str, int]
    """Background workers that each library occupies."""
    output_plugins: list[str]
    """Libraries that logical replication slots can use, beyond PostgreSQL's own."""
    create: list[str]
    """"NAME" or "NAME SCHEMA" of what the first start creates."""
    files: dict[str, list[str]]
    """What must exist after the installation, by entry."""
    left_out: dict[str, str]
    """Members of the flavour that the source cannot give, with the reason."""


def solve(catalog: Catalog, source: str, flavour: str, extensions: list[str] | None = None) -> Selection:
    """Return what an image of ``flavour`` plus ``extensions`` gets when packages come from ``source``."""
    manifest = catalog.manifest
    if source not in manifest.archives or source not in manifest.images["postgres"].packages:
        known = [name for name in manifest.archives if name in manifest.images["postgres"].packages]
        raise AzaError(
            f"image_source: unknown source '{source}'{did_you_mean(source, known)}; "
            f"known: {', '.join(known)}",
            reason="unknown_source",
        )
    if flavour not in manifest.flavours:
        raise AzaError(
            f"image_flavour: unknown flavour '{flavour}'{did_you_mean(flavour, manifest.flavours)}; "
            f"known: {', '.join(manifest.flavours)}",
            reason="unknown_flavour",
        )
    chosen: set[str] = set()
    left_out: dict[str, str] = {}
    for name in catalog.members(flavour):
        try:
            chosen |= _closure(catalog, name, source)
        except AzaError as error:
            left_out[name] = error.msg
    problems: list[AzaError] = []
    for name in extensions or []:
        try:
            chosen |= _closure(catalog, _known(catalog, name), source)
        except AzaError as error:
            problems.append(error)
    if problems:
        raise AzaError(
            "; ".join(f"image_extensions: {problem.msg}" for problem in problems),
            reason=problems[0].reason,
            problems=[problem.msg for problem in problems],
        )

    entries = {name: catalog.extensions[name] for name in sorted(chosen)}
    order = [entries[name] for name in in_order({name: entry.requires for name, entry in entries.items()})]
    _refuse_conflicts([entry for entry in entries.values() if entry.preload and entry.preload.default])
    libraries = preload_order(entries.values())
    defaults = {entry.preload.library for entry in order if entry.preload and entry.preload.default}
    return Selection(
        source=source,
        flavour=flavour,
        extensions=order,
        packages=_packages(catalog, order, source),
        preload=[library for library in libraries if library in defaults],
        opt_in_preload=[library for library in libraries if library not in defaults],
        preload_order=libraries,
        preload_workers={e.preload.library: e.preload.workers for e in entries.values() if e.preload},
        output_plugins=sorted(plugin for entry in order for plugin in entry.output_plugins),
        create=_create(entries, order),
        files={entry.name: list(entry.files) for entry in order},
        left_out=left_out,
    )


def _refuse_conflicts(preloaded: Sequence[Extension]) -> None:
    """Raise when two of the entries that are preloaded by default must not be loaded into one server."""
    for number, one in enumerate(preloaded):
        for other in preloaded[:number]:
            if excludes(one, other):
                raise AzaError(
                    f"'{other.name}' and '{one.name}' are preloaded by default and must not be loaded "
                    "into one server: leave one of them out",
                    reason="preload_conflict",
                )


def _known(catalog: Catalog, name: str) -> str:
    if name in catalog.extensions:
        return name
    entry = catalog.known_words.get(name.lower())
    hint = f"; did you mean '{entry}'?" if entry else did_you_mean(name, catalog.extensions)
    raise AzaError(f"unknown extension '{name}'{hint}", reason="unknown_extension")


def _closure(catalog: Catalog, name: str, source: str) -> set[str]:
    """Return the entry with all that it requires; raise when any of it cannot be had from ``source``."""
    found: set[str] = set()
    pending = [(name, name)]
    while pending:
        current, via = pending.pop()
        if current in found:
            continue
        entry = catalog.extensions[current]
        reason = _unavailable(entry, source, catalog.manifest.major)
        if reason:
            needed = "" if current == name else f" (required by '{via}')"
            raise AzaError(f"'{current}'{needed} {reason}", reason="extension_unavailable")
        found.add(current)
        pending += ((required, current) for required in sorted(entry.requires))
    return found


def _unavailable(entry: Extension, source: str, major: int) -> str | None:
    """Return why the entry cannot be had from ``source`` for a PostgreSQL major, or None."""
    if not entry.enabled:
        return f"is disabled: {entry.disabled_reason}"
    if entry.since > major:
        return f"needs PostgreSQL {entry.since} or later, and the image is of PostgreSQL {major}"
    if entry.source_in(source):
        return None
    has = [f"the archive '{s.source}' as {s.package}" for s in entry.sources if isinstance(s, Apt)]
    has += [f"source code at {s.repo} {s.tag or s.commit[:12]}" for s in entry.sources if isinstance(s, Git)]
    has += [f"source code at {s.url}" for s in entry.sources if isinstance(s, Tarball)]
    return f"is not available from the source '{source}'; it exists in: {'; '.join(has)}"


def _packages(catalog: Catalog, order: Iterable[Extension], source: str) -> list[str]:
    roots = list(catalog.manifest.images["postgres"].packages[source])
    given = {found.package for entry in order if isinstance(found := entry.source_in(source), Apt)}
    return roots + sorted(given - set(roots))


def _create(entries: Mapping[str, Extension], order: Iterable[Extension]) -> list[str]:
    """Return what the first start creates: what says so, and what that requires."""
    wanted: set[str] = set()
    pending = [name for name, entry in entries.items() if entry.create]
    while pending:
        name = pending.pop()
        if name not in wanted:
            wanted.add(name)
            pending += entries[name].requires
    return [
        f"{entry.created_name} {entry.schema}" if entry.schema else entry.created_name
        for entry in order
        if entry.name in wanted and entry.created_name
    ]
