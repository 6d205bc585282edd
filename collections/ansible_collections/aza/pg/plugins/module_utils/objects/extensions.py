# SPDX-License-Identifier: Apache-2.0
"""Extensions of each database: created in the order of their needs, updated, dropped only when asked."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.aza.pg.plugins.module_utils.errors import AzaError, did_you_mean
from ansible_collections.aza.pg.plugins.module_utils.model.desired import Desired
from ansible_collections.aza.pg.plugins.module_utils.model.observed import Observed
from ansible_collections.aza.pg.plugins.module_utils.model.service import SERVER
from ansible_collections.aza.pg.plugins.module_utils.objects.declared import entries, unique
from ansible_collections.aza.pg.plugins.module_utils.objects.execute import compose, execute, value
from ansible_collections.aza.pg.plugins.module_utils.objects.kind import Facts, Kind, Undeclared
from ansible_collections.aza.pg.plugins.module_utils.objects.within import (
    databases,
    inside,
    known,
    listing,
    rows_here,
    with_inside,
)
from ansible_collections.aza.pg.plugins.module_utils.planning.change import Change, Detail
from ansible_collections.aza.pg.plugins.module_utils.planning.finding import Finding

_VARIABLE = "postgres_databases"
DEFAULTS: dict[str, Any] = {"state": "present", "schema": "", "version": ""}
_STOCK = ("plpgsql",)
# Where the image says what its first start creates.
_CREATED = "/usr/local/share/aza-pg/create"

_INSTALLED = """
(select coalesce(json_object_agg(e.extname, json_build_object(
    'version', e.extversion, 'schema', n.nspname, 'relocatable', e.extrelocatable)), '{}')
from pg_extension e join pg_namespace n on n.oid = e.extnamespace)
"""
# ``requires`` and ``schema`` are those of the default version.
_AVAILABLE = """
(select coalesce(json_object_agg(name, about), '{}') from (
    select a.name, json_build_object(
        'default', a.default_version,
        'versions', json_agg(v.version order by v.version),
        'requires', (array_agg(to_json(v.requires)) filter (where v.version = a.default_version))[1],
        'schema', (array_agg(v.schema) filter (where v.version = a.default_version))[1]) as about
    from pg_available_extensions a join pg_available_extension_versions v using (name)
    group by a.name, a.default_version) every)
"""
_IMAGE = f"""
(select coalesce(json_agg(split_part(line, ' ', 1)), '[]')
from regexp_split_to_table(coalesce(pg_read_file('{_CREATED}', true), ''), '\\n') line where line !~ '^(#|\\s*$)')
"""


def normalise(where: str, given: Any) -> list[dict[str, Any]]:
    for item in given or ():
        if isinstance(item, Mapping) and isinstance(item.get("version"), (int, float)):
            raise AzaError(
                f"{where} ({item.get('name')}): version {item['version']} is a number, in which 1.10 would be 1.1; "
                f"put it in quotes: version: '{item['version']}'.",
                reason="bad_object",
            )
    result = unique(where, entries(where, given, DEFAULTS))
    for item in result:
        if item["state"] not in ("present", "absent"):
            raise AzaError(
                f"{where} ({item['name']}): state is present or absent, not {item['state']!r}.",
                reason="bad_object",
            )
        if item["state"] == "absent" and item["name"] in _STOCK:
            raise AzaError(
                f"{where}: '{item['name']}' is part of PostgreSQL; leave it out.",
                reason="bad_object",
            )
    return result


def _of(entry: Mapping[str, Any], state: str) -> dict[str, Mapping[str, Any]]:
    return {item["name"]: item for item in entry["extensions"] if item["state"] == state}


def _available(found: Observed) -> Mapping[str, Any]:
    """Empty before the first start: the image has not spoken yet."""
    return known(found).get("available_extensions") or {}


def _requires(found: Observed, name: str) -> list[str]:
    return list((_available(found).get(name) or {}).get("requires") or ())


def _all_required(found: Observed, names: Iterable[str]) -> dict[str, str]:
    """What these need, directly or not, and who needs it; those that need nothing else first."""
    result: dict[str, str] = {}

    def visit(name: str) -> None:
        for needed in _requires(found, name):
            visit(needed)
            result.setdefault(needed, name)

    for name in names:
        visit(name)
    return result


# -- observe -----------------------------------------------------------------------------------------


def _asked_inside(wanted: Desired) -> dict[str, str]:
    """Whether there is a way from the version that is there to the declared one."""
    pinned = [
        (entry["name"], name, item["version"])
        for entry in databases(wanted)
        for name, item in _of(entry, "present").items()
        if item["version"]
    ]
    if not pinned:
        return {}
    return {
        "paths": "(select coalesce(json_object_agg(e.extname, p.path is not null), '{}') "
        f"from {rows_here(pinned, 'name, version')} w join pg_extension e on e.extname = w.name "
        "cross join lateral pg_extension_update_paths(e.extname) p "
        "where p.source = e.extversion and p.target = w.version)"
    }


# -- plan --------------------------------------------------------------------------------------------


def _problems(wanted: Desired, found: Observed) -> Iterator[str]:
    for entry in databases(wanted):
        seen = inside(found, entry)
        if seen:
            present = _of(entry, "present")
            for name, item in present.items():
                where = f"{_VARIABLE} ({entry['name']}): extension '{name}'"
                message = _problem(wanted, found, entry, item, seen)
                if message:
                    yield f"{where} {message}"
            for name, user in _all_required(found, present).items():
                if name in _of(entry, "absent"):
                    yield f"{_VARIABLE} ({entry['name']}): extension '{name}' is declared absent, but '{user}' needs it"


def _problem(
    wanted: Desired,
    found: Observed,
    entry: Mapping[str, Any],
    item: Mapping[str, Any],
    seen: Mapping[str, Any],
) -> str:
    """Why this extension cannot be had as it is declared: what the image lacks, then its version, then its schema."""
    about = _available(found).get(item["name"]) or {}
    is_now = seen["extensions"].get(item["name"])
    return (
        _not_carried(wanted, found, item["name"], seen["extensions"])
        or _wrong_version(item, is_now, about, (seen["paths"] or {}).get(item["name"]))
        or _wrong_schema(entry, item, is_now, {"pg_catalog", about.get("schema"), *seen["schemas"]})
    )


def _not_carried(wanted: Desired, found: Observed, name: str, there: Mapping[str, Any]) -> str:
    available = _available(found)
    for needed in [name, *_all_required(found, [name])]:
        if available and needed not in available:
            if needed != name:
                return f"needs '{needed}', which is not in this image (image_extensions adds to it)"
            return f"is not in this image{did_you_mean(name, available)} (image_extensions adds to it)"
        library = _library(wanted, needed)
        missing = library and not (_loaded(found, library) or _coming(wanted, library))
        if missing and needed not in there:
            variable = "postgres_extra_preload_libraries"
            return f"needs the library {library} in shared_preload_libraries; add it to {variable}"
    return ""


def _wrong_version(
    item: Mapping[str, Any], is_now: Mapping[str, Any] | None, about: Mapping[str, Any], leads: bool | None
) -> str:
    version, versions = item["version"], about.get("versions") or ()
    if version and versions and version not in versions:
        return f"has no version '{version}' in this image; there is {', '.join(versions[-6:])}"
    if version and is_now and is_now["version"] not in ("", version) and not leads:
        return f"is installed in version {is_now['version']}, which cannot be updated to {version}"
    return ""


def _wrong_schema(
    entry: Mapping[str, Any],
    item: Mapping[str, Any],
    is_now: Mapping[str, Any] | None,
    there: Iterable[str | None],
) -> str:
    schema = item["schema"]
    if schema and is_now and is_now["schema"] != schema and not is_now["relocatable"]:
        return f"is in the schema {is_now['schema']} and cannot be moved; declare that one"
    declared = {one["name"] for one in entry["schemas"] if one["state"] == "present"}
    if schema and schema not in declared and schema not in there:
        return f"is to be in the schema '{schema}', which is neither there nor declared; add it to 'schemas'"
    return ""


def _library(wanted: Desired, name: str) -> str:
    """The library without which the extension cannot be created, as the catalogue knows it."""
    return str((wanted.objects.get("preload") or {}).get("needed", {}).get(name, ""))


def _loaded(found: Observed, library: str) -> bool:
    if "preloaded" not in known(found):
        return True
    return library in [item.strip().strip('"') for item in known(found)["preloaded"].split(",")]


def _coming(wanted: Desired, library: str) -> bool:
    return library in (wanted.objects.get("preload") or {}).get("declared", ())


def _plan(wanted: Desired, found: Observed) -> Iterator[Change]:
    for entry in databases(wanted):
        seen = inside(found, entry)
        if not seen:
            continue
        there, present = seen["extensions"], _of(entry, "present")
        for name, item in _of(entry, "absent").items():
            if name in there:
                yield _dropped(wanted, found, entry, item, seen)
        required = _all_required(found, present)
        for name, user in required.items():
            if name not in there and name not in present:
                item = {"name": name, **DEFAULTS}
                yield _created(wanted, found, entry, item, f"{user} needs it")
        for name, item in present.items():
            if name not in there:
                yield _created(wanted, found, entry, item, "")
            else:
                yield from _altered(wanted, entry, item, there[name])


@dataclass(frozen=True)
class ExtensionDetail(Detail):
    """``schema``, ``version``: what is set, empty for what is left. ``cascade``: drop what depends on it, too."""

    database: str
    extension: str
    schema: str = ""
    version: str = ""
    cascade: bool = False


def _change(
    wanted: Desired, entry: Mapping[str, Any], item: Mapping[str, Any], action: str, **more: Any
) -> Change:
    name = f"{entry['name']}.{item['name']}"
    detail = ExtensionDetail(entry["name"], item["name"], **more.pop("detail"))
    values = {"effect": "sql", "origin": wanted.origin(_VARIABLE), "id": f"extension {name}", **more}
    return Change("extension", name, action, detail=detail, **values)


def _created(
    wanted: Desired, found: Observed, entry: Mapping[str, Any], item: Mapping[str, Any], why: str
) -> Change:
    database = entry["name"]
    shown = [f"{key} {item[key]}" for key in ("schema", "version") if item[key]]
    needs = [
        f"database {database}",
        *(f"extension {database}.{name}" for name in _requires(found, item["name"])),
    ]
    if item["schema"]:
        needs.append(f"schema {database}.{item['schema']}")
    if (library := _library(wanted, item["name"])) and not _loaded(found, library):
        needs.append(f"container {SERVER}")  # with which the library comes
    return _change(
        wanted,
        entry,
        item,
        "create",
        after=", ".join(shown),
        why=why,
        detail={"schema": item["schema"], "version": item["version"]},
        needs=tuple(needs),
    )


def _altered(
    wanted: Desired, entry: Mapping[str, Any], item: Mapping[str, Any], is_now: Mapping[str, Any]
) -> Iterator[Change]:
    if item["version"] and is_now["version"] not in ("", item["version"]):
        yield _change(
            wanted,
            entry,
            item,
            "change",
            before=f"version {is_now['version']}",
            after=item["version"],
            detail={"version": item["version"]},
        )
    if item["schema"] and is_now["schema"] != item["schema"]:
        yield _change(
            wanted,
            entry,
            item,
            "change",
            before=f"schema {is_now['schema']}",
            after=item["schema"],
            detail={"schema": item["schema"]},
            needs=(f"schema {entry['name']}.{item['schema']}",),
        )


def _dropped(
    wanted: Desired,
    found: Observed,
    entry: Mapping[str, Any],
    item: Mapping[str, Any],
    seen: Mapping[str, Any],
) -> Change:
    others = _of(entry, "absent")
    users = [name for name in others if name in seen["extensions"] and item["name"] in _requires(found, name)]
    lost = (seen["lost"] or {}).get(f"extension {item['name']}", [])
    lost = [message for message in lost if message.removeprefix("extension ") not in others]
    return _change(
        wanted,
        entry,
        item,
        "drop",
        effect="data" if lost else "sql",
        risk=listing(lost, most=6),
        detail={"cascade": bool(lost)},
        needs=tuple(f"extension {entry['name']}.{name}" for name in users),
    )


def explained(found: Observed, entry: Mapping[str, Any]) -> set[str]:
    """The extensions of a database that are declared, that a declared one needs, or that come with the image."""
    declared = {item["name"] for item in entry["extensions"]}
    image = known(found).get("image_extensions") or ()
    return {*declared, *_all_required(found, declared), *image, *_STOCK}


def _undeclared(wanted: Desired, found: Observed) -> Iterator[Undeclared]:
    for entry in databases(wanted):
        there = inside(found, entry).get("extensions") or {}
        for name in sorted(set(there) - explained(found, entry)):
            message = "it is not declared (postgres_databases: extensions)"
            yield Undeclared("extensions", "yellow", f"extension {entry['name']}.{name}", message)


def _findings(wanted: Desired, found: Observed) -> Iterator[Finding]:
    """Behind the image's default: not as new as it could be, and nothing that a deploy would change on its own."""
    declared = {item["name"]: item for item in databases(wanted)}
    for database, seen in sorted(known(found).get("inside", {}).items()):
        pinned = _of(declared[database], "present") if database in declared else {}
        for name, is_now in sorted((seen.get("extensions") or {}).items()):
            newest = (_available(found).get(name) or {}).get("default")
            if newest and is_now["version"] != newest and not (pinned.get(name) or {}).get("version"):
                yield Finding(
                    f"extension {database}.{name}",
                    "yellow",
                    f"it is version {is_now['version']}, and this image has {newest}",
                    f"declare version: '{newest}' for it, or in the database: ALTER EXTENSION \"{name}\" UPDATE",
                )


# -- apply -------------------------------------------------------------------------------------------


# Where the version goes that is about to be created, and what it needs. Without a declared schema that is what its
# control file says, or public: never the schema that happens to come first in a search path.
_TARGET = """
select coalesce(v.schema, nullif(%s, ''), 'public'), v.schema is not null, v.requires
from pg_available_extensions a join pg_available_extension_versions v using (name)
where a.name = %s and v.version = coalesce(nullif(%s, ''), a.default_version)
"""
_SCHEMA_OF = """
select n.nspname from pg_extension e join pg_namespace n on n.oid = e.extnamespace where e.extname = %s
"""
# Functions and operators of users, under names of PostgreSQL's own, where the script of an extension looks for names.
_SHADOWS = """
select format('%%s of role %%s', what, owner) from (
    select 'function ' || p.oid::regprocedure::text as what, pg_get_userbyid(p.proowner) as owner
    from pg_proc p join pg_roles r on r.oid = p.proowner and not r.rolsuper
    where p.pronamespace = any(%(schemas)s::regnamespace[])
    and exists (select from pg_proc q where q.pronamespace = 'pg_catalog'::regnamespace and q.proname = p.proname)
    union all
    select 'operator ' || o.oid::regoperator::text, pg_get_userbyid(o.oprowner)
    from pg_operator o join pg_roles r on r.oid = o.oprowner and not r.rolsuper
    where o.oprnamespace = any(%(schemas)s::regnamespace[])
    and exists (select from pg_operator q where q.oprnamespace = 'pg_catalog'::regnamespace and q.oprname = o.oprname)
) shadow order by 1
"""


def _refuse_shadows(connection: Any, name: str, schemas: Iterable[str]) -> None:
    """The script of an extension runs with the administrator's rights, and resolves names in these schemas.

    :raises AzaError: when it could call what a user has written.
    """
    there = "select quote_ident(nspname) from pg_namespace where nspname = any(%s)"
    quoted = [row[0] for row in connection.execute(there, (sorted(set(schemas)),)).fetchall()]
    found = [row[0] for row in connection.execute(_SHADOWS, {"schemas": quoted}).fetchall()]
    if found:
        raise AzaError(
            f"the script of the extension {name} could call {listing(found)} with the administrator's rights, because "
            "the name is one of PostgreSQL's own. Drop or rename it, or declare another schema for the extension.",
            reason="shadowed",
        )


def _schema_of(connection: Any, name: str) -> list[str]:
    return [row[0] for row in connection.execute(_SCHEMA_OF, (name,)).fetchall()]


def _create(connection: Any, name: str, schema: str, version: str) -> None:
    row = connection.execute(_TARGET, (schema, name, version)).fetchone()
    target, is_fixed, requires = row or (schema or "public", False, None)
    _refuse_shadows(
        connection,
        name,
        [target, *(one for other in requires or () for one in _schema_of(connection, other))],
    )
    statement = compose("create extension if not exists {}", name)
    if schema or not is_fixed:
        statement = compose("{} schema {}", statement, schema or target)
    if version:
        statement = compose("{} version {}", statement, value(version))
    connection.execute(statement)


def _apply(context: Any, change: Change) -> None:
    detail = change.detail_as(ExtensionDetail)
    database, name = detail.database, detail.extension
    if change.action == "change":
        # Some refuse to be updated in a session that has used them.
        context.close(database)
    connection = context.sql(database)
    if change.action == "drop":
        execute(
            connection,
            f"drop extension if exists {{}} {'cascade' if detail.cascade else 'restrict'}",
            name,
        )
    elif change.action == "create":
        _create(connection, name, detail.schema, detail.version)
    elif detail.version:
        _refuse_shadows(connection, name, _schema_of(connection, name))
        execute(connection, "alter extension {} update to {}", name, value(detail.version))
    else:
        execute(connection, "alter extension {} set schema {}", name, detail.schema)


def _simulate(_: Desired, server: Facts, change: Change) -> Facts:
    """Return the facts afterwards; an extension without a declared schema is taken to be in public."""
    detail = change.detail_as(ExtensionDetail)
    there = dict(server["inside"][detail.database]["extensions"])
    available = server.get("available_extensions") or {}
    if change.action == "create":
        newest = (available.get(detail.extension) or {}).get("default") or ""
        there[detail.extension] = {
            "version": detail.version or newest,
            "schema": detail.schema or "public",
            "relocatable": True,
        }
    elif change.action == "drop":
        gone = {detail.extension}
        if detail.cascade:
            gone |= {
                name for name in there if detail.extension in (available.get(name, {}).get("requires") or ())
            }
        there = {name: item for name, item in there.items() if name not in gone}
    else:
        new = {"version": detail.version, "schema": detail.schema}
        there[detail.extension] = {
            **there[detail.extension],
            **{key: text for key, text in new.items() if text},
        }
    return with_inside(server, detail.database, extensions=there)


KIND = Kind(
    "extension",
    _plan,
    apply=_apply,
    simulate=_simulate,
    server={"available_extensions": _AVAILABLE, "image_extensions": _IMAGE},
    inside={"extensions": _INSTALLED},
    asked_inside=_asked_inside,
    problems=_problems,
    undeclared=_undeclared,
    findings=_findings,
)
