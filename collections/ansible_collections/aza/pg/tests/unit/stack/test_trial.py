# SPDX-License-Identifier: Apache-2.0
"""What is made of the trial's answers. That the server gives them is tested on a real one (tests/objects)."""

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
from ansible_collections.aza.pg.plugins.module_utils.stack import settings as pg
from ansible_collections.aza.pg.plugins.module_utils.stack import trial
from ansible_collections.aza.pg.plugins.module_utils.stack.docker import Docker
from ansible_collections.aza.pg.plugins.module_utils.stack.model import Change, Desired, File, Plan, Service
from ansible_collections.aza.pg.plugins.module_utils.stack.objects import hba

GOOD = {"preload": "", "settings": "", "rules": "backend> ", "end": ""}
WANTED = Desired(
    "shop-single",
    "shop",
    "single",
    "p",
    "v",
    "n",
    (Service("postgres", "c", {"pinned": "sha256:abc"}),),
    files=(
        File(pg.PATH, 0o644, text="work_mem = '1MB'\n"),
        File(hba.PATH, 0o644, text="# who\nhost all all 10.0.0.0/33 md5\n"),
        File(hba.IDENT_PATH, 0o644, text="aza root postgres\n"),
    ),
    settings={"work_mem": "1MB", "pgaudit.log": "x"},
    origins={"postgres_settings": "all.yml: postgres_settings"},
    objects={"preload": {"declared": ["pg_cron", "x"]}},
)


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
        trial.check(WANTED, Fake(**sections))
    assert caught.value.msg.endswith("Nothing was changed.")
    return caught.value.msg


def test_what_the_server_is_given() -> None:
    docker = Fake()
    trial.check(WANTED, docker)
    texts = [base64.b64decode(line).decode() for line in docker.stdin.splitlines()]
    assert texts == [item.text for item in WANTED.files]
    assert "POSTGRES_EXTRA_PRELOAD_LIBRARIES=pg_cron,x" in docker.call
    assert {"none", "--read-only", "--rm", "sha256:abc"} <= set(docker.call)


def asked(wanted: Desired) -> bool:
    docker = Fake()
    trial.check(wanted, docker)
    return bool(docker.call)


def test_what_was_accepted_is_not_asked_again() -> None:
    assert [asked(WANTED), asked(WANTED)] == [True, False]
    for other in (
        replace(WANTED, services=(Service("postgres", "c", {"pinned": "sha256:def"}),)),
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
    said = refused(
        preload="the library 'x' is to be preloaded, but this image does not have it",
        settings='LOG:  unrecognized configuration parameter "work_memm" in file "/tmp/try.all" line 2\n'
        'FATAL:  configuration file "/tmp/try.all" contains errors',
        rules='backend> hba\t2\tinvalid CIDR mask in address "10.0.0.0/33"\nident\t1\tbad',
        known="backend> work_mem\nfsync",
    )
    assert "postgres_extra_preload_libraries: the library 'x'" in said
    assert (
        "postgres_settings (all.yml: postgres_settings): PostgreSQL refuses them: there is no setting" in said
    )
    assert "'work_memm'; did you mean 'work_mem'?" in said
    assert "‘host all all 10.0.0.0/33 md5’: invalid CIDR mask" in said
    assert "postgres_ident: PostgreSQL refuses ‘aza root postgres’: bad" in said
    assert "/tmp/" not in said


def test_of_the_warnings_only_those_about_what_is_declared_count() -> None:
    said = refused(
        warnings='WARNING:  invalid value for parameter "pgaudit.log": "x"\nHINT:  Available values: all.\n'
        "WARNING:  something else\nHINT:  ignore it\nLOG:  checkpoint starting"
    )
    assert 'invalid value for parameter "pgaudit.log": "x"; Available values: all' in said
    assert "ignore it" not in said and "checkpoint" not in said
    trial.check(WANTED, Fake(warnings="WARNING:  something else\nLOG:  checkpoint starting"))


def test_a_container_that_says_nothing_is_told_as_such() -> None:
    docker = Fake()
    docker.output = "== preload\n"
    with pytest.raises(AzaError, match="it said this"):
        trial.check(WANTED, docker)


@pytest.mark.parametrize(
    ("change", "needed"),
    [
        (Change("setting", "work_mem", "change", detail={"value": "1MB"}), True),
        (Change("setting", "work_mem", "reset", detail={"reset": True}), False),
        (Change(hba.RULE, "1", "add", detail={"path": hba.PATH}), True),
        (Change("file", pg.PATH, "create", detail={"path": pg.PATH}), True),
        (Change("file", "compose.yml", "change", detail={"path": "compose.yml"}), False),
        (Change("container", "c", "recreate"), True),
        (Change("container", "c", "start"), False),
        (Change("role", "shop", "create", "sql"), False),
    ],
)
def test_it_is_tried_when_it_changes_now_or_once_it_is_permitted(change: Change, needed: bool) -> None:
    assert trial.needed(Plan((change,))) is needed
    assert trial.needed(Plan((), (change,))) is needed
