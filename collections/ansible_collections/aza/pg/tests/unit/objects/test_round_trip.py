# SPDX-License-Identifier: Apache-2.0
"""Databases and what is in them on a simulated server: one plan is enough, and it loses nothing on its own."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from ansible_collections.aza.pg.plugins.module_utils.model.desired import Desired
from ansible_collections.aza.pg.plugins.module_utils.model.observed import Observed
from ansible_collections.aza.pg.plugins.module_utils.objects import (
    database_changes,
    databases,
    extensions,
    privileges,
    schemas,
)
from ansible_collections.aza.pg.plugins.module_utils.planning.change import Change
from ansible_collections.aza.pg.plugins.module_utils.planning.order import ordered
from ansible_collections.aza.pg.plugins.module_utils.planning.plan import Plan, hold
from ansible_collections.aza.pg.tests.unit import declarations
from hypothesis import assume, given, settings
from hypothesis import strategies as st

KINDS = (databases.KIND, schemas.KIND, extensions.KIND, privileges.KIND)
ROLES = ("ann", "bob", "eve", "postgres")
NAMES = ("shop", "postgres", "old")
SPACES = ("public", "api", "tools")
# cube ← earthdistance ← globe: who needs whom.
AVAILABLE = {
    name: {"default": "2", "versions": ["1", "2"], "requires": needs, "schema": None}
    for name, needs in {
        "cube": None,
        "earthdistance": ["cube"],
        "globe": ["earthdistance"],
        "own": None,
    }.items()
}
AVAILABLE["own"]["schema"] = "tools"
PRIVILEGES = {
    "database": ("CONNECT", "TEMPORARY", "CREATE"),
    "schema": ("USAGE", "CREATE"),
    "table": ("SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE"),
    "sequence": ("USAGE", "SELECT", "UPDATE"),
    "function": ("EXECUTE",),
}


def describe(declared: Any, allow_loss: Any = ()) -> Desired:
    return declarations.describe(databases=declared, allow_loss=list(allow_loss))


# -- what is declared, and what is there -------------------------------------------------------------

privilege_lists = {
    kind: st.lists(
        st.tuples(
            st.sampled_from(("", *ROLES)),
            st.sampled_from(words) | st.sampled_from(words).map(lambda word: f"{word}*"),
            st.sampled_from(("owner", "eve")),
        ),
        max_size=5,
        unique_by=lambda item: (item[0], item[1].rstrip("*"), item[2]),
    )
    for kind, words in PRIVILEGES.items()
}
texts = st.sampled_from(("", "it's"))
states = st.sampled_from(("present", "present", "absent"))


def subsets(*names: str) -> st.SearchStrategy[list[str]]:
    return st.lists(st.sampled_from(names), unique=True)


@st.composite
def accesses(draw: st.DrawFn) -> dict[str, list[str]]:
    result: dict[str, list[str]] = {"read_write": [], "read_only": [], "connect": []}
    for role in ROLES:
        level = draw(st.sampled_from((*result, "none")))
        if level in result:
            result[level].append(role)
    return draw(st.sampled_from(({}, result)))


@st.composite
def entries(draw: st.DrawFn, name: str) -> dict[str, Any]:
    spaces = draw(subsets("api", "tools"))
    return {
        "name": name,
        "state": draw(states) if name == "old" else "present",
        "owner": draw(st.sampled_from(("", *ROLES))),
        "connection_limit": draw(st.sampled_from((-1, 5))),
        "settings": draw(
            st.dictionaries(st.sampled_from(("work_mem", "search_path")), st.sampled_from(("1", "a, b")))
        ),
        "comment": draw(texts),
        "schemas": [
            {
                "name": space,
                "state": draw(states),
                "owner": draw(st.sampled_from(("", "eve"))),
                "comment": draw(texts),
            }
            for space in spaces
        ],
        "extensions": [
            {"name": item, "state": draw(states), "version": draw(st.sampled_from(("", "1", "2")))}
            for item in draw(subsets(*AVAILABLE))
        ],
        "access": draw(accesses()),
    }


@st.composite
def insides(draw: st.DrawFn) -> dict[str, Any]:
    spaces = {
        space: {
            "owner": draw(st.sampled_from((*ROLES, "pg_database_owner"))),
            "comment": draw(texts),
            "extension": "",
        }
        for space in draw(subsets(*SPACES))
    }
    installed = draw(st.sampled_from(((), ("cube",), ("cube", "earthdistance"), ("own",))))
    grants = []
    for space, item in spaces.items():
        for kind, count in (("schema", 1), ("table", 3), ("sequence", 1), ("function", 2)):
            its_owner = item["owner"] if kind == "schema" else draw(st.sampled_from(ROLES))
            acl = draw(privilege_lists[kind])
            grants.append([space, kind, its_owner, resolve(acl, its_owner), count])
    defaults = st.tuples(
        st.sampled_from(ROLES),
        st.sampled_from(("", *spaces)),
        st.sampled_from(("table", "sequence", "function", "schema")),
        st.sampled_from(("", *ROLES)),
        st.sampled_from(("SELECT", "USAGE", "EXECUTE", "SELECT*")),
    )
    return {
        "schemas": spaces,
        "extensions": {
            name: {"version": draw(st.sampled_from("12")), "schema": "public", "relocatable": True}
            for name in ("plpgsql", *installed)
        },
        "grants": grants,
        "columns": [[space, draw(st.sampled_from(("", *ROLES))), 1] for space in draw(subsets(*spaces))]
        if spaces
        else [],
        "defaults": draw(st.lists(defaults, max_size=4, unique=True)),
        "holding": draw(st.booleans()),
        "losing": draw(subsets("schema api", "schema tools", "extension cube", "extension own")),
    }


def resolve(acl: Any, its_owner: str) -> list[list[str]]:
    """Grants of the owner and of eve, who may pass on; no one grants to himself, and the owner's own are left out."""
    named = [[to, what, its_owner if by == "owner" else by] for to, what, by in acl]
    return [item for item in named if item[0] not in (item[2], its_owner)]


@st.composite
def servers(draw: st.DrawFn) -> dict[str, Any]:
    names = {"postgres", *draw(subsets(*NAMES))}
    found: dict[str, Any] = {"databases": {}, "inside": {}, "sessions": {}, "available_extensions": AVAILABLE}
    for name in sorted(names):
        its_owner = draw(st.sampled_from(ROLES))
        found["databases"][name] = {
            **database_changes.made(its_owner),
            "encoding": "UTF8",
            "provider": "builtin",
            "locale": "C.UTF-8",
            "limit": draw(st.sampled_from((-1, 3))),
            "comment": draw(texts),
            "settings": draw(st.sampled_from((None, ["work_mem=1"], ["TimeZone=UTC", 'search_path="a", b']))),
            "acl": resolve(draw(privilege_lists["database"]), its_owner),
        }
        found["inside"][name] = draw(insides())
    return found


# -- the server ------------------------------------------------------------------------------------


def look(wanted: Desired, state: Mapping[str, Any]) -> Observed:
    """What depends on the question is answered again."""
    seen = copy.deepcopy(dict(state))
    for name, inside in seen["inside"].items():
        entry = next((item for item in wanted.objects["databases"] if item["name"] == name), None)
        inside["holds"] = {
            "tables": int(inside.get("holding", False)),
            "size": "8 kB",
            "largest": ["t 8 kB"],
            "rows": [],
            "schemas": [],
            "extensions": [],
            "others": {},
        }
        inside["lost"] = {root: ["table t 8 kB"] for root in inside.get("losing", ())}
        for extension in inside["extensions"]:
            users = [f"extension {user}" for user in _users(inside["extensions"], extension)]
            if users:
                inside["lost"].setdefault(f"extension {extension}", []).extend(users)
        inside["paths"] = {
            item["name"]: inside["extensions"][item["name"]]["version"] <= item["version"]
            for item in (entry or {"extensions": []})["extensions"]
            if item["name"] in inside["extensions"]
        }
    return Observed(server=seen, volume=True)


def planned(wanted: Desired, state: Mapping[str, Any]) -> Plan:
    found = look(wanted, state)
    changes = ordered(change for kind in KINDS for change in kind.plan(wanted, found))
    return hold(changes, (), wanted.objects["allow_loss"])


def apply(wanted: Desired, state: Mapping[str, Any], change: Change) -> Mapping[str, Any]:
    """The server after the change; what a real one would refuse fails here."""
    kind = next(kind for kind in KINDS if kind.name == change.kind)
    if change.kind == "database":
        assert (change.name in state["databases"]) is (change.action != "create")
    elif isinstance(change.detail, schemas.SchemaDetail) and change.action == "drop":
        losing = state["inside"][change.detail.database].get("losing", ())
        assert change.detail.cascade == (f"schema {change.detail.schema}" in losing)
    elif isinstance(change.detail, extensions.ExtensionDetail):
        there, name = state["inside"][change.detail.database]["extensions"], change.detail.extension
        needed = AVAILABLE[name]["requires"] or ()
        assert change.action != "create" or (name not in there and set(needed) <= set(there))
        assert change.action != "drop" or change.detail.cascade or not _users(there, name)
    return kind.simulate(wanted, state, change)


def _users(there: Mapping[str, Any], name: str) -> list[str]:
    return [user for user in there if user in AVAILABLE and name in (AVAILABLE[user]["requires"] or ())]


# -- properties --------------------------------------------------------------------------------------

declared_lists = st.lists(st.sampled_from(NAMES), unique=True).flatmap(
    lambda names: st.tuples(*(entries(name) for name in names))
)
permissions = st.lists(
    st.sampled_from(
        ("database old", "schema shop.api", "schema shop.tools", "extension shop.cube", "extension old.own")
    )
)


@settings(deadline=None, max_examples=150)
@given(declared_lists, permissions, servers())
def test_one_plan_is_enough(declared: Any, allow_loss: list[str], state: dict[str, Any]) -> None:
    wanted = describe(list(declared), allow_loss)
    assume(not [message for kind in KINDS for message in kind.problems(wanted, look(wanted, state))])
    plan = planned(wanted, state)
    for change in plan.changes:
        state = dict(apply(wanted, state, change))
    assert [change.text() for change in planned(wanted, state).changes] == []


@settings(deadline=None, max_examples=150)
@given(declared_lists, permissions, servers())
def test_nothing_is_dropped_that_is_not_declared_absent(
    declared: Any, allow_loss: list[str], state: dict[str, Any]
) -> None:
    wanted = describe(list(declared), allow_loss)
    absent = {
        f"{kind} {name}"
        for entry in declared
        for kind, name, state_now in [
            ("database", entry["name"], entry["state"]),
            *((kind, f"{entry['name']}.{item['name']}", item["state"])
              for kind, key in (("schema", "schemas"), ("extension", "extensions")) for item in entry[key]),
        ]
        if state_now == "absent"
    }  # fmt: skip
    plan = planned(wanted, state)
    for change in (*plan.changes, *plan.held):
        if change.action == "drop" or change.effect == "data":
            assert change.object in absent
        assert change.effect in ("sql", "data")
        assert (change.effect == "data") == bool(change.risk)
    for change in plan.changes:
        if change.effect == "data":
            assert change.object in allow_loss
