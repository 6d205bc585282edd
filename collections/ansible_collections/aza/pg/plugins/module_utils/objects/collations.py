# SPDX-License-Identifier: Apache-2.0
"""Versions of collations: a library that sorts otherwise than the indexes were built. Told, never changed."""

from __future__ import annotations

from collections.abc import Iterator

from ansible_collections.aza.pg.plugins.module_utils.model.desired import Desired
from ansible_collections.aza.pg.plugins.module_utils.model.observed import Observed
from ansible_collections.aza.pg.plugins.module_utils.objects.kind import Kind
from ansible_collections.aza.pg.plugins.module_utils.objects.within import known
from ansible_collections.aza.pg.plugins.module_utils.planning.change import Change
from ansible_collections.aza.pg.plugins.module_utils.planning.finding import Finding

# Of the hundreds that a database knows, those that an index is ordered by.
_COLLATIONS = """
(select coalesce(json_agg(json_build_array(format('%I.%I', n.nspname, c.collname), c.collversion, c.now)
    order by 1), '[]')
from (select *, pg_collation_actual_version(oid) as now from pg_collation where collversion is not null and oid in (
    select distinct unnest(indcollation::oid[]) from pg_index)) c
join pg_namespace n on n.oid = c.collnamespace where c.collversion <> c.now)
"""


def _plan(wanted: Desired, found: Observed) -> Iterator[Change]:
    """Nothing: only people know when an index may be rebuilt."""
    yield from ()


def _findings(wanted: Desired, found: Observed) -> Iterator[Finding]:
    for name, is_now in sorted(known(found)["databases"].items()):
        recorded, library = is_now["collation"], is_now["library"]
        if recorded is not None and library is not None and recorded != library:
            quoted = '"' + name.replace('"', '""') + '"'
            yield _finding(
                f"database {name}",
                f"{recorded}, and the library of this image is {library}",
                f"REINDEX DATABASE {quoted}; ALTER DATABASE {quoted} REFRESH COLLATION VERSION;",
            )
    for name, seen in sorted(known(found)["inside"].items()):
        for collation, recorded, library in seen.get("collations") or ():
            yield _finding(
                f"collation {name}: {collation}",
                f"{recorded}, and the library of this image is {library}",
                f"REINDEX the indexes that use it, then ALTER COLLATION {collation} REFRESH VERSION;",
            )


def _finding(what: str, versions: str, remedy: str) -> Finding:
    message = f"its collation version is {versions}: indexes may sort differently from the server, and then miss rows"
    return Finding(what, "red", message, f"in the database: {remedy}")


KIND = Kind("collation", _plan, inside={"collations": _COLLATIONS}, findings=_findings)
