# SPDX-License-Identifier: Apache-2.0
"""The engine of the host is asked over its socket when the command would ask that one, too."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from ansible_collections.aza.pg.plugins.module_utils.errors import AzaError
from ansible_collections.aza.pg.plugins.module_utils.host import docker
from ansible_collections.aza.pg.plugins.module_utils.host.docker import Docker, DockerError

ENGINE = {
    "MemTotal": 1,
    "NCPU": 2,
    "DockerRootDir": "/d",
    "DriverStatus": [["a", "b"]],
    "ServerVersion": "28",
}
BY_SOCKET = {"memory": 1, "cpus": 2, "root": "/d", "store": [["a", "b"]], "version": "28"}
BY_COMMAND = {"memory": 3, "cpus": 4, "root": "/c", "store": None, "version": "27", "errors": None}


class Engine:
    """Answers each connection with the next of ``answers``, and keeps what it was asked."""

    def __init__(self, path: Path) -> None:
        self.answers: list[bytes] = []
        self.asked: list[str] = []
        self.line = socket.socket(socket.AF_UNIX)
        self.line.bind(str(path))
        self.line.listen()
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self.line.accept()
            except OSError:
                return
            with client:
                self.asked.append(client.recv(4096).split()[1].decode())
                client.sendall(self.answers.pop(0))

    def answer(self, status: str = "200 OK", body: str = json.dumps(ENGINE)) -> None:
        self.answers.append(f"HTTP/1.0 {status}\r\nContent-Type: application/json\r\n\r\n{body}".encode())


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    command = tmp_path / "docker"
    command.write_text(f"#!/bin/sh\necho '{json.dumps(BY_COMMAND)}'\n")
    command.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(docker, "_SOCKET", str(tmp_path / "socket"))
    made = Engine(tmp_path / "socket")
    yield made
    made.line.shutdown(socket.SHUT_RDWR)
    made.line.close()


def test_over_the_socket(engine: Engine) -> None:
    engine.answer()
    assert Docker().info() == BY_SOCKET


@pytest.mark.parametrize("variable", ["DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_CONFIG"])
def test_another_engine_is_asked_by_the_command(
    engine: Engine, variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine.answer()
    monkeypatch.setenv(variable, "elsewhere")
    assert Docker().info() == BY_COMMAND


@pytest.mark.parametrize(
    ("config", "found"),
    [
        ('{"currentContext": "elsewhere"}', BY_COMMAND),
        ("{", BY_COMMAND),
        ("[]", BY_COMMAND),
        ('{"auths": {}}', BY_SOCKET),
        ('{"currentContext": ""}', BY_SOCKET),
    ],
)
def test_the_configuration_of_the_command_counts(
    engine: Engine, config: str, found: dict[str, object], tmp_path: Path
) -> None:
    (tmp_path / ".docker").mkdir()
    (tmp_path / ".docker/config.json").write_text(config)
    engine.answer()
    assert Docker().info() == found


@pytest.mark.parametrize(
    ("status", "body"),
    [
        ("500 Internal Server Error", "{}"),
        ("200 OK", "what?"),
        ("200 OK", "[1]"),
        ("200 OK", '{"ServerVersion": ""}'),
    ],
)
def test_a_socket_without_an_answer_leaves_it_to_the_command(engine: Engine, status: str, body: str) -> None:
    engine.answer(status, body)
    assert Docker().info() == BY_COMMAND


def test_nobody_at_the_socket(engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "socket").unlink()
    assert Docker().info() == BY_COMMAND


def test_things_are_inspected_over_the_socket_whatever_they_are(engine: Engine) -> None:
    for status, body in (
        ("200 OK", '{"Name": "/shop"}'),
        ("404 Not Found", "{}"),
        ("200 OK", '{"Id": "sha256:1"}'),
        ("404 Not Found", "{}"),
        # What no image can be called.
        ("400 Bad Request", "{}"),
        ("404 Not Found", "{}"),
        ("200 OK", '{"Mountpoint": "/d"}'),
        *[("404 Not Found", "{}")] * 4,
    ):
        engine.answer(status, body)
    found = Docker().inspect("shop", "a/b:18@sha256:1", "shop-data", "gone")
    assert found == [{"Name": "/shop"}, {"Id": "sha256:1"}, {"Mountpoint": "/d"}]
    assert engine.asked[:3] == [
        "/containers/shop/json",
        "/containers/a/b%3A18%40sha256%3A1/json",
        "/images/a/b%3A18%40sha256%3A1/json",
    ]
    assert engine.answers == []


def test_containers_are_listed_over_the_socket(engine: Engine) -> None:
    mounts = '[{"Type": "bind"}, {"Type": "volume", "Name": "data"}]'
    engine.answer(
        body=f'[{{"Names": ["/shop-postgres"], "State": "running", "Mounts": {mounts}}}, '
        '{"Names": ["/shop-exporter", "/other/link"], "State": "created", "Mounts": []}]'
    )
    assert Docker().containers("a b") == {
        "shop-postgres": {"state": "running", "volumes": ["data"]},
        "shop-exporter": {"state": "created", "volumes": []},
    }
    url = urlsplit(engine.asked[0])
    assert url.path == "/containers/json"
    assert parse_qs(url.query) == {"all": ["1"], "filters": ['{"label": ["com.docker.compose.project=a b"]}']}


@pytest.mark.parametrize("trouble", ["500 Internal Server Error", "403 Forbidden"])
def test_the_command_says_what_the_engine_objects_to(
    engine: Engine, trouble: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "docker").write_text("#!/bin/sh\necho 'it is broken' >&2\nexit 1\n")
    for _ in range(2):
        engine.answer(trouble, '{"message": "broken"}')
    # What an engine in trouble does not find may be there all the same.
    with pytest.raises(DockerError, match="it is broken"):
        Docker().inspect("shop")
    with pytest.raises(DockerError, match="it is broken"):
        Docker().containers("shop")


def test_what_the_command_does_not_find_is_not_there(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", "elsewhere")
    command = tmp_path / "docker"
    command.write_text("#!/bin/sh\necho '[]'\necho 'Error: No such object: shop' >&2\nexit 1\n")
    assert Docker().inspect("shop") == []
    command.write_text("#!/bin/sh\necho '[]'\necho 'Cannot connect to the Docker daemon at …' >&2\nexit 1\n")
    with pytest.raises(AzaError) as raised:
        Docker().inspect("shop")
    assert raised.value.reason == "no_engine"


def test_a_volume_is_no_other_thing_of_its_name(engine: Engine, tmp_path: Path) -> None:
    engine.answer(body='{"Mountpoint": "/d"}')
    engine.answer("404 Not Found", "{}")
    assert [Docker().volume("shop-data"), Docker().volume("gone")] == [{"Mountpoint": "/d"}, None]
    assert engine.asked == ["/volumes/shop-data", "/volumes/gone"]
    command = tmp_path / "docker"
    for text, code, expected in (
        ("""echo '[{"Mountpoint": "/e"}]'""", 0, {"Mountpoint": "/e"}),
        ("echo '[]'; echo 'Error response from daemon: get gone: no such volume' >&2", 1, None),
    ):
        engine.answer("500 Internal Server Error", "{}")
        command.write_text(f"#!/bin/sh\n{text}\nexit {code}\n")
        assert Docker().volume("shop-data") == expected
    engine.answer("500 Internal Server Error", "{}")
    command.write_text("#!/bin/sh\necho '[]'\necho 'it is broken' >&2\nexit 1\n")
    with pytest.raises(DockerError, match="it is broken"):
        Docker().volume("shop-data")


def test_a_port_that_is_taken_when_a_container_starts(tmp_path: Path) -> None:
    message = (
        "failed programming external connectivity: Bind for 127.0.0.1:5432 failed: port is already allocated"
    )
    command = tmp_path / "docker"
    command.write_text(f"#!/bin/sh\necho '{message}' >&2\nexit 1\n")
    command.chmod(0o755)
    with pytest.raises(DockerError) as error:
        Docker(str(command)).run("compose", "up")
    assert error.value.reason == "port_taken"
    assert "127.0.0.1:5432" in error.value.msg and "ss -ltnp" in error.value.msg
