# SPDX-License-Identifier: Apache-2.0
"""The only place that talks to the engine. Arguments of the command never hold a secret: ``ps`` shows them."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote, urlencode

from ansible_collections.aza.pg.plugins.module_utils.errors import AzaError
from ansible_collections.aza.pg.plugins.module_utils.model.observed import OrphanFacts
from ansible_collections.aza.pg.plugins.module_utils.plain import plain

_Answer = TypeVar("_Answer")
_NO_DAEMON = ("cannot connect to the docker daemon", "is the docker daemon running")


_INFO = {
    "memory": "MemTotal",
    "cpus": "NCPU",
    "root": "DockerRootDir",
    "store": "DriverStatus",
    "version": "ServerVersion",
}
# The label that Compose gives its containers.
PROJECT = "com.docker.compose.project"
_SOCKET = "/var/run/docker.sock"
_SECONDS = 10
_KINDS = ("/containers/{}/json", "/images/{}/json", "/networks/{}", "/volumes/{}")
_OK, _NOT_FOUND = 200, 404
# Nothing has the name, or nothing of the kind can have it.
_OTHER_KIND = (_NOT_FOUND, 400)
# The same in the words of the command.
_ABSENT = re.compile(
    r"no such (object|container|image|volume|network)|invalid reference format", re.IGNORECASE
)
_EXPECTED = re.compile(f"^WARNING|{_ABSENT.pattern}", re.IGNORECASE)


def _is_default() -> bool:
    """Whether the command would speak to the engine of this host, too."""
    if not {"DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_CONFIG"}.isdisjoint(os.environ):
        return False
    try:
        config = json.loads((Path.home() / ".docker/config.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return True
    except (OSError, ValueError, RuntimeError):
        return False  # the command shall say what is wrong with it
    return isinstance(config, Mapping) and not config.get("currentContext")


def _ask(path: str) -> tuple[int, Any]:
    """GET of the engine's API: status and body. Raises OSError or ValueError when there is no such answer."""
    with socket.socket(socket.AF_UNIX) as line:
        line.settimeout(_SECONDS)
        line.connect(_SOCKET)
        line.sendall(f"GET {path} HTTP/1.0\r\nHost: docker\r\n\r\n".encode())
        head, _, body = b"".join(iter(lambda: line.recv(65536), b"")).partition(b"\r\n\r\n")
    return int(b"".join(head.split(b" ", 2)[1:2])), json.loads(body)


def _answer(path: str) -> Any:
    """What the engine says there. Raises ValueError when it does not."""
    status, body = _ask(path)
    if status != _OK:
        raise ValueError(body)
    return body


def _find(name: str) -> dict[str, Any] | None:
    """What has this name, in the order in which the command looks for it."""
    for kind in _KINDS:
        status, body = _ask(kind.format(quote(name)))
        if status == _OK:
            return dict(body)
        if status not in _OTHER_KIND:
            raise ValueError(body)
    return None


class DockerError(AzaError):
    """A docker command failed; carries what it said."""


class Docker:
    def __init__(self, binary: str = "docker") -> None:
        self.binary = binary

    def run(
        self, *arguments: str, stdin: str | None = None, check: bool = True, timeout: float = 600
    ) -> subprocess.CompletedProcess[str]:
        try:
            done = subprocess.run(
                [self.binary, *arguments],
                input=None if stdin is None else stdin.encode(),
                stdin=subprocess.DEVNULL if stdin is None else None,
                capture_output=True,
                timeout=timeout,
                check=False,
            )
        except FileNotFoundError:
            raise AzaError(
                "There is no docker command on this host. Install an engine with Compose v2 first "
                "(role docker_engine), or put docker on the PATH.",
                reason="no_docker",
            ) from None
        except subprocess.TimeoutExpired:
            raise DockerError(
                f"`docker {' '.join(arguments[:3])}` did not finish within {timeout:.0f} s.",
                reason="docker_timeout",
            ) from None
        # Not read as text by Python, which takes a carriage return within a message for the end of a line.
        text = subprocess.CompletedProcess(
            done.args,
            done.returncode,
            *(part.decode("utf-8", "replace") for part in (done.stdout, done.stderr)),
        )
        if check and text.returncode:
            raise self.error(arguments, text)
        return text

    def error(self, arguments: tuple[str, ...], done: subprocess.CompletedProcess[str]) -> AzaError:
        message = done.stderr.strip() or done.stdout.strip()
        lowered = message.lower()
        if "permission denied" in lowered and "docker" in lowered and "sock" in lowered:
            return AzaError(
                "This user has no access to the Docker Engine. Use a member of the group docker, or root "
                "(ansible_become: true).",
                reason="docker_permission",
            )
        if any(words in lowered for words in _NO_DAEMON):
            return AzaError(
                "No Docker Engine answers on this host. Start it, or let the role docker_engine do it.",
                reason="no_engine",
            )
        # Loaded only when something failed.
        from ansible_collections.aza.pg.plugins.module_utils.server import diagnosis

        known = diagnosis.engine(message)
        if known:
            return DockerError(
                f"a container cannot be started: {known.message}. {known.remedy} (docker: {message[-300:]})",
                reason=known.reason,
            )
        return DockerError(
            f"`docker {' '.join(arguments[:6])}` failed: {message[-1500:] or 'exit code ' + str(done.returncode)}",
            reason="docker_failed",
        )

    def _by_socket(self, ask: Callable[[], _Answer]) -> _Answer | None:
        """Ten times as quick as the command, which is what tells of any trouble: None leaves it to that."""
        if not (shutil.which(self.binary) and _is_default()):
            return None
        try:
            return ask()
        except (OSError, ValueError, TypeError, KeyError):
            return None

    def info(self) -> dict[str, Any]:
        asked = self._by_socket(lambda: dict(_answer("/info")))
        if asked and asked.get("ServerVersion"):
            return {name: asked.get(key) for name, key in _INFO.items()}
        form = (
            '{"memory":{{json .MemTotal}},"cpus":{{json .NCPU}},"root":{{json .DockerRootDir}},'
            '"store":{{json .DriverStatus}},"version":{{json .ServerVersion}},"errors":{{json .ServerErrors}}}'
        )
        arguments = ("info", "--format", form)
        done = self.run(*arguments, check=False)
        try:
            info = json.loads(done.stdout)
        except ValueError:
            raise self.error(arguments, done) from None
        if info.get("errors") or not info.get("version"):
            done.stderr = " ".join(info.get("errors") or []) or done.stderr
            raise self.error(arguments, done)
        return dict(info)

    def inspect(self, *names: str) -> list[dict[str, Any]]:
        """Whatever of these exists: containers, volumes, networks and images."""
        asked = self._by_socket(lambda: [found for name in names if (found := _find(name))])
        if asked is not None:
            return asked
        done = self.run("inspect", *names, check=False)
        try:
            found = list(json.loads(done.stdout or "[]"))
        except ValueError:
            raise self.error(("inspect", *names), done) from None
        # What an engine in trouble cannot tell is not what it lacks.
        if done.returncode and any(
            not _EXPECTED.search(line) for line in done.stderr.splitlines() if line.strip()
        ):
            raise self.error(("inspect", *names), done)
        return found

    def volume(self, name: str) -> dict[str, Any] | None:
        """Return what the engine says of a volume, None when there is no such volume."""
        asked = self._by_socket(lambda: _ask(f"/volumes/{quote(name)}"))
        if asked and asked[0] in (_OK, _NOT_FOUND):
            return dict(asked[1]) if asked[0] == _OK else None
        arguments = ("volume", "inspect", name)
        done = self.run(*arguments, check=False)
        try:
            return dict(json.loads(done.stdout)[0])
        except (ValueError, IndexError):
            if done.returncode and _ABSENT.search(done.stderr):
                return None
            raise self.error(arguments, done) from None

    def containers(self, project: str) -> dict[str, OrphanFacts]:
        """The containers of a Compose project by name, running or not, with ``state`` and names of ``volumes``."""
        label = f"{PROJECT}={project}"
        query = urlencode({"all": 1, "filters": json.dumps({"label": [label]})})
        asked = self._by_socket(
            lambda: {
                found["Names"][0].lstrip("/"): OrphanFacts(
                    state=found["State"],
                    volumes=[mount["Name"] for mount in found["Mounts"] if mount.get("Name")],
                )
                for found in _answer(f"/containers/json?{query}")
            }
        )
        if asked is not None:
            return asked
        form = "{{.Names}}\t{{.State}}\t{{.Mounts}}"
        done = self.run("ps", "--all", "--no-trunc", "--filter", f"label={label}", "--format", form)
        rows = (line.split("\t") for line in done.stdout.splitlines() if line)
        return {name: {"state": state, "volumes": mounts.split(",")} for name, state, mounts in rows}

    def logs(self, container: str, lines: int = 200) -> list[str]:
        """The last lines of both streams, in the order of their time."""
        done = self.run("logs", "--timestamps", "--tail", str(lines), container, check=False)
        if done.returncode:
            return []
        stamped = sorted((done.stdout + done.stderr).split("\n"), key=lambda line: line.split(" ", 1)[0])
        # PostgreSQL indents the further lines of a message with a tab.
        message = (line.partition(" ")[2].replace("\t", "    ") for line in stamped)
        return [plain(line) for line in message if line.strip()]


def subnets(network: str, inspected: Iterable[Mapping[str, Any]]) -> tuple[str, ...]:
    """Return the addresses of a network. ``inspected``: what the engine shows of it, among other objects."""
    found = [item for item in inspected if item.get("Name") == network and "IPAM" in item]
    return tuple(
        str(part["Subnet"]) for item in found for part in item["IPAM"]["Config"] or () if part.get("Subnet")
    )
