# SPDX-License-Identifier: Apache-2.0
"""How the preflight evaluates the answers of the image's server (on a real one: tests/objects)."""

from __future__ import annotations

import base64
import pwd
import types
from dataclasses import replace
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest
from ansible_collections.aza.pg.plugins.module_utils.errors import AzaError
from ansible_collections.aza.pg.plugins.module_utils.host.docker import Docker
from ansible_collections.aza.pg.plugins.module_utils.instance import image_preflight, server_objects
from ansible_collections.aza.pg.plugins.module_utils.model.desired import Desired
from ansible_collections.aza.pg.plugins.module_utils.model.details import (
    FileDetail,
    ResetDetail,
    SettingDetail,
)
from ansible_collections.aza.pg.plugins.module_utils.model.observed import Observed
from ansible_collections.aza.pg.plugins.module_utils.model.service import ContainerSpec, File
from ansible_collections.aza.pg.plugins.module_utils.objects import database_changes, hba, roles
from ansible_collections.aza.pg.plugins.module_utils.planning.change import Change
from ansible_collections.aza.pg.plugins.module_utils.planning.plan import Plan
from ansible_collections.aza.pg.plugins.module_utils.server import settings as pg

GOOD = {"initdb": "", "preload": "", "settings": "", "rules": "backend> ", "end": ""}
WANTED = Desired(
    "shop-single",
    "shop",
    "single",
    "p",
    "v",
    "n",
    (ContainerSpec("postgres", "c", {"pinned": "sha256:abc"}),),
    files=(
        File(pg.PATH, 0o644, text="work_mem = '1MB'\n"),
        File(hba.PATH, 0o644, text="# who\nhost all all 10.0.0.0/33 md5\n"),
        File(hba.IDENT_PATH, 0o644, text="aza root postgres\n"),
    ),
    settings={"work_mem": "1MB", "pgaudit.log": "x"},
    origins={"postgres_settings": "all.yml: postgres_settings"},
    objects={"preload": {"declared": ["pg_cron", "x"]}},
)
FRESH = Observed(images={"postgres": "sha256:abc"})


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(pwd, "getpwuid", lambda _: types.SimpleNamespace(pw_dir=str(tmp_path)))
    return tmp_path


class Fake(Docker):
    def __init__(self, **sections: str) -> None:
        super().__init__()
        self.output = "".join(f"== {name}\n{text}\n" for name, text in {**GOOD, **sections}.items())
        self.call: tuple[str, ...] = ()
        self.stdin = ""

    def run(self, *arguments: str, stdin: str | None = None, **_: Any) -> CompletedProcess[str]:
        self.call, self.stdin = arguments, stdin or ""
        return CompletedProcess(arguments, 0, self.output, "it said this")


def refused(**sections: str) -> str:
    with pytest.raises(AzaError) as caught:
        image_preflight.check(WANTED, FRESH, Fake(**sections))
    assert caught.value.msg.endswith("Nothing was changed.")
    return caught.value.msg


def test_what_the_server_is_given() -> None:
    docker = Fake()
    image_preflight.check(WANTED, FRESH, docker)
    texts = [base64.b64decode(line).decode() for line in docker.stdin.splitlines()]
    assert texts == [*(item.text for item in WANTED.files), "", ""]
    assert "POSTGRES_EXTRA_PRELOAD_LIBRARIES=pg_cron,x" in docker.call
    assert {"none", "--read-only", "--rm", "sha256:abc"} <= set(docker.call)


def asked(wanted: Desired) -> bool:
    docker = Fake()
    image_preflight.check(wanted, FRESH, docker)
    return bool(docker.call)


def test_what_was_accepted_is_not_asked_again() -> None:
    assert [asked(WANTED), asked(WANTED)] == [True, False]
    for other in (
        replace(WANTED, services=(ContainerSpec("postgres", "c", {"pinned": "sha256:def"}),)),
        replace(WANTED, files=(*WANTED.files[:2], File(hba.IDENT_PATH, 0o644, text="aza root shop\n"))),
        replace(WANTED, objects={"preload": {"declared": ["pg_cron"]}}),
    ):
        assert [asked(other), asked(other)] == [True, False]


def test_what_was_refused_is_asked_again() -> None:
    refused(rules="hba\t2\tbad")
    assert asked(WANTED)


def test_where_nothing_can_be_kept_it_is_asked_each_time(home: Path) -> None:
    (home / ".cache").write_text("")
    assert [asked(WANTED), asked(WANTED)] == [True, True]


def test_everything_that_is_refused_at_once_and_where_it_stands() -> None:
    message = refused(
        preload="the library 'x' is to be preloaded, but this image does not have it",
        settings='LOG:  unrecognized configuration parameter "work_memm" in file "/tmp/try.all" line 2\n'
        'FATAL:  configuration file "/tmp/try.all" contains errors',
        rules='backend> hba\t2\tinvalid CIDR mask in address "10.0.0.0/33"\nident\t1\tbad',
        known="backend> work_mem\nfsync",
    )
    assert "postgres_extra_preload_libraries: the library 'x'" in message
    assert (
        "postgres_settings (all.yml: postgres_settings): PostgreSQL rejects them: there is no setting"
        in message
    )
    assert "'work_memm'; did you mean 'work_mem'?" in message
    assert "‘host all all 10.0.0.0/33 md5’: invalid CIDR mask" in message
    assert "postgres_ident: PostgreSQL rejects ‘aza root postgres’: bad" in message
    assert "/tmp/" not in message


def test_of_the_warnings_only_those_about_what_is_declared_count() -> None:
    message = refused(
        warnings='WARNING:  invalid value for parameter "pgaudit.log": "x"\nHINT:  Available values: all.\n'
        "WARNING:  something else\nHINT:  ignore it\nLOG:  checkpoint starting"
    )
    assert 'invalid value for parameter "pgaudit.log": "x"; Available values: all' in message
    assert "ignore it" not in message and "checkpoint" not in message
    image_preflight.check(WANTED, FRESH, Fake(warnings="WARNING:  something else\nLOG:  checkpoint starting"))


def test_a_container_that_says_nothing_is_told_as_such() -> None:
    docker = Fake()
    docker.output = "== preload\n"
    with pytest.raises(AzaError, match="it said this"):
        image_preflight.check(WANTED, FRESH, docker)


@pytest.mark.parametrize(
    ("change", "needed"),
    [
        (Change("setting", "work_mem", "change", detail=SettingDetail("1MB")), True),
        (Change("setting", "work_mem", "reset", detail=ResetDetail()), False),
        (Change(hba.RULE, "1", "add", detail=FileDetail(hba.PATH)), True),
        (Change("file", pg.PATH, "create", detail=FileDetail(pg.PATH)), True),
        (Change("file", "compose.yml", "change", detail=FileDetail("compose.yml")), False),
        (Change("container", "c", "recreate"), True),
        (Change("container", "c", "start"), False),
        (Change("role", "shop", "create", "sql"), False),
        (Change("role", "shop", "create", "sql", detail=roles.RoleDetail(settings={"work_mem": "x"})), True),
        (Change("role", "shop", "change", "sql", detail=roles.RoleDetail({"valid_until": "soon"})), True),
        (
            Change("database", "shop", "create", "sql", detail=database_changes.CreationDetail("app", {})),
            False,
        ),
        (
            Change(
                "database",
                "shop",
                "create",
                "sql",
                detail=database_changes.CreationDetail("app", {"encoding": "x"}),
            ),
            True,
        ),
        (
            Change(
                "database",
                "shop",
                "change",
                "sql",
                detail=database_changes.SessionSettingDetail("work_mem", "x"),
            ),
            True,
        ),
    ],
)
def test_it_is_tried_when_it_changes_now_or_once_it_is_permitted(change: Change, needed: bool) -> None:
    assert image_preflight.needed(Plan((change,))) is needed
    assert image_preflight.needed(Plan((), (change,))) is needed


# -- what is declared in the server ----------------------------------------------------------------

DECLARED = server_objects.normalise(
    {
        "databases": [
            {"name": "plain"},
            {"name": "sorted", "locale_provider": "icu", "locale": "en-u-kn-true"},
            {"name": "again", "locale_provider": "icu", "locale": "en-u-kn-true"},
            {"name": "copy", "template": "sorted", "settings": {"work_mem": "lots"}},
            {"name": "gone", "state": "absent", "locale": "xx"},
        ],
        "roles": [
            {
                "name": "shop",
                "valid_until": "2027-01-31",
                "settings": {"search_path": 'a, "B"', "x.y": "it's\\n"},
            },
            {"name": "old", "state": "absent", "settings": {"work_mem": "1"}},
        ],
    }
)
OBJECTS = replace(WANTED, settings={"session_preload_libraries": "Mine"}, objects=DECLARED)


def test_the_statements_that_are_tried() -> None:
    docker = Fake()
    image_preflight.check(OBJECTS, FRESH, docker)
    lines = base64.b64decode(docker.stdin.splitlines()[4]).decode().splitlines()
    assert [line for line in lines if not line.startswith("copy (select 'statement'")] == [
        "create database aza_try_0 template \"template0\" locale_provider 'icu' icu_locale 'en-u-kn-true'",
        "copy (select 'locale', 'icu en-u-kn-true', coalesce(datlocale, datcollate) from pg_database where datname = "
        "'aza_try_0') to stdout",
        'create database aza_try_1 template "aza_try_0"',
        'create role "aza_try"'.replace('"', ""),
        "alter role aza_try set \"work_mem\" to 'lots'",
        "alter role aza_try set \"search_path\" to 'a', 'B'",
        "alter role aza_try set \"x\".\"y\" to E'it''s\\\\n'",
        "alter role aza_try valid until '2027-01-31'",
        "load 'Mine'",
    ]


def test_nothing_is_tried_where_nothing_needs_a_servers_word() -> None:
    plain = server_objects.normalise({"databases": [{"name": "shop"}], "roles": [{"name": "shop"}]})
    docker = Fake()
    image_preflight.check(replace(WANTED, objects=plain), FRESH, docker)
    assert docker.stdin.splitlines()[4] == ""
    image_preflight.check(replace(OBJECTS, standby=True), FRESH, docker)
    assert docker.stdin.splitlines()[4] == ""


def test_each_failure_is_said_of_what_was_declared() -> None:
    message = "statement\t0\nERROR:  invalid locale\nstatement\t1\nERROR:  not said\nstatement\t4\n" + (
        'ERROR:  invalid value for parameter "work_mem": "lots"\nWARNING:  nothing\nstatement\t8\nFATAL:  no file.'
    )
    with pytest.raises(AzaError) as caught:
        image_preflight.check(OBJECTS, FRESH, Fake(statements=message), "Only the image was loaded")
    assert caught.value.details["problems"] == [
        "postgres_databases (sorted): PostgreSQL rejects: invalid locale",
        'postgres_databases (copy): PostgreSQL rejects: invalid value for parameter "work_mem": "lots"',
        "postgres_settings (all.yml: postgres_settings) session_preload_libraries: PostgreSQL rejects: no file",
    ]
    assert caught.value.msg.endswith("Only the image was loaded.")


def test_arguments_of_initdb_that_are_refused() -> None:
    message = (
        'The files belong to postgres\ninitdb: error: invalid locale name "xx"\ninitdb: hint: Use another.'
    )
    with pytest.raises(AzaError) as caught:
        image_preflight.check(WANTED, FRESH, Fake(initdb=message))
    assert caught.value.details["problems"] == [
        'postgres_initdb_args: initdb rejects them: invalid locale name "xx" Use another'
    ]


def observed(stored: str, provider: str = "icu") -> Observed:
    template = {"encoding": "UTF8", "provider": "libc", "locale": "C", "collate": "C", "ctype": "C.UTF-8"}
    there = {"sorted": {"provider": provider, "locale": stored, "encoding": "UTF8"}}
    return replace(FRESH, server={"databases": there, "template1": template})


def test_what_the_server_calls_a_locale_is_asked_once() -> None:
    answer = "statement\t1\nlocale\ticu en-u-kn-true\ten-u-kn"
    docker = Fake(statements=answer)
    found = image_preflight.with_locales(OBJECTS, observed("en-u-kn"), docker)
    assert found.server and found.server["locales"] == {"icu en-u-kn-true": "en-u-kn"}
    texts = [base64.b64decode(line).decode() for line in docker.stdin.splitlines()]
    assert texts[3] == "--encoding=UTF8 --locale-provider=libc --lc-collate=C --lc-ctype=C.UTF-8"
    docker.call = ()
    again = image_preflight.with_locales(OBJECTS, observed("de"), docker)
    assert again.server and again.server["locales"] == {"icu en-u-kn-true": "en-u-kn"} and not docker.call


def test_a_locale_that_was_accepted_need_not_be_asked_later() -> None:
    image_preflight.check(OBJECTS, FRESH, Fake(statements="locale\ticu en-u-kn-true\ten-u-kn"))
    docker = Fake()
    found = image_preflight.with_locales(OBJECTS, observed("en-u-kn"), docker)
    assert found.server and found.server["locales"] == {"icu en-u-kn-true": "en-u-kn"} and not docker.call


@pytest.mark.parametrize(
    "found", [FRESH, observed("en-u-kn-true"), observed("EN_u-kn-true"), observed("C", "libc")]
)
def test_no_server_is_asked_where_the_names_are_the_same_or_the_providers_differ(found: Observed) -> None:
    docker = Fake()
    assert image_preflight.with_locales(OBJECTS, found, docker) is found and not docker.call


def test_without_an_answer_the_names_differ() -> None:
    docker = Fake()
    docker.output = ""
    found = image_preflight.with_locales(OBJECTS, observed("en-u-kn"), docker)
    assert found.server and found.server["locales"] == {}
