# SPDX-License-Identifier: Apache-2.0
"""Who is a member of what, with PostgreSQL 16's options: admin, inherit, set.

A declared role has exactly the memberships of its ``member_of``. Several grants of one membership count as one with
the options of them all, as the server counts them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.aza.pg.plugins.module_utils.model.desired import Desired
from ansible_collections.aza.pg.plugins.module_utils.model.observed import Observed
from ansible_collections.aza.pg.plugins.module_utils.objects import roles
from ansible_collections.aza.pg.plugins.module_utils.objects.execute import execute
from ansible_collections.aza.pg.plugins.module_utils.objects.kind import Facts, Kind, Undeclared
from ansible_collections.aza.pg.plugins.module_utils.objects.within import identifier, listing
from ansible_collections.aza.pg.plugins.module_utils.planning.change import Change, Detail
from ansible_collections.aza.pg.plugins.module_utils.replication.topology import REPLICATOR
from ansible_collections.aza.pg.plugins.module_utils.server.predefined import predefined

OPTIONS = ("admin", "inherit", "set")
Pair = tuple[str, str]  # member, role
Grant = Mapping[str, Any]

_OBSERVE = """(
    select coalesce(json_agg(json_build_object(
        'member', pg_get_userbyid(member), 'role', pg_get_userbyid(roleid), 'grantor', pg_get_userbyid(grantor),
        'admin', admin_option, 'inherit', inherit_option, 'set', set_option) order by oid), '[]')
    from pg_auth_members)"""
# What initdb itself grants.
STOCK = tuple(
    ("pg_monitor", role) for role in ("pg_read_all_settings", "pg_read_all_stats", "pg_stat_scan_tables")
)
# Those with which a role can make itself a superuser, or read whatever the server can.
_POWERFUL = {
    "pg_execute_server_program": "run programs as the server's own user",
    "pg_read_server_files": "read every file that the server can read",
    "pg_write_server_files": "write every file that the server can write",
}


# -- the plan --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Picture:
    """``kept``: what is declared, with its options. ``gone``: what is to be revoked. ``before`` and ``after``: the
    grants that are there, and what is left of them then."""

    facts: Mapping[str, Any]
    kept: dict[Pair, dict[str, bool]]
    gone: list[Pair]
    before: list[Grant]
    after: list[Grant]


def _picture(wanted: Desired, found: Observed) -> _Picture:
    facts = found.answers
    declared = {item["name"]: item for item in wanted.objects.get("roles", ())}
    removed = {name for name, item in declared.items() if item["state"] == "absent"}
    kept = {
        (item["name"], group["role"]): {name: bool(group[name]) for name in OPTIONS}
        for item in declared.values()
        if item["state"] == "present"
        for group in item["member_of"]
    }
    # What a role that is about to go gave or had, goes with it; or before, where a new membership would go in a circle.
    remaining = [grant for grant in facts["memberships"] if not removed.intersection(_parties(grant))]
    links, there = _Links([*_by_pair(facts["memberships"]), *kept]), _by_pair(remaining)
    obstacles = [
        pair
        for pair in _by_pair(facts["memberships"])
        if pair not in there
        and pair not in kept
        and any(links.circle(new, pair) for new in kept if new not in there)
    ]
    before = [
        grant
        for grant in facts["memberships"]
        if not removed.intersection(_parties(grant)) or (grant["member"], grant["role"]) in obstacles
    ]
    gone = [
        pair
        for pair, grants in there.items()
        if pair[0] in declared
        and pair not in kept
        and not _by_creation(grants, declared[pair[0]], wanted.superuser)
    ] + obstacles
    return _Picture(facts, kept, gone, before, _surviving(before, gone, kept, wanted.superuser))


def _plan(wanted: Desired, found: Observed) -> Iterator[Change]:
    now = _picture(wanted, found)
    for pair in now.gone:
        yield _removal(wanted, pair, now)
    links, left = _Links([*_by_pair(now.before), *now.kept]), _by_pair(now.after)
    for pair, options in now.kept.items():
        grants = left.get(pair)
        if grants and _joined(grants) == options:
            continue
        first = [old for old in now.gone if old[1] == pair[1] or links.circle(pair, old)]
        yield _change(
            wanted,
            pair,
            "change" if grants else "create",
            before=(_spoken(_joined(grants)) or "plain") if grants else "",
            after=_spoken(options) or ("plain" if grants else ""),
            options=options,
            needs=tuple(f"membership {_name(old)}" for old in first),
        )


def _problems(wanted: Desired, found: Observed) -> Iterator[str]:
    """A role that is not there; a circle."""
    now = _picture(wanted, found)
    # The roles of PostgreSQL itself can be granted before the server exists.
    major = found.data_major or found.image_major
    own = predefined(int(major) if major.isdecimal() else 0)
    known = {**now.facts, "roles": {**dict.fromkeys(own), **now.facts["roles"]}}
    final = _Links([*now.kept, *_by_pair(now.after)])
    for pair in now.kept:
        message = roles.missing(pair[1], wanted, known)
        if not message and final.reaches(pair[1], pair[0]):
            message = "memberships cannot be circular"
        if message:
            yield f"{roles.VARIABLE}: role {pair[0]}: member_of {pair[1]}: {message}"


def _parties(grant: Grant) -> tuple[str, str, str]:
    return grant["member"], grant["role"], grant["grantor"]


def _by_pair(grants: Iterable[Grant]) -> dict[Pair, list[Grant]]:
    result: dict[Pair, list[Grant]] = {}
    for grant in grants:
        result.setdefault((grant["member"], grant["role"]), []).append(grant)
    return result


def _surviving(
    grants: Iterable[Grant], gone: Iterable[Pair], kept: Mapping[Pair, Mapping[str, bool]], administrator: str
) -> list[Grant]:
    """What is left once ``gone`` is revoked: who no longer may give a membership, has not given one."""
    alive = [grant for grant in grants if (grant["member"], grant["role"]) not in set(gone)]
    while True:
        givers = {(grant["member"], grant["role"]) for grant in alive if grant["admin"]}
        givers = {pair for pair in givers if kept.get(pair, {}).get("admin", True)}
        left = [
            grant
            for grant in alive
            if grant["grantor"] == administrator or (grant["grantor"], grant["role"]) in givers
        ]
        if len(left) == len(alive):
            return left
        alive = left


def _removal(wanted: Desired, pair: Pair, now: _Picture) -> Change:
    """Says as well what else goes: memberships that the member itself gave to roles that no one declared."""
    before = _by_pair(now.before)
    lost = set(before) - set(_by_pair(now.after)) - set(now.kept) - set(now.gone)
    with_it = sorted(_name(item) for item in lost if item[1] == pair[1])
    why = f"it is not declared; what it granted is revoked as well: {', '.join(with_it)}" if with_it else ""
    shown = _spoken(_joined(before[pair]))
    return _change(wanted, pair, "drop", before=shown, why=why)


def _joined(grants: Iterable[Grant]) -> dict[str, bool]:
    listed = list(grants)
    return {name: any(grant[name] for grant in listed) for name in OPTIONS}


def _by_creation(grants: list[Grant], member: Mapping[str, Any], administrator: str) -> bool:
    """The server itself makes a role that may create roles the administrator of each role that it creates. With that,
    the role may give itself the rest, which ``createrole_self_grant`` does for it."""
    given = [grant for grant in grants if grant["grantor"] == administrator]
    own = [grant for grant in grants if grant["grantor"] == member["name"]]
    return (
        bool(member["createrole"])
        and len(given) + len(own) == len(grants)
        and _joined(given) == {"admin": True, "inherit": False, "set": False}
        and not any(grant["admin"] for grant in own)
    )


def _name(pair: Pair) -> str:
    return f"{pair[0]} in {pair[1]}"


def _spoken(options: Mapping[str, bool]) -> str:
    """What differs from a plain membership."""
    message = ["with admin"] if options["admin"] else []
    return ", ".join([*message, *(f"without {name}" for name in ("inherit", "set") if not options[name])])


@dataclass(frozen=True)
class MembershipDetail(Detail):
    """``options``: those of GRANT; None revokes the membership."""

    member: str
    role: str
    options: Mapping[str, bool] | None


def _change(
    wanted: Desired, pair: Pair, action: str, options: Mapping[str, bool] | None = None, **more: Any
) -> Change:
    # What is taken away was given by roles that are there.
    parties = () if action == "drop" else tuple(f"role {name}" for name in pair)
    needs = (*parties, *more.pop("needs", ()))
    return Change(
        "membership",
        _name(pair),
        action,
        effect="sql",
        origin=wanted.origin("postgres_roles"),
        id=f"membership {_name(pair)}",
        needs=needs,
        detail=MembershipDetail(*pair, options),
        **more,
    )


class _Links:
    """Direct and indirect memberships of roles."""

    def __init__(self, pairs: Iterable[Pair]) -> None:
        self.above: dict[str, set[str]] = {}
        for member, role in pairs:
            self.above.setdefault(member, set()).add(role)

    def reaches(self, member: str, role: str) -> bool:
        seen, left = set(), [member]
        while left:
            name = left.pop()
            if name == role:
                return True
            if name not in seen:
                seen.add(name)
                left += self.above.get(name, ())
        return False

    def circle(self, new: Pair, old: Pair) -> bool:
        """Whether the new membership would go in a circle as long as the old one is there."""
        return self.reaches(new[1], old[0]) and self.reaches(old[1], new[0])


# -- what no declaration speaks of -----------------------------------------------------------------


def _undeclared(wanted: Desired, found: Observed) -> Iterator[Undeclared]:
    """Memberships of PostgreSQL's own roles, which no one can declare; and those of undeclared roles that give them a
    superuser's power, or the rights of a role of ours. What a declared role has too much is in the plan."""
    facts = found.answers
    grants = _by_pair(facts["memberships"])
    declared = {item["name"] for item in wanted.objects.get("roles", ())}
    links, own = _Links(grants), {*wanted.service_roles, REPLICATOR}
    for pair, given in sorted(grants.items()):
        member, role = pair
        options = _joined(given)
        settled = member in declared or facts["roles"].get(member, {}).get("superuser")
        if settled or not any(options.values()) or (pair in STOCK and not options["admin"]):
            continue
        power = _power(role, links, facts["roles"], wanted.service_roles)
        concerned = [name for name in facts["roles"] if name != role and links.reaches(name, member)]
        who = listing(sorted(concerned)) or "its members, if it gets any,"
        revoked = "; ".join(
            f"REVOKE {identifier(role)} FROM {identifier(member)} GRANTED BY {identifier(item['grantor'])} CASCADE"
            for item in given
        )
        if member.startswith("pg_"):
            message = f"a predefined role is a member of another role, so that {who} can {power or f'act as {role}'}"
        elif power or role in own:
            message = f"with it {who} can {power or f'act as {role}, a role of aza-pg itself'}"
        else:
            continue
        severity = "red" if power or role in own else "yellow"
        yield Undeclared("memberships", severity, f"membership {_name(pair)}", message, revoked)
    for pair in STOCK:
        if pair not in grants:
            message = f"{pair[0]} has it by default, and it was revoked: monitoring sees less"
            remedy = f"GRANT {pair[1]} TO {pair[0]}"
            yield Undeclared("memberships", "yellow", f"membership {_name(pair)}", message, remedy)


def _power(role: str, links: _Links, known: Mapping[str, Any], service_roles: Mapping[str, str]) -> str:
    """What a member can do that only a superuser should, through any number of roles; empty for nothing of the kind."""
    named = sorted({role, *known, *service_roles}) + sorted(_POWERFUL)
    above = [name for name in named if links.reaches(role, name)]
    for name in above:
        if known.get(name, {}).get("superuser"):
            return f"become the superuser {name}"
    powers = {**_POWERFUL, **service_roles}
    return next((powers[name] for name in above if powers.get(name)), "")


# -- carrying it out -------------------------------------------------------------------------------


_GRANTORS = """
    select pg_get_userbyid(grantor) from pg_auth_members
    where pg_get_userbyid(roleid) = %s and pg_get_userbyid(member) = %s"""


def _apply(context: Any, change: Change) -> None:
    """One grant, by the administrator, with all options; others of the same pair add theirs, so they go."""
    detail, connection = change.detail_as(MembershipDetail), context.sql()
    pair = detail.role, detail.member
    with connection.transaction():
        if detail.options is not None:
            given = detail.options
            options = ", ".join(f"{name} {'true' if given[name] else 'false'}" for name in OPTIONS)
            execute(connection, f"grant {{}} to {{}} with {options}", *pair)
        for (grantor,) in connection.execute(_GRANTORS, pair).fetchall():
            if detail.options is None or grantor != context.wanted.superuser:
                execute(connection, "revoke {} from {} granted by {} cascade", *pair, grantor)


def _stock(pair: Pair, administrator: str) -> dict[str, Any]:
    options = {"admin": False, "inherit": True, "set": True}
    return {"member": pair[0], "role": pair[1], "grantor": administrator, **options}


def _simulate(wanted: Desired, server: Facts, change: Change) -> Facts:
    detail = change.detail_as(MembershipDetail)
    grants = [
        item
        for item in server["memberships"]
        if (item["member"], item["role"]) != (detail.member, detail.role)
    ]
    if detail.options is not None:
        grants.append(
            {"member": detail.member, "role": detail.role, "grantor": wanted.superuser, **detail.options}
        )
    return {**server, "memberships": _surviving(grants, (), {}, wanted.superuser)}


KIND = Kind(
    "membership",
    _plan,
    apply=_apply,
    simulate=_simulate,
    server={"memberships": _OBSERVE},
    fresh=lambda wanted: {"memberships": [_stock(pair, wanted.superuser) for pair in STOCK]},
    problems=_problems,
    undeclared=_undeclared,
)
