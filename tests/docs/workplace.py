# SPDX-License-Identifier: Apache-2.0
"""Where runbooks are executed: a copy of the working tree, with a cluster, ports, image names and hosts of its own.

Nothing here meets what a user runs on this machine. These few names are put in the place of those that a reader
sees (``translate``); all else is literal.
"""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from .markdown import ROOT


@dataclass(frozen=True)
class Workplace:
    """A copy of the repository whose inventory names a cluster of its own."""

    directory: Path
    cluster: str
    port: int
    exporter_port: int
    pool_port: int
    remote: str

    @property
    def hosts(self) -> tuple[str, ...]:
        return (self.remote,)

    def translate(self, text: str) -> str:
        """What the reader sees → what is used here."""
        names = {
            r"\blocal-single\b": f"{self.cluster}-single",
            r"\b(confirm|remove_data|remove_unused)=local\b": rf"\1={self.cluster}",
            r"(?<=secrets/)local\b": self.cluster,
            r"\blocal\b(?=\.|: removed)": self.cluster,
            r"\b5432\b": str(self.port),
            r"\b9187\b": str(self.exporter_port),
            r"\b6432\b": str(self.pool_port),
            r"ansible_host: pg\.example\.org": f"ansible_host: {self.remote}\n      "
            "ansible_connection: community.docker.docker",
        }
        for pattern, replacement in names.items():
            text = re.sub(pattern, replacement, text)
        return text


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _copy_tree(target: Path) -> None:
    """What git tracks or would track, and the caches of builds: these save time and decide nothing."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    for name in filter(None, listed.split("\0")):
        source = ROOT / name
        if source.is_file() or source.is_symlink():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target / name, follow_symlinks=False)
    for cache in (".cache", ".collections"):
        if (ROOT / cache).is_dir():
            shutil.copytree(
                ROOT / cache, target / cache, symlinks=True, ignore=shutil.ignore_patterns("*.log")
            )


@contextmanager
def checkout(directory: Path) -> Iterator[Workplace]:
    """Copied to ``directory``; at the end nothing is left of what its runbooks made on this machine."""
    mark = uuid.uuid4().hex[:6]
    place = Workplace(
        directory,
        f"azatest-docs-{mark}",
        _free_port(),
        _free_port(),
        _free_port(),
        f"azatest-docs-{mark}-pg",
    )
    _copy_tree(place.directory)
    variables = place.directory / "inventories/local/group_vars/all"
    postgres = variables / "postgres.yml"
    text = postgres.read_text(encoding="utf-8").replace(
        "postgres_cluster: local", f"postgres_cluster: {place.cluster}"
    )
    assert place.cluster in text
    ports = (
        f"postgres_port: {place.port}\npostgres_exporter_port: {place.exporter_port}\n"
        f"postgres_pgbouncer_port: {place.pool_port}\n"
    )
    postgres.write_text(f"{text}\n{ports}", encoding="utf-8")
    with (variables / "image.yml").open("a", encoding="utf-8") as stream:
        stream.write(f"\nimage_repository: {place.cluster}\n")
    try:
        yield place
    finally:
        _remove(place)


def lend_environment(place: Workplace) -> None:
    """As ``make setup`` leaves it, for a reader who made it long ago: its packages are those of this checkout."""
    mine, lent = ROOT / ".venv", place.directory / ".venv"
    subprocess.run([mine / "bin/python", "-m", "venv", "--without-pip", lent], check=True)
    (packages,) = mine.glob("lib/python*/site-packages")
    (lent / packages.relative_to(mine) / "lent.pth").write_text(f"{packages}\n", encoding="utf-8")
    # A script names its Python by its path, and the stamp says which place the environment was made for.
    for path in (*(mine / "bin").iterdir(), mine / ".stamp-run"):
        target = lent / path.relative_to(mine)
        content = path.read_bytes()
        if not target.exists() and str(ROOT).encode() in content:
            target.write_bytes(content.replace(bytes(ROOT), bytes(place.directory)))
            target.chmod(path.stat().st_mode)


def create_host(place: Workplace) -> None:
    """The reader's own host: one of Molecule's, under another name."""
    folder = place.directory / ".cache/docs-test"
    folder.mkdir(parents=True)
    hosts = (ROOT / "molecule/single/inventory/hosts.yml").read_text(encoding="utf-8")
    (folder / "hosts.yml").write_text(
        hosts.replace("azatest-debian13:", f"{place.remote}:"), encoding="utf-8"
    )
    subprocess.run(
        ["ansible-playbook", "-i", str(folder), "molecule/hosts/create.yml", "--limit", place.remote],
        cwd=ROOT,
        check=True,
    )


def _remove(place: Workplace) -> None:
    """Whatever a runbook left behind when it failed."""
    name = f"aza-pg-{place.cluster}-single"
    images = subprocess.run(
        ["docker", "image", "ls", "-q", f"{place.cluster}/*"], capture_output=True, text=True, check=False
    ).stdout.split()
    for command in (
        [
            "docker",
            "rm",
            "-fv",
            f"{name}-postgres",
            f"{name}-exporter",
            f"{name}-pgbouncer",
            f"{name}-pgbouncer-exporter",
            place.remote,
        ],
        ["docker", "volume", "rm", "-f", f"{name}-data"],
        ["docker", "network", "rm", name],
        ["docker", "image", "rm", "-f", *images],
    ):
        subprocess.run(command, capture_output=True, check=False)
    shutil.rmtree(f"/opt/aza-pg/{place.cluster}-single", ignore_errors=True)
    Path(f"/run/aza-pg/{place.cluster}-single").unlink(missing_ok=True)
