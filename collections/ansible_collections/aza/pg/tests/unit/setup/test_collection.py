# SPDX-License-Identifier: Apache-2.0
"""The collection that others install: what it contains, and where it reads and writes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
import yaml
from ansible_collections.aza.pg.plugins.plugin_utils import project

COLLECTION = Path(__file__).resolve().parents[3]
ROOT = COLLECTION.parents[3]
SHOW = """
from ansible_collections.aza.pg.plugins.plugin_utils import project
found = project.find()
print(found.image, found.build, found.cache, found.facts, found.is_installed(found.image), sep="\\n")
"""


@pytest.fixture(scope="module")
def members(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """The files of the built collection."""
    out = tmp_path_factory.mktemp("built")
    subprocess.run(
        ["ansible-galaxy", "collection", "build", str(COLLECTION), "--output-path", str(out)],
        cwd=out,
        check=True,
        capture_output=True,
    )
    (archive,) = out.glob("aza-pg-*.tar.gz")
    with tarfile.open(archive) as tar:
        return {member.name for member in tar if member.isfile()}


def test_the_root_leads_into_the_collection() -> None:
    for name in ("roles", "playbooks", "image"):
        assert (ROOT / name).is_symlink()
        assert (ROOT / name).resolve() == COLLECTION / name


def test_it_has_everything_that_git_tracks_except_tests(members: set[str]) -> None:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=COLLECTION,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.splitlines()
    tracked = {name for name in listed if not name.startswith("tests/") and (COLLECTION / name).is_file()}
    # It is replaced by MANIFEST.json.
    assert members - {"MANIFEST.json", "FILES.json"} == tracked - {"galaxy.yml"}
    for name in (
        "roles/instance/meta/argument_specs.yml",
        "playbooks/deploy.yml",
        "playbooks/files/alerts.yml",
        "image/manifest.yml",
        "image/locks/debian-18.yml",
        "image/build/Dockerfile",
    ):
        assert name in members


def test_every_playbook_can_be_named(members: set[str]) -> None:
    """``aza.pg.NAME`` has to be an identifier, and each playbook of the root imports one of the collection."""
    names = {Path(name).stem for name in members if Path(name).parent == Path("playbooks")}
    assert names and all(name.isidentifier() for name in names)
    for path in ROOT.glob("*.yml"):
        for play in yaml.safe_load(path.read_text(encoding="utf-8")):
            if "ansible.builtin.import_playbook" in play:
                assert (ROOT / play["ansible.builtin.import_playbook"]).stem in names


def test_roles_are_named_in_full() -> None:
    """A short name is looked up in the user's roles first."""
    names = {path.name for path in (COLLECTION / "roles").iterdir()}
    for path in [*COLLECTION.glob("playbooks/*.yml"), *COLLECTION.glob("roles/*/tasks/*.yml")]:
        for line in path.read_text(encoding="utf-8").splitlines():
            _, _, value = line.partition("name: ")
            assert value not in names and line.strip().removeprefix("- ") not in names, f"{path}: {line}"


def test_a_checkout_is_read_and_written() -> None:
    found = project.find()
    assert found.image == ROOT / "image" and found.build == ROOT / "image/build"
    assert found.cache == ROOT / ".cache"
    assert (found.facts / "image.json").is_file()
    assert not found.is_installed(found.image)


def test_an_installed_collection_is_only_read(tmp_path: Path) -> None:
    installed = tmp_path / "installed/ansible_collections/aza/pg"
    shutil.copytree(
        COLLECTION, installed, ignore=shutil.ignore_patterns("tests", "__pycache__", "extensions")
    )
    mine = tmp_path / "mine"
    mine.mkdir()

    def show() -> list[str]:
        return subprocess.run(
            [sys.executable, "-c", SHOW],
            cwd=mine,
            env={**os.environ, "PYTHONPATH": str(tmp_path / "installed"), "PYTHONDONTWRITEBYTECODE": "1"},
            check=True,
            capture_output=True,
            text=True,
        ).stdout.splitlines()

    facts = "postgres/rootfs/usr/local/share/aza-pg"
    expected = [str(installed / "image"), str(mine / ".cache/build"), str(mine / ".cache")]
    assert show() == [*expected, str(installed / "image/build" / facts), "True"]
    (mine / ".cache/build" / facts).mkdir(parents=True)
    assert show() == [*expected, str(mine / ".cache/build" / facts), "True"]


def test_image_data_of_a_project_wins(tmp_path: Path) -> None:
    found = project.find(str(tmp_path / "image"))
    assert (found.image, found.build) == (tmp_path / "image", tmp_path / "image/build")
