# SPDX-License-Identifier: Apache-2.0
"""Databases: owner, encoding, locale, limits, settings, comments."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import Any

from ansible_collections.aza.pg.plugins.module_utils.errors import AzaError
from ansible_collections.aza.pg.plugins.module_utils.model.desired import Desired
from ansible_collections.aza.pg.plugins.module_utils.model.observed import Observed
from ansible_collections.aza.pg.plugins.module_utils.objects import (
    access,
    database_changes,
    extensions,
    locale,
    loss,
    schemas,
    session,
)
from ansible_collections.aza.pg.plugins.module_utils.objects.database_changes import (
    AttributeDetail,
    CreationDetail,
    DropDetail,
    SessionSettingDetail,
    made,
)
from ansible_collections.aza.pg.plugins.module_utils.objects.declared import entries, unique
from ansible_collections.aza.pg.plugins.module_utils.objects.kind import Kind, Undeclared
from ansible_collections.aza.pg.plugins.module_utils.objects.within import (
    STOCK,
    databases,
    known,
    only_in,
    owner,
)
from ansible_collections.aza.pg.plugins.module_utils.planning.change import Change, Detail
from ansible_collections.aza.pg.plugins.module_utils.planning.finding import Finding

_VARIABLE = "postgres_databases"
DEFAULTS: dict[str, Any] = {
    "state": "present",
    "owner": "",
    "encoding": "UTF8",
    "locale_provider": "",
    "locale": "",
    "template": "",
    "connection_limit": -1,
    "is_template": False,
    "pool_size": 0,
    "settings": {},
    "comment": "",
    "extensions": [],
    "schemas": [],
    "access": {},
}
_TEMPLATES = ("template0", "template1")
# Where administrators, exporters and PgBouncer work.
_ADMINISTRATION = "postgres"
_WHY_NOT = "the owner of this database decides what the sessions of administrators and exporters find in it"
# PostgreSQL's mark of a database whose removal was interrupted.
_INVALID = -2


def normalise(given: Any) -> list[dict[str, Any]]:
    """``postgres_databases`` with every key, down to its extensions, schemas and access."""
    result = []
    for item in unique(_VARIABLE, entries(_VARIABLE, given, DEFAULTS)):
        where = f"{_VARIABLE} ({item['name']})"
        state = item["state"]
        if state not in ("present", "absent"):
            raise AzaError(f"{where}: state is present or absent, not {state!r}.", reason="bad_object")
        result.append(
            {
                **item,
                "settings": session.normalise(f"{where}: settings", item["settings"]),
                "extensions": extensions.normalise(f"{where}: extensions", item["extensions"]),
                "schemas": schemas.normalise(f"{where}: schemas", item["schemas"]),
                "access": access.normalise(f"{where}: access", item["access"]),
            }
        )
    return result


# -- observe -----------------------------------------------------------------------------------------

_DATABASES = f"""
(select coalesce(json_object_agg(d.datname, json_build_object(
    'owner', pg_get_userbyid(d.datdba),
    'encoding', pg_encoding_to_char(d.encoding),
    'provider', {locale.PROVIDER},
    'locale', {locale.LOCALE},
    'limit', d.datconnlimit,
    'connects', d.datallowconn,
    'is_template', d.datistemplate,
    'comment', case when d.datname = 'postgres'
        and shobj_description(d.oid, 'pg_database') = 'default administrative connection database' then ''
        else coalesce(shobj_description(d.oid, 'pg_database'), '') end,
    'settings', s.setconfig,
    'acl', {access.acl_sql("d.datacl", "'d'", "d.datdba")},
    'collation', d.datcollversion,
    'library', pg_database_collation_actual_version(d.oid))), '{{}}')
from pg_database d left join pg_db_role_setting s on s.setdatabase = d.oid and s.setrole = 0
where d.datname not in ('template0', 'template1'))
"""
_TEMPLATE = f"""
(select json_build_object('encoding', pg_encoding_to_char(d.encoding), 'provider', {locale.PROVIDER},
    'locale', {locale.LOCALE}, 'collate', d.datcollate, 'ctype', d.datctype)
from pg_database d where d.datname = 'template1')
"""
_TEMPLATES_NOW = """
(select json_object_agg(datname, json_build_object('is_template', datistemplate, 'connects', datallowconn))
from pg_database where datname in ('template0', 'template1'))
"""


def _asked(wanted: Desired) -> dict[str, str]:
    names = {
        name
        for key in ("databases", "roles")
        for item in wanted.objects.get(key, ())
        for name in item["settings"]
    }
    return {"session_settings": session.question(names)} if names else {}


def _asked_inside(wanted: Desired) -> dict[str, str]:
    absent = [item["name"] for item in databases(wanted, "absent")]
    return {"holds": only_in(absent, loss.DATABASE)} if absent else {}


# -- plan --------------------------------------------------------------------------------------------


def _problems(wanted: Desired, found: Observed) -> Iterator[str]:
    there = known(found)["databases"]
    for item in databases(wanted, "absent"):
        name = item["name"]
        if name in ("postgres", wanted.database, *_TEMPLATES):
            why = (
                "the toolkit and the server need it" if name != wanted.database else "it is postgres_database"
            )
            yield f"{_VARIABLE} ({name}): this database is never removed: {why}. Remove 'state: absent'"
        elif name in there and _runs(wanted, found, item) and (who := _sessions(found, name)):
            yield (
                f"{_VARIABLE} ({name}): it is to be removed while {who} {'is' if ',' not in who else 'are'} connected; "
                "end these sessions first"
            )
        elif name in there and _runs(wanted, found, item) and (held := ", ".join(_holders(found, name))):
            yield f"{_VARIABLE} ({name}): PostgreSQL does not drop it while there is {held}; remove that first"
    for item in databases(wanted):
        if item["name"] in _TEMPLATES:
            yield f"{_VARIABLE} ({item['name']}): this database is reserved by PostgreSQL; choose another name"
            continue
        its_owner = owner(wanted, item)
        if item["name"] == _ADMINISTRATION and its_owner not in _superusers(wanted, found):
            yield (
                f"{_VARIABLE} ({item['name']}): owner '{its_owner}' is not a superuser, and {_WHY_NOT}; leave 'owner' "
                "out, and give the application a database of its own"
            )
        yield from session.problems(f"{_VARIABLE} ({item['name']})", item["settings"], known(found))
        if item["name"] in there:
            yield from _immovable(item, there[item["name"]], found)


def _superusers(wanted: Desired, found: Observed) -> set[str]:
    """Those that will be superusers once the plan is applied."""
    declared = {item["name"]: item for item in wanted.objects.get("roles", ())}
    there = {name for name, role in (known(found).get("roles") or {}).items() if role["superuser"]}
    given = {name for name, item in declared.items() if item["superuser"] and item["state"] == "present"}
    return {wanted.superuser, *given, *(there - set(declared))}


def _findings(wanted: Desired, found: Observed) -> Iterator[Finding]:
    is_now = known(found)["databases"].get(_ADMINISTRATION)
    if not is_now or any(item["name"] == _ADMINISTRATION for item in databases(wanted)):
        return  # what is declared is a change
    if is_now["owner"] not in _superusers(wanted, found):
        yield Finding(
            f"database {_ADMINISTRATION}",
            "red",
            f"it belongs to {is_now['owner']}, which is not a superuser, and {_WHY_NOT}",
            f"ALTER DATABASE {_ADMINISTRATION} OWNER TO a superuser",
        )


def _immovable(item: Mapping[str, Any], is_now: Mapping[str, Any], found: Observed) -> Iterator[str]:
    """What a database cannot become."""
    where = f"{_VARIABLE} ({item['name']})"
    if is_now["limit"] == _INVALID:
        yield (
            f"{where}: its removal was interrupted, and it can only be removed: declare it with "
            "'state: absent' once"
        )
        return
    fixed = locale.differences(item, is_now, known(found).get("locales") or {})
    if fixed:
        yield (
            f"{where}: {'; '.join(fixed)}. This is set when a database is created and cannot be changed: declare "
            "what it is, or a database of another name, and move the data with pg_dump and pg_restore"
        )


def _sessions(found: Observed, name: str) -> str:
    return ", ".join(known(found).get("sessions", {}).get(name, ()))


def _holders(found: Observed, name: str) -> Iterator[str]:
    """What else keeps PostgreSQL from dropping the database."""
    facts = known(found)
    for policy, noun in (
        ("subscriptions", "the subscription"),
        ("prepared_transactions", "the prepared transaction"),
    ):
        for row in (facts.get(policy) or {}).get("rows", ()):
            if row["database"] == name:
                yield f"{noun} {row['name']}"
    for slot, now in (facts.get("logical_slots") or {}).items():
        if now["database"] == name and now["active"]:
            yield f"the replication slot {slot} in use"


def _runs(wanted: Desired, found: Observed, item: Mapping[str, Any]) -> bool:
    """Whether nothing keeps the removal from being applied."""
    lost = _lost(found, item)
    return not lost or f"database {item['name']}" in wanted.objects.get("allow_loss", ())


def _lost(found: Observed, item: Mapping[str, Any]) -> str:
    return loss.database(known(found), item["name"], item, extensions.explained(found, item))


def _plan(wanted: Desired, found: Observed) -> Iterator[Change]:
    there = known(found)["databases"]
    declared = {item["name"] for item in wanted.objects.get("databases", ())}
    if wanted.database not in there and wanted.database not in declared:
        yield _created(wanted, wanted.database, wanted.superuser, {}, "postgres_database")
    for item in databases(wanted, "absent"):
        if item["name"] in there:
            yield _dropped(wanted, found, item)
    for item in databases(wanted):
        is_now = there.get(item["name"])
        if is_now is None:
            options = locale.options(item, known(found).get("template1") or {})
            yield _created(wanted, item["name"], owner(wanted, item), options, _VARIABLE)
        yield from _altered(wanted, found, item, is_now)
    removed = {item["name"] for item in databases(wanted, "absent")}
    for name, why in sorted(known(found).get("unseen", {}).items()):
        if name not in removed and there.get(name, {}).get("limit") != _INVALID:
            yield _unseen(wanted, name, why)


def _unseen(wanted: Desired, name: str, why: str) -> Change:
    """The changes in a database that cannot be inspected are unknown; everything else is changed without it."""
    return Change(
        "database",
        name,
        "inspect",
        effect="sql",
        awaits=f"a connection to database {name} ({why})",
        origin=wanted.origin(_VARIABLE),
        severity="red",
    )


def _created(wanted: Desired, name: str, its_owner: str, options: Mapping[str, str], variable: str) -> Change:
    shown = [f"owner {its_owner}", *(f"{key} {text}" for key, text in options.items())]
    return Change(
        "database",
        name,
        "create",
        effect="sql",
        after=", ".join(shown),
        origin=wanted.origin(variable),
        detail=CreationDetail(its_owner, dict(options)),
        id=f"database {name}",
        needs=(
            f"role {its_owner}",
            *(f"database {text}" for key, text in options.items() if key == "template"),
        ),
    )


def _dropped(wanted: Desired, found: Observed, item: Mapping[str, Any]) -> Change:
    lost, who = _lost(found, item), _sessions(found, item["name"])
    return Change(
        "database",
        item["name"],
        "drop",
        effect="data" if lost else "sql",
        risk=f"{lost}{f'; connected: {who}' if who else ''}" if lost else "",
        origin=wanted.origin(_VARIABLE),
        detail=DropDetail(known(found)["databases"][item["name"]]["is_template"]),
        id=f"database {item['name']}",
    )


def _altered(
    wanted: Desired, found: Observed, item: Mapping[str, Any], is_now: Mapping[str, Any] | None
) -> Iterator[Change]:
    """One change an attribute: each is a statement of its own, so that none is half done."""
    name, its_owner = item["name"], owner(wanted, item)
    made = is_now is None
    now = is_now or {"owner": its_owner, "limit": -1, "is_template": False, "comment": "", "settings": None}

    def change(before: str, after: str, detail: Detail, *needs: str) -> Change:
        return Change(
            "database",
            name,
            "change",
            effect="sql",
            before=before,
            after=after,
            origin=wanted.origin(_VARIABLE),
            detail=detail,
            id=f"database {name} attributes" if made else f"database {name}",
            needs=(f"database {name}",) if made else needs,
        )

    if now["owner"] != its_owner:
        yield change(
            f"owner {now['owner']}", its_owner, AttributeDetail("owner", its_owner), f"role {its_owner}"
        )
    if now["limit"] != item["connection_limit"]:
        limit = item["connection_limit"]
        yield change(f"connection limit {now['limit']}", str(limit), AttributeDetail("limit", limit))
    if now["is_template"] != item["is_template"]:
        is_template = item["is_template"]
        before, after = ("no template", "a template") if is_template else ("a template", "no template")
        yield change(before, after, AttributeDetail("is_template", is_template))
    if now["comment"] != item["comment"]:
        before = f"comment '{now['comment']}'" if now["comment"] else "comment none"
        after = f"'{item['comment']}'" if item["comment"] else "none"
        yield change(before, after, AttributeDetail("comment", item["comment"]))
    info = known(found).get("session_settings") or {}
    stored = session.observed(now["settings"])
    for setting, old, new in session.differences(item["settings"], stored, info):
        before, after = ("of the server" if text is None else text or "''" for text in (old, new))
        yield change(f"{setting} {before}", after, SessionSettingDetail(setting, new))


def _undeclared(wanted: Desired, found: Observed) -> Iterator[Undeclared]:
    declared = {item["name"] for item in wanted.objects.get("databases", ())}
    for name, is_now in known(found)["databases"].items():
        if name not in {"postgres", wanted.database, *declared}:
            message = f"it belongs to {is_now['owner']} and is not declared (postgres_databases)"
            yield Undeclared("databases", "yellow", f"database {name}", message)
    for name, is_now in sorted((known(found).get("templates") or {}).items()):
        if not is_now["is_template"]:
            message, remedy = "it is not marked as a template, so it can be dropped", "IS_TEMPLATE true"
        elif name == "template0" and is_now["connects"]:
            message, remedy = (
                "it takes connections, so what is copied from it can be changed",
                "ALLOW_CONNECTIONS false",
            )
        else:
            continue
        yield Undeclared(
            "databases", "yellow", f"database {name}", message, f"ALTER DATABASE {name} {remedy}"
        )


def _fresh(wanted: Desired) -> dict[str, Any]:
    names = {"postgres", wanted.database}
    return {
        "databases": {name: made(wanted.superuser) for name in sorted(names)},
        "template1": locale.made_by(str(wanted.objects.get("initdb_args", ""))),
        "inside": {name: copy.deepcopy(STOCK) for name in sorted(names)},
        "sessions": {},
    }


KIND = Kind(
    "database",
    _plan,
    apply=database_changes.apply,
    simulate=database_changes.simulate,
    is_tried=database_changes.is_tried,
    declared={"databases": normalise},
    server={
        "databases": _DATABASES,
        "template1": _TEMPLATE,
        "templates": _TEMPLATES_NOW,
        "sessions": database_changes.SESSIONS,
    },
    asked=_asked,
    asked_inside=_asked_inside,
    fresh=_fresh,
    problems=_problems,
    undeclared=_undeclared,
    findings=_findings,
)
