# SPDX-License-Identifier: Apache-2.0
"""Roles: attributes, passwords, settings, comments. (Memberships are a kind of their own.)"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.aza.pg.plugins.module_utils.errors import AzaError, did_you_mean
from ansible_collections.aza.pg.plugins.module_utils.model.desired import Desired
from ansible_collections.aza.pg.plugins.module_utils.model.observed import Observed
from ansible_collections.aza.pg.plugins.module_utils.objects import role_removal, session
from ansible_collections.aza.pg.plugins.module_utils.objects.declared import entries, unique
from ansible_collections.aza.pg.plugins.module_utils.objects.execute import compose, execute, value
from ansible_collections.aza.pg.plugins.module_utils.objects.kind import Facts, Kind, Undeclared
from ansible_collections.aza.pg.plugins.module_utils.objects.within import quoted
from ansible_collections.aza.pg.plugins.module_utils.planning.change import Change, Detail
from ansible_collections.aza.pg.plugins.module_utils.server import connection as server

VARIABLE = "postgres_roles"
DEFAULTS: dict[str, Any] = {
    "state": "present",
    "login": True,
    "superuser": False,
    "createdb": False,
    "createrole": False,
    "replication": False,
    "bypassrls": False,
    "inherit": True,
    "connection_limit": -1,
    "valid_until": "",
    "password": "",
    "passwordless": False,
    "member_of": [],
    "settings": {},
    "comment": "",
    "reassign_to": "",
}
MEMBER_DEFAULTS: dict[str, Any] = {"admin": False, "inherit": None, "set": True}

# As ALTER ROLE calls them too.
_ATTRIBUTES = ("login", "superuser", "createdb", "createrole", "replication", "bypassrls", "inherit")
_FULL = {**dict.fromkeys(_ATTRIBUTES, True), "connection_limit": -1, "valid_until": ""}
_TIME = re.compile(
    r"\d{4}-\d\d-\d\d([ T]\d\d:\d\d(:\d\d(\.\d{1,6})?)?( ?([Zz]|[+-]\d\d(:?\d\d)?)| [A-Za-z][\w/+-]*)?)?",
    re.ASCII,
)

_OBSERVE = """(
    select json_object_agg(r.rolname, json_build_object(
        'login', r.rolcanlogin, 'superuser', r.rolsuper, 'createdb', r.rolcreatedb,
        'createrole', r.rolcreaterole, 'replication', r.rolreplication, 'bypassrls', r.rolbypassrls,
        'inherit', r.rolinherit, 'connection_limit', r.rolconnlimit,
        'valid_until', case when r.rolvaliduntil < 'infinity' then r.rolvaliduntil::text else '' end,
        'has_password', r.rolpassword is not null,
        'settings', coalesce(to_json(s.setconfig), '[]'),
        'comment', coalesce(d.description, '')))
    from pg_authid r
    left join pg_db_role_setting s on s.setrole = r.oid and s.setdatabase = 0
    left join pg_shdescription d on d.objoid = r.oid and d.classoid = 'pg_authid'::regclass)"""


# -- what is declared ------------------------------------------------------------------------------


def normalise(given: Any) -> list[dict[str, Any]]:
    """``postgres_roles`` with every key. The passwords travel apart from it, as secrets."""
    result = []
    for item in unique(VARIABLE, entries(VARIABLE, given, DEFAULTS)):
        where = f"{VARIABLE}: role {item['name']}"
        _check(where, item)
        groups = entries(f"{where}: member_of", item["member_of"], MEMBER_DEFAULTS, key="role")
        for group in unique(f"{where}: member_of", groups, key="role"):
            if group["inherit"] is None:
                group["inherit"] = item["inherit"]
        until = "" if item["valid_until"].strip() == "infinity" else item["valid_until"].strip()
        settings = session.normalise(f"{where}: settings", item["settings"])
        result.append(
            {**item, "password": "", "member_of": groups, "valid_until": until, "settings": settings}
        )
    return result


def _check(where: str, item: Mapping[str, Any]) -> None:
    name, until = item["name"], item["valid_until"].strip()
    problem = ""
    if len(name.encode(errors="surrogatepass")) > 63 or "\0" in name:
        problem = "is not a valid name; PostgreSQL's names have at most 63 bytes"
    elif name.startswith("pg_") or name in ("public", "none"):
        problem = "has a name that PostgreSQL reserves; choose another one"
    elif item["state"] not in ("present", "absent"):
        problem = f"has the state '{item['state']}'; it is present or absent"
    elif item["password"] and (item["passwordless"] or not item["login"]):
        problem = "has a password and is declared to need none; leave out one of them"
    elif item["reassign_to"] and item["state"] == "present":
        problem = "remains, so reassign_to has no effect; use it with state: absent"
    elif item["reassign_to"] == name:
        problem = "cannot reassign its objects to itself; name another role in reassign_to"
    elif until not in ("", "infinity") and not _TIME.fullmatch(until):
        problem = f"has valid_until '{until}'; write 2027-01-31 or 2027-01-31 18:00+00"
    if problem:
        raise AzaError(f"{where} {problem}.", reason="bad_object")


def password_names(declared: Iterable[Mapping[str, Any]], administrator: str) -> list[str]:
    """The declared roles that log in with a password; the administrator's own is kept apart."""
    return [
        item["name"]
        for item in declared
        if item["state"] == "present"
        and item["login"]
        and not item["passwordless"]
        and item["name"] != administrator
    ]


def with_password(wanted: Desired) -> list[str]:
    return password_names(_declared(wanted), wanted.superuser)


def _declared(wanted: Desired) -> Iterable[Mapping[str, Any]]:
    declared: Iterable[Mapping[str, Any]] = wanted.objects.get("roles", ())
    return declared


def _present(wanted: Desired) -> list[Mapping[str, Any]]:
    return [item for item in _declared(wanted) if item["state"] == "present"]


def _problems(wanted: Desired, found: Observed) -> Iterator[str]:
    facts = found.answers
    for item in _declared(wanted):
        where = f"{VARIABLE}: role {item['name']}"
        if item["name"] == wanted.superuser and (
            item["state"] == "absent" or item["passwordless"] or not item["login"]
        ):
            yield (
                f"{where} is the server's administrator (postgres_user), which cannot be removed, nor lose its login "
                "or its password"
            )
        if item["state"] == "present":
            yield from session.problems(where, item["settings"], facts)
        if facts["role_moments"].get(item["valid_until"], "") is None:
            yield (
                f"{where}: PostgreSQL reads no time in valid_until '{item['valid_until']}'; write 2027-01-31 or "
                "2027-01-31 18:00+00"
            )
    yield from role_removal.problems(wanted, facts, _declared(wanted))


# -- the plan --------------------------------------------------------------------------------------


def _plan(wanted: Desired, found: Observed) -> Iterator[Change]:
    facts = found.answers
    yield from _administrators_password(wanted, facts)
    for item in _present(wanted):
        is_now = facts["roles"].get(item["name"])
        if is_now is None:
            yield _create(wanted, item)
        else:
            yield from _changes(wanted, _whole(wanted, item), is_now, facts)
    yield from role_removal.plan(wanted, facts, _declared(wanted))


def _whole(wanted: Desired, item: Mapping[str, Any]) -> Mapping[str, Any]:
    """The administrator keeps its attributes, whatever the defaults of an entry say."""
    return {**item, **_FULL} if item["name"] == wanted.superuser else item


def _administrators_password(wanted: Desired, facts: Mapping[str, Any]) -> Iterator[Change]:
    if facts["password_matches"].get(wanted.superuser) is False:
        yield _change(
            wanted,
            wanted.superuser,
            "set the password of",
            why="it differs from the control node's",
            origin=wanted.origin("postgres_password"),
            detail=RoleDetail(password=True),
        )


def _change(wanted: Desired, name: str, action: str = "change", **more: Any) -> Change:
    more.setdefault("origin", wanted.origin(VARIABLE))
    return Change("role", name, action, effect="sql", id=f"role {name}", **more)


def _create(wanted: Desired, item: Mapping[str, Any]) -> Change:
    password = item["name"] in with_password(wanted)
    parts = [_word(name, item[name]) for name in _ATTRIBUTES if item[name] != (name == "inherit")]
    if not item["login"]:
        parts.insert(0, "nologin")
    if item["login"]:
        parts.append("with a password" if password else "without a password")
    if item["connection_limit"] != -1:
        parts.append(f"connection limit {item['connection_limit']}")
    if item["valid_until"]:
        parts.append(f"valid until {item['valid_until']}")
    parts += [f"{name} = {_shown(value)}" for name, value in item["settings"].items()]
    if item["comment"]:
        parts.append(f"comment {_quoted(item['comment'])}")
    attributes = {name: item[name] for name in (*_ATTRIBUTES, "connection_limit")}
    if item["valid_until"]:
        attributes["valid_until"] = item["valid_until"]
    detail = RoleDetail(attributes, item["settings"], item["comment"], password or None)
    return _change(wanted, item["name"], "create", after=", ".join(parts), detail=detail)


def _word(attribute: str, value: bool) -> str:
    return attribute if value else f"no{attribute}"


def _changes(
    wanted: Desired, item: Mapping[str, Any], is_now: Mapping[str, Any], facts: Mapping[str, Any]
) -> Iterator[Change]:
    name = item["name"]
    for attribute in _ATTRIBUTES:
        if item[attribute] != is_now[attribute]:
            yield _change(
                wanted,
                name,
                before=_word(attribute, is_now[attribute]),
                after=_word(attribute, item[attribute]),
                detail=RoleDetail({attribute: item[attribute]}),
            )
    if item["connection_limit"] != is_now["connection_limit"]:
        yield _change(
            wanted,
            name,
            before=f"connection limit {is_now['connection_limit']}",
            after=str(item["connection_limit"]),
            detail=RoleDetail({"connection_limit": item["connection_limit"]}),
        )
    until = _moment(item, facts)
    if until != is_now["valid_until"]:
        yield _change(
            wanted,
            name,
            before=f"valid until {is_now['valid_until'] or 'further notice'}",
            after=until or "further notice",
            detail=RoleDetail({"valid_until": item["valid_until"]}),
        )
    info = facts.get("session_settings") or {}
    stored = session.observed(is_now["settings"])
    for key, before, after in session.differences(item["settings"], stored, info):
        yield _change(
            wanted,
            name,
            before=f"{key} {_shown(before)}",
            after=_shown(after),
            detail=RoleDetail(settings={key: after}),
        )
    if item["comment"] != is_now["comment"]:
        yield _change(
            wanted,
            name,
            before=f"comment {_quoted(is_now['comment'])}",
            after=_quoted(item["comment"]),
            detail=RoleDetail(comment=item["comment"]),
        )
    yield from _password(wanted, item, is_now, facts)


def _password(
    wanted: Desired, item: Mapping[str, Any], is_now: Mapping[str, Any], facts: Mapping[str, Any]
) -> Iterator[Change]:
    name = item["name"]
    if item["passwordless"] and is_now["has_password"]:
        yield _change(
            wanted,
            name,
            "remove the password of",
            why="it is passwordless",
            detail=RoleDetail(password=False),
        )
    if name in with_password(wanted) and facts["password_matches"].get(name) is False:
        why = "it differs from the control node's" if is_now["has_password"] else "it has none"
        yield _change(wanted, name, "set the password of", why=why, detail=RoleDetail(password=True))


def _moment(item: Mapping[str, Any], facts: Mapping[str, Any]) -> str:
    """``valid_until`` as the server reads and writes it, so that both can be compared."""
    given = str(item["valid_until"])
    return str(facts["role_moments"].get(given) or given)


def _shown(value: str | None) -> str:
    return "unset" if value is None else value or "''"


def _quoted(comment: str) -> str:
    """One line, however long or broken the comment is."""
    text = " ".join(comment.split())
    return f"“{text[:57]}…”" if len(text) > 60 else f"“{text}”"


@dataclass(frozen=True)
class RoleDetail(Detail):
    """What of a role is set; None and empty mappings leave it as it is.

    ``settings``: of its sessions, None for the server's value. ``password``: True sets the control node's, False
    removes it.
    """

    attributes: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, str | None] = field(default_factory=dict)
    comment: str | None = None
    password: bool | None = None


# -- carrying it out -------------------------------------------------------------------------------


def _apply(context: Any, change: Change) -> None:
    """One transaction: a role is never there without its limit, its password or its comment."""
    if change.action == role_removal.ACTION:
        role_removal.apply(context, change)
        return
    role, detail = change.name, change.detail_as(RoleDetail)
    connection, is_new = context.sql(), change.action == "create"
    with connection.transaction():
        if detail.attributes:
            verb, values = "create" if is_new else "alter", _values(detail.attributes)
            execute(connection, f"{verb} role {{}} {_options(detail.attributes)}", role, *values)
        for name, setting in detail.settings.items():
            session.give(connection, compose("alter role {}", role), name, setting)
        if detail.comment is not None and (detail.comment or not is_new):
            execute(connection, "comment on role {} is {}", role, value(detail.comment or None))
        if detail.password is False:
            execute(connection, "alter role {} password null", role)
        elif detail.password:
            own = role == context.wanted.superuser
            secret = context.secrets["postgres_password" if own else f"roles/{role}"]
            server.set_password(connection, role, secret)


def _options(attributes: Mapping[str, Any]) -> str:
    """``login nosuperuser connection limit {} valid until {}``."""
    templates = {"connection_limit": "connection limit {}", "valid_until": "valid until {}"}
    return " ".join(templates.get(name) or _word(name, given) for name, given in attributes.items())


def _values(attributes: Mapping[str, Any]) -> Iterator[Any]:
    for name, given in attributes.items():
        if name == "connection_limit":
            yield value(int(given))
        elif name == "valid_until":
            yield value(given or "infinity")


def _simulate(_: Desired, server: Facts, change: Change) -> Facts:
    there, name = dict(server["roles"]), change.name
    if change.action == role_removal.ACTION:
        del there[name]
        memberships = [
            item
            for item in server["memberships"]
            if name not in (item["member"], item["role"], item["grantor"])
        ]
        dependencies = [item for item in server["role_dependencies"] if item["role"] != name]
        return {**server, "roles": there, "memberships": memberships, "role_dependencies": dependencies}
    detail = change.detail_as(RoleDetail)
    is_now = there.get(name) or {"valid_until": "", "has_password": False, "settings": [], "comment": ""}
    stored = is_now["settings"]
    for setting, text in detail.settings.items():
        stored = session.after(stored, setting, text)
    role = {**is_now, **detail.attributes, "settings": stored}
    if detail.attributes.get("valid_until"):
        role["valid_until"] = _moment(detail.attributes, server)
    if detail.comment is not None:
        role["comment"] = detail.comment
    matches = server["password_matches"]
    if detail.password is not None:
        role["has_password"] = detail.password
        matches = {**matches, name: detail.password}
    return {**server, "roles": {**there, name: role}, "password_matches": matches}


def _is_tried(change: Change) -> bool:
    detail = change.detail
    return isinstance(detail, RoleDetail) and bool(detail.settings or "valid_until" in detail.attributes)


# -- what is observed ------------------------------------------------------------------------------


def _asked(wanted: Desired) -> dict[str, str]:
    """What a time without a zone means there, and how the server writes it: the server says."""
    times = sorted({item["valid_until"] for item in _present(wanted)} - {""})
    moments = "'{}'::json"
    if times:
        moments = (
            "(select json_object_agg(given, case when pg_input_is_valid(given, 'timestamptz') "
            f"then given::timestamptz::text end) from unnest(array[{', '.join(map(quoted, times))}]) given)"
        )
    return {"role_moments": moments, **role_removal.asked(_declared(wanted))}


def _fresh(wanted: Desired) -> dict[str, Any]:
    administrator = {**_FULL, "has_password": True, "settings": [], "comment": ""}
    return {
        "roles": {wanted.superuser: administrator},
        "role_moments": {},
        "role_dependencies": [],
    }


def _undeclared(wanted: Desired, found: Observed) -> Iterator[Undeclared]:
    facts = found.answers
    known = {wanted.superuser, *wanted.service_roles, *(item["name"] for item in _declared(wanted))}
    for name, role in facts["roles"].items():
        if name in known or name.startswith("pg_"):
            continue
        groups = sorted({item["role"] for item in facts["memberships"] if item["member"] == name})
        member = f", a member of {', '.join(groups)}" if groups else ""
        if role["superuser"]:
            yield Undeclared("roles", "red", f"role {name}", f"a superuser that is not declared{member}")
        else:
            yield Undeclared("roles", "yellow", f"role {name}", f"it is not declared{member}")


def missing(name: str, wanted: Desired, facts: Mapping[str, Any]) -> str:
    """Why ``name`` will be no role once the plan is applied; empty when it will be one."""
    declared = {item["name"]: item["state"] for item in _declared(wanted)}
    state = declared.get(name, "present" if name in facts["roles"] else "")
    if state == "absent":
        return f"role {name} is declared absent"
    known = [*facts["roles"], *declared]
    return "" if state else f"there is no role {name}, and none is declared{did_you_mean(name, known)}"


KIND = Kind(
    "role",
    _plan,
    apply=_apply,
    simulate=_simulate,
    is_tried=_is_tried,
    declared={"roles": normalise},
    server={"roles": _OBSERVE},
    asked=_asked,
    asked_inside=lambda wanted: role_removal.asked_inside(_declared(wanted)),
    fresh=_fresh,
    problems=_problems,
    undeclared=_undeclared,
)
