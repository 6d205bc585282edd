# SPDX-License-Identifier: Apache-2.0
"""Databases and what is in them: how they are declared, what is compared, and what stands in the way."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.aza.pg.plugins.module_utils.errors import AzaError
from ansible_collections.aza.pg.plugins.module_utils.instance import server_objects
from ansible_collections.aza.pg.plugins.module_utils.model.observed import Observed
from ansible_collections.aza.pg.plugins.module_utils.objects import (
    access,
    databases,
    extensions,
    locale,
    privileges,
    schemas,
    session,
)
from ansible_collections.aza.pg.plugins.module_utils.planning.change import Change
from ansible_collections.aza.pg.plugins.module_utils.planning.plan import hold
from ansible_collections.aza.pg.plugins.plugin_utils import project
from ansible_collections.aza.pg.plugins.plugin_utils.preload import preload
from ansible_collections.aza.pg.tests.unit.objects.test_round_trip import describe
from hypothesis import given
from hypothesis import strategies as st

ROOT = Path(__file__).parents[7]
PROJECT = project.find()


def test_the_keys_and_defaults_are_those_of_the_inventory() -> None:
    specs = yaml.safe_load((ROOT / "roles/instance/meta/argument_specs.yml").read_text())["argument_specs"][
        "main"
    ]
    options = specs["options"]["postgres_databases"]["options"]
    for described, defaults in (
        (options, databases.DEFAULTS),
        (options["extensions"]["options"], extensions.DEFAULTS),
        (options["schemas"]["options"], schemas.DEFAULTS),
        (options["access"]["options"], {level: [] for level in access.LEVELS}),
    ):
        assert {key: item["default"] for key, item in described.items() if key != "name"} == defaults


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (
            {"name": "shop", "stat": "absent"},
            "stat: unknown key; did you mean 'state'? Valid keys: access, comment, ",
        ),
        ({"name": "shop", "state": "gone"}, "state is present or absent, not 'gone'"),
        ({"name": "shop", "settings": {"work mem": 1}}, "'work mem' is not the name of a setting"),
        ({"name": "shop", "settings": {"work_mem": None}}, "'work_mem' needs a value"),
        ({"name": "shop", "schemas": ["pg_x"]}, "the schema 'pg_x' is reserved by PostgreSQL"),
        ({"name": "shop", "schemas": ["a", "a"]}, "'a' is declared twice"),
        ({"name": "shop", "extensions": [{"name": "x", "version": 1.1}]}, "version: '1.1'"),
        ({"name": "shop", "extensions": [{"name": "plpgsql", "state": "absent"}]}, "is part of PostgreSQL"),
        (
            {"name": "shop", "access": {"readonly": []}},
            "readonly: unknown key; did you mean 'read_only'? Valid keys: connect, read_only, read_write",
        ),
        ({"name": "shop", "access": {"read_only": "web"}}, "read_only is a list of roles"),
        (
            {"name": "shop", "access": {"read_only": ["a"], "connect": ["a"]}},
            "stands under read_only and under connect",
        ),
    ],
)
def test_what_cannot_be_meant_is_refused_in_words(entry: dict[str, Any], message: str) -> None:
    with pytest.raises(AzaError) as caught:
        databases.normalise([entry])
    assert message in caught.value.msg
    assert "postgres_databases" in caught.value.msg


@pytest.mark.parametrize(
    ("one", "two", "same"),
    [
        ("UTF8", "utf-8", True),
        ("ISO_8859-1", "LATIN1", True),
        ("WIN1252", "windows-1252", True),
        ("UTF8", "LATIN1", False),
    ],
)
def test_encodings_have_several_names(one: str, two: str, same: bool) -> None:
    assert (locale.encoding(one) == locale.encoding(two)) is same


@pytest.mark.parametrize(
    ("provider", "declared", "there", "differs"),
    [
        ("libc", "de_DE.utf8", "de_DE.UTF-8", False),
        ("libc", "de_DE.UTF-8", "de_AT.UTF-8", True),
        ("icu", "de_DE", "de-DE", False),
        ("builtin", "C.UTF-8", "C", True),
        ("builtin", "", "C", False),
        ("builtin", "C.UTF8", "C.UTF-8", False),
        ("icu", "en-u-kn-true", "en-u-kn", False),
        ("icu", "en-u-kn-false", "en-u-kn", True),
    ],
)
def test_locales_are_compared_as_their_provider_does(
    provider: str, declared: str, there: str, differs: bool
) -> None:
    wanted = {"encoding": "UTF8", "locale_provider": "", "locale": declared}
    is_now = {"encoding": "UTF8", "provider": provider, "locale": there}
    standard = {"icu en-u-kn-true": "en-u-kn"}
    assert bool(locale.differences(wanted, is_now, standard)) is differs


def test_only_another_locale_or_encoding_needs_template0() -> None:
    plain = {"encoding": "UTF8", "locale_provider": "", "locale": "", "template": ""}
    template = {"encoding": "UTF8", "provider": "builtin"}
    assert locale.options(plain, template) == {}
    assert locale.options({**plain, "encoding": "latin1"}, template) == {
        "template": "template0",
        "encoding": "latin1",
    }
    assert locale.options({**plain, "locale": "C"}, template)["builtin_locale"] == "C"
    assert locale.options({**plain, "template": "mine"}, template) == {"template": "mine"}


@pytest.mark.parametrize(
    ("arguments", "made"),
    [
        ("", ("UTF8", "builtin")),
        ("--no-sync -c work_mem=7MB", ("UTF8", "builtin")),
        ("-E LATIN1", ("LATIN1", "builtin")),
        ("--encoding=SQL_ASCII --locale=C", ("SQL_ASCII", "libc")),
        ("--locale-provider=icu --icu-locale=de", ("UTF8", "icu")),
        ("--locale-provider builtin --builtin-locale C", ("UTF8", "builtin")),
        ("--lc-collate='de_DE.UTF-8'", ("UTF8", "libc")),
        ("'", ("UTF8", "builtin")),
    ],
)
def test_what_initdb_makes_of_its_arguments(arguments: str, made: tuple[str, str]) -> None:
    assert locale.made_by(arguments) == {"encoding": made[0], "provider": made[1]}


names = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=8)


@given(st.lists(names))
def test_a_list_of_names_is_read_as_it_was_quoted(given_names: list[str]) -> None:
    text = ", ".join('"' + name.replace('"', '""') + '"' for name in given_names)
    assert session.names(text) == given_names


def test_settings_are_compared_as_the_server_does() -> None:
    info = {"work_mem": {"vartype": "integer", "unit": "kB"}}
    stored = session.observed(["work_mem=65536kB", "TimeZone=UTC", 'search_path="$user", public'])
    declared = session.normalise(
        "x", {"work_mem": "64MB", "timezone": "UTC", "search_path": '"$user",public'}
    )
    assert list(session.differences(declared, stored, info)) == []
    assert next(session.differences({}, stored, info)) == ("search_path", '"$user", public', None)


@pytest.mark.parametrize(
    ("name", "declared", "stored", "equal"),
    [
        ("search_path", "", '""', True),
        ("search_path", "", "", True),
        ("search_path", '""', '""', True),
        ("search_path", "", "public", False),
        ("search_path", '"", Public', "public", True),
        ("temp_tablespaces", "", '""', True),
        ("local_preload_libraries", "", "", True),
        # With an empty name no session can begin.
        ("local_preload_libraries", "", '""', False),
        ("session_preload_libraries", '""', "", True),
        ("session_preload_libraries", "Mine", '"Mine"', True),
        ("session_preload_libraries", "Mine", "mine", False),
        ("default_tablespace", "", "", True),
    ],
)
def test_an_empty_list_is_what_postgresql_makes_of_it(
    name: str, declared: str, stored: str, equal: bool
) -> None:
    found = list(session.differences({name: declared}, session.observed([f"{name}={stored}"]), {}))
    assert found == ([] if equal else [(name, stored, declared)])


# -- access ------------------------------------------------------------------------------------------


def declared_access(**lists: Any) -> access.Access:
    wanted = describe([{"name": "shop", "owner": "own", "access": lists}])
    result = access.access(wanted, wanted.objects["databases"][0], ["public"], ["own"])
    assert result is not None
    return result


def test_public_may_call_functions_and_nothing_else() -> None:
    declared = declared_access(read_write=["web"])
    assert access.judge(declared, "function", "own", [["", "EXECUTE", "own"]]) == access.Verdict()
    for kind, privilege in (
        ("table", "SELECT"),
        ("sequence", "USAGE"),
        ("schema", "CREATE"),
        ("database", "CONNECT"),
    ):
        acl = [["web", item, "own"] for item in access.RIGHTS["read_write"][kind]]
        found = access.judge(declared, kind, "own", [*acl, ["", privilege, "own"]])
        assert found.extra == {"": frozenset({privilege})}
        assert not found.lacks


def test_what_somebody_passed_on_does_not_count() -> None:
    declared = declared_access(read_only=["web"])
    acl = [["web", "SELECT", "former"], ["former", "SELECT*", "own"]]
    found = access.judge(declared, "table", "own", acl)
    assert found.lacks == {"web": frozenset({"SELECT"})}
    assert found.extra == {"former": frozenset({"SELECT*"})}


def test_the_objects_of_an_administrator_get_no_default_privilege_on_functions() -> None:
    """It creates extensions, some of whose functions are withheld from PUBLIC on purpose."""
    wanted = describe([{"name": "shop", "access": {"read_write": ["web"]}}])
    declared = access.access(wanted, wanted.objects["databases"][0], ["public", "api"], ["postgres"])
    assert declared is not None
    due = access.wanted_defaults(declared)
    assert {item[1] for item in due} == {"public", "api"}
    assert {item[2] for item in due} == {"table", "sequence"}


# -- extensions ----------------------------------------------------------------------------------------


def test_an_extension_waits_for_the_container_that_brings_its_library() -> None:
    declared = {"needed": {"pg_cron": "pg_cron"}, "declared": ["pg_cron"]}
    wanted = describe([{"name": "postgres", "extensions": ["pg_cron"]}])
    wanted = type(wanted)(**{**vars(wanted), "objects": {**wanted.objects, "preload": declared}})
    found = Observed(server={**server_objects.fresh(wanted), "preloaded": "auto_explain"}, volume=True)
    assert not list(extensions.KIND.problems(wanted, found))
    (change,) = extensions.KIND.plan(wanted, found)
    container = Change("container", "x", "recreate", effect="recreate", id="container postgres")
    assert hold([container, change], ()).changes == ()
    assert hold([container, change], ("recreate",)).held == ()


def test_the_catalogue_says_which_library_an_extension_needs() -> None:
    given_now = [{"name": "shop", "extensions": ["pg_cron"]}]
    assert preload(PROJECT, given_now, ["pg_cron"])["needed"]["pg_cron"] == "pg_cron"
    assert "plpgsql_check" not in preload(PROJECT, given_now, [])["needed"]
    assert preload(PROJECT, [{"name": "shop"}], ["x"]) == {"needed": {}, "declared": ["x"]}


@pytest.mark.parametrize(
    ("database", "brought"),
    [
        ({"extensions": ["pg_cron", "citext"]}, ["x", "pg_cron"]),
        ({"extensions": [{"name": "pg_cron", "version": ""}]}, ["x", "pg_cron"]),
        ({"extensions": [{"name": "pg_cron", "state": "absent"}]}, ["x"]),
        ({"extensions": ["pg_cron"], "state": "absent"}, ["x"]),
        ({"extensions": [5, {"nmae": "x"}]}, ["x"]),
    ],
)
def test_a_declared_extension_brings_its_library(database: dict[str, Any], brought: list[str]) -> None:
    assert preload(PROJECT, [database, database, "bare"], ["x"])["declared"] == brought


def test_the_first_plan_is_whole_before_there_is_a_server() -> None:
    wanted = describe(
        [{"name": "postgres", "schemas": ["api"], "extensions": ["hstore"], "access": {"read_only": ["web"]}}]
    )
    found = Observed(server=server_objects.fresh(wanted))
    kinds = (databases.KIND, schemas.KIND, extensions.KIND, privileges.KIND)
    assert [change.text() for kind in kinds for change in kind.plan(wanted, found)] == [
        "create schema postgres.api  owner postgres",
        "create extension postgres.hstore",
        "grant access postgres.web  read_only",
        "revoke access postgres.PUBLIC  CONNECT",
    ]
