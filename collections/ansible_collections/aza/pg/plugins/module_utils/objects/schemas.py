# SPDX-License-Identifier: Apache-2.0
"""Schemas: owner, comment, removal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.aza.pg.plugins.module_utils.errors import AzaError
from ansible_collections.aza.pg.plugins.module_utils.model.desired import Desired
from ansible_collections.aza.pg.plugins.module_utils.model.observed import Observed
from ansible_collections.aza.pg.plugins.module_utils.objects import loss
from ansible_collections.aza.pg.plugins.module_utils.objects.access import reowned
from ansible_collections.aza.pg.plugins.module_utils.objects.declared import entries, unique
from ansible_collections.aza.pg.plugins.module_utils.objects.execute import execute, value
from ansible_collections.aza.pg.plugins.module_utils.objects.kind import Facts, Kind, Undeclared
from ansible_collections.aza.pg.plugins.module_utils.objects.within import (
    databases,
    inside,
    listing,
    owner,
    with_inside,
)
from ansible_collections.aza.pg.plugins.module_utils.planning.change import Change, Detail

_VARIABLE = "postgres_databases"
DEFAULTS: dict[str, Any] = {"state": "present", "owner": "", "comment": ""}

# ``extension``: whose schema it is. Some bring it along; of others the control file names it.
_SCHEMAS = """
(select coalesce(json_object_agg(n.nspname, json_build_object(
    'owner', pg_get_userbyid(n.nspowner),
    'comment', case when n.nspname = 'public' and obj_description(n.oid, 'pg_namespace') = 'standard public schema'
        then '' else coalesce(obj_description(n.oid, 'pg_namespace'), '') end,
    'extension', coalesce(e.extname, ''))), '{}')
from pg_namespace n
left join pg_depend d on d.classid = 'pg_namespace'::regclass and d.objid = n.oid and d.deptype = 'e'
left join pg_extension e on e.oid = d.refobjid
where n.nspname !~ '^pg_' and n.nspname <> 'information_schema')
"""


def normalise(where: str, given: Any) -> list[dict[str, Any]]:
    result = unique(where, entries(where, given, DEFAULTS))
    for item in result:
        if item["name"].startswith("pg_") or item["name"] == "information_schema":
            raise AzaError(
                f"{where}: the schema '{item['name']}' is reserved by PostgreSQL; choose another name.",
                reason="bad_object",
            )
        if item["state"] not in ("present", "absent"):
            raise AzaError(
                f"{where} ({item['name']}): state is present or absent, not {item['state']!r}.",
                reason="bad_object",
            )
    return result


def owned_by(wanted: Desired, entry: Mapping[str, Any], schema: Mapping[str, Any]) -> str:
    return str(schema["owner"]) or owner(wanted, entry)


def absent(entry: Mapping[str, Any], key: str) -> list[str]:
    return [item["name"] for item in entry[key] if item["state"] == "absent"]


def _asked_inside(wanted: Desired) -> dict[str, str]:
    """For schemas and extensions at once: both ask who depends on what."""
    absents = [
        (entry["name"], kind, name)
        for entry in databases(wanted)
        for kind, key in (("schema", "schemas"), ("extension", "extensions"))
        for name in absent(entry, key)
    ]
    return {"lost": loss.within(absents)} if absents else {}


def _plan(wanted: Desired, found: Observed) -> Iterator[Change]:
    for entry in databases(wanted):
        seen = inside(found, entry)
        for item in entry["schemas"] if seen else ():
            is_now = seen["schemas"].get(item["name"])
            if item["state"] == "absent":
                if is_now:
                    yield _dropped(
                        wanted, entry, item, (seen["lost"] or {}).get(f"schema {item['name']}", [])
                    )
            elif is_now is None:
                yield _created(wanted, entry, item)
            elif not is_now["extension"]:
                yield from _altered(wanted, entry, item, is_now)


@dataclass(frozen=True)
class SchemaDetail(Detail):
    """``owner``, ``comment``: what is set, None for what is left. ``cascade``: drop what depends on it, too."""

    database: str
    schema: str
    owner: str | None = None
    comment: str | None = None
    cascade: bool = False


def _change(
    wanted: Desired, entry: Mapping[str, Any], item: Mapping[str, Any], action: str, **more: Any
) -> Change:
    name = f"{entry['name']}.{item['name']}"
    detail = SchemaDetail(entry["name"], item["name"], **more.pop("detail"))
    values = {"effect": "sql", "origin": wanted.origin(_VARIABLE), "id": f"schema {name}", **more}
    return Change("schema", name, action, detail=detail, **values)


def _created(wanted: Desired, entry: Mapping[str, Any], item: Mapping[str, Any]) -> Change:
    its_owner = owned_by(wanted, entry, item)
    comment = f", comment '{item['comment']}'" if item["comment"] else ""
    return _change(
        wanted,
        entry,
        item,
        "create",
        after=f"owner {its_owner}{comment}",
        detail={"owner": its_owner, "comment": item["comment"]},
        needs=(f"database {entry['name']}", f"role {its_owner}"),
    )


def _altered(
    wanted: Desired, entry: Mapping[str, Any], item: Mapping[str, Any], is_now: Mapping[str, Any]
) -> Iterator[Change]:
    its_owner = owned_by(wanted, entry, item)
    # pg_database_owner is the owner of the database: an owner that is not declared stays.
    if is_now["owner"] != its_owner and (item["owner"] or is_now["owner"] != "pg_database_owner"):
        yield _change(
            wanted,
            entry,
            item,
            "change",
            before=f"owner {is_now['owner']}",
            after=its_owner,
            detail={"owner": its_owner},
            needs=(f"database {entry['name']}", f"role {its_owner}"),
        )
    if is_now["comment"] != item["comment"]:
        yield _change(
            wanted,
            entry,
            item,
            "change",
            before=f"comment '{is_now['comment']}'" if is_now["comment"] else "comment none",
            after=f"'{item['comment']}'" if item["comment"] else "none",
            detail={"comment": item["comment"]},
        )


def _dropped(wanted: Desired, entry: Mapping[str, Any], item: Mapping[str, Any], lost: list[str]) -> Change:
    return _change(
        wanted,
        entry,
        item,
        "drop",
        effect="data" if lost else "sql",
        risk=listing(lost, most=6),
        detail={"cascade": bool(lost)},
        # What lives in it and is removed by declaration goes first, and is no loss of this one.
        needs=tuple(f"extension {entry['name']}.{name}" for name in absent(entry, "extensions")),
    )


# The stack's own (``server/own_schema.py``), by database.
STACK_SCHEMAS = {"postgres": ("aza_pg",)}


def _undeclared(wanted: Desired, found: Observed) -> Iterator[Undeclared]:
    for entry in databases(wanted):
        seen = inside(found, entry)
        known = {item["name"] for item in entry["schemas"]} | {
            "public",
            *STACK_SCHEMAS.get(entry["name"], ()),
        }
        known |= {item["schema"] for item in seen["extensions"].values()} if seen else set()
        for name, is_now in seen["schemas"].items() if seen else ():
            if name not in known and not is_now["extension"]:
                message = f"it belongs to {is_now['owner']} and is not declared (postgres_databases: schemas)"
                yield Undeclared("schemas", "yellow", f"schema {entry['name']}.{name}", message)


def _apply(context: Any, change: Change) -> None:
    detail = change.detail_as(SchemaDetail)
    name, connection = detail.schema, context.sql(detail.database)
    with connection.transaction():
        if change.action == "drop":
            execute(
                connection,
                f"drop schema if exists {{}} {'cascade' if detail.cascade else 'restrict'}",
                name,
            )
            return
        if change.action == "create":
            execute(connection, "create schema if not exists {} authorization {}", name, detail.owner)
        elif detail.owner is not None:
            execute(connection, "alter schema {} owner to {}", name, detail.owner)
        if detail.comment is not None and (detail.comment or change.action != "create"):
            execute(connection, "comment on schema {} is {}", name, value(detail.comment or None))


def _simulate(_: Desired, server: Facts, change: Change) -> Facts:
    detail = change.detail_as(SchemaDetail)
    name, seen = detail.schema, server["inside"][detail.database]
    there, grants = dict(seen["schemas"]), [list(item) for item in seen["grants"]]
    if change.action == "drop":
        del there[name]
        return with_inside(
            server,
            detail.database,
            schemas=there,
            grants=[item for item in grants if item[0] != name],
            columns=[item for item in seen["columns"] if item[0] != name],
            defaults=[item for item in seen["defaults"] if item[1] != name],
        )
    if change.action == "create":
        there[name] = {"owner": detail.owner, "comment": detail.comment or "", "extension": ""}
        grants.append([name, "schema", detail.owner, [], 1])
        return with_inside(server, detail.database, schemas=there, grants=grants)
    if detail.owner is not None:
        for group in grants:
            if group[:2] == [name, "schema"]:
                group[2:4] = detail.owner, reowned(group[3], group[2], detail.owner)
    new = {"owner": detail.owner, "comment": detail.comment}
    there[name] = {**there[name], **{key: text for key, text in new.items() if text is not None}}
    return with_inside(server, detail.database, schemas=there, grants=grants)


KIND = Kind(
    "schema",
    _plan,
    apply=_apply,
    simulate=_simulate,
    inside={"schemas": _SCHEMAS},
    asked_inside=_asked_inside,
    undeclared=_undeclared,
)
