# SPDX-License-Identifier: Apache-2.0
"""Plan the proof that every entry of an image works: which servers, which databases, which steps.

Pure: the caller provides a way to start a server and to run a program in it. Each entry gets its own
database, so that one cannot lean on what another created. One server serves all entries whose libraries and
settings go together; what conflicts gets another server.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from ansible_collections.aza.pg.plugins.module_utils.catalog.model import Extension, Setting, Smoke
from ansible_collections.aza.pg.plugins.module_utils.catalog.ordering import (
    excludes,
    required_chain,
)
from ansible_collections.aza.pg.plugins.module_utils.catalog.solver import Selection

PSQL = ("psql", "-qAtX", "-v", "ON_ERROR_STOP=1", "-f", "-")
"""How a SQL step runs: script on standard input; PGDATABASE and PGCLIENTENCODING=UTF8 in the environment."""

# Room beside the libraries' own workers: parallel queries, logical replication, what a test starts.
_SPARE_WORKERS = 16
_OWN_OUTPUT_PLUGINS = ("pgoutput", "test_decoding")


@dataclass(frozen=True)
class SmokeDatabase:
    """The proof of one entry."""

    extension: str
    database: str
    fresh: bool
    """Whether the database is made for this proof; False: it is the one that the entry insists on."""
    prepare: str
    """SQL that creates what the entry requires, and the entry."""
    steps: tuple[Smoke, ...]


@dataclass
class SmokeServer:
    """One server and the proofs that run in it, one after the other."""

    preload: list[str]
    settings: dict[str, str]
    databases: list[SmokeDatabase] = field(default_factory=list)


def plan(selection: Selection) -> list[SmokeServer]:
    """Return the servers that prove all of ``selection``, as few as conflicts allow."""
    by_name = {entry.name: entry for entry in selection.extensions}
    defaults = [entry for entry in selection.extensions if entry.preload and entry.preload.default]
    groups: list[_Group] = []
    for entry in selection.extensions:
        if not entry.smoke:
            continue
        chain = required_chain(entry, by_name)
        needed = [e for e in chain if any(step.preload for step in e.smoke)]
        # As the image ships, but for a default that the entry cannot live with.
        kept = [e for e in defaults if not any(excludes(e, other) for other in needed)]
        libraries = {e.name for e in (*needed, *kept)}
        settings = {key: value for e in chain for key, value in e.settings.items()}
        group = next((g for g in groups if g.takes(libraries, settings, by_name)), None)
        if group is None:
            group = _Group()
            groups.append(group)
        group.libraries |= libraries
        group.settings.update(settings)
        group.databases.append(_database(entry, chain))
    return [_server(group, by_name, selection) for group in groups]


def text(value: Setting) -> str:
    """Return a setting's value as PostgreSQL writes it."""
    if isinstance(value, bool):
        return "on" if value else "off"
    return str(value)


@dataclass
class _Group:
    libraries: set[str] = field(default_factory=set)
    settings: dict[str, Setting] = field(default_factory=dict)
    databases: list[SmokeDatabase] = field(default_factory=list)

    def takes(
        self, libraries: set[str], settings: Mapping[str, Setting], by_name: Mapping[str, Extension]
    ) -> bool:
        """Whether an entry with these libraries and settings can be proven in this server too."""
        there = [by_name[name] for name in self.libraries]
        if any(excludes(by_name[name], other) for name in libraries for other in there):
            return False
        return all(self.settings.get(key, value) == value for key, value in settings.items())


def _server(group: _Group, by_name: Mapping[str, Extension], selection: Selection) -> SmokeServer:
    hints = (by_name[name].preload for name in group.libraries)
    libraries = {preload.library for preload in hints if preload}
    workers = sum(selection.preload_workers[library] for library in libraries)
    settings = {
        "max_worker_processes": str(workers + _SPARE_WORKERS),
        "output_plugin_libraries": ", ".join((*_OWN_OUTPUT_PLUGINS, *selection.output_plugins)),
    }
    settings.update((key, text(value)) for key, value in sorted(group.settings.items()))
    preload = [library for library in selection.preload_order if library in libraries]
    return SmokeServer(preload=preload, settings=settings, databases=group.databases)


def _database(entry: Extension, chain: Iterable[Extension]) -> SmokeDatabase:
    return SmokeDatabase(
        extension=entry.name,
        database=entry.database or f"smoke_{entry.name.replace('-', '_')}",
        fresh=entry.database is None,
        prepare="".join(_create(e) for e in chain if e.created_name),
        steps=entry.smoke,
    )


def _create(entry: Extension) -> str:
    """Return the SQL that creates one extension; IF NOT EXISTS for what every database is born with."""
    if not entry.schema:
        return f'create extension if not exists "{entry.created_name}";\n'
    return (
        f"create schema if not exists {entry.schema};\n"
        f'create extension if not exists "{entry.created_name}" schema {entry.schema};\n'
    )
