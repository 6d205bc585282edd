# SPDX-License-Identifier: Apache-2.0
"""The modules with a docker command that is a script: arguments, check mode, diff, and what a failure says."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.aza.pg.plugins.module_utils.server import connection as server
from ansible_collections.aza.pg.plugins.modules import instance_apply, instance_host, instance_info
from ansible_collections.aza.pg.tests.unit.declarations import describe

CANARY = "canary-password-0123456789"
DOCKER = """#!/bin/sh
echo "$@" >>{log}
case "$1" in
  info) echo '{{"memory":68719476736,"cpus":4,"root":"/","store":[],"version":"28.5","errors":null}}' ;;
  inspect) echo '[]'; exit 1 ;;
  volume) if [ "$2" = inspect ]; then echo "Error: no such volume" >&2; exit 1; fi ;;
  image) exit 1 ;;
  run) printf '== preload\\n== settings\\n== rules\\n== end\\n' ;;  # the preflight
esac
"""


@pytest.fixture
def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    log = tmp_path / "commands"
    log.touch()
    path = tmp_path / "bin" / "docker"
    path.parent.mkdir()
    path.write_text(DOCKER.format(log=log))
    path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{path.parent}:{os.environ['PATH']}")
    # A user else's engine is asked by the command alone.
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:1")
    return log


def run(module: Any, capsys: pytest.CaptureFixture[str], **arguments: Any) -> dict[str, Any]:
    with patch_module_args(arguments), pytest.raises(SystemExit):
        module.main()
    return dict(json.loads(capsys.readouterr().out))


def handed(base: Path) -> dict[str, Any]:
    described = describe(os.getuid() or 1, base_dir=str(base), port=0)
    wanted = json.loads(json.dumps(described.to_dict()))
    # Port 0 is always free, and files belong to who runs the tests.
    wanted["services"][0] |= {"uid": os.getuid(), "gid": os.getgid()}
    return dict(wanted)


def test_check_mode_makes_the_plan_and_nothing_else(
    docker: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = {
        "desired": handed(tmp_path / "base"),
        "secrets": {"postgres_password": CANARY},
        "archives": {"postgres": "/x.tar"},
    }
    told = run(instance_apply, capsys, _ansible_check_mode=True, _ansible_diff=True, **arguments)
    assert told["changed"] is True
    assert not (tmp_path / "base").exists()
    assert {line.split()[0] for line in docker.read_text().splitlines()} <= {"info", "inspect", "ps"}
    assert told["diff"][0]["prepared"].splitlines() == told["lines"]
    assert any("mem_limit: 1024m" in item.get("after", "") for item in told["diff"])
    docker.write_text("")
    done = run(instance_apply, capsys, **arguments)
    assert [line.strip() for line in told["lines"][1:-1]] == done["done"]
    assert "compose --file" in docker.read_text()
    assert CANARY not in json.dumps([told, done]) + docker.read_text()


def test_without_psycopg_one_sentence_before_anything(
    docker: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "driver", lambda: None)
    result = run(instance_apply, capsys, desired=handed(tmp_path / "base"))
    assert result["failed"] is True
    assert result["reason"] == "no_psycopg"
    assert "python3-psycopg" in result["msg"]
    assert not (tmp_path / "base").exists()


def test_an_image_is_asked_for_before_anything_is_done(
    docker: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = {"desired": handed(tmp_path / "base"), "secrets": {"postgres_password": CANARY}}
    asked = run(instance_apply, capsys, **arguments)
    assert asked["awaits"] == ["postgres"]
    assert asked["changed"] is False
    assert not (tmp_path / "base").exists()
    assert run(instance_apply, capsys, archives={"postgres": "/x.tar"}, **arguments)["awaits"] == []


def test_a_first_look_says_what_the_host_is_to_the_cluster(
    docker: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    alone = run(instance_host, capsys, cluster="shop", base_dir=str(tmp_path))
    assert alone["member"] == {}
    found = run(instance_host, capsys, cluster="shop", stack="replica", base_dir=str(tmp_path))
    assert found["engine"]["memory_mb"] == 65536
    assert found["member"] == {"data": False, "answers": False, "standby": None, "state": "", "error": ""}
    assert found["host"]["uid"] == os.getuid()


def test_info_says_what_there_is(docker: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = run(instance_info, capsys, cluster="shop", base_dir=str(tmp_path))
    assert found["changed"] is False
    assert found["engine"]["memory_mb"] == 65536
    assert found["observed"]["containers"] == {}
    assert found["host"]["uid"] == os.getuid()


def test_info_without_an_engine(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    found = run(instance_info, capsys, cluster="shop")
    assert "no docker command" in found["engine_error"]
    assert found["observed"] is None


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (
            "permission denied while trying to connect to the docker API at unix:///var/run/docker.sock",
            "permission",
        ),
        (
            "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?",
            "engine",
        ),
    ],
)
def test_what_the_engine_refuses(
    docker: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], message: str, reason: str
) -> None:
    script = tmp_path / "bin" / "docker"
    script.write_text(f"#!/bin/sh\necho '{message}' >&2\nexit 1\n")
    result = run(instance_apply, capsys, desired=handed(tmp_path / "base"))
    assert result["failed"] is True
    assert reason in result["reason"]


def test_bad_names_are_refused(docker: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(instance_info, capsys, cluster="No_Name")["reason"] == "bad_cluster_name"
