# SPDX-License-Identifier: Apache-2.0
"""Whatever people write: never an exception, always sentences, never a secret."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.aza.pg.plugins.module_utils.catalog import load_catalog, solve
from ansible_collections.aza.pg.plugins.module_utils.inventory.check import Host, check_host, check_inventory
from ansible_collections.aza.pg.plugins.module_utils.inventory.contents import contents_of
from ansible_collections.aza.pg.plugins.module_utils.inventory.declared import written
from ansible_collections.aza.pg.plugins.module_utils.inventory.files import remarks
from ansible_collections.aza.pg.plugins.module_utils.inventory.plain import Unresolved, plain, printable
from ansible_collections.aza.pg.plugins.module_utils.inventory.sources import Sources, read
from ansible_collections.aza.pg.plugins.module_utils.inventory.specs import Option, load_specs, places
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

ROOT = next(parent for parent in Path(__file__).resolve().parents if (parent / "ansible.cfg").is_file())
SPECS = load_specs([ROOT / "roles"])
CATALOG = load_catalog(ROOT / "image")
CONTENTS = contents_of(CATALOG, solve(CATALOG, "debian", "standard"))
CANARY = "canary-7f3a-do-not-show"

_words = st.sampled_from(
    [
        "shop",
        "postgres",
        "all",
        "absent",
        "present",
        "public",
        "hstore",
        "pg_cron",
        "hostssl",
        "local",
        "{{ x }}",
        "",
        "\n",
    ]
)
scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([10**400, -(10**4000), 2**64])
    | st.floats()
    | st.text(st.characters(), max_size=20)
    | _words
    | st.dates()
    | st.datetimes()
    | st.binary(max_size=4)
    | st.just(Unresolved("'x' is undefined"))
)
keys = st.text(max_size=8) | st.integers() | st.booleans() | st.none() | st.floats() | st.dates()
anything = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(keys, inner, max_size=3)
        | st.sets(st.integers() | st.text(max_size=5), max_size=3)
        | st.tuples(inner, inner)
    ),
    max_leaves=8,
)


def nearly(option: Option) -> st.SearchStrategy[Any]:
    """Values of about the right form, so that what is deep inside is reached as well."""
    if option.type == "list":
        return st.lists(nearly(option.entry), max_size=3) | anything
    if option.options:
        inner = {key: nearly(inside) for key, inside in option.options.items()}
        forms = st.fixed_dictionaries({}, optional=inner) | anything
        return forms | nearly(option.options[option.bare]) if option.bare else forms
    if option.choices:
        return st.sampled_from(option.choices) | scalars
    return {"bool": st.booleans(), "int": st.integers(-2, 70000)}.get(option.type, _words) | scalars


@st.composite
def hosts(draw: st.DrawFn) -> dict[str, Any]:
    chosen = draw(st.lists(st.sampled_from(sorted(SPECS)), max_size=6, unique=True))
    return {"postgres_cluster": draw(_words), **{name: draw(nearly(SPECS[name])) for name in chosen}}


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(hosts(), min_size=1, max_size=2))
def test_no_value_whatever_breaks_the_check(given_hosts: list[dict[str, Any]]) -> None:
    inventory = {f"db{number}": Host(plain(values), "one") for number, values in enumerate(given_hosts)}
    for problem in check_inventory(inventory, SPECS, lambda _: CONTENTS):
        line = f"{printable(written(problem.path))}: {problem.message}"
        assert problem.message and line.isprintable(), repr(line)


def test_a_number_too_long_to_write() -> None:
    (problem,) = check_host("db1", {"postgres_port": plain(10**5000)}, SPECS)
    assert "too large" in problem.message


def test_what_contains_itself_ends() -> None:
    circle: list[Any] = []
    circle.append(circle)
    deep: dict[str, Any] = {}
    for number in range(40):
        deep = {"x": deep, "name": number}
    assert plain(circle) == [Unresolved("it contains itself")]
    for value in (circle, {"name": circle}, [deep], deep):
        for variable in ("postgres_roles", "postgres_settings", "postgres_port", "postgres_databases"):
            assert check_host("db1", {variable: plain(value)}, SPECS)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (datetime.date(2027, 1, 31), "2027-01-31"),
        ({1: {True: None}}, {"1": {"true": None}}),
        (("a", {"b"}), ["a", ["b"]]),
        ("\ud800x", "?x"),
        (float("nan"), Unresolved("it is not a number that can be written")),
        (2**64, Unresolved("the number is too large")),
    ],
)
def test_plain(value: Any, expected: Any) -> None:
    assert plain(value) == expected


def secret_forms(value: Any) -> st.SearchStrategy[Any]:
    return st.recursive(
        st.just(value),
        lambda inner: st.lists(inner, min_size=1, max_size=2) | st.dictionaries(st.just(value), inner),
    )


@settings(max_examples=100, deadline=None)
@given(st.sampled_from([CANARY, CANARY[:9], CANARY + "\n"]).flatmap(secret_forms), st.booleans())
@example([[{"password": CANARY}]], False)
@example({"name": "a", "password": CANARY, "passwordless": True}, True)
def test_a_secret_is_never_shown(value: Any, inside: bool) -> None:
    for name, option in places(SPECS).items():
        if option.secret and "[]" not in name:
            for problem in check_host("db1", {name: plain(value), "postgres_cluster": "a"}, SPECS):
                assert "canary" not in problem.message
    role = {"name": "a", "password": value, "passwordless": True, "connection_limit": -5}
    for roles in ([role], [[role]], role, [{"name": role}], {"a": role}, [{**role, "state": "gone"}]):
        for problem in check_host("db1", {"postgres_roles": plain(roles), "postgres_cluster": "a"}, SPECS):
            assert "canary" not in problem.message
    rule = {"method": "ldap", "options": {"ldapbindpasswd": value}, "addresses": [value] if inside else value}
    for problem in check_host("db1", {"postgres_hba": plain([{**rule, "addresses": 1}])}, SPECS):
        assert "canary" not in problem.message


lines = st.lists(
    st.sampled_from(
        [
            "postgres_port: 1",
            "postgres_port: 2",
            "\tpostgres_port: 1",
            "postgres_password: {canary}",
            "postgres_password: !vault |\n  $ANSIBLE_VAULT;1.1;AES256\n  3030",
            'postgres_password: \'{{ lookup("file", "x") }}\'',
            "postgres_roles: [{name: a, password: {canary}}]",
            "postgres_roles: &a [*a]",
            "postgres_settings: &b {<<: *b, x: 1}",
            "base: &c {work_mem: 1MB}",
            "postgres_settings: {<<: *c, fsync: on}",
            "postgres_databases:\n  - name: x\n    name: y",
            "? [complex, key]\n: 1",
            "{{ broken }}",
            "%TAG x",
            "---",
            "...",
            "!!python/object:os.system x",
            "&",
            "*nowhere",
            "\x00",
            "[" * 200,
            "{a: " * 100,
            "- 1",
            "postgres_x: |\n   a\n  b",
            "[db]",
            "db1 postgres_port=1 postgres_password={canary}",
            "[db:vars]",
            "postgres_password = {canary}",
        ]
    ).map(lambda line: line.replace("{canary}", CANARY))
    | st.text(max_size=20),
    max_size=6,
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    lines,
    st.sampled_from(["group_vars/all.yml", "hosts.yml", "hosts", "host_vars/db1/x.json", "group_vars/db"]),
)
@example(["a: &a [" + "&x [" * 50], "hosts.yml")
@example(["all: &a {children: {x: *a}}"], "hosts.yml")
@example(["all: &a\n  vars: &b\n    <<: *b\n    postgres_port: *b"], "hosts.yml")
def test_no_file_whatever_breaks_the_search(tmp_path: Path, content: list[str], name: str) -> None:
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes("\n".join(content).encode(errors="surrogatepass"))
    try:
        sources = read([tmp_path])
    finally:
        path.unlink()
    assert isinstance(sources.find(("postgres_port",), "db1", ["db"]), str)
    for problem in remarks(sources, {"db1": Host({}, groups=["db"])}, SPECS):
        assert CANARY not in problem.message + problem.place
    assert CANARY not in repr([*sources.twice, *sources.plain])


def test_a_tree_of_aliases_is_not_followed_to_its_end(tmp_path: Path) -> None:
    text = "a0: &a0 {x: 1}\n" + "".join(
        f"a{n}: &a{n} {{{', '.join(f'k{i}: *a{n - 1}' for i in range(9))}}}\n" for n in range(1, 12)
    )
    (tmp_path / "group_vars").mkdir()
    (tmp_path / "group_vars/all.yml").write_text(text + "postgres_port: 1\n")
    (tmp_path / "hosts.yml").write_text(yaml.safe_dump({"all": {"hosts": {"db1": None}}}))
    sources: Sources = read([tmp_path / "hosts.yml"])
    assert sum(map(len, sources.found["group", "all"])) < 2_000_000
