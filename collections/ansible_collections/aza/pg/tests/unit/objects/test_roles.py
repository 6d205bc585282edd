# SPDX-License-Identifier: Apache-2.0
"""Roles and memberships on a simulated server: one plan is enough, in an order that a server would take."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.aza.pg.plugins.module_utils.errors import AzaError
from ansible_collections.aza.pg.plugins.module_utils.model.desired import Desired
from ansible_collections.aza.pg.plugins.module_utils.model.observed import Observed
from ansible_collections.aza.pg.plugins.module_utils.objects import memberships, roles
from ansible_collections.aza.pg.plugins.module_utils.planning.change import Change
from ansible_collections.aza.pg.plugins.module_utils.planning.order import ordered
from ansible_collections.aza.pg.plugins.module_utils.server.predefined import predefined
from ansible_collections.aza.pg.plugins.module_utils.services.pgbouncer.roles import AUTH
from ansible_collections.aza.pg.plugins.module_utils.services.postgres_exporter import MONITOR
from ansible_collections.aza.pg.tests.unit import declarations
from hypothesis import assume, given
from hypothesis import strategies as st

ROOT = Path(__file__).parents[7]
ATTRIBUTES = ("login", "superuser", "createdb", "createrole", "replication", "bypassrls", "inherit")
PLAIN = {
    **dict.fromkeys(ATTRIBUTES, False),
    "login": True,
    "inherit": True,
    "connection_limit": -1,
    "valid_until": "",
    "has_password": True,
    "settings": [],
    "comment": "",
}


def describe(*declared: Any, **objects: Any) -> Desired:
    return declarations.describe(roles=list(declared), **objects)


def server(**changes: Any) -> dict[str, Any]:
    """A server with its administrator and no other user."""
    found: dict[str, Any] = {"password_matches": {}, "inside": {}, "settings": {}}
    for kind in (roles.KIND, memberships.KIND):
        found.update(copy.deepcopy(dict(kind.fresh(describe()))))
    found["roles"] |= changes.pop("roles", {})
    return {**found, **changes}


def grant(member: str, role: str, grantor: str = "postgres", **options: bool) -> dict[str, Any]:
    plain = {"admin": False, "inherit": True, "set": True}
    return {"member": member, "role": role, "grantor": grantor, **plain, **options}


def plan(wanted: Desired, found: dict[str, Any]) -> list[Change]:
    seen = Observed(server=found)
    return ordered(change for kind in (roles.KIND, memberships.KIND) for change in kind.plan(wanted, seen))


def problems(wanted: Desired, found: dict[str, Any]) -> list[str]:
    seen = Observed(server=found)
    return [message for kind in (roles.KIND, memberships.KIND) for message in kind.problems(wanted, seen)]


def texts(wanted: Desired, found: dict[str, Any]) -> list[str]:
    return [change.text() for change in plan(wanted, found)]


# -- a server, as far as roles are concerned -------------------------------------------------------


def simulate(wanted: Desired, changes: Iterable[Change], found: dict[str, Any]) -> dict[str, Any]:
    """The server after the changes; what a real one would refuse fails here."""
    now: Any = found
    for change in changes:
        if change.kind == "role":
            assert (change.name in now["roles"]) is (change.action != "create")
        if change.kind == "membership" and change.action != "drop":
            detail = change.detail_as(memberships.MembershipDetail)
            assert {detail.member, detail.role} <= set(now["roles"]) | set(predefined())
        now = (roles.KIND if change.kind == "role" else memberships.KIND).simulate(wanted, now, change)
        members = {grant["member"] for grant in now["memberships"]}
        assert not any(_is_member(now["memberships"], name, name) for name in members), "a circle"
    return dict(now)


def _is_member(grants: list[dict[str, Any]], member: str, role: str) -> bool:
    direct = {item["role"] for item in grants if item["member"] == member}
    return role in direct or any(_is_member(grants, item, role) for item in direct)


# -- generated states ------------------------------------------------------------------------------

NAMES = tuple("abcde")
some_settings = st.dictionaries(
    st.sampled_from(("work_mem", "search_path", "my.own")), st.text("x1 ,", max_size=3), max_size=2
)
flags = {name: st.booleans() for name in ATTRIBUTES}
some_role = st.fixed_dictionaries(
    {
        **flags,
        "connection_limit": st.integers(-1, 2),
        "valid_until": st.sampled_from(("", "2027-01-31 00:00:00+00")),
        "has_password": st.booleans(),
        "settings": some_settings.map(lambda given_now: [f"{k}={v}" for k, v in given_now.items()]),
        "comment": st.text("xy", max_size=1),
    }
)


@st.composite
def some_server(draw: st.DrawFn) -> dict[str, Any]:
    there = draw(st.dictionaries(st.sampled_from(NAMES), some_role, max_size=5))
    order = draw(st.permutations(sorted(there)))
    options = st.fixed_dictionaries({"admin": st.booleans(), "inherit": st.booleans(), "set": st.booleans()})
    grants: list[dict[str, Any]] = []
    for number, member in enumerate(order):
        for role in order[number + 1 :]:
            givers = [
                "postgres",
                *(item["member"] for item in grants if item["role"] == role and item["admin"]),
            ]
            for grantor in draw(st.sets(st.sampled_from(givers), max_size=2)) - {member}:
                grants.append(grant(member, role, grantor, **draw(options)))
    matches = draw(st.fixed_dictionaries({name: st.booleans() for name in there}))
    return server(roles=there, memberships=grants, password_matches=matches)


@st.composite
def some_declaration(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Which roles, in any order; memberships go to a later one, so they are no circle of their own."""
    order = draw(st.permutations(draw(st.lists(st.sampled_from(NAMES), unique=True))))
    entries: list[dict[str, Any]] = []
    for number, name in enumerate(order):
        if draw(st.integers(0, 4)) == 0:
            entries.append({"name": name, "state": "absent"})
            continue
        groups: list[dict[str, Any]] = draw(
            st.lists(
                st.fixed_dictionaries(
                    {"role": st.sampled_from([*order[number + 1 :], "pg_monitor"])},
                    optional={option: st.booleans() for option in memberships.OPTIONS},
                ),
                unique_by=lambda group: group["role"],
                max_size=3,
            )
        )
        optional = {
            **flags,
            "passwordless": st.booleans(),
            "connection_limit": st.integers(-1, 2),
            "valid_until": st.sampled_from(("", "2027-01-31 00:00:00+00")),
            "settings": some_settings,
            "comment": st.text("xy", max_size=1),
        }
        rest: dict[str, Any] = draw(st.fixed_dictionaries({}, optional=optional))
        entries.append({"name": name, "member_of": groups, **rest})
    return list(draw(st.permutations(entries)))


@given(some_declaration(), some_server())
def test_from_any_state_one_plan_is_enough(declared: list[dict[str, Any]], found: dict[str, Any]) -> None:
    wanted = describe(*declared)
    assume(not problems(wanted, found))
    changes = plan(wanted, found)
    then = simulate(wanted, changes, found)
    assert plan(wanted, then) == []
    present = {item["name"]: item for item in declared if item.get("state") != "absent"}
    assert set(present) <= set(then["roles"])
    for name, item in present.items():
        has = {grant["role"] for grant in then["memberships"] if grant["member"] == name}
        wants = {group["role"] for group in item["member_of"]}
        assert wants <= has
        assert has == wants or item.get("createrole"), "what the creation of a role gives is left"


@given(some_declaration(), some_server())
def test_nothing_is_removed_that_is_not_declared_absent(
    declared: list[dict[str, Any]], found: dict[str, Any]
) -> None:
    wanted = describe(*declared)
    assume(not problems(wanted, found))
    absent = {item["name"] for item in declared if item.get("state") == "absent"}
    changes = plan(wanted, found)
    assert {change.effect for change in changes} <= {"sql"}
    assert {change.name for change in changes if change.kind == "role" and change.action == "drop"} <= absent
    named = {item["name"] for item in declared}
    assert {change.name for change in changes if change.kind == "role"} <= named
    memberships_changed = [change for change in changes if change.kind == "membership"]
    members = {change.detail_as(memberships.MembershipDetail).member for change in memberships_changed}
    assert members <= named


@given(some_declaration(), some_server(), st.lists(st.integers(0, 9), max_size=3))
def test_an_interrupted_apply_is_continued(
    declared: list[dict[str, Any]], found: dict[str, Any], cuts: list[int]
) -> None:
    wanted = describe(*declared)
    for cut in cuts:
        assume(not problems(wanted, found))
        found = simulate(wanted, plan(wanted, found)[:cut], found)
    assume(not problems(wanted, found))
    assert plan(wanted, simulate(wanted, plan(wanted, found), found)) == []


# -- single cases ----------------------------------------------------------------------------------


def test_the_keys_and_defaults_are_those_of_the_argument_specs() -> None:
    specs = yaml.safe_load((ROOT / "roles/instance/meta/argument_specs.yml").read_text())
    options = specs["argument_specs"]["main"]["options"]["postgres_roles"]["options"]
    assert {key: option.get("default") for key, option in options.items() if key != "name"} == roles.DEFAULTS
    groups = options["member_of"]["options"]
    assert {k: o.get("default") for k, o in groups.items() if k != "role"} == roles.MEMBER_DEFAULTS


def test_the_administrator_keeps_its_rights_whatever_is_declared() -> None:
    wanted = describe({"name": "postgres", "comment": "me"})
    assert texts(wanted, server()) == ["change role postgres  comment “” → “me”"]
    demoted = server()
    demoted["roles"]["postgres"]["superuser"] = False
    assert "change role postgres  nosuperuser → superuser" in texts(wanted, demoted)
    for entry in ({"state": "absent"}, {"passwordless": True}, {"login": False}):
        (message,) = problems(describe({"name": "postgres", **entry}), server())
        assert "administrator" in message


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"name": "x" * 64}, "63 bytes"),
        ({"name": "pg_mine"}, "PostgreSQL reserves"),
        ({"state": "gone"}, "present or absent"),
        ({"password": "a secret of mine", "passwordless": True}, "leave out one"),
        ({"reassign_to": "b"}, "has no effect"),
        ({"state": "absent", "reassign_to": "a"}, "to itself"),
        ({"valid_until": "tomorrow"}, "2027-01-31"),
        ({"member_of": ["b", "b"]}, "twice"),
        ({"member_of": [{"rolle": "b"}]}, "did you mean 'role'"),
        ({"settings": {"work mem": 1}}, "not the name of a setting"),
    ],
)
def test_entries_that_make_no_sense_are_refused(entry: dict[str, Any], message: str) -> None:
    with pytest.raises(AzaError, match=message) as caught:
        describe({"name": "a", **entry})
    assert "a secret of mine" not in caught.value.msg


def test_a_password_is_nowhere_but_among_the_secrets() -> None:
    wanted = describe({"name": "a", "password": "a secret of mine"})
    found = server(roles={"a": {**PLAIN, "has_password": False}}, password_matches={"a": False})
    assert "a secret of mine" not in repr(wanted.to_dict()) + repr(plan(wanted, found))
    assert roles.with_password(wanted) == ["a"]
    assert texts(wanted, found) == ["set the password of role a  because it has none"]


def test_who_needs_no_password_has_no_secret() -> None:
    entries = [{"name": "a", "login": False}, {"name": "b", "passwordless": True}, "postgres", "c"]
    assert roles.with_password(describe(*entries, {"name": "d", "state": "absent"})) == ["c"]


def dependency(what: str = "", database: str = "", owned: bool = True, count: int = 1) -> dict[str, Any]:
    return {"role": "a", "database": database, "owned": owned, "count": count, "what": what or None}


def test_a_role_that_something_hangs_on_stays_and_all_of_it_is_listed() -> None:
    found = server(
        roles={"a": PLAIN},
        role_dependencies=[
            dependency("database shop"),
            dependency(database="shop", count=3),
            dependency(database="other", owned=False, count=2),
        ],
        inside={"shop": {"role_dependencies": [{"role": "a", "owned": True, "what": "table t"}]}},
    )
    (message,) = problems(describe({"name": "a", "state": "absent"}), found)
    assert (
        "owns database shop; owns table t, 2 more in database shop; has privileges on 2 objects in database other"
        in message
    )
    assert "reassign_to" in message
    assert not problems(describe({"name": "a", "state": "absent", "reassign_to": "postgres"}), found)
    assert (
        "not a role that remains"
        in problems(describe({"name": "a", "state": "absent", "reassign_to": "zz"}), found)[0]
    )


def test_what_the_plan_itself_takes_from_a_role_does_not_keep_it() -> None:
    found = server(
        roles={"a": PLAIN},
        role_dependencies=[
            dependency("database shop"),
            dependency(database="shop"),
            dependency("database kept"),
        ],
    )
    databases = [{"name": "shop", "state": "absent"}, {"name": "kept", "owner": "postgres"}]
    wanted = describe({"name": "a", "state": "absent"}, databases=databases)
    assert not problems(wanted, found)
    (change,) = plan(wanted, found)
    assert "database shop" in change.needs


def test_a_role_that_creates_roles_keeps_what_the_server_gave_for_it() -> None:
    made = grant("a", "b", admin=True, inherit=False, set=False)
    found = server(roles={"a": {**PLAIN, "createrole": True}, "b": PLAIN}, memberships=[made])
    assert texts(describe({"name": "a", "createrole": True, "passwordless": True}), found) == [
        "remove the password of role a  because it is passwordless"
    ]
    assert "drop membership a in b  with admin, without inherit, without set" in texts(describe("a"), found)


@pytest.mark.parametrize(
    "own",
    [
        {"inherit": False},
        {"set": False},
        {},
        {"inherit": False, "set": False},
    ],
    ids=["set", "inherit", "set, inherit", "none"],
)
def test_what_createrole_self_grant_gave_is_kept_in_every_form(own: dict[str, bool]) -> None:
    made = [grant("a", "b", admin=True, inherit=False, set=False), grant("a", "b", "a", **own)]
    found = server(roles={"a": {**PLAIN, "createrole": True}, "b": PLAIN}, memberships=made)
    wanted = describe({"name": "a", "createrole": True, "login": False})
    assert not [change for change in plan(wanted, found) if change.kind == "membership"]
    # A role that can no longer create roles keeps none of these grants. Grants of other roles are not the server's.
    (gone,) = [change for change in plan(describe("a"), found) if change.kind == "membership"]
    assert gone.action == "drop"
    found["memberships"].append(grant("a", "b", admin=False))
    assert [change.action for change in plan(wanted, found) if change.kind == "membership"] == ["drop"]


def reported(found: dict[str, Any], *declared: Any) -> dict[str, tuple[str, str]]:
    """Membership → severity and what is said."""
    assert memberships.KIND.undeclared
    given_now = memberships.KIND.undeclared(describe(*declared), Observed(server=found))
    return {item.what.removeprefix("membership "): (item.severity, item.message) for item in given_now}


POWER = {"boss": {**PLAIN, "superuser": True}, "postgres": {**PLAIN, "superuser": True}}


@pytest.mark.parametrize(
    ("data", "image", "known"), [("", "17", False), ("", "18", True), ("17", "18", False), ("", "", True)]
)
def test_the_predefined_roles_are_those_of_the_major(data: str, image: str, known: bool) -> None:
    wanted = describe({"name": "a", "member_of": ["pg_signal_autovacuum_worker"]})
    found = list(
        memberships.KIND.problems(wanted, Observed(server=server(), data_major=data, image_major=image))
    )
    assert (not found) is known
    assert known or "there is no role pg_signal_autovacuum_worker" in found[0]


def test_what_predefined_roles_are_made_members_of_is_reported_and_initdbs_own_is_not() -> None:
    stock = server()["memberships"]
    known = {**dict.fromkeys(("team", "watch", *predefined()), PLAIN), **POWER}
    assert reported(server(roles=known)) == {}
    escalated = [*stock, grant("pg_read_all_stats", "postgres"), grant("watch", "pg_monitor")]
    message = reported(server(roles=known, memberships=escalated))
    assert list(message) == ["pg_read_all_stats in postgres", "watch in pg_monitor"]
    severity, text = message["pg_read_all_stats in postgres"]
    assert severity == "red" and "superuser postgres" in text and "watch" in text
    assert reported(server(roles=known, memberships=[*stock, grant("pg_monitor", "team")])) == {
        "pg_monitor in team": ("yellow", said_of_team()),
    }
    with_admin = [{**item, "admin": True} for item in stock]
    assert {item[0] for item in reported(server(roles=known, memberships=with_admin)).values()} == {"yellow"}
    assert set(reported(server(roles=known, memberships=stock[1:]))) == {"pg_monitor in pg_read_all_settings"}


def said_of_team() -> str:
    return "a predefined role is a member of another role, so that pg_monitor can act as team"


@pytest.mark.parametrize(
    ("grants", "red"),
    [
        ([grant("bob", "boss")], ["bob in boss"]),
        ([grant("bob", "team"), grant("team", "boss")], ["bob in team", "team in boss"]),
        ([grant("bob", "boss", admin=True, inherit=False, set=False)], ["bob in boss"]),
        ([grant("bob", "boss", inherit=False, set=False)], []),
        ([grant("bob", "pg_execute_server_program")], ["bob in pg_execute_server_program"]),
        ([grant("bob", AUTH)], [f"bob in {AUTH}"]),
        ([grant("bob", MONITOR)], [f"bob in {MONITOR}"]),
        ([grant("bob", "replicator")], ["bob in replicator"]),
        ([grant("bob", "pg_read_all_data")], []),
        ([grant("bob", "team")], []),
        ([grant("boss", "team"), grant("postgres", "team")], []),
    ],
)
def test_an_undeclared_role_with_a_superusers_power_is_red(grants: list[Any], red: list[str]) -> None:
    known = {**dict.fromkeys(("bob", "team", "replicator", *describe().service_roles), PLAIN), **POWER}
    found = server(roles=known, memberships=[*server()["memberships"], *grants])
    message = reported(found)
    assert [name for name, item in message.items() if item[0] == "red"] == red
    # What a declared role has too much is a change of the plan.
    assert list(reported(found, "bob", "team")) == []


def test_what_a_member_gave_goes_with_it_and_is_named() -> None:
    found = server(
        roles=dict.fromkeys("abc", PLAIN),
        memberships=[grant("a", "b", admin=True), grant("c", "b", "a")],
    )
    assert texts(describe("a"), found) == [
        "drop membership a in b  with admin  because it is not declared; what it granted is revoked as well: c in b"
    ]
    assert texts(describe("a", {"name": "c", "member_of": ["b"]}), found) == [
        "drop membership a in b  with admin",
        "create membership c in b",
    ]


def test_a_membership_is_turned_round() -> None:
    found = server(roles={"a": PLAIN, "b": PLAIN}, memberships=[grant("a", "b")])
    wanted = describe("a", {"name": "b", "member_of": ["a"]})
    assert texts(wanted, found) == ["drop membership a in b", "create membership b in a"]


def test_memberships_that_cannot_be() -> None:
    circle = describe({"name": "a", "member_of": ["b"]}, {"name": "b", "member_of": ["a"]})
    assert len(problems(circle, server())) == 2
    assert "circular" in problems(describe({"name": "a", "member_of": ["a"]}), server())[0]
    wanted = describe(
        {"name": "a", "member_of": ["pg_montior", "b", "pg_monitor"]}, {"name": "b", "state": "absent"}
    )
    unknown, absent = problems(wanted, server())
    assert "did you mean 'pg_monitor'" in unknown
    assert "declared absent" in absent


def test_undeclared_roles_are_told_and_superusers_are_red() -> None:
    found = server(
        roles=dict.fromkeys(("a", "pg_mine", MONITOR), PLAIN) | {"boss": {**PLAIN, "superuser": True}},
        memberships=[grant("a", "pg_monitor")],
    )
    assert roles.KIND.undeclared
    message = [
        (item.severity, item.what, item.message)
        for item in roles.KIND.undeclared(describe(), Observed(server=found))
    ]
    assert message == [
        ("yellow", "role a", "it is not declared, a member of pg_monitor"),
        ("red", "role boss", "a superuser that is not declared"),
    ]
    assert plan(describe(), found) == []
