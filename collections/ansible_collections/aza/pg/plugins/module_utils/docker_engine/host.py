# SPDX-License-Identifier: Apache-2.0
"""The edges: ask the machine what is there, carry out a step. Decisions are in ``plan``."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ansible_collections.aza.pg.plugins.module_utils.docker_engine import apt
from ansible_collections.aza.pg.plugins.module_utils.docker_engine import plan as planning
from ansible_collections.aza.pg.plugins.module_utils.docker_engine.model import (
    Engine,
    Machine,
    Step,
    parse_info,
)
from ansible_collections.aza.pg.plugins.module_utils.errors import AzaError

CONFIG = Path("/etc/docker/daemon.json")
SOURCE = Path("/etc/apt/sources.list.d/aza-pg-engine.sources")
PINS = Path("/etc/apt/preferences.d/aza-pg-engine")
SOCKET = "/var/run/docker.sock"
PIDFILE = Path("/var/run/docker.pid")
LOG = Path("/var/log/dockerd.log")


def _run(*argv: str, timeout: float | None = None) -> subprocess.CompletedProcess[str]:
    """A command's whole result; its messages in English, so that they can be read by a program."""
    env = {**os.environ, "LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"}
    return subprocess.run(
        argv, capture_output=True, text=True, check=False, env=env, timeout=timeout, stdin=subprocess.DEVNULL
    )


def observe_engine() -> Engine:
    """The engine that this user's `docker` command reaches."""
    if not shutil.which("docker"):
        return Engine(endpoint=os.environ.get("DOCKER_HOST", ""))
    endpoint = _run("docker", "context", "inspect", "--format", "{{.Endpoints.docker.Host}}").stdout.strip()
    try:
        found = _run("docker", "info", "--format", "{{json .}}", timeout=30)
    except subprocess.TimeoutExpired:
        return Engine(error="it does not answer within 30 s", endpoint=endpoint)
    return parse_info(found.stdout, found.stderr, endpoint)


def observe_machine(packages: tuple[str, ...]) -> Machine:
    release = _os_release()
    names = [release.get("ID", ""), *release.get("ID_LIKE", "").split()]
    family = next((name for name in names if name in planning.DISTRIBUTIONS), "")
    vendor = ("docker-ce", "docker-ce-cli")
    installed = _installed((*packages, *vendor)) if shutil.which("dpkg-query") else set()
    return Machine(
        name=release.get("PRETTY_NAME", "of an unknown kind"),
        family=family if shutil.which("apt-get") else "",
        codename=release.get("DEBIAN_CODENAME") or release.get("VERSION_CODENAME", ""),
        root=os.geteuid() == 0,
        systemd=Path("/run/systemd/system").is_dir(),
        daemon=shutil.which("dockerd") is not None,
        foreign=bool(installed.intersection(vendor)),
        missing_packages=tuple(name for name in packages if name not in installed),
        config=_read_config(),
    )


def _os_release() -> dict[str, str]:
    for path in (Path("/etc/os-release"), Path("/usr/lib/os-release")):
        if path.is_file():
            pairs = (
                line.split("=", 1) for line in path.read_text(encoding="utf-8").splitlines() if "=" in line
            )
            return {key: value.strip("\"'") for key, value in pairs}
    return {}


def _installed(packages: tuple[str, ...]) -> set[str]:
    listing = _run("dpkg-query", "-W", "-f", "${db:Status-Status} ${Package}\n", *packages).stdout
    return {line.split()[1] for line in listing.splitlines() if line.startswith("installed ")}


def _read_config() -> Mapping[str, Any] | None:
    if not CONFIG.is_file():
        return None
    try:
        config = json.loads(CONFIG.read_text(encoding="utf-8") or "{}")
    except (OSError, ValueError) as err:
        raise AzaError(
            f"{CONFIG} cannot be read as JSON: {err}; correct or remove it", reason="engine_config"
        ) from err
    return config if isinstance(config, dict) else {}


class Applier:
    """Applies steps on this machine. ``warn`` is called with what the user should know."""

    def __init__(
        self, machine: Machine, config: Mapping[str, Any], timeout: float, warn: Callable[[str], None]
    ) -> None:
        self.machine = machine
        self.config = config
        self.timeout = timeout
        self.warn = warn

    def apply(self, step: Step) -> None:
        """Only with the kinds of steps that ``plan`` makes."""
        appliers = {
            "configure": self._configure,
            "install": self._install,
            "start": self._start,
            "restart": self._restart,
        }
        appliers[step.kind](step.detail)

    def _configure(self, _detail: tuple[str, ...]) -> None:
        CONFIG.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        _write(CONFIG, json.dumps(self.config, indent=2, sort_keys=True) + "\n")

    # -- packages ------------------------------------------------------------------------------------------------

    def _install(self, packages: tuple[str, ...]) -> None:
        self._update()
        suite = planning.LATER_SUITES.get(self.machine.codename, "")
        if suite and set(packages).intersection(planning.FROM_LATER_SUITE):
            self._open_suite(suite)
        self._apt("install", "-y", "--no-install-recommends", *packages)

    def _open_suite(self, suite: str) -> None:
        """Let the engine's packages, and nothing else, come from a later suite of the same archive."""
        targets = apt.parse_targets(_run("apt-get", "indextargets", "--format", apt.TARGET_FORMAT).stdout)
        if apt.find_target([t for t in targets if t.entry != str(SOURCE)], suite):
            _write(PINS, apt.render_pins(suite, planning.FROM_LATER_SUITE, own_source=False))
            return
        own = apt.find_target(targets, self.machine.codename)
        if own is None:
            raise AzaError(
                f"apt on this machine has no source for {self.machine.codename} main, from which the one for {suite} "
                "could be derived (see `apt-get indextargets`); configure it, or install a Docker Engine yourself",
                reason="engine_no_source",
            )
        keys = apt.signed_by(Path(own.entry).read_text(encoding="utf-8"), own)
        _write(PINS, apt.render_pins(suite, planning.FROM_LATER_SUITE, own_source=True))
        _write(SOURCE, apt.render_source(own, suite, keys))
        trouble = self._update()
        if "is expired" in trouble and suite in trouble:
            # A frozen copy of the archive: its signature holds, its date does not.
            self.warn(f"the archive's list of {suite} is out of date (a frozen mirror?); it is used anyway")
            _write(SOURCE, apt.render_source(own, suite, keys, check_valid_until=False))
            self._update()

    def _update(self) -> str:
        """Refresh the package lists; what went wrong is said by the installation that then fails, if it does."""
        done = _run("apt-get", "update", "-q")
        return "" if done.returncode == 0 else done.stdout + done.stderr

    def _apt(self, *argv: str) -> None:
        options = ("-q", "-o", "DPkg::Lock::Timeout=300", "-o", "Dpkg::Options::=--force-confold")
        done = _run("apt-get", *options, *argv)
        if done.returncode != 0:
            tail = "\n".join((done.stdout + done.stderr).strip().splitlines()[-15:])
            raise AzaError(
                f"apt-get could not {' '.join(argv)}; its last output:\n{tail}",
                reason="engine_install",
                rc=done.returncode,
            )

    # -- the daemon ----------------------------------------------------------------------------------------------

    def _start(self, _detail: tuple[str, ...]) -> None:
        if self.machine.systemd:
            _run("systemctl", "enable", "--now", "containerd.service", "docker.service")
        elif not answers():
            _forget_dead_daemons()
            with LOG.open("ab") as log:
                subprocess.Popen(
                    ["dockerd"],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                    cwd="/",
                )
        self._wait()

    def _restart(self, detail: tuple[str, ...]) -> None:
        if self.machine.systemd:
            _run("systemctl", "restart", "docker.service")
            self._wait()
            return
        if PIDFILE.is_file():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(PIDFILE.read_text()), signal.SIGTERM)
        self._until(lambda: not PIDFILE.is_file(), "did not stop")
        self._start(detail)

    def _wait(self) -> None:
        self._until(answers, "did not come up")

    def _until(self, condition: Callable[[], bool], failure: str) -> None:
        deadline = time.monotonic() + self.timeout
        while not condition():
            if time.monotonic() > deadline:
                raise AzaError(
                    f"the Docker Engine {failure} within {self.timeout:.0f} s; its last output:\n{self._last_words()}",
                    reason="engine_start",
                )
            time.sleep(0.1)

    def _last_words(self) -> str:
        if self.machine.systemd:
            return _run(
                "journalctl", "-u", "docker.service", "-n", "15", "--no-pager", "-o", "cat"
            ).stdout.strip()
        lines = LOG.read_text(encoding="utf-8", errors="replace").splitlines() if LOG.is_file() else []
        return "\n".join(lines[-15:]) or f"(none in {LOG})"


def answers() -> bool:
    """Does a daemon answer on this machine's socket?"""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(5)
        try:
            connection.connect(SOCKET)
            connection.sendall(b"GET /_ping HTTP/1.0\r\n\r\n")
            return b" 200 " in connection.recv(64)
        except OSError:
            return False


def _forget_dead_daemons() -> None:
    """Remove pid files that a crash or a copied disk left, and whose number is another process by now."""
    for path, name in (
        (PIDFILE, "dockerd"),
        (Path("/var/run/docker/containerd/containerd.pid"), "containerd"),
    ):
        if path.is_file():
            comm = Path("/proc") / path.read_text().strip() / "comm"
            if not (comm.is_file() and comm.read_text().strip() == name):
                path.unlink()


def _write(path: Path, text: str) -> None:
    """Whole or not at all, readable by all."""
    draft = path.with_name(f".{path.name}.aza-pg")
    draft.write_text(text, encoding="utf-8")
    draft.chmod(0o644)
    draft.replace(path)
