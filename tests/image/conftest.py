# SPDX-License-Identifier: Apache-2.0
"""What the image's tests stand on: an image, and containers that clean up after themselves and leave a diagnosis.

The image is ``AZA_TEST_IMAGE``, or else the one that was built last (``make build``). Tests wait on conditions, never
for a time; names are random, so that several workers (``pytest -n``) can share an engine.
"""

from __future__ import annotations

import io
import json
import os
import re
import secrets
import shutil
import struct
import tarfile
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from pathlib import Path
from typing import Any

import docker
import pytest
from docker.models.containers import Container
from docker.models.networks import Network
from docker.models.volumes import Volume

ROOT = Path(__file__).parents[2]
IMAGES = ROOT / ".cache" / "dist" / "images.json"
DIAGNOSTICS = ROOT / "diagnostics"
VOLUME = Path("/var/lib/postgresql")
# Where volumes lie, if there is room for those of all workers: on a disk the thousand files of a first start, which are
# soon removed, cost as much time as all the rest of it.
MEMORY = Path("/dev/shm")
ROOM_BYTES = 4 * 2**30
# Only the real server is process 1; the temporary one of a first start is not.
READY = re.compile(r"\[1\] LOG: +database system is ready to accept (read-only )?connections")


def eventually(condition: Callable[[], Any], what: str, seconds: float = 30) -> Any:
    """Return the first true answer of ``condition``; fail with ``what`` after ``seconds``."""
    limit = time.monotonic() + seconds
    while not (answer := condition()):
        if time.monotonic() > limit:
            pytest.fail(f"waited {seconds:.0f} s in vain for {what}")
        time.sleep(0.2)
    return answer


class Box:
    """One container of the image, with what a test asks of it."""

    def __init__(self, container: Container, user: str = "postgres") -> None:
        self.container = container
        self.user = user
        self._starts = 0

    @property
    def name(self) -> str:
        return str(self.container.name)

    def logs(self) -> str:
        return str(self.container.logs().decode(errors="replace"))

    @staticmethod
    def until(condition: Callable[[], Any], what: str, seconds: float = 30) -> Any:
        """Wait until ``condition`` holds; see :func:`eventually`."""
        return eventually(condition, what, seconds)

    def running(self) -> bool:
        self.container.reload()
        return bool(self.container.status == "running")

    def exit_code(self, seconds: float = 30) -> int:
        """Wait until the container has ended; return its exit status."""
        eventually(lambda: not self.running(), f"the end of {self.name}", seconds)
        return int(self.container.attrs["State"]["ExitCode"])

    def wait_ready(self, seconds: float = 40) -> Box:
        """Wait for the next time that the server (not the temporary one) accepts connections."""

        def ready() -> bool:
            if len(READY.findall(self.logs())) > self._starts:
                return True
            if not self.running():
                pytest.fail(f"{self.name} ended instead of becoming ready:\n{self.logs()}")
            return False

        eventually(ready, f"{self.name} to accept connections", seconds)
        self._starts = len(READY.findall(self.logs()))
        return self

    def wait_log(self, text: str, seconds: float = 30) -> None:
        eventually(lambda: text in self.logs(), f"{text!r} in the log of {self.name}", seconds)

    def start(self) -> Box:
        """Start it again; :meth:`wait_ready` then waits for this start."""
        self._starts = len(READY.findall(self.logs()))  # a promotion says it, too
        self.container.start()
        return self

    def restart(self) -> Box:
        self.container.stop(timeout=20)
        return self.start().wait_ready()

    def execute(
        self, command: Sequence[str], user: str = "", env: dict[str, str] | None = None
    ) -> tuple[int, list[tuple[int, bytes]]]:
        """Run a command inside; return its status and what it said, in order: (1 for stdout or 2 for stderr, bytes).

        ``exec_run`` reads the socket past the buffer that the answer's head was read into, and so loses what came along
        with the head: one call in forty on a busy machine (docker/docker-py#3332).
        """
        client: Any = self.container.client
        api = client.api
        made = api.exec_create(self.container.id, list(command), user=user, environment=env or {})["Id"]
        start = f"{api.base_url}/v{api.api_version}/exec/{made}/start"
        answer = api.post(start, json={"Detach": False, "Tty": False})
        answer.raise_for_status()
        message, rest = [], answer.content
        while rest:  # a frame's head: the stream, three empty bytes, the length
            stream, length = struct.unpack(">BxxxL", rest[:8])
            message.append((stream, rest[8 : 8 + length]))
            rest = rest[8 + length :]
        return int(api.exec_inspect(made)["ExitCode"]), message

    def run(self, *command: str, user: str = "", env: dict[str, str] | None = None) -> tuple[int, str]:
        """Run a command inside; return its status and its output, both streams."""
        code, message = self.execute(command, user, env)
        return code, b"".join(text for _, text in message).decode(errors="replace").strip()

    def background(self, *command: str) -> None:
        """Run a command inside that outlives the call. (A shell's ``&`` would make it a child of process 1.)"""
        self.container.exec_run(list(command), detach=True)

    def check(self, *command: str, user: str = "") -> str:
        code, output = self.run(*command, user=user)
        assert code == 0, f"{command} ended with {code}: {output}"
        return output

    def sql(self, statement: str, database: str = "postgres") -> str:
        return self.check(
            "psql", "-XqAt", "-v", "ON_ERROR_STOP=1", "-U", self.user, "-d", database, "-c", statement
        )

    def show(self, setting: str) -> str:
        return self.sql(f"SHOW {setting}")

    def settings(self) -> dict[str, str]:
        """Return every setting as SHOW prints it."""
        text = self.sql("SELECT json_object_agg(name, current_setting(name)) FROM pg_settings")
        return dict(json.loads(text))

    def files(self, directory: str) -> set[str]:
        """Return the names in a directory; works while the container is stopped."""
        try:
            stream, _ = self.container.get_archive(directory)
        except docker.errors.NotFound:
            return set()
        with tarfile.open(fileobj=io.BytesIO(b"".join(stream))) as archive:
            names = [Path(name).parts for name in archive.getnames()]
        return {parts[1] for parts in names if len(parts) > 1}

    def diagnose(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.container.reload()
        (directory / f"{self.name}.log").write_text(self.logs())
        (directory / f"{self.name}.inspect.json").write_text(json.dumps(self.container.attrs, indent=2))
        if self.container.status == "running":
            listing = "SELECT name, current_setting(name), source, sourcefile FROM pg_settings ORDER BY 1"
            _, text = self.run("psql", "-XqAt", "-U", self.user, "-d", "postgres", "-c", listing)
            (directory / f"{self.name}.settings").write_text(text)


Run = Callable[..., Box]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, Any, Any]:
    report = yield
    setattr(item, f"report_{report.when}", report)
    return report


@pytest.fixture(scope="session")
def engine() -> Iterator[docker.DockerClient]:
    client = docker.from_env(timeout=120)
    yield client
    client.close()


@pytest.fixture(scope="session")
def image(engine: docker.DockerClient) -> str:
    """Return a reference of the postgres image that the engine has."""
    wanted = os.environ.get("AZA_TEST_IMAGE", "")
    archive = ""
    if not wanted:
        if not IMAGES.exists():
            pytest.fail("no image has been built: run `make build`, or set AZA_TEST_IMAGE")
        record = json.loads(IMAGES.read_text())["postgres"]
        wanted, archive = record["reference"], record.get("archive") or ""
    try:
        engine.images.get(wanted)
    except docker.errors.ImageNotFound:
        if not archive:
            pytest.fail(f"the engine has no image {wanted}: run `make build`, or correct AZA_TEST_IMAGE")
        with Path(archive).open("rb") as stream:
            engine.images.load(stream)
    return str(wanted)


class Launcher:
    """Starts containers, and removes all that it made."""

    def __init__(self, engine: docker.DockerClient, image: str) -> None:
        self.engine = engine
        self.image = image
        self.boxes: list[Box] = []
        self.volumes: list[Volume] = []
        self.networks: list[Network] = []
        self.directories: list[Path] = []

    @staticmethod
    def new_name() -> str:
        return f"azatest-{secrets.token_hex(4)}"

    def volume(self, size: str = "") -> str:
        """Return the name of a new volume; with a size it is a tmpfs, which fills up."""
        name = self.new_name()
        if size:
            options = {"type": "tmpfs", "device": "tmpfs", "o": f"size={size},uid=999,mode=1777"}
        elif _has_room_in_memory():
            self.directories.append(MEMORY / name)
            self.directories[-1].mkdir()
            options = {"type": "none", "device": str(self.directories[-1]), "o": "bind"}
        else:
            options = {}
        self.volumes.append(self.engine.volumes.create(name, driver="local", driver_opts=options))
        return name

    def network(self) -> str:
        made = self.engine.networks.create(self.new_name())
        self.networks.append(made)
        return str(made.name)

    def __call__(
        self,
        *command: str,
        env: dict[str, str] | None = None,
        password: str | None = "x",
        files: dict[str, str | bytes] | None = None,
        wait: str = "ready",
        sql_user: str = "postgres",
        durable: bool = False,
        **options: Any,
    ) -> Box:
        """Start a container.

        :param command: the arguments after the image's name.
        :param password: POSTGRES_PASSWORD; None sets none.
        :param files: path → content, put in before the start; ``#!`` at the start of a content makes it executable.
        :param wait: ``ready``, ``exit``, or ``none`` to return at once.
        :param sql_user: the role that :meth:`Box.sql` uses.
        :param durable: a first start has the disk take its thousand files one by one, as users want it. Otherwise what
            a crash of this machine would lose may be lost.
        :param options: of docker's ``containers.create`` (mem_limit, user, volumes …).
        """
        environment = dict(env or {})
        if password is not None:
            environment.setdefault("POSTGRES_PASSWORD", password)
        if not durable and "POSTGRES_INITDB_ARGS_FILE" not in environment:
            environment.setdefault("POSTGRES_INITDB_ARGS", "--no-sync")
        if "volumes" not in options:
            options["volumes"] = {self.volume(): {"bind": str(VOLUME), "mode": "rw"}}
        # Tests call the health check themselves; the engine would, once a second while a server starts.
        options.setdefault("healthcheck", {"test": ["NONE"]})
        container = self.engine.containers.create(
            self.image, list(command), name=self.new_name(), environment=environment, **options
        )
        box = Box(container, sql_user)
        self.boxes.append(box)
        if files:
            container.put_archive("/", _tar(files))
        container.start()
        if wait == "ready":
            box.wait_ready()
        elif wait == "exit":
            box.exit_code()
        return box

    def clean(self, diagnostics: Path | None) -> None:
        for box in self.boxes:
            if diagnostics:
                box.diagnose(diagnostics)
        for box in reversed(self.boxes):
            box.container.remove(force=True, v=True)
        for volume in self.volumes:
            volume.remove(force=True)
        for directory in self.directories:
            shutil.rmtree(directory)
        for network in self.networks:
            network.remove()


def _has_room_in_memory() -> bool:
    """And may be used: by root, who can remove what a server wrote, with the engine of this machine."""
    mine = os.geteuid() == 0 and "DOCKER_HOST" not in os.environ
    return mine and MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > ROOM_BYTES


def _tar(files: dict[str, str | bytes]) -> bytes:
    """Return an archive of the files; what lies in the data volume belongs to postgres, with its directories."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for path, content in files.items():
            data = content.encode() if isinstance(content, str) else content
            owner = 999 if path.startswith(f"{VOLUME}/") else 0
            for parent in reversed(Path(path).parents):
                if parent.is_relative_to(VOLUME) and parent != VOLUME:
                    directory = tarfile.TarInfo(str(parent).lstrip("/"))
                    directory.type, directory.mode = tarfile.DIRTYPE, 0o700
                    directory.uid = directory.gid = owner
                    archive.addfile(directory)
            entry = tarfile.TarInfo(path.lstrip("/"))
            entry.size = len(data)
            entry.mode = 0o755 if data.startswith(b"#!") else 0o644
            entry.uid = entry.gid = owner
            archive.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()


def _failed(node: Any) -> bool:
    return any(
        getattr(getattr(item, f"report_{when}", None), "failed", False)
        for item in ([node] if isinstance(node, pytest.Item) else node.session.items)
        for when in ("setup", "call")
        if item is node or node in item.listchain()
    )


def _launcher(request: pytest.FixtureRequest, engine: docker.DockerClient, image: str) -> Iterator[Launcher]:
    launcher = Launcher(engine, image)
    yield launcher
    folder = DIAGNOSTICS / re.sub(r"[^\w.-]+", "_", request.node.nodeid.rsplit("/", 1)[-1])
    launcher.clean(folder if _failed(request.node) else None)


@pytest.fixture
def run_container(
    request: pytest.FixtureRequest, engine: docker.DockerClient, image: str
) -> Iterator[Launcher]:
    """Start containers for one test; see :meth:`Launcher.__call__`."""
    yield from _launcher(request, engine, image)


@pytest.fixture(scope="module")
def shared_container(
    request: pytest.FixtureRequest, engine: docker.DockerClient, image: str
) -> Iterator[Launcher]:
    """Start containers that all tests of a module inspect, and none changes."""
    yield from _launcher(request, engine, image)
