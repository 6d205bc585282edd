# SPDX-License-Identifier: Apache-2.0
"""The appliers on a real directory, with a docker that only writes down what it was asked."""

from __future__ import annotations

import os
import stat
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.aza.pg.plugins.module_utils.errors import AzaError
from ansible_collections.aza.pg.plugins.module_utils.host.docker import Docker
from ansible_collections.aza.pg.plugins.module_utils.host.files import write_atomic
from ansible_collections.aza.pg.plugins.module_utils.instance import deploy_lock as lock
from ansible_collections.aza.pg.plugins.module_utils.instance import plan as planning
from ansible_collections.aza.pg.plugins.module_utils.instance import readiness as ready
from ansible_collections.aza.pg.plugins.module_utils.instance.apply import apply
from ansible_collections.aza.pg.plugins.module_utils.instance.context import Context
from ansible_collections.aza.pg.plugins.module_utils.instance.observe import observe
from ansible_collections.aza.pg.plugins.module_utils.model.desired import Desired
from ansible_collections.aza.pg.plugins.module_utils.model.details import ContainerDetail, SettingDetail
from ansible_collections.aza.pg.plugins.module_utils.planning.change import Change
from ansible_collections.aza.pg.plugins.module_utils.planning.plan import Plan
from ansible_collections.aza.pg.plugins.module_utils.server import connection as server
from ansible_collections.aza.pg.plugins.module_utils.server import settings as pg
from ansible_collections.aza.pg.tests.unit.declarations import describe

CANARY = "canary-password-0123456789"


class FakeDocker(Docker):
    """Says what a fresh engine says, and remembers its commands."""

    def __init__(self, fails_at: str = "") -> None:
        super().__init__()
        self.commands: list[str] = []
        self.fails_at = fails_at

    def run(self, *arguments: str, **_: Any) -> Any:
        line = " ".join(arguments)
        self.commands.append(line)
        if self.fails_at and self.fails_at in line:
            raise AzaError("no", reason="docker_failed")

        class Done:
            returncode, stdout, stderr = 0, "", ""

        return Done()

    def info(self) -> dict[str, Any]:
        return {"memory": 64 * 2**30, "cpus": 8, "root": "/", "version": "28", "store": []}

    def inspect(self, *names: str) -> list[dict[str, Any]]:
        return []

    def containers(self, project: str) -> dict[str, Any]:
        return {}


@pytest.fixture
def wanted(tmp_path: Path) -> Desired:
    # An ordinary user's instance: its files belong to the user who runs the test.
    described = describe(
        os.getuid() or 1,
        home=str(tmp_path),
        base_dir=str(tmp_path / "base"),
        port=0,
        settings={"work_mem": "1MB"},
    )
    services = tuple(replace(item, uid=os.getuid(), gid=os.getgid()) for item in described.services)
    return replace(described, services=services)


def context(wanted: Desired, docker: Docker) -> Context:
    return Context(wanted, docker, {"postgres_password": CANARY}, {"postgres": "/x.tar"})


def test_files_are_as_planned_and_the_second_plan_has_none(wanted: Desired) -> None:
    docker = FakeDocker()
    secrets = {"postgres_password": CANARY}
    apply(planning.plan(wanted, observe(wanted, docker, secrets)), context(wanted, docker))
    base = Path(wanted.directory)
    assert stat.S_IMODE((base / "secrets").stat().st_mode) == 0o700
    assert stat.S_IMODE((base / "secrets/postgres_password").stat().st_mode) == 0o400
    assert (base / "secrets/postgres_password").read_text() == CANARY
    again = planning.plan(wanted, observe(wanted, docker, secrets))
    assert {change.kind for change in again.changes} == {"image", "volume", "container"}
    assert not [path for path in base.rglob(".*") if path.is_file()]


def test_no_command_carries_a_secret(wanted: Desired) -> None:
    docker = FakeDocker()
    found = observe(wanted, docker, {"postgres_password": CANARY})
    plan = planning.plan(wanted, found)
    apply(plan, context(wanted, docker))
    again = observe(wanted, docker, {"postgres_password": CANARY})
    assert CANARY not in " ".join(docker.commands)
    assert CANARY not in repr(plan) + repr(plan.lines()) + repr(again)
    assert again.files["secrets/postgres_password"]["matches"] is True
    other = observe(wanted, docker, {"postgres_password": "something else"})
    assert other.files["secrets/postgres_password"]["matches"] is False


def test_the_first_failure_stops_and_says_what_was_done(wanted: Desired) -> None:
    docker = FakeDocker(fails_at="volume create")
    plan = planning.plan(wanted, observe(wanted, docker))
    with pytest.raises(AzaError, match="stopped at “create volume") as caught:
        apply(plan, context(wanted, docker))
    assert len(caught.value.details["done"]) + len(caught.value.details["not_done"]) == len(plan.changes)
    assert caught.value.details["not_done"][-1].startswith("create container")
    assert not any(command.startswith("compose") for command in docker.commands)


def test_one_setting_at_a_time(wanted: Desired) -> None:
    docker = FakeDocker()
    apply(planning.plan(wanted, observe(wanted, docker)), context(wanted, docker))
    change = Change("setting", "work_mem", "change", effect="restart", detail=SettingDetail("2MB"))
    other = Change("setting", "fsync", "add", effect="reload", detail=SettingDetail("on"))
    docker.commands.clear()
    apply(Plan((change, other)), context(wanted, docker))
    assert pg.parse((Path(wanted.directory) / pg.PATH).read_text()) == {"work_mem": "2MB", "fsync": "on"}
    assert [command.split()[0] for command in docker.commands] == ["restart"]
    apply(Plan((replace(change, detail=SettingDetail(None)),)), context(wanted, docker))
    assert pg.parse((Path(wanted.directory) / pg.PATH).read_text()) == {"fsync": "on"}


@pytest.mark.parametrize("first", ["container", "server"])
def test_sql_waits_for_a_server_that_was_just_started_and_no_restart_comes_twice(
    wanted: Desired, first: str
) -> None:
    docker = FakeDocker()
    apply(planning.plan(wanted, observe(wanted, docker)), context(wanted, docker))
    docker.commands.clear()
    changes = [
        Change(
            "container", wanted.container, "recreate", effect="recreate", detail=ContainerDetail("postgres")
        ),
        Change("server", wanted.instance, "restart", effect="restart"),
        Change("database", "shop", "create", effect="sql"),
    ]
    done = apply(Plan(tuple(changes[1:] if first == "server" else changes)), context(wanted, docker))
    assert [command.split()[0] for command in docker.commands] == [
        "restart" if first == "server" else "compose"
    ]
    assert not any("database" in line for line in done)


def test_a_crash_while_writing_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "f"
    path.write_text("old")

    def broken(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "fsync", broken)
    with pytest.raises(OSError, match="disk full"):
        write_atomic(path, b"new", 0o600, (os.getuid(), os.getgid()))
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def second_run(wanted: Desired) -> AzaError:
    caught: list[AzaError] = []

    def run() -> None:
        try:
            with lock.held(wanted, "otto@there"):
                pass
        except AzaError as error:
            caught.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    return caught[0]


def test_a_second_run_is_told_who_works(wanted: Desired) -> None:
    with lock.held(wanted, "anna@here"):
        refused = second_run(wanted)
    assert refused.reason == "locked"
    assert f"(anna@here, process {os.getpid()}, for 0 s)" in refused.msg
    with pytest.raises(RuntimeError), lock.held(wanted, ""):
        raise RuntimeError
    with lock.held(wanted, ""):
        pass


def test_a_killed_run_blocks_nobody(wanted: Desired) -> None:
    child = os.fork()
    if not child:
        with lock.held(wanted, "anna@here"):
            os._exit(0)
    os.waitpid(child, 0)
    with lock.held(wanted, ""):
        pass


def test_observing_never_fails_where_there_is_nothing(wanted: Desired) -> None:
    found = observe(wanted, FakeDocker())
    assert (found.files, found.container, found.server, found.volume) == ({}, None, None, False)


class OneImage(FakeDocker):
    """An engine that has the server's image, of the major ``major``."""

    def __init__(self, pinned: str, major: str) -> None:
        super().__init__()
        self.image = {
            "Id": "sha256:1",
            "RepoDigests": [pinned],
            "RootFS": {},
            "Config": {
                "Env": ["LANG=en_US.utf8", f"PG_MAJOR={major}", f"PGDATA=/var/lib/postgresql/{major}/docker"]
            },
        }

    def inspect(self, *names: str) -> list[dict[str, Any]]:
        return [self.image]


def test_the_major_of_the_image_is_known_before_it_is_loaded(wanted: Desired) -> None:
    server = replace(wanted.server, image={**wanted.image, "major": "17"})
    recorded = replace(wanted, services=(server, *wanted.services[1:]))
    assert observe(recorded, FakeDocker()).image_major == "17"
    # The image itself counts, and a reference to a registry has no record.
    assert observe(recorded, OneImage(wanted.image["pinned"], "16")).image_major == "16"
    assert observe(wanted, OneImage(wanted.image["pinned"], "17")).image_major == "17"
    assert observe(wanted, FakeDocker()).image_major == ""


def test_a_foreign_file_among_the_settings_is_seen(wanted: Desired) -> None:
    docker = FakeDocker()
    apply(planning.plan(wanted, observe(wanted, docker)), context(wanted, docker))
    (Path(wanted.directory) / "postgres/conf.d/99-mine.conf").write_text("fsync = off\n")
    plan = planning.plan(wanted, observe(wanted, docker))
    assert "remove file postgres/conf.d/99-mine.conf" in " ".join(plan.lines())


def test_the_log_lines_that_matter() -> None:
    log = ["LOG: a", "FATAL:  no space", "LOG: b", "FATAL:  no space", "HINT:  free some"]
    assert ready.telling_lines(log) == ["FATAL:  no space", "HINT:  free some"]
    assert ready.telling_lines(["one", "two"]) == ["one", "two"]
    assert len(ready.telling_lines([f"ERROR {n}" for n in range(50)])) == 12


def test_only_a_few_connections_are_kept(wanted: Desired, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fifty databases must not take the clients' connections away."""
    alive: set[str] = set()

    class Connection:
        def __init__(self, name: str) -> None:
            self.name = name
            alive.add(name)

        def close(self) -> None:
            alive.remove(self.name)

    monkeypatch.setattr(server, "connect", lambda directory, user, name, **_: Connection(name))
    kept = context(wanted, FakeDocker())
    for number in range(50):
        assert kept.sql(f"db{number}").name == f"db{number}"
        assert kept.sql().name == "postgres"
        assert len(alive) <= 5
    kept.close()
    assert not alive
