# SPDX-License-Identifier: Apache-2.0
"""The collection as others use it: installed from its tarball, in a project that has nothing but an inventory."""

from __future__ import annotations

import hashlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from .instance import ROOT, Instance, Run

COLLECTION = ROOT / "collections/ansible_collections/aza/pg"


class Project(Instance):
    """An instance that the playbooks of an installed collection deploy. Its inventory is in an empty project."""

    def __init__(self, directory: Path, collections: Path) -> None:
        self.project = directory
        # Neither the configuration nor the Python path of this checkout.
        own = {
            key: value
            for key, value in os.environ.items()
            if not key.startswith("ANSIBLE_") and key != "PYTHONPATH"
        }
        self.environment = {**own, "ANSIBLE_COLLECTIONS_PATH": str(collections), "ANSIBLE_NOCOLOR": "1"}
        super().__init__(directory)

    def command(self, *words: str) -> Run:
        done = subprocess.run(
            words, cwd=self.project, env=self.environment, capture_output=True, text=True, check=False
        )
        return Run(done.returncode, done.stdout + done.stderr)

    def play(self, name: str, *arguments: str) -> Run:
        hosts = (self.inventory / "hosts.yml").relative_to(self.project)
        return self.command("ansible-playbook", f"aza.pg.{name}", "-i", str(hosts), *arguments)


def build(out: Path) -> Path:
    """Build the collection and return the tarball."""
    words = ("ansible-galaxy", "collection", "build", str(COLLECTION), "--output-path", str(out))
    subprocess.run(words, cwd=out, check=True, capture_output=True)
    (tarball,) = out.glob("aza-pg-*.tar.gz")
    return tarball


def contents(directory: Path) -> dict[str, tuple[int, str]]:
    """Path → mode and checksum of every file, without what Python compiles."""
    return {
        str(path.relative_to(directory)): (
            path.stat().st_mode,
            hashlib.sha256(path.read_bytes()).hexdigest(),
        )
        for path in directory.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


@pytest.fixture(scope="module")
def collections(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the installed collection, and with nothing of this checkout."""
    folder = tmp_path_factory.mktemp("installed")
    words = ("ansible-galaxy", "collection", "install", str(build(folder)), "--offline", "-p", str(folder))
    subprocess.run(words, cwd=folder, check=True, capture_output=True)
    return folder


@pytest.fixture(scope="module")
def before(collections: Path) -> dict[str, tuple[int, str]]:
    """What was installed."""
    return contents(collections / "ansible_collections/aza/pg")


@pytest.fixture(scope="module")
def project(
    tmp_path_factory: pytest.TempPathFactory, collections: Path, before: dict[str, tuple[int, str]]
) -> Iterator[Project]:
    made = Project(tmp_path_factory.mktemp("project"), collections)
    yield made
    made.remove()


def test_a_directory_that_ansible_reads_whole_is_refused_before_there_is_a_secret(project: Project) -> None:
    run = project.command("ansible-playbook", "aza.pg.deploy", "-i", str(project.inventory))
    assert run.code != 0 and "ignore_patterns" in run.output, run.output
    assert not (project.inventory / "secrets").exists()


def test_check_mode_predicts_and_writes_nothing(project: Project) -> None:
    run = project.play("deploy", "--check", "--diff")
    assert run.code == 0 and any("create container" in line for line in run.plan), run.output
    assert not (project.inventory / "secrets").exists()


def test_a_deploy_works_and_a_second_one_changes_nothing(project: Project) -> None:
    first = project.play("deploy")
    assert first.code == 0 and first.recap["changed"] > 0, first.output
    assert project.sql("select 1") == "1"
    second = project.play("deploy")
    assert second.code == 0 and second.recap["changed"] == 0, second.output


def test_a_check_is_green(project: Project) -> None:
    run = project.play("check")
    assert run.code == 0, run.output


def test_reports_and_files_go_into_the_project(project: Project) -> None:
    run = project.play("check", "-e", "report_json=report.json")
    assert run.code == 0 and (project.project / "report.json").is_file(), run.output
    run = project.play("monitoring", "-e", "monitoring_dir=prometheus")
    assert run.code == 0, run.output
    written = (project.project / "prometheus/alerts.yml").read_bytes()
    assert written == (COLLECTION / "playbooks/files/alerts.yml").read_bytes()
    names = {path.name for path in project.project.iterdir()}
    assert names == {project.inventory.name, "report.json", "prometheus"}
    assert (project.inventory / "secrets" / project.cluster / "postgres_password").is_file()


def test_a_build_writes_its_context_into_the_project(project: Project) -> None:
    """Only the context: what it takes to build the images is tested with the images."""
    run = project.play("build", "--tags", "render")
    assert run.code == 0, run.output
    assert contents(project.project / ".cache/build") == contents(COLLECTION / "image/build")
    second = project.play("build", "--tags", "render")
    assert second.code == 0 and "changed=0" in second.output, second.output
    deploy = project.play("deploy")
    assert deploy.code == 0 and deploy.recap["changed"] == 0, deploy.output


def test_the_lock_of_the_collection_is_not_changed(project: Project) -> None:
    run = project.play("lock")
    assert run.code != 0 and "the lock belongs to the installed collection" in run.output, run.output


def test_remove_works(project: Project) -> None:
    confirmed = (f"confirm={project.cluster}", "-e", f"remove_data={project.cluster}")
    run = project.play("remove", "-e", *confirmed)
    assert run.code == 0, run.output


def test_nothing_was_written_into_the_collection(
    project: Project, collections: Path, before: dict[str, tuple[int, str]]
) -> None:
    assert before and contents(collections / "ansible_collections/aza/pg") == before
