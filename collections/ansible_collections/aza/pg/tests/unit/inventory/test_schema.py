# SPDX-License-Identifier: Apache-2.0
"""The schema for editors: it knows what is in this repository, and says what the check says."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.aza.pg.plugins.module_utils.inventory.check import check_value
from ansible_collections.aza.pg.plugins.module_utils.inventory.plain import plain
from ansible_collections.aza.pg.plugins.module_utils.inventory.schema import render_schema
from ansible_collections.aza.pg.plugins.module_utils.inventory.specs import (
    PREFIXES,
    Option,
    load_specs,
    places,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

ROOT = next(parent for parent in Path(__file__).resolve().parents if (parent / "ansible.cfg").is_file())
SPECS = load_specs([ROOT / "roles"])
DOCUMENT = json.loads(render_schema(ROOT / "roles"))
SCHEMA = Draft202012Validator(DOCUMENT)
ONE = {
    name: Draft202012Validator({**part, "$defs": DOCUMENT["$defs"]})
    for name, part in DOCUMENT["properties"].items()
}
FILES = sorted(
    path
    for kind in ("group_vars", "host_vars")
    for path in (ROOT / "inventories").rglob(f"{kind}/**/*.yml")
    # What Ansible Vault has encrypted is nothing that an editor could complete.
    if path.is_file() and path.name != "vault.yml"
)


class _Loader(yaml.SafeLoader):
    """As an editor reads it: a date is text, a vaulted value is the text it is written as."""


def _written(loader: yaml.SafeLoader, node: Any) -> Any:
    return loader.construct_scalar(node)


for tag in ("!vault", "tag:yaml.org,2002:timestamp"):
    _Loader.add_constructor(tag, _written)


def load(text: str) -> Any:
    return yaml.load(text, Loader=_Loader)


def test_it_is_a_schema() -> None:
    Draft202012Validator.check_schema(DOCUMENT)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_inventory_of_the_repository_fits_and_names_the_schema(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert [error.message for error in SCHEMA.iter_errors(load(text))] == []
    named = re.fullmatch(r"# yaml-language-server: \$schema=(\S+)", text.splitlines()[0])
    assert named
    assert (path.parent / named[1]).resolve() == ROOT / "docs/reference/inventory.schema.json"


def test_there_are_inventories_to_look_at() -> None:
    assert ROOT / "inventories/local/group_vars/all/postgres.yml" in FILES


GOOD = """
postgres_cluster: shop
postgres_port: "5433"
postgres_memory: "{{ memory_of_this_size }}"
postgres_autotune: yes
postgres_cpus: 1.5
postgres_password: !vault |
  $ANSIBLE_VAULT;1.1;AES256
  3030
postgres_roles:
  - {name: shop, valid_until: 2027-01-31, member_of: [pg_monitor, {role: app, admin: true}]}
  - "{{ one_more }}"
postgres_databases: [{name: shop, owner: shop, extensions: [hstore, {name: vector, version: "0.8"}]}]
postgres_settings: {work_mem: 16MB, jit: off, temp_tablespaces: [a, b]}
ansible_user: root
anything_else: {of: [whatever]}
"""

BAD = [
    "postgres_memroy: 2g",
    "postgres_port: 70000",
    "postgres_port: http",
    "postgres_port:",
    "postgres_autotune: maybe",
    "postgres_workload: wbe",
    "postgres_allow_from: 10.0.0.0/8",
    "postgres_cluster: Shop",
    "postgres_roles: [shop]",
    "postgres_roles: [{login: true}]",
    "postgres_roles: [{name: pg_me}]",
    "postgres_roles: [{name: public}]",
    "postgres_roles: [{name: shop, password: short}]",
    "postgres_roles: [{name: shop, connection_limit: -2}]",
    "postgres_roles: [{name: shop, member_of: [{rol: app}]}]",
    "postgres_databases: [{name: shop, extensions: [hstore, {name: vector, shema: api}]}]",
    "postgres_databases: [{name: shop, extensions: [{schema: api}]}]",
    "postgres_databases: [{name: shop, access: {read: [x]}}]",
    "postgres_settings: {work_mem: {a: b}}",
    "postgres_allow_loss: [shop]",
    "image_platforms: [x86]",
]


def test_good() -> None:
    assert [error.message for error in SCHEMA.iter_errors(load(GOOD))] == []


@pytest.mark.parametrize("text", BAD)
def test_bad(text: str) -> None:
    assert not SCHEMA.is_valid(load(text))
    values = plain(load(text))
    assert any(list(check_value((n,), v, SPECS[n])) if n in SPECS else True for n, v in values.items())


# A line's end after a pattern is nothing that a person writes, and regular expressions differ about it.
texts = st.text(max_size=6).filter(lambda text: "\n" not in text and "{" not in text)
_WORDS = """
    shop public pg_x 5432 -1 +7 1.5 .5e3 Yes off present absent 2g 90s 20m 10.0.0.0/8 twelveletters /opt/x 2027-01-31
"""
words = st.sampled_from([*_WORDS.split(), "", "a" * 64, "é" * 32, "database shop", "rolex shop"])
numbers = st.integers(-3, 70000) | st.floats(allow_nan=False, allow_infinity=False, width=32)
scalars = st.none() | st.booleans() | numbers | texts | words


def nearly(option: Option) -> st.SearchStrategy[Any]:
    """Values of about the right form."""
    if option.type == "list":
        return st.lists(nearly(option.entry), max_size=2) | scalars
    if option.options:
        required = {key: nearly(inside) for key, inside in option.options.items() if inside.required}
        optional = {key: nearly(inside) for key, inside in option.options.items() if not inside.required}
        forms = st.fixed_dictionaries(required, optional=optional) | st.dictionaries(
            words, scalars, max_size=1
        )
        return forms | nearly(option.options[option.bare]) if option.bare else forms | scalars
    if option.type in ("dict", "raw"):
        return (
            st.dictionaries(
                st.sampled_from(["work_mem", "jit"]), scalars | st.lists(scalars, max_size=1), max_size=2
            )
            | scalars
        )
    return (
        (st.sampled_from(option.choices) | scalars)
        if option.choices
        else scalars | st.lists(scalars, max_size=1)
    )


@pytest.mark.filterwarnings("ignore:Generating overly large repr")
@pytest.mark.parametrize("name", SPECS)
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_what_the_check_accepts_the_schema_accepts_and_nearly_the_other_way_round(
    name: str, data: st.DataObject
) -> None:
    value = plain(data.draw(nearly(SPECS[name])))
    said = list(check_value((name,), value, SPECS[name]))
    errors = [error.message for error in ONE[name].iter_errors(value)]
    if not said:
        assert errors == []
    elif not errors:
        # What JSON Schema cannot say are limits, and only those of some places.
        limited = {where for where, option in places(SPECS).items() if option.limit}
        for path, text in said:
            where = path[0] + "".join("[]" if part.isdigit() else f".{part}" for part in path[1:])
            assert {where, *(f"{where}.{key}" for key in ("name", "role"))} & limited, text


def test_every_variable_is_described() -> None:
    assert set(DOCUMENT["properties"]) == set(SPECS)
    for name, part in DOCUMENT["properties"].items():
        assert part["description"], name
    (pattern,) = DOCUMENT["patternProperties"]
    for prefix in PREFIXES:
        assert not re.search(pattern, f"{prefix}x")
