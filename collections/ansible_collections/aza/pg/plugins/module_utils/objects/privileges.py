# SPDX-License-Identifier: Apache-2.0
"""Privileges in the shape that people need: who reads and writes, who reads, who only connects. By database.

Observed are privileges as the server counts them: a thousand tables that agree are one row.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ansible_collections.aza.pg.plugins.module_utils.model.desired import Desired
from ansible_collections.aza.pg.plugins.module_utils.model.observed import Observed
from ansible_collections.aza.pg.plugins.module_utils.objects.access import (
    KINDS,
    RIGHTS,
    Access,
    access,
    acl_sql,
    granted,
    judge,
    judge_defaults,
)
from ansible_collections.aza.pg.plugins.module_utils.objects.execute import (
    compose,
    execute,
    joined,
    keywords,
    role,
)
from ansible_collections.aza.pg.plugins.module_utils.objects.kind import Facts, Kind
from ansible_collections.aza.pg.plugins.module_utils.objects.schemas import owned_by
from ansible_collections.aza.pg.plugins.module_utils.objects.within import (
    databases,
    inside,
    known,
    only_in,
    owner,
    with_inside,
)
from ansible_collections.aza.pg.plugins.module_utils.objects.within import listing as listed
from ansible_collections.aza.pg.plugins.module_utils.planning.change import Change, Detail

_VARIABLE = "postgres_databases"
_CHUNK = 500
_ORDER = (
    "SELECT",
    "INSERT",
    "UPDATE",
    "DELETE",
    "TRUNCATE",
    "USAGE",
    "EXECUTE",
    "CONNECT",
    "TEMPORARY",
    "CREATE",
)


def _member(catalog: str, oid: str) -> str:
    return (
        f"exists (select from pg_depend e where e.classid = '{catalog}'::regclass and e.objid = {oid} "
        "and e.deptype = 'e')"
    )


# Everything that access is about: not the system's, and not what an extension brought, which its author decides on.
_OBJECTS = f"""
space as (
    select n.oid, n.nspname, n.nspowner, n.nspacl from pg_namespace n
    where n.nspname !~ '^pg_' and n.nspname <> 'information_schema' and not {_member("pg_namespace", "n.oid")}
),
object as (
    select n.nspname, case c.relkind when 'S' then 'sequence' else 'table' end as kind,
        case c.relkind when 'S' then 's' else 'r' end::"char" as letter, c.oid, c.relowner as owner, c.relacl as acl
    from pg_class c join space n on n.oid = c.relnamespace
    where c.relkind in ('r', 'p', 'v', 'm', 'f', 'S') and not {_member("pg_class", "c.oid")}
    union all
    select n.nspname, 'function', 'f', p.oid, p.proowner, p.proacl
    from pg_proc p join space n on n.oid = p.pronamespace where not {_member("pg_proc", "p.oid")}
    union all
    select nspname, 'schema', 'n', oid, nspowner, nspacl from space
),
by_column as (
    select n.nspname, a.attrelid as oid, x.grantee from pg_attribute a
    join pg_class c on c.oid = a.attrelid join space n on n.oid = c.relnamespace
    cross join lateral aclexplode(a.attacl) x
    where a.attacl is not null and not a.attisdropped and not {_member("pg_class", "c.oid")}
)
"""
_GRANTS = f"""
(with {_OBJECTS}
select coalesce(json_agg(json_build_array(nspname, kind, pg_get_userbyid(owner),
    {acl_sql("acl", "letter", "owner")}, number)), '[]')
from (select nspname, kind, letter, owner, acl, count(*) as number from object group by 1, 2, 3, 4, 5) grouped)
"""
_COLUMNS = f"""
(with {_OBJECTS}
select coalesce(json_agg(json_build_array(nspname, case grantee when 0 then '' else pg_get_userbyid(grantee) end,
    number)), '[]')
from (select nspname, grantee, count(distinct oid) as number from by_column group by 1, 2) counted)
"""
_DEFAULTS = """
(select coalesce(json_agg(json_build_array(pg_get_userbyid(d.defaclrole), coalesce(n.nspname, ''),
    case d.defaclobjtype when 'r' then 'table' when 'S' then 'sequence' when 'f' then 'function' else 'schema' end,
    case x.grantee when 0 then '' else pg_get_userbyid(x.grantee) end,
    x.privilege_type || case when x.is_grantable then '*' else '' end)), '[]')
from pg_default_acl d left join pg_namespace n on n.oid = d.defaclnamespace
cross join lateral aclexplode(d.defaclacl) x where d.defaclobjtype in ('r', 'S', 'f', 'n'))
"""
# Object by object, for one role: its identity as statements take it, and what the role and PUBLIC have on it.
_EACH = f"""
with {_OBJECTS}
select o.nspname, o.kind, pg_get_userbyid(o.owner), case o.kind
        when 'schema' then quote_ident(o.nspname)
        when 'function' then (select format('%%I.%%I(%%s)', o.nspname, p.proname, array_to_string(array(
            select format_type(t, null) from unnest(p.proargtypes) with ordinality u(t, place) order by place), ', '))
            from pg_proc p where p.oid = o.oid)
        else (select format('%%I.%%I', o.nspname, c.relname) from pg_class c where c.oid = o.oid) end,
    (select coalesce(json_agg(json_build_array(case a.grantee when 0 then '' else %(role)s end,
        a.privilege_type || case when a.is_grantable then '*' else '' end, pg_get_userbyid(a.grantor))), '[]')
        from aclexplode(coalesce(o.acl, acldefault(o.letter, o.owner))) a where a.grantee in (0, r.oid)),
    o.kind = 'table' and exists (select from by_column b where b.oid = o.oid and b.grantee = r.oid)
from object o cross join (select coalesce((select oid from pg_roles where rolname = %(role)s), 0) as oid) r
where o.nspname = any(%(schemas)s)
order by 1, 2, 4
"""


def _asked_inside(wanted: Desired) -> dict[str, str]:
    """Only where access is declared: otherwise privileges are not managed."""
    names = [entry["name"] for entry in databases(wanted) if entry["access"]]
    questions = {"grants": _GRANTS, "columns": _COLUMNS, "defaults": _DEFAULTS}
    return {key: only_in(names, asked) for key, asked in questions.items()} if names else {}


# -- plan --------------------------------------------------------------------------------------------


def managed(
    entry: Mapping[str, Any], schemas: Mapping[str, Mapping[str, Any]], extensions: Iterable[str]
) -> set[str]:
    """The schemas that the declaration speaks of: all but those of extensions, and those on their way out.

    ``extensions``: names of schemas that an extension keeps for itself.
    """
    declared = {item["name"]: item["state"] for item in entry["schemas"]}
    there = {name for name, item in schemas.items() if not item["extension"]}
    there |= {name for name, state in declared.items() if state == "present"}
    kept = {name for name in extensions if name != "public" and declared.get(name) != "present"}
    return {name for name in there - kept if declared.get(name) != "absent"}


def _declared(
    wanted: Desired, entry: Mapping[str, Any], schemas: Mapping[str, Mapping[str, Any]], kept: Iterable[str]
) -> Access | None:
    names = managed(entry, schemas, kept)
    given = {item["name"]: item["owner"] or owner(wanted, entry) for item in entry["schemas"]}
    owners = {given.get(name) or schemas[name]["owner"] for name in names}
    return access(wanted, entry, names, owners)


def kept_by_extensions(found: Observed, entry: Mapping[str, Any], seen: Mapping[str, Any]) -> set[str]:
    """Schemas that a control file names: their objects belong to the extension."""
    states = {item["name"]: item["state"] for item in entry["extensions"]}
    names = {*seen["extensions"], *states} - {name for name, state in states.items() if state == "absent"}
    available = known(found).get("available_extensions") or {}
    return {str(available[name]["schema"]) for name in names if (available.get(name) or {}).get("schema")}


@dataclass
class _Report:
    """What one role lacks and what it has in addition."""

    lacks: list[str] = field(default_factory=list)
    extra: list[str] = field(default_factory=list)


def _plan(wanted: Desired, found: Observed) -> Iterator[Change]:
    for entry in databases(wanted):
        seen = inside(found, entry)
        if not entry["access"] or not seen:
            continue
        kept = kept_by_extensions(found, entry, seen)
        declared = _declared(wanted, entry, seen["schemas"], kept)
        assert declared is not None  # access is there
        reports, having = _reports(wanted, found, entry, declared, seen)
        granted: list[str] = []
        # Declared roles get their privileges before those of others are revoked.
        for name in sorted(reports, key=lambda role: (not declared.level(role), role)):
            change = _change(wanted, entry, declared, name, reports[name], name in having, kept)
            if declared.level(name):
                granted.append(change.id)
                yield change
            else:
                yield replace(change, needs=(*change.needs, *granted))


def _reports(
    wanted: Desired, found: Observed, entry: Mapping[str, Any], declared: Access, seen: Mapping[str, Any]
) -> tuple[dict[str, _Report], set[str]]:
    """Role → what is wrong, and the roles that have anything at all."""
    reports: dict[str, _Report] = {}
    having: set[str] = set()
    is_now = known(found)["databases"].get(entry["name"]) or {}
    rows = [["", "database", is_now.get("owner", ""), is_now.get("acl", _NEW), 1], *seen["grants"]]
    rows = [_with_new_owner(wanted, entry, row) for row in rows]
    rows += [[name, "schema", "", [], 1] for name in sorted(declared.schemas - set(seen["schemas"]))]
    wrong: dict[tuple[str, str, str, str, frozenset[str]], int] = {}
    for schema, kind, its_owner, acl, number in rows:
        if schema and schema not in declared.schemas:
            continue
        having |= {item[0] for item in acl if item[0] != its_owner}
        verdict = judge(declared, kind, its_owner, acl)
        for side, parts in (("lacks", verdict.lacks), ("extra", verdict.extra)):
            for name, privileges in parts.items():
                key = (side, name, kind, schema, privileges)
                wrong[key] = wrong.get(key, 0) + number
    for (side, name, kind, schema, privileges), number in sorted(
        wrong.items(), key=lambda item: str(item[0][:4])
    ):
        getattr(reports.setdefault(name, _Report()), side).append(
            _privileges_text(privileges, kind, schema, number)
        )
    for schema, name, number in sorted(seen["columns"]):
        if schema in declared.schemas and name not in declared.above | declared.connects:
            reports.setdefault(name, _Report()).extra.append(
                f"columns of {_count(number, 'table')} of {schema}"
            )
            having.add(name)
    missing, extra = judge_defaults(declared, seen["defaults"])
    for side, items in (("lacks", missing), ("extra", extra)):
        for name, creator in sorted({(item[3], item[0]) for item in items}):
            kinds = [
                kind for kind in KINDS if any((i[3], i[0], i[2]) == (name, creator, kind) for i in items)
            ]
            message = f"default privileges on {_plural(kinds)} of {creator}"
            getattr(reports.setdefault(name, _Report()), side).append(message)
    return reports, having


def _with_new_owner(wanted: Desired, entry: Mapping[str, Any], row: list[Any]) -> list[Any]:
    """The row as it is once the plan has changed the owner, who then takes the place of the old one."""
    schema, kind, before, acl, number = row
    after = before
    if kind == "database":
        after = owner(wanted, entry)
    elif kind == "schema":
        given = next((item for item in entry["schemas"] if item["name"] == schema), None)
        if given and (given["owner"] or before != "pg_database_owner"):
            after = owned_by(wanted, entry, given)
    heirs = {before: after} if before else {}  # the empty name is PUBLIC's
    return [schema, kind, after, [[heirs.get(item, item) for item in items] for items in acl], number]


_NEW = [["", "CONNECT"], ["", "TEMPORARY"]]


def _plural(kinds: list[str]) -> str:
    return ", ".join(f"{kind}s" for kind in kinds)


def _count(number: int, kind: str) -> str:
    return f"{number} {kind}{'' if number == 1 else 's'}"


def _sorted(privileges: Iterable[str]) -> list[str]:
    def place(privilege: str) -> tuple[int, str]:
        plain = privilege.rstrip("*")
        return (_ORDER.index(plain) if plain in _ORDER else len(_ORDER)), privilege

    return sorted(privileges, key=place)


def _privileges_text(privileges: Iterable[str], kind: str, schema: str, number: int) -> str:
    names = ", ".join(
        f"{item[:-1]} with grant option" if item.endswith("*") else item for item in _sorted(privileges)
    )
    if kind == "database":
        return names
    return (
        f"{names} on schema {schema}"
        if kind == "schema"
        else f"{names} on {_count(number, kind)} of {schema}"
    )


@dataclass(frozen=True)
class AccessDetail(Detail):
    """``role``: empty for PUBLIC. ``kept``: roles that are neither granted nor revoked anything."""

    database: str
    role: str
    kept: tuple[str, ...]


def _change(
    wanted: Desired,
    entry: Mapping[str, Any],
    declared: Access,
    name: str,
    report: _Report,
    has_some: bool,
    kept: Iterable[str],
) -> Change:
    level, shown = declared.level(name), name or "PUBLIC"
    parts = [f"it lacks {listed(report.lacks)}"] if report.lacks else []
    parts += [f"it also has {listed(report.extra)}"] if report.extra else []
    granted = bool(level) and not has_some and not report.extra
    database = entry["name"]
    inner = [f"{kind} {database}.{item['name']}" for kind, key in (("schema", "schemas"), ("extension", "extensions"))
             for item in entry[key] if item["state"] == "present"]  # fmt: skip
    return Change(
        "access",
        f"{database}.{shown}",
        "grant" if granted else "change" if level else "revoke",
        effect="sql",
        before="" if level else listed(report.extra),
        after=level,
        why="" if granted or not level else "; ".join(parts),
        origin=wanted.origin(_VARIABLE),
        detail=AccessDetail(database, name, tuple(sorted(kept))),
        id=f"access {database}.{shown}",
        needs=(f"database {database}", *([f"role {name}"] if level else []), *inner),
    )


def _problems(wanted: Desired, found: Observed) -> Iterator[str]:
    gone = {item["name"] for item in wanted.objects.get("roles", ()) if item["state"] == "absent"}
    coming = {item["name"] for item in wanted.objects.get("roles", ())} - gone
    there = known(found).get("roles")
    for entry in databases(wanted):
        for level, names in entry["access"].items():
            for name in names:
                where = f"{_VARIABLE} ({entry['name']}): access: {level}: '{name}'"
                if name in gone:
                    yield f"{where} is declared absent; remove it from one of the two"
                elif there is not None and name not in there and name not in coming:
                    yield f"{where} is neither declared in postgres_roles nor on the server"


# -- apply -------------------------------------------------------------------------------------------


def _apply(context: Any, change: Change) -> None:
    """All of one role in one database at once, from what is there at that moment."""
    detail = change.detail_as(AccessDetail)
    database, name = detail.database, detail.role
    entry = next(item for item in databases(context.wanted) if item["name"] == database)
    connection = context.sql(database)
    with connection.transaction():
        schemas = connection.execute(
            "select json_object_agg(n.nspname, json_build_object('owner', pg_get_userbyid(n.nspowner), "
            f"'extension', case when {_member('pg_namespace', 'n.oid')} then 'x' else '' end)) from pg_namespace n "
            "where n.nspname !~ '^pg_' and n.nspname <> 'information_schema'"
        ).fetchone()[0]
        declared = _declared(context.wanted, entry, schemas or {}, detail.kept)
        if declared is not None:
            _on_database(connection, declared, name)
            _on_objects(connection, declared, name)
            _to_come(connection, declared, name)


def _on_database(connection: Any, declared: Access, name: str) -> None:
    identity, its_owner, acl = connection.execute(
        f"select quote_ident(d.datname), pg_get_userbyid(d.datdba), {acl_sql('d.datacl', _DATABASE, 'd.datdba')} "
        "from pg_database d where d.datname = current_database()"
    ).fetchone()
    statements = _Statements("database", name, its_owner)
    statements.add(declared, identity, acl)
    statements.run(connection)


def _on_objects(connection: Any, declared: Access, name: str) -> None:
    rows = connection.execute(_EACH, {"role": name, "schemas": sorted(declared.schemas)}).fetchall()
    groups: dict[tuple[str, str], _Statements] = {}
    for _, kind, its_owner, identity, acl, by_column in rows:
        group = groups.setdefault((kind, its_owner), _Statements(kind, name, its_owner))
        if by_column and name not in declared.above | declared.connects | {its_owner}:
            group.take("", ("ALL",), its_owner, identity)
            acl = [item for item in acl if item[0] != name]
        group.add(declared, identity, acl)
    for group in groups.values():
        group.run(connection)


def _to_come(connection: Any, declared: Access, name: str) -> None:
    found = connection.execute(f"select {_DEFAULTS}").fetchone()[0]
    missing, extra = judge_defaults(declared, found)
    for verb, items in (("revoke {} on {} from {} cascade", extra), ("grant {} on {} to {}", missing)):
        groups: dict[tuple[str, str, str], set[str]] = {}
        for creator, schema, kind, grantee, privilege in items:
            if grantee == name:
                groups.setdefault((creator, schema, kind), set()).add(privilege.rstrip("*"))
        for (creator, schema, kind), privileges in sorted(groups.items()):
            what = keywords(", ".join(_sorted(privileges))), keywords(f"{kind}s"), role(name)
            where = compose("in schema {}", schema) if schema else keywords("")
            execute(connection, f"alter default privileges for role {{}} {{}} {verb}", creator, where, *what)


_DATABASE = "'d'"
_WORD = {"function": "routine"}


class _Statements:
    """GRANT and REVOKE for one role on objects of one owner: as few as there are different sets of privileges."""

    def __init__(self, kind: str, name: str, its_owner: str) -> None:
        self.kind, self.name, self.owner = kind, name, its_owner
        self.given: dict[tuple[str, ...], list[str]] = {}
        self.taken: dict[tuple[str, tuple[str, ...], str], list[str]] = {}

    def take(self, option: str, privileges: tuple[str, ...], grantor: str, identity: str) -> None:
        self.taken.setdefault((option, privileges, grantor), []).append(identity)

    def add(self, declared: Access, identity: str, acl: Iterable[Any]) -> None:
        items = list(acl)
        verdict = judge(declared, self.kind, self.owner, items)
        extra = verdict.extra.get(self.name, frozenset())
        due = RIGHTS[declared.levels[self.name]][self.kind] if self.name in declared.levels else frozenset()
        # A grant can only be revoked by its grantor.
        for grantor in sorted({item[2] for item in items}):
            theirs = {item[1] for item in items if item[0] == self.name and item[2] == grantor}
            wrong = {item for item in theirs if item in extra or item.rstrip("*") in extra}
            options = {item[:-1] for item in wrong if item[:-1] in due}
            plain = {item.rstrip("*") for item in wrong} - options
            for option, privileges in (("grant option for", options), ("", plain)):
                if privileges:
                    self.take(option, tuple(_sorted(privileges)), grantor, identity)
        if verdict.lacks.get(self.name):
            self.given.setdefault(tuple(_sorted(verdict.lacks[self.name])), []).append(identity)

    def run(self, connection: Any) -> None:
        kind, name = keywords(_WORD.get(self.kind, self.kind)), role(self.name)
        for (option, privileges, grantor), identities in self.taken.items():
            if grantor != self.owner:
                execute(connection, "set local role {}", grantor)
            for some in _chunks(identities):
                what = keywords(option), keywords(", ".join(privileges)), kind, some, name
                execute(connection, "revoke {} {} on {} {} from {} cascade", *what)
            if grantor != self.owner:
                connection.execute("reset role")
        for given, identities in self.given.items():
            for some in _chunks(identities):
                execute(connection, "grant {} on {} {} to {}", keywords(", ".join(given)), kind, some, name)


def _chunks(identities: list[str]) -> Iterator[Any]:
    for start in range(0, len(identities), _CHUNK):
        yield joined([keywords(item) for item in identities[start : start + _CHUNK]])


def _simulate(wanted: Desired, server: Facts, change: Change) -> Facts:
    detail = change.detail_as(AccessDetail)
    seen, name = server["inside"][detail.database], detail.role
    entry = next(item for item in databases(wanted) if item["name"] == detail.database)
    declared = _declared(wanted, entry, seen["schemas"], detail.kept)
    if declared is None:
        return server
    by_column = {item[0] for item in seen["columns"] if item[1] == name}
    trusted = declared.above | declared.connects
    columns = [
        item
        for item in seen["columns"]
        if item[1] != name or item[0] not in declared.schemas or name in trusted
    ]
    grants = []
    for space, kind, its_owner, acl, number in seen["grants"]:
        if space in declared.schemas:
            if kind == "table" and space in by_column and name not in trusted | {its_owner}:
                acl = [item for item in acl if item[0] != name]
            acl = granted(declared, kind, its_owner, acl, name)
        grants.append([space, kind, its_owner, acl, number])
    missing, extra = judge_defaults(declared, seen["defaults"])
    defaults = {tuple(item) for item in seen["defaults"]} - {item for item in extra if item[3] == name}
    defaults |= {item for item in missing if item[3] == name}
    server = with_inside(server, detail.database, grants=grants, columns=columns, defaults=sorted(defaults))
    there = server["databases"][detail.database]
    acl = granted(declared, "database", there["owner"], there["acl"], name)
    return {**server, "databases": {**server["databases"], detail.database: {**there, "acl": acl}}}


KIND = Kind(
    "access",
    _plan,
    apply=_apply,
    simulate=_simulate,
    asked_inside=_asked_inside,
    problems=_problems,
)
