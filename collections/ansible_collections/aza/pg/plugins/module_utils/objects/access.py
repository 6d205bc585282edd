# SPDX-License-Identifier: Apache-2.0
"""Who may do what in a database: what ``access`` means in privileges, and what is missing or too much. Pure.

One set of rules (``judge``) decides about a plan, from privileges that the server has counted, and about what is
granted and taken, object by object.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.aza.pg.plugins.module_utils.errors import AzaError, unknown_key
from ansible_collections.aza.pg.plugins.module_utils.model.desired import Desired
from ansible_collections.aza.pg.plugins.module_utils.objects.within import owner

LEVELS = ("read_write", "read_only", "connect")
PUBLIC = ""  # no role can be named so
RIGHTS: dict[str, dict[str, frozenset[str]]] = {
    "read_write": {
        "database": frozenset({"CONNECT"}),
        "schema": frozenset({"USAGE"}),
        "table": frozenset({"SELECT", "INSERT", "UPDATE", "DELETE"}),
        "sequence": frozenset({"USAGE", "SELECT", "UPDATE"}),
        "function": frozenset({"EXECUTE"}),
    },
    "read_only": {
        "database": frozenset({"CONNECT"}),
        "schema": frozenset({"USAGE"}),
        "table": frozenset({"SELECT"}),
        "sequence": frozenset({"SELECT"}),
        "function": frozenset(),
    },
}
# What PUBLIC must not have. The rest is PostgreSQL's own default, which access says nothing about.
_NOT_PUBLIC = {
    "database": frozenset({"CONNECT", "CREATE"}),
    "schema": frozenset({"CREATE"}),
    "function": frozenset(),
}
_TEMPORARY = frozenset({"TEMPORARY"})
# In the order in which people name them; the server's letters for default privileges, and its words.
KINDS = {"table": "r", "sequence": "S", "function": "f", "schema": "n"}

Acl = Iterable[Any]  # [grantee, privilege, …]; a star after the privilege is its grant option
Default = tuple[str, str, str, str, str]  # creator, schema or "", kind, grantee, privilege


def acl_sql(column: str, letter: str, its_owner: str) -> str:
    """An access list as JSON: [[grantee, privilege, grantor], …]. What is null is the server's default."""
    return (
        "(select coalesce(json_agg(json_build_array(case a.grantee when 0 then '' else pg_get_userbyid(a.grantee) end, "
        "a.privilege_type || case when a.is_grantable then '*' else '' end, pg_get_userbyid(a.grantor))), '[]') "
        f"from aclexplode(coalesce({column}, acldefault({letter}, {its_owner}))) a)"
    )


def normalise(where: str, given: Mapping[str, Any]) -> dict[str, list[str]]:
    """All three lists, or nothing at all where ``access`` is not declared: then privileges are not managed."""
    if not given:
        return {}
    for key in given:
        if key not in LEVELS:
            raise AzaError(f"{where}.{key}: {unknown_key(str(key), LEVELS)}", reason="bad_object")
    lists = {level: given.get(level) or [] for level in LEVELS}
    seen: dict[str, str] = {}
    for level, roles in lists.items():
        if not isinstance(roles, (list, tuple)):
            raise AzaError(f"{where}: {level} is a list of roles, not {roles!r}.", reason="bad_object")
        for role in map(str, roles):
            if seen.setdefault(role, level) != level:
                raise AzaError(
                    f"{where}: '{role}' stands under {seen[role]} and under {level}; name it under one of them.",
                    reason="bad_object",
                )
    return {level: sorted({str(role) for role in roles}) for level, roles in lists.items()}


@dataclass(frozen=True)
class Access:
    """``levels``: role → read_write or read_only. ``connects``: who may connect and gets its rights elsewhere.
    ``above``: who needs no privilege, or is about to go. ``creators``: whose future objects have default privileges;
    those of a superuser only in ``schemas``, because it creates extensions, whose objects are their author's matter.
    """

    levels: Mapping[str, str]
    connects: frozenset[str] = frozenset()
    above: frozenset[str] = frozenset()
    creators: frozenset[str] = frozenset()
    supers: frozenset[str] = frozenset()
    schemas: frozenset[str] = frozenset()

    def level(self, role: str) -> str:
        return self.levels.get(role) or ("connect" if role in self.connects else "")


def access(
    wanted: Desired, entry: Mapping[str, Any], schemas: Iterable[str] = (), owners: Iterable[str] = ()
) -> Access | None:
    """What the entry declares, or None. ``schemas``: those it manages, ``owners``: who owns them."""
    given = entry["access"]
    if not given:
        return None
    its_owner = owner(wanted, entry)
    roles = wanted.objects.get("roles", ())
    above = {its_owner, wanted.superuser, "pg_database_owner"}
    levels = {role: level for level in LEVELS[:2] for role in given[level] if role not in above}
    # Who owns a schema here, who watches the server, and the stack's own roles have to get in.
    connects = {*given["connect"], *_monitors(roles, wanted.service_roles), *_schema_owners(entry)} - {
        *levels,
        *above,
    }
    creators = {its_owner, *owners}
    return Access(
        levels=levels,
        connects=frozenset(connects),
        above=frozenset(above | {item["name"] for item in roles if item["state"] == "absent"}),
        creators=frozenset(role for role in creators if not role.startswith("pg_")),
        supers=frozenset({wanted.superuser, *(item["name"] for item in roles if item["superuser"])}),
        schemas=frozenset(schemas),
    )


def _monitors(roles: Iterable[Mapping[str, Any]], service_roles: Iterable[str]) -> Iterator[str]:
    for item in roles:
        groups = {group["role"] if isinstance(group, Mapping) else group for group in item["member_of"]}
        if item["state"] == "present" and ("pg_monitor" in groups or item["name"] in service_roles):
            yield item["name"]


def _schema_owners(entry: Mapping[str, Any]) -> Iterator[str]:
    return (item["owner"] for item in entry["schemas"] if item["owner"] and item["state"] == "present")


@dataclass
class Verdict:
    """By role: privileges that it lacks, and those that it has in addition."""

    lacks: dict[str, frozenset[str]] = field(default_factory=dict)
    extra: dict[str, frozenset[str]] = field(default_factory=dict)


def reowned(acl: Iterable[Any], before: str, after: str) -> list[list[str]]:
    """Return the grants that are left by ALTER … OWNER: the new owner takes the part of the old one."""
    named = [[after if part == before else part for part in item] for item in acl]
    return [item for item in named if item[0] != after]


def judge(declared: Access, kind: str, its_owner: str, acl: Acl) -> Verdict:
    """What is wrong with the privileges of one object, or of many that have the same.

    Only what the owner has granted counts as given: what a grantee passed on goes when that one loses it.
    """
    have: dict[str, set[str]] = {}
    sure: dict[str, set[str]] = {}
    for grantee, privilege, *grantor in acl:
        have.setdefault(grantee, set()).add(privilege)
        if grantor in ([], [its_owner]):
            sure.setdefault(grantee, set()).add(privilege.rstrip("*"))
    result = Verdict()
    roles = {*have, *declared.levels, *(declared.connects if kind == "database" else ())}
    for role in roles - {its_owner}:
        got = frozenset(have.get(role, ()))
        given = sure.get(role, set()) | (sure.get(PUBLIC, set()) if kind == "function" else set())
        lacks, extra = _verdict(declared, kind, role, got, frozenset(given))
        if lacks:
            result.lacks[role] = lacks
        if extra:
            result.extra[role] = extra
    return result


def _verdict(
    declared: Access, kind: str, role: str, got: frozenset[str], given: frozenset[str]
) -> tuple[frozenset[str], frozenset[str]]:
    nothing: frozenset[str] = frozenset()
    if role == PUBLIC:
        plain = {privilege.rstrip("*") for privilege in got}
        return nothing, frozenset(plain & _NOT_PUBLIC.get(kind, plain))
    if role in declared.levels:
        due = RIGHTS[declared.levels[role]][kind]
        # Functions are PUBLIC's unless that was revoked; then the role gets a grant of its own.
        return due - given, got - due - (_TEMPORARY if kind == "database" else nothing)
    if role in declared.connects:
        return (RIGHTS["read_only"]["database"] - given if kind == "database" else nothing), nothing
    return nothing, nothing if role in declared.above else got


def wanted_defaults(declared: Access) -> set[Default]:
    """What objects to come must get when they are created."""
    result: set[Default] = set()
    for creator in declared.creators:
        is_super = creator in declared.supers
        for kind in ("table", "sequence") if is_super else KINDS:
            for schema in declared.schemas if is_super else ("",):
                for role, level in declared.levels.items():
                    if role != creator:
                        result |= {(creator, schema, kind, role, due) for due in RIGHTS[level][kind]}
    return result


def judge_defaults(declared: Access, found: Iterable[Any]) -> tuple[set[Default], set[Default]]:
    """Return default privileges that are missing, and additional ones."""
    due, there = wanted_defaults(declared), {tuple(item) for item in found}
    extra = set()
    for item in there - due:
        creator, _, kind, role, _ = item
        if role == PUBLIC:
            wrong = kind in ("table", "sequence")
        else:
            wrong = role != creator and role not in declared.above | declared.connects
        if wrong:
            extra.add(item)
    return due - there, extra


def granted(declared: Access, kind: str, its_owner: str, acl: Iterable[Any], name: str) -> list[list[str]]:
    """Return the grants on an object after one role got what is declared and lost the rest."""
    verdict, given = judge(declared, kind, its_owner, acl := list(acl)), declared.level(name)
    gone = verdict.extra.get(name, frozenset())
    due = RIGHTS[given][kind] if given in RIGHTS else frozenset()
    kept = []
    for grantee, privilege, *rest in acl:
        plain = privilege.rstrip("*")
        if grantee != name or not {privilege, plain} & gone:
            kept.append([grantee, privilege, *rest])
        elif privilege in gone and plain not in gone and privilege != plain and plain in due:
            kept.append([grantee, plain, *rest])  # only its grant option is revoked
    return [*kept, *([name, privilege, its_owner] for privilege in sorted(verdict.lacks.get(name, ())))]
