# SPDX-License-Identifier: Apache-2.0
"""The rules of pg_hba.conf: their text, their order, who is shut out, and what a plan says of them."""

from __future__ import annotations

import ipaddress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.aza.pg.plugins.module_utils.errors import AzaError
from ansible_collections.aza.pg.plugins.module_utils.model.desired import Desired
from ansible_collections.aza.pg.plugins.module_utils.model.service import File
from ansible_collections.aza.pg.plugins.module_utils.objects import hba
from ansible_collections.aza.pg.plugins.module_utils.planning.change import Change
from hypothesis import given
from hypothesis import strategies as st

ROOT = Path(__file__).parents[7]


def rules(*declared: dict[str, Any], allow_from: tuple[str, ...] = (), **more: Any) -> list[hba.Rule]:
    return hba.rules("postgres", hba.normalise(declared), allow_from, more.pop("tls", True), **more)


def texts(*declared: dict[str, Any], **more: Any) -> list[str]:
    return [rule.text() for rule in rules(*declared, **more)]


def test_the_stacks_own_access_comes_first_and_the_networks_last() -> None:
    assert texts(
        {"databases": ["shop"], "roles": ["shop"], "addresses": ["10.0.0.0/24", "10.1.0.7", "::1"]},
        allow_from=("10.9.0.0/16",),
        monitors=("monitor",),
    ) == [
        "local all postgres peer map=aza",
        "local all monitor scram-sha-256",
        "hostssl shop shop 10.0.0.0/24 scram-sha-256",
        "hostssl shop shop 10.1.0.7/32 scram-sha-256",
        "hostssl shop shop ::1/128 scram-sha-256",
        "local all all scram-sha-256",
        "hostssl all all samenet scram-sha-256",
        "hostssl all all 10.9.0.0/16 scram-sha-256",
    ]
    assert texts(tls=False)[-1] == "host all all samenet scram-sha-256"


@pytest.mark.parametrize(
    ("entry", "text"),
    [
        ({"databases": ["my db", "all"]}, 'hostssl "my db",all all samenet scram-sha-256'),
        ({"databases": ['a"b', "replication"]}, 'hostssl "a""b",replication all samenet scram-sha-256'),
        ({"roles": ["+staff", "Shop", "@x"]}, 'hostssl all +staff,"Shop","@x" samenet scram-sha-256'),
        ({"roles": ["sameuser", "samenet"]}, 'hostssl all "sameuser","samenet" samenet scram-sha-256'),
        ({"databases": ["/^a,b$"]}, 'hostssl "/^a,b$" all samenet scram-sha-256'),
        ({"roles": ["+a b"]}, 'hostssl all +"a b" samenet scram-sha-256'),
        (
            {
                "method": "ldap",
                "options": {"ldapserver": "ldap.example", "ldapprefix": "cn=", "ldaptls": True},
            },
            "hostssl all all samenet ldap ldapserver=ldap.example ldapprefix=cn= ldaptls=1",
        ),
        (
            {"method": "ldap", "options": {"ldapsuffix": ', dc="x y"'}},
            'hostssl all all samenet ldap "ldapsuffix=, dc=""x y"""',
        ),
    ],
)
def test_names_are_only_themselves(entry: dict[str, Any], text: str) -> None:
    assert rules({"addresses": ["samenet"], **entry})[1].text() == text


def test_the_text_of_both_files() -> None:
    declared = hba.normalise([{"addresses": ["samenet", "10.0.0.1"], "comment": "the shop\nof today"}])
    lines = hba.render(hba.rules("o'brien", declared, (), True)).splitlines()
    assert lines[3:6] == ['local all "o\'brien" peer map=aza', "# the shop", "# of today"]
    assert sum(line.startswith("# the shop") for line in lines) == 1
    ident = hba.normalise_ident([{"map": "ops", "system": "/^(.*)@corp$", "role": "\\1"}])
    assert hba.render_ident("postgres", ident).splitlines()[2:] == [
        "aza root postgres",
        "aza postgres postgres",
        'ops "/^(.*)@corp$" "\\1"',
    ]


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ({"addresses": []}, r"postgres_hba\[1\]: a hostssl rule needs addresses"),
        ({"type": "local", "addresses": ["samenet"]}, "leave one of the two out"),
        ({"adresses": ["samenet"]}, "did you mean 'addresses'"),
        ({"addresses": ["samenet"], "roles": []}, "roles is empty"),
        ({"addresses": "samenet"}, "expected a list"),
        ("local all all trust", "a hostssl rule|needs addresses"),
    ],
)
def test_bad_rules_are_named(entry: Any, words: str) -> None:
    with pytest.raises(AzaError, match=words):
        hba.normalise([{"addresses": ["samenet"]}, entry])


def test_a_line_break_is_refused() -> None:
    with pytest.raises(AzaError, match="line break"):
        texts({"addresses": ["samenet"], "roles": ["a\nb"]})
    with pytest.raises(AzaError, match=r"postgres_ident\[0\]: the key 'role' is missing"):
        hba.normalise_ident([{"map": "ops", "system": "x"}])


REJECT = {"type": "host", "method": "reject", "addresses": ["10.0.0.0/8"]}


@pytest.mark.parametrize(
    ("declared", "more", "shut_out"),
    [
        ([REJECT, {"roles": ["shop"], "addresses": ["10.1.0.0/16"]}], {}, ["postgres_hba[1]"]),
        ([{"roles": ["shop"], "addresses": ["10.1.0.0/16"]}, REJECT], {}, []),
        ([REJECT, {"addresses": ["11.0.0.0/8"]}], {}, []),
        ([REJECT], {"allow_from": ("10.2.0.0/24", "192.168.0.0/24")}, ["postgres_allow_from[0]"]),
        ([{**REJECT, "addresses": ["all"]}], {"allow_from": ("::1/128",)}, ["postgres_allow_from[0]"]),
        ([{**REJECT, "addresses": ["::/0"]}], {"allow_from": ("10.0.0.0/8",)}, []),
        # hostnossl says nothing to those who speak TLS
        ([{**REJECT, "type": "hostnossl"}, {"addresses": ["10.0.0.0/8"]}], {}, []),
        ([{**REJECT, "databases": ["shop"]}, {"addresses": ["10.0.0.0/8"]}], {}, []),
        ([{**REJECT, "databases": ["shop"]}, {"databases": ["shop"], "addresses": ["10.0.0.1"]}], {},
         ["postgres_hba[1]"]),
        ([REJECT, {"databases": ["replication"], "addresses": ["10.0.0.0/8"]}], {}, []),
        ([{**REJECT, "roles": ["+staff"]}, {"roles": ["anna"], "addresses": ["10.0.0.0/8"]}], {}, ["postgres_hba[1]"]),
        ([{**REJECT, "roles": ["+staff"]}, {"roles": ["shop"], "addresses": ["10.0.0.0/8"]}], {}, []),
        ([{"type": "local", "method": "reject"}, {"type": "local", "roles": ["shop"]}], {}, ["postgres_hba[1]"]),
        ([{"type": "local", "method": "reject"}, {"addresses": ["10.0.0.0/8"]}], {}, []),
        ([REJECT, {"addresses": ["db.example.com"]}], {}, []),
    ],
)  # fmt: skip
def test_a_client_that_an_earlier_rule_rejects_is_named(
    declared: list[dict[str, Any]], more: dict[str, Any], shut_out: list[str]
) -> None:
    groups = hba.memberships(
        [
            {"name": "anna", "member_of": ["sellers"]},
            {"name": "sellers", "member_of": [{"role": "staff"}]},
            {"name": "shop", "member_of": []},
        ]
    )
    message = list(hba.shut_out(rules(*declared, **more), groups))
    assert [text.split(" ")[0] for text in message] == shut_out
    assert all("postgres_hba[0]" in text for text in message)
    if message:
        with pytest.raises(AzaError, match="Nothing was changed"):
            hba.check(rules(*declared, **more), groups)


# -- what PostgreSQL does with them: the first rule that fits decides ------------------------------

NETWORKS = ("10.0.0.0/8", "10.1.0.0/16", "0.0.0.0/0", "::/0", "all", "192.168.1.7")
entries = st.fixed_dictionaries(
    {
        "type": st.sampled_from(("hostssl", "host", "hostnossl", "local")),
        "databases": st.lists(st.sampled_from(("all", "shop", "replication")), min_size=1, unique=True),
        "roles": st.lists(
            st.sampled_from(("all", "postgres", "monitor", "shop", "+staff")), min_size=1, unique=True
        ),
        "method": st.sampled_from(("reject", "scram-sha-256")),
        "addresses": st.lists(st.sampled_from(NETWORKS), min_size=1, max_size=2, unique=True),
    }
).map(lambda entry: {**entry, "addresses": []} if entry["type"] == "local" else entry)


def first_match(
    given_rules: list[hba.Rule], kind: str, database: str, role: str, groups: set[str], address: str = ""
) -> hba.Rule | None:
    for rule in given_rules:
        types = {"host": ("hostssl", "hostnossl")}.get(rule.type, (rule.type,))
        fits_database = database in rule.databases or ("all" in rule.databases and database != "replication")
        fits_role = {"all", role, *(f"+{group}" for group in groups)} & set(rule.roles)
        fits_address = kind == "local" or _within(address, rule.address)
        if kind in types and fits_database and fits_role and fits_address:
            return rule
    return None


def _within(address: str, network: str) -> bool:
    if network == "all":
        return True
    return network not in ("", "samenet") and ipaddress.ip_address(address) in ipaddress.ip_network(network)


@given(st.lists(entries, max_size=5), st.sampled_from(("postgres", "shop")))
def test_no_declared_rule_shuts_out_the_administrator_or_the_exporter(
    declared: list[dict[str, Any]], database: str
) -> None:
    made = rules(*declared, monitors=("monitor",))
    administrator = first_match(made, "local", database, "postgres", set())
    assert administrator is not None and administrator.method == "peer"
    monitor = first_match(made, "local", "postgres", "monitor", {"pg_monitor"})
    assert monitor is not None and monitor.method == "scram-sha-256"


@given(
    st.lists(entries, min_size=1, max_size=5),
    st.sampled_from(("hostssl", "hostnossl", "local")),
    st.sampled_from(("shop", "postgres", "replication")),
    st.sampled_from(("shop", "anna")),
    st.sampled_from(("10.1.2.3", "10.9.0.1", "192.168.1.7", "::1")),
)
def test_who_is_said_to_be_shut_out_is(
    declared: list[dict[str, Any]], kind: str, database: str, role: str, address: str
) -> None:
    groups = {"anna": {"anna", "staff"}, "shop": {"shop"}}
    made = rules(*declared)
    for message in hba.shut_out(made, groups):
        where = message.split(" ")[0]
        for rule in made:
            if rule.where == where and rule.text() in message.split(")")[0] and rule.method != "reject":
                found = first_match(made, kind, database, role, groups[role], address)
                assert found is not rule


# -- the plan --------------------------------------------------------------------------------------


WANTED = Desired(
    "shop-single", "shop", "single", "p", "v", "n", (), origins={"postgres_hba": "all.yml: postgres_hba"}
)


def changes(before: str, after: str, wanted: Desired = WANTED) -> list[Change]:
    return list(hba.changes(File(hba.PATH, 0o644, text=after), before, "reload", wanted))


def planned(before: str, after: str) -> list[str]:
    return [change.text() for change in changes(before, after)]


def test_the_plan_names_each_rule_in_its_place() -> None:
    one = "# x\nlocal all all  peer\nhost a a samenet md5\nhost b b samenet md5\n"
    assert planned(one, one.replace("md5", "scram-sha-256")) == [
        "change hba rule 2  host a a samenet md5 → host a a samenet scram-sha-256",
        "change hba rule 3  host b b samenet md5 → host b b samenet scram-sha-256",
    ]
    assert planned(one, "local all all peer\nhost b b samenet md5\n") == [
        "remove hba rule 2  host a a samenet md5"
    ]
    assert planned(one + "host all all all trust # mine\n", one) == [
        "remove hba rule 4  host all all all trust"
    ]
    assert planned("", "local all all peer\n") == ["add hba rule 1  local all all peer"]
    assert planned(one, one + "# y\n") == [
        "change file postgres/pg_hba.conf  because only its text changed, no rule"
    ]


def test_a_rule_says_where_it_is_declared() -> None:
    declared = hba.normalise([{"roles": ["shop"], "addresses": ["samenet"]}])
    wanted = replace(WANTED, objects={"hba": declared})
    text = hba.render(hba.rules("postgres", declared, (), True))
    lines = [change.line() for change in changes("", text, wanted)]
    assert lines[0] == "add hba rule 1  local all postgres peer map=aza  reload"
    assert (
        lines[1] == "add hba rule 2  hostssl all shop samenet scram-sha-256  reload  (all.yml: postgres_hba)"
    )


@given(st.lists(entries, max_size=4), st.lists(entries, max_size=4))
def test_what_the_plan_says_leads_from_one_to_the_other(
    before: list[dict[str, Any]], after: list[dict[str, Any]]
) -> None:
    old, new = hba.render(rules(*before)), hba.render(rules(*after))
    if old == new:
        return
    left, right = texts(*before), texts(*after)
    for change in changes(old, new):
        assert change.kind == "hba rule"
        if change.before:
            left.remove(change.before)
        if change.after:
            right.remove(change.after)
    assert sorted(left) == sorted(right)


def test_the_defaults_are_those_of_the_role() -> None:
    specs = yaml.safe_load((ROOT / "roles/instance/meta/argument_specs.yml").read_text())
    options = specs["argument_specs"]["main"]["options"]
    for variable, defaults in (("postgres_hba", hba.DEFAULTS), ("postgres_ident", hba.IDENT_DEFAULTS)):
        declared = {
            name: option["default"]
            for name, option in options[variable]["options"].items()
            if not option.get("required")
        }
        assert {key: value for key, value in defaults.items() if value or key in declared} == declared
