# SPDX-License-Identifier: Apache-2.0
"""Containers of the built images on a network of their own, without a stack around them; gone with their test."""

from __future__ import annotations

import secrets
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.aza.pg.plugins.plugin_utils.certificates import CertificateRequest, Certificates

from .instance import built_image, docker

SERVER_UID = 999
READY = "[1] LOG:  database system is ready to accept"


def eventually(condition: Callable[[], Any], what: str, seconds: float = 120) -> Any:
    limit = time.monotonic() + seconds
    while not (answer := condition()):
        if time.monotonic() > limit:
            pytest.fail(f"waited {seconds:.0f} s in vain for {what}")
        time.sleep(0.1)
    return answer


class Network:
    """``with Network() as net``: containers by their short names, their sockets in directories of this machine."""

    def __init__(self) -> None:
        self.name = f"azatest-{secrets.token_hex(3)}"
        self.directory = Path(tempfile.mkdtemp(prefix=f"{self.name}-"))
        self.directory.chmod(0o755)
        self.root_certificate = Path()
        self._containers: list[str] = []

    def __enter__(self) -> Network:
        docker("network", "create", self.name)
        return self

    def __exit__(self, *_: object) -> None:
        for name in self._containers:
            subprocess.run(["docker", "rm", "-fv", self.full(name)], capture_output=True, check=False)
        docker("network", "rm", self.name)
        subprocess.run(["rm", "-rf", str(self.directory)], check=True)

    def full(self, name: str) -> str:
        return f"{self.name}-{name}"

    def socket(self, name: str) -> Path:
        return self.directory / name / "run"

    def file(self, name: str, path: str, content: str, mode: int = 0o444, uid: int = SERVER_UID) -> Path:
        """For the container's eyes."""
        made = self.directory / name / path
        made.parent.mkdir(parents=True, exist_ok=True)
        made.write_text(content)
        made.chmod(mode)
        subprocess.run(["chown", str(uid), str(made)], check=True)
        return made

    def certificate(self, name: str) -> Path:
        """Of the container, signed by the one authority of this network."""
        kept = Certificates(
            self.directory / "secrets",
            "azatest",
            datetime.now(timezone.utc),
            lambda path: Path(path).read_text(),
        )
        bundle = kept.server(
            CertificateRequest(host=name, names=(name, self.full(name), "localhost", "127.0.0.1"))
        )
        self.root_certificate = self.file("ca", "ca.crt", Path(bundle.root).read_text())
        return self.file(name, "server.pem", bundle.pem, 0o400)

    def run(
        self,
        name: str,
        image: str,
        *command: str,
        environment: Mapping[str, str] | None = None,
        mounts: Mapping[Path, str] | None = None,
        publish: Mapping[int, int] | None = None,
    ) -> None:
        self.socket(name).mkdir(parents=True, exist_ok=True)
        self.socket(name).chmod(0o1777)
        self._containers.append(name)
        docker(
            "run",
            "--detach",
            "--network",
            self.name,
            "--name",
            self.full(name),
            "--memory",
            "512m",
            *(f"--env={key}={value}" for key, value in (environment or {}).items()),
            f"--volume={self.socket(name)}:/var/run/postgresql",
            *(f"--volume={source}:{target}:ro" for source, target in (mounts or {}).items()),
            *(f"--publish=127.0.0.1:{outer}:{inner}" for inner, outer in (publish or {}).items()),
            built_image(image)["reference"],
            *command,
        )

    def sql(self, name: str, statement: str, database: str = "postgres") -> str:
        arguments = ("psql", "-U", "postgres", "-d", database, "-v", "ON_ERROR_STOP=1", "-qAtXc", statement)
        return docker("exec", self.full(name), *arguments)

    def ready(self, name: str) -> None:
        """The real server, not that of a first start: process 1 is it."""

        self.wait(name, lambda: READY in self.log(name))

    def wait(self, name: str, condition: Callable[[], Any]) -> None:
        """For the container, whose log says what went wrong."""
        try:
            eventually(condition, f"{name} to be ready")
        except BaseException:
            print(self.log(name))
            raise

    def log(self, name: str) -> str:
        done = subprocess.run(["docker", "logs", self.full(name)], capture_output=True, text=True, check=True)
        return done.stdout + done.stderr
