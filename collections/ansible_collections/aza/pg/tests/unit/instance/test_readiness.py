# SPDX-License-Identifier: Apache-2.0
"""A first copy of a primary takes as long as there is data: who waits hears how far it is, and does not give up."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.aza.pg.plugins.module_utils.errors import AzaError
from ansible_collections.aza.pg.plugins.module_utils.instance import readiness as ready
from ansible_collections.aza.pg.plugins.plugin_utils import instance_action
from ansible_collections.aza.pg.plugins.plugin_utils.instance_action import InstanceAction


class Engine:
    """A container that runs, and has not opened its server's socket."""

    def __init__(self, *log: str) -> None:
        self.log = list(log)

    def inspect(self, *_names: str) -> list[dict[str, Any]]:
        return [{"State": {"Status": "running"}, "RestartCount": 0}]

    def logs(self, _container: str) -> list[str]:
        return self.log


class Wanted:
    container, socket_dir, standby = "c", "/nowhere", True


class Primary(Wanted):
    standby = False


LOG = ("aza-pg: copying the primary's data", "aza-pg: copy: 10/90 kB (11%)", "aza-pg: copy: 20/90 kB (22%)")


def test_a_copy_says_how_far_it_is() -> None:
    now = ready.wait(Wanted(), Engine(*LOG), 0)
    assert (now.stage, now.progress) == ("socket", "20/90 kB (22%)")
    assert now.message == "it copies its primary's data: 20/90 kB (22%)"


@pytest.mark.parametrize(("wanted", "log"), [(Primary(), LOG), (Wanted(), LOG[:1]), (Wanted(), ())])
def test_nothing_else_is_progress(wanted: Any, log: tuple[str, ...]) -> None:
    now = ready.wait(wanted, Engine(*log), 0)
    assert (now.stage, now.progress) == ("socket", "")


class Waiting(InstanceAction):
    """Hears one answer after the other, each a minute later."""

    def __init__(self, clock: Clock, *answers: dict[str, Any]) -> None:
        self.clock, self.answers, self.task_vars = clock, list(answers), {"inventory_hostname": "db2"}

    def on_target(self, module: str, **arguments: Any) -> dict[str, Any]:
        self.clock.now += 60
        return {"readiness": self.answers.pop(0)}

    def say(self, text: str) -> None:
        pass


class Clock:
    now = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(instance_action, "time", made)
    return made


def answer(progress: str = "", done: bool = False) -> dict[str, Any]:
    stage = "" if done else "socket"
    return {
        **ready.Readiness(stage, f"copies {progress}", progress=progress).to_dict(),
        "log": ["aza-pg: the last words"],
    }


def test_who_waits_goes_on_while_there_is_progress(clock: Clock) -> None:
    copying = [answer(f"{percent}%") for percent in range(10)]
    waiting = Waiting(clock, *copying, answer(done=True))
    assert waiting.wait_until_ready({"instance": "shop-replica"}, 90, created=False) == 660


def test_who_waits_gives_up_when_there_is_none(clock: Clock) -> None:
    waiting = Waiting(clock, answer("1%"), answer("1%"), answer("1%"), answer("1%"))
    with pytest.raises(
        AzaError, match=r"did not reach the stage 'socket' in 240 s: copies 1%\. The log says"
    ):
        waiting.wait_until_ready({"instance": "shop-replica"}, 90, created=False)


class Failing(Engine):
    """Its server ends at once, and is started again."""

    def inspect(self, *_names: str) -> list[dict[str, Any]]:
        state = {"Status": "restarting", "ExitCode": 1, "OOMKilled": False, "Error": ""}
        return [
            {"State": state, "RestartCount": 5, "Config": {"Image": "x@sha256:1", "Env": ["PGDATA=/data"]}}
        ]


class Deployed(Primary):
    volume, uid, gid = "shop-data", 999, 999


def test_a_server_that_does_not_start_says_why() -> None:
    line = '2026-12-01 03:21:53 UTC [1] FATAL:  could not access file "nosuch": No such file or directory'
    now = ready.wait(Deployed(), Failing(line), 0)
    assert (now.stage, now.hopeless, now.cause) == ("process", True, "bad_preload")
    assert "'nosuch'" in now.message and "started again 5 times" in now.message
    assert "shop-data" in now.remedy and "/data/postgresql.auto.conf" in now.remedy
    unknown = ready.wait(Deployed(), Failing("no idea"), 0)
    assert (unknown.stage, unknown.cause, unknown.remedy) == ("process", "", "")


def test_the_error_of_a_deploy_has_the_remedy(clock: Clock) -> None:
    now = ready.Readiness("process", "bad", hopeless=True, cause="disk_full", remedy="Make room.").to_dict()
    with pytest.raises(AzaError) as error:
        Waiting(clock, {**now, "log": ["PANIC"]}).wait_until_ready({"instance": "shop"}, 90, created=False)
    assert (error.value.reason, error.value.details["cause"]) == ("not_ready", "disk_full")
    assert "Make room." in error.value.msg
