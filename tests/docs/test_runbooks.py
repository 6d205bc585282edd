# SPDX-License-Identifier: Apache-2.0
"""Every runbook is executed as it is written, in the order of the documentation's index.

In a copy of the working tree, with a cluster, a port, image names and hosts of its own, so that nothing here meets
what somebody runs on this machine. These few names are put in the place of those that a reader sees (``translate``);
all else is literal. The blocks of a page share one shell, as they do for the reader. A page about ``-i prod`` meets
the three machines of that inventory, each with a Docker Engine of its own.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from steps.diagnostics import collect

from . import markdown
from .machines import Machines
from .markdown import ROOT

INDEX = ROOT / "docs/README.md"
RUNBOOKS = [link for link in markdown.links(INDEX) if link.startswith("runbooks/")]
# A cold first `make up` included.
_TIMEOUT_SECONDS = 1200
_MARK = "=====block "


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


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workplace]:
    mark = uuid.uuid4().hex[:6]
    place = Workplace(
        tmp_path_factory.mktemp("checkout"),
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


@pytest.fixture(scope="module")
def here(workplace: Workplace) -> Workplace:
    """The reader's own machine, and another host."""
    _create_host(workplace)
    return workplace


@pytest.fixture(scope="module")
def machines(workplace: Workplace) -> Iterator[Machines]:
    """Those of the shipped inventory prod, which is changed in the copy to name them and to be small."""
    made = Machines(workplace.directory, workplace.cluster)
    # The reader has it since his first deploy.
    subprocess.run(["make", "--silent", "setup"], cwd=workplace.directory, check=True)
    try:
        made.create()
        yield made
    finally:
        made.remove()


def _create_host(place: Workplace) -> None:
    """The reader's own host: one of Molecule's, under another name."""
    folder = place.directory / ".cache/docs-test"
    folder.mkdir(parents=True)
    hosts = (ROOT / "molecule/inventory/hosts.yml").read_text(encoding="utf-8")
    (folder / "hosts.yml").write_text(
        hosts.replace("azatest-debian13:", f"{place.remote}:"), encoding="utf-8"
    )
    subprocess.run(
        ["ansible-playbook", "-i", str(folder), "molecule/default/create.yml", "--limit", place.remote],
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


def _script(steps: list[markdown.Step], place: Workplace | Machines) -> str:
    parts = ["set -eu"]
    for number, step in enumerate(steps):
        parts += [f"echo '{_MARK}{number}'", place.translate(step.commands.text)]
    return "\n".join(parts)


def _fixture(name: str) -> str:
    """Where a page is executed."""
    steps = markdown.steps(ROOT / "docs" / name)
    return "machines" if any("-i prod" in step.commands.text for step in steps) else "here"


@pytest.mark.parametrize("name", RUNBOOKS)
def test_runbook(name: str, workplace: Workplace, request: pytest.FixtureRequest) -> None:
    steps = markdown.steps(ROOT / "docs" / name)
    assert steps, "a runbook without a command to execute"
    place: Workplace | Machines = request.getfixturevalue(_fixture(name))
    done = subprocess.run(
        ["bash", "-c", _script(steps, place)],
        cwd=workplace.directory,
        # Only what a fresh shell has: the environment that runs the tests must not help.
        env={
            key: os.environ[key]
            for key in ("HOME", "LANG", "TERM", "USER", "DOCKER_HOST")
            if key in os.environ
        }
        | {"PATH": os.environ["PATH"].replace(f"{ROOT}/.venv/bin:", "")},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=_TIMEOUT_SECONDS,
        check=False,
    )
    _, *outputs = re.split(rf"^{_MARK}\d+\n", done.stdout, flags=re.MULTILINE)
    last = steps[len(outputs) - 1].commands
    if done.returncode:
        _keep(name, place, done.stdout)
        pytest.fail(
            f"{name}:{last.line}: exit code {done.returncode}\n{last.text}\n{outputs[-1]}", pytrace=False
        )
    for step, output in zip(steps, outputs, strict=True):
        expected = tuple(place.translate(line) for line in step.expected)
        missing = markdown.differences(expected, output)
        if missing:
            _keep(name, place, done.stdout)
            pytest.fail(f"{name}:{step.commands.line}: '{missing}' is not in\n{output}", pytrace=False)


def _keep(name: str, place: Workplace | Machines, output: str) -> None:
    folder = ROOT / "diagnostics" / f"runbook-{Path(name).stem}"
    for host in place.hosts:
        collect(host, folder)
    (folder / "output.txt").write_text(output, encoding="utf-8")
