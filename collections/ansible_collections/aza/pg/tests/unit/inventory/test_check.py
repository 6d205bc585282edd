# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.aza.pg.plugins.module_utils.inventory.check import check_host, check_value, has_type
from ansible_collections.aza.pg.plugins.module_utils.inventory.limits import LIMITS
from ansible_collections.aza.pg.plugins.module_utils.inventory.plain import Moment, Unresolved, plain
from ansible_collections.aza.pg.plugins.module_utils.inventory.specs import Option, load_specs, places
from hypothesis import given
from hypothesis import strategies as st

ROLES = next(
    parent / "roles" for parent in Path(__file__).resolve().parents if (parent / "ansible.cfg").is_file()
)
SPECS = load_specs([ROLES])


def message(**values: Any) -> list[str]:
    return [f"{'.'.join(problem.path)}: {problem.message}" for problem in check_host("db1", values, SPECS)]


def test_the_stack_role_declares_every_limit() -> None:
    assert set(LIMITS) <= set(places(SPECS))


def test_every_default_is_a_good_value() -> None:
    for name, option in SPECS.items():
        if option.default is not None:
            assert list(check_value((name,), option.default, option)) == []


NO_TEXT = [12345678, 83, 1.1, True, False, Moment("2027-01-31"), Moment("2027-01-31 18:00:00")]
ANY_TEXT = {
    "postgres_password": lambda value: value,
    "postgres_database": lambda value: value,
    "postgres_allow_from": lambda value: [value],
    "postgres_roles": lambda value: [{"name": "shop", "comment": value}],
    "postgres_databases": lambda value: [
        {"name": "shop", "extensions": [{"name": "vector", "version": value}]}
    ],
    "postgres_undeclared": lambda value: {"roles": value},
}


@pytest.mark.parametrize("value", NO_TEXT)
@pytest.mark.parametrize("name", ANY_TEXT)
def test_what_yaml_has_turned_into_something_else_is_no_text(name: str, value: Any) -> None:
    (problem,) = message(**{name: ANY_TEXT[name](value)})
    assert "expected text" in problem and "quotes" in problem
    assert name != "postgres_password" or str(value) not in problem.replace("0123 becomes 83", "")


# initdb makes no server for a user of such a name; the others would break a command line, or mean something else there.
@pytest.mark.parametrize(
    "name", ['a"b', "a'b", "a\\b", "a$b", "a`b", "/ab", "+ab", "-ab", "a\nb", "é" * 32, ""]
)
def test_an_administrator_whose_name_makes_no_server(name: str) -> None:
    assert len(message(postgres_user=name)) == 1
    assert message(postgres_user="a b.c-d_e@f", postgres_database='sh$op "x"') == []


@pytest.mark.parametrize("name", ["a\nb", "a\rb", "a\0b", "a\x1bb", "a\u2028b", "x" * 64])
def test_names_that_no_file_can_hold(name: str) -> None:
    places = {
        "postgres_roles": [{"name": name, "member_of": [name]}],
        "postgres_databases": [{"name": name, "owner": name, "schemas": [name], "extensions": [name]}],
    }
    assert [len(message(**{variable: value})) for variable, value in places.items()] == [2, 4]
    rule = {"databases": [name], "roles": [name], "addresses": ["10.0.0.0/8"]}
    ident = {"map": name, "system": name, "role": name}
    if len(name) < 64:  # an expression may be longer
        assert len(message(postgres_hba=[rule], postgres_ident=[ident])) == 5


@pytest.mark.parametrize("name", ['we"ird', "o'brien", "back\\slash", "a:b", "do$$ar", "space bar", "日本"])
def test_other_names_are_quoted_where_they_stand(name: str) -> None:
    assert message(postgres_roles=[{"name": name}], postgres_databases=[{"name": name, "owner": name}]) == []


def test_where_a_number_or_a_time_is_meant_it_may_stand() -> None:
    assert message(postgres_stop_grace_period=90, postgres_shm_size=512) == []
    moment = Moment("2027-01-31")
    assert (
        message(postgres_roles=[{"name": "shop", "valid_until": moment, "settings": {"work_mem": 4096}}])
        == []
    )
    assert message(postgres_settings={"random_page_cost": 1.1, "jit": False, "port_x.y": [1, 2]}) == []


def test_what_is_no_text_at_all_is_never_taken_for_one() -> None:
    assert "binary data" in str(plain(b"0123456789abcdef"))
    assert isinstance(plain(datetime.date(2027, 1, 31)), Moment)


def test_a_good_inventory_has_no_problem() -> None:
    assert (
        message(postgres_cluster="shop", postgres_memory="2g", postgres_port="5433", other_variable=1) == []
    )


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("postgres_memroy", "2g", "unknown variable; did you mean 'postgres_memory'?"),
        ("postgres_port", 70000, "70000 is not between 1 and 65535"),
        ("postgres_port", "http", "'http' is text; expected a whole number"),
        ("postgres_port", True, "True is true or false; expected a whole number"),
        ("postgres_port", None, "the value is missing"),
        ("postgres_port", 5432.5, "expected a whole number"),
        ("postgres_cpus", [2], "this is a list; expected a number"),
        ("postgres_cpus", -1, "-1 is not between 0 and 1024"),
        ("postgres_memory", "lots", "'lots' is refused: which is not a size"),
        ("postgres_memory", "256m", "at least 512 MB are needed"),
        ("postgres_memory", True, "True is true or false; expected text"),
        ("postgres_workload", "wbe", "is not one of web, oltp, dw, mixed; did you mean 'web'?"),
        ("postgres_autotune", "maybe", "'maybe' is text; expected true or false"),
        ("postgres_allow_from", "10.0.0.0/8", "expected a list"),
        ("postgres_allow_from", ["10.0.0.1/8"], "'10.0.0.1/8' is not a network"),
        ("postgres_allow_from", [["x"]], "is a list; expected text"),
        ("postgres_settings", ["x"], "expected a dictionary"),
        ("postgres_settings", {"port": 1}, "use postgres_port"),
        ("postgres_database", "x" * 64, "1 to 63 bytes"),
        ("postgres_user", "pg_me", "begins with pg_"),
        ("postgres_user", "public", "reserves"),
        ("postgres_stop_grace_period", "soon", "is not a duration"),
        ("postgres_publish_address", "localhost", "is not an IP address"),
        ("postgres_base_dir", "relative", "is not an absolute path"),
        ("postgres_log_max_size", "20 MB", "is not a size that Docker knows"),
        ("postgres_shm_size", "x", "is not a size"),
        ("postgres_cluster", "Shop", "is not a cluster name"),
        ("postgres_autotune", Unresolved("'x' is undefined"), "cannot be resolved: 'x' is undefined"),
    ],
)
def test_each_mistake_has_its_sentence(name: str, value: Any, words: str) -> None:
    (problem,) = message(**{name: value})
    assert problem.startswith(name)
    assert words in problem


def test_a_password_is_never_shown() -> None:
    for value in ("hunter2", ["hunter2"], {"hunter2": 1}):
        (problem,) = message(postgres_password=value)
        assert "hunter2" not in problem


def test_all_problems_at_once() -> None:
    assert len(message(postgres_port=0, postgres_memroy=1, postgres_workload="x", image_nonsense=1)) == 4


def test_values_that_contradict_each_other() -> None:
    (problem,) = message(postgres_cluster="shop", postgres_publish_address="10.0.0.1")
    assert "postgres_allow_from" in problem
    good = {"postgres_publish_address": "10.0.0.1", "postgres_allow_from": ["10.0.0.0/24"]}
    assert message(postgres_cluster="shop", **good) == []
    assert message(postgres_cluster="shop", postgres_publish_address="::1") == []


def test_the_choices_of_a_list_are_those_of_its_entries() -> None:
    option = Option("x", "list", elements="str", choices=("amd64", "arm64"))
    assert list(check_value(("x",), ["amd64"], option)) == []
    ((path, text),) = check_value(("x",), ["amd64", "x86"], option)
    assert (path, text) == (("x", "1"), "'x86' is not one of amd64, arm64")


def test_inside_of_dictionaries() -> None:
    inner = {"name": Option("name", required=True), "owner": Option("owner")}
    option = Option("x", "list", elements="dict", options=inner)
    found = [(path, text) for path, text in check_value(("x",), [{"nmae": 1}, {"name": []}], option)]
    assert found == [
        (("x", "0", "nmae"), "unknown key; did you mean 'name'? Valid keys: name, owner"),
        (("x", "0"), "the key 'name' is missing"),
        (("x", "1", "name"), "this is a list; expected text"),
    ]


@given(st.recursive(st.integers() | st.floats() | st.booleans() | st.text(), st.lists))
def test_types_exclude_each_other(value: Any) -> None:
    assert has_type(value, "raw")
    if has_type(value, "list") or has_type(value, "dict"):
        assert not has_type(value, "str") and not has_type(value, "int")
    if has_type(value, "int"):
        assert has_type(value, "float")
