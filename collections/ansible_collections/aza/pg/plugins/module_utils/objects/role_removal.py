# SPDX-License-Identifier: Apache-2.0
"""The removal of a role: what stands in its way, and who gets what it owns."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.aza.pg.plugins.module_utils.errors import AzaError
from ansible_collections.aza.pg.plugins.module_utils.model.desired import Desired
from ansible_collections.aza.pg.plugins.module_utils.objects.execute import execute
from ansible_collections.aza.pg.plugins.module_utils.objects.within import quoted
from ansible_collections.aza.pg.plugins.module_utils.planning.change import Change, Detail

ACTION = "drop"
_SHOWN = 5

# Shared objects are named; of what lies in other databases only the number can be had from here.
_EVERYWHERE = """(
    select coalesce(json_agg(x), '[]') from (
        select pg_get_userbyid(refobjid) as role, '' as database, deptype = 'o' as owned, 1 as count,
            pg_describe_object(classid, objid, objsubid) as what
        from pg_shdepend where dbid = 0 and refclassid = 'pg_authid'::regclass and refobjid in ({roles})
        union all
        select pg_get_userbyid(refobjid), datname, deptype = 'o', count(distinct (classid, objid)), null
        from pg_shdepend join pg_database on pg_database.oid = dbid
        where refclassid = 'pg_authid'::regclass and refobjid in ({roles}) group by 1, 2, 3
        order by 2, 3 desc, 5) x)"""
_INSIDE = """(
    select coalesce(json_agg(json_build_object('role', pg_get_userbyid(refobjid), 'owned', owned,
        'what', pg_describe_object(classid, objid, 0)) order by owned desc, classid, objid), '[]') from (
        select refobjid, deptype = 'o' as owned, classid, objid,
            row_number() over (partition by refobjid, deptype = 'o' order by classid, objid) as number
        from (select distinct refobjid, deptype, classid, objid from pg_shdepend
            where refclassid = 'pg_authid'::regclass and refobjid in ({roles})
            and dbid = (select oid from pg_database where datname = current_database())) d) x
    where number <= {shown})"""


def _removed(declared: Iterable[Mapping[str, Any]]) -> list[str]:
    return sorted(item["name"] for item in declared if item["state"] == "absent")


def _question(template: str, declared: Iterable[Mapping[str, Any]]) -> str:
    names = ", ".join(map(quoted, _removed(declared)))
    roles = f"select oid from pg_authid where rolname in ({names})"
    return template.format(roles=roles, shown=_SHOWN) if names else "'[]'::json"


def asked(declared: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    return {"role_dependencies": _question(_EVERYWHERE, declared)}


def asked_inside(declared: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    return {"role_dependencies": _question(_INSIDE, declared)}


# -- the plan --------------------------------------------------------------------------------------


def problems(
    wanted: Desired, facts: Mapping[str, Any], declared: Iterable[Mapping[str, Any]]
) -> Iterator[str]:
    """Why a role has to stay: something would be lost with it, or there is no one to leave it to."""
    listed = list(declared)
    states = {item["name"]: item["state"] for item in listed}
    for item in listed:
        name, heir = item["name"], item["reassign_to"]
        left, _ = _left(wanted, facts, name)
        if item["state"] == "present" or name not in facts["roles"]:
            continue
        if heir and states.get(heir, "present" if heir in facts["roles"] else "absent") == "absent":
            yield f"postgres_roles: role {name} is to leave what it owns to {heir}, which is not a role that remains"
        elif left and not heir:
            yield (
                f"postgres_roles: role {name} cannot be removed, because it {_dependencies(name, left, facts)}; set "
                "reassign_to: ROLE to give its objects to another role and revoke its privileges"
            )


def plan(
    wanted: Desired, facts: Mapping[str, Any], declared: Iterable[Mapping[str, Any]]
) -> Iterator[Change]:
    """After everything else: what names the role has to be gone, or to name another one."""
    for item in declared:
        if item["state"] == "absent" and item["name"] in facts["roles"]:
            left, dropped = _left(wanted, facts, item["name"])
            yield _change(wanted, item["name"], item["reassign_to"], left, dropped)


def _left(wanted: Desired, facts: Mapping[str, Any], name: str) -> tuple[list[Mapping[str, Any]], set[str]]:
    """What hangs on the role once the rest of the plan is applied; and the databases that go before it."""
    going, owners = _fate_of_databases(wanted)
    own = [entry for entry in facts["role_dependencies"] if entry["role"] == name]
    dropped = {database for entry in own if (database := _database(entry)) in going}
    left = [entry for entry in own if _database(entry) not in going and not _settled(entry, name, owners)]
    return left, dropped


def _fate_of_databases(wanted: Desired) -> tuple[set[str], dict[str, str]]:
    """Databases that this plan drops, and the owners that it gives to the others."""
    databases = wanted.objects.get("databases", ())
    going = {item["name"] for item in databases if item["state"] == "absent"}
    owners = {item["name"]: item["owner"] or wanted.superuser for item in databases}
    return going, owners


def _database(entry: Mapping[str, Any]) -> str:
    """The database that something lies in, or is."""
    kind, _, name = str(entry["what"] or "").partition(" ")
    return name if kind == "database" else str(entry["database"])


def _settled(entry: Mapping[str, Any], name: str, owners: Mapping[str, str]) -> bool:
    """Whether this plan itself gives the database another owner."""
    shared = not entry["database"] and entry["owned"]
    return bool(shared and owners.get(_database(entry), name) != name)


def _dependencies(name: str, left: Iterable[Mapping[str, Any]], facts: Mapping[str, Any]) -> str:
    """``owns table orders and 3 more in database shop; has privileges on database shop``."""
    parts = []
    for verb, owned in (("owns", True), ("has privileges on", False)):
        for entry in left:
            if entry["owned"] is not owned:
                continue
            if not entry["database"]:
                parts.append(f"{verb} {entry['what']}")
                continue
            inside = facts["inside"].get(entry["database"], {}).get("role_dependencies", ())
            known = [item["what"] for item in inside if item["role"] == name and item["owned"] is owned]
            rest = entry["count"] - len(known)
            named = [*known, *([f"{rest} more" if known else f"{rest} objects"] if rest > 0 else [])]
            parts.append(f"{verb} {', '.join(named)} in database {entry['database']}")
    return "; ".join(parts)


def _change(
    wanted: Desired, name: str, heir: str, left: list[Mapping[str, Any]], dropped: set[str]
) -> Change:
    owned = sum(entry["count"] for entry in left if entry["owned"])
    why = f"its {owned} objects are reassigned to {heir}" if heir and owned else ""
    if heir and left and not owned:
        why = "its privileges are revoked"
    databases = sorted({entry["database"] for entry in left} - {""})
    return Change(
        "role",
        name,
        ACTION,
        effect="sql",
        why=why,
        origin=wanted.origin("postgres_roles"),
        id=f"role {name}",
        needs=("*", *sorted(f"database {database}" for database in dropped)),
        detail=RemovalDetail(heir, tuple(databases or (["postgres"] if left else []))),
    )


@dataclass(frozen=True)
class RemovalDetail(Detail):
    """``databases``: where something depends on the role."""

    reassign_to: str
    databases: tuple[str, ...]


# -- carrying it out -------------------------------------------------------------------------------

_STILL_OWNED = """
    select count(*) from pg_shdepend where refclassid = 'pg_authid'::regclass
    and refobjid = (select oid from pg_authid where rolname = %s) and deptype = 'o'
    and dbid in (0, (select oid from pg_database where datname = current_database()))
    and classid not in ('pg_default_acl'::regclass, 'pg_user_mapping'::regclass)"""


def apply(context: Any, change: Change) -> None:
    """Database by database, each in one transaction; an interruption is continued where it was."""
    detail = change.detail_as(RemovalDetail)
    name, heir = change.name, detail.reassign_to
    for database in detail.databases:
        connection = context.sql(database)
        with connection.transaction():
            execute(connection, "reassign owned by {} to {}", name, heir)
            if connection.execute(_STILL_OWNED, (name,)).fetchone()[0]:
                # Made a moment ago, by a session of the role: DROP OWNED would drop it.
                raise AzaError(
                    f"role {name} has just created an object in database {database}", reason="role_in_use"
                )
            execute(connection, "drop owned by {}", name)
    connection = context.sql()
    query = "select pid from pg_stat_activity where usename = %s"
    sessions = [row[0] for row in connection.execute(query, (name,)).fetchall()]
    execute(connection, "drop role {}", name)
    # Who was connected would keep what the role could do.
    connection.execute("select pg_terminate_backend(pid) from unnest(%s::int[]) pid", (sessions,))
