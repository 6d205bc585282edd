# SPDX-License-Identifier: Apache-2.0
"""A second PostgreSQL major is a list entry of the manifest and a lock: names, paths and records follow from it."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.aza.pg.plugins.module_utils.catalog import load_catalog, load_manifest, solve
from ansible_collections.aza.pg.plugins.module_utils.errors import AzaError
from ansible_collections.aza.pg.plugins.module_utils.image import base, build, mirror, records, resolve
from ansible_collections.aza.pg.plugins.module_utils.image import lock as locking
from ansible_collections.aza.pg.plugins.module_utils.image.lock import Architecture, Lock, Package
from ansible_collections.aza.pg.plugins.module_utils.image.render import AUTOTUNE, FACTS, Tree, render, write
from ansible_collections.aza.pg.plugins.module_utils.image.source import load_source
from ansible_collections.aza.pg.plugins.module_utils.model import paths
from ansible_collections.aza.pg.tests.unit.image.samples import ROOT, record

OWN = load_manifest(ROOT / "image").major
OLD = 17


@pytest.fixture(scope="module")
def image_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The image directory with two majors in its manifest, and without a lock."""
    directory = tmp_path_factory.mktemp("two") / "image"
    shutil.copytree(ROOT / "image", directory, ignore=shutil.ignore_patterns("build", "locks"))
    path = directory / "manifest.yml"
    document = yaml.safe_load(path.read_text())
    document["postgresql"]["majors"] = [OLD, OWN]
    path.write_text(yaml.safe_dump(document, sort_keys=False))
    (directory / "locks").mkdir()
    return directory


@pytest.fixture(scope="module")
def old_lock() -> Lock:
    """The repository's own lock, as it would be with packages of the other major."""

    def old(text: str) -> str:
        return text.replace(f"postgresql-{OWN}", f"postgresql-{OLD}")

    def of(package: Package) -> Package:
        return replace(package, depends=tuple(map(old, package.depends)))

    def all_of(architecture: Architecture) -> Architecture:
        return replace(
            architecture, packages={old(name): of(one) for name, one in architecture.packages.items()}
        )

    own = locking.load_lock(ROOT / "image", "debian", OWN)
    return replace(
        own, major=OLD, architectures={name: all_of(one) for name, one in own.architectures.items()}
    )


def tree_of(image_dir: Path, lock: Lock) -> Tree:
    catalog = load_catalog(image_dir, lock.major)
    return render(
        image_dir, catalog, load_source(image_dir, "debian"), lock, solve(catalog, "debian", "standard")
    )


# --- the choice -----------------------------------------------------------------------------------------------------


def test_the_first_major_is_the_default(image_dir: Path) -> None:
    assert load_catalog(image_dir).manifest.major == load_manifest(image_dir).major == OLD
    assert load_catalog(image_dir, OWN).manifest.major == load_manifest(image_dir, OWN).major == OWN


@pytest.mark.parametrize("load", [load_catalog, load_manifest])
def test_an_unknown_major_lists_the_valid_ones(load: Any, image_dir: Path) -> None:
    with pytest.raises(AzaError) as raised:
        load(image_dir, 16)
    assert raised.value.reason == "unknown_major"
    assert raised.value.msg == (
        f"image_major: 16 is not a major of image/manifest.yml. Valid majors: {OLD}, {OWN}"
    )


def test_package_names_follow_the_major(image_dir: Path) -> None:
    source = load_source(image_dir, "debian")
    old, own = (resolve.roots(load_catalog(image_dir, major), source) for major in (OLD, OWN))
    assert f"postgresql-{OLD}" in old and f"postgresql-{OLD}-pgvector" in old
    assert [name.replace(f"-{OLD}", f"-{OWN}") for name in old] == own
    assert not [name for name in old if str(OWN) in name]


def test_build_features_and_notes_follow_the_major(image_dir: Path) -> None:
    entries = load_catalog(image_dir, OLD).extensions
    assert f"pg{OLD}" in str(entries["wrappers"].sources)
    assert not [name for name, entry in entries.items() if "{major}" in f"{entry}"]


def test_an_older_major_goes_without_what_came_later(image_dir: Path) -> None:
    catalog = load_catalog(image_dir, OLD)
    left_out = solve(catalog, "debian", "minimal").left_out
    assert left_out["pg_overexplain"] == (
        f"'pg_overexplain' needs PostgreSQL 18 or later, and the image is of PostgreSQL {OLD}"
    )
    with pytest.raises(AzaError, match="image_extensions: 'pg_logicalinspect' needs PostgreSQL 18"):
        solve(catalog, "debian", "minimal", ["pg_logicalinspect"])
    assert not solve(load_catalog(image_dir, OWN), "debian", "minimal").left_out.keys() & {"pg_overexplain"}


# --- the lock -------------------------------------------------------------------------------------------------------


class FakeApt:
    """An archive that has every package that it is asked for, and nothing they need."""

    def resolve(self, names: list[str]) -> list[str]:
        return sorted(names)

    def describe(self, names: list[str]) -> list[Mapping[str, str]]:
        return [record(name) for name in names]


def test_each_major_gets_a_lock_of_its_own(image_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resolve.Question, "apt", lambda *_: FakeApt())
    monkeypatch.setattr(mirror, "mirrors", lambda *_: {})
    monkeypatch.setattr(base, "registry_digest", lambda _: None)
    source = load_source(image_dir, "debian")
    asked = resolve.Question(image_dir, image_dir, source, {})
    for major in (OLD, OWN):
        catalog = load_catalog(image_dir, major)
        lock = resolve.resolve(asked, catalog, None, lambda _: None)
        path = locking.path_of(image_dir, "debian", major)
        assert (lock.major, path.name) == (major, f"debian-{major}.yml")
        path.write_text(locking.dump_lock(lock))
        assert f"\nmajor: {major}\n" in path.read_text()
        assert locking.load_lock(image_dir, "debian", major) == lock
        resolve.require_known(lock, catalog, source)
    with pytest.raises(AzaError, match=rf"debian-{OLD}.yml does not have .* -e image_major={OLD}"):
        resolve.require_known(
            locking.load_lock(image_dir, "debian", OLD), load_catalog(image_dir, OWN), source
        )


def test_a_lock_of_another_major_is_refused(lock: Lock, tmp_path: Path) -> None:
    (tmp_path / "locks").mkdir()
    locking.path_of(tmp_path, "debian", OLD).write_text(locking.dump_lock(lock))
    with pytest.raises(AzaError) as raised:
        locking.load_lock(tmp_path, "debian", OLD)
    assert raised.value.reason == "lock_invalid"
    assert f"is the lock of debian for PostgreSQL {lock.major}, expected debian for PostgreSQL {OLD}" in str(
        raised.value.msg
    )


# --- the build context and the record -------------------------------------------------------------------------------


def test_the_build_context_follows_the_major(image_dir: Path, old_lock: Lock) -> None:
    tree = tree_of(image_dir, old_lock)
    dockerfile = tree["Dockerfile"].content.decode()
    assert f"PG_MAJOR={OLD} " in dockerfile and f"PGDATA=/var/lib/postgresql/{OLD}/docker\n" in dockerfile
    assert f":/usr/lib/postgresql/{OLD}/bin:" in dockerfile and f"image/locks/debian-{OLD}.yml" in dockerfile
    files = tree["postgres/locked/files"].content.decode()
    assert f"/usr/lib/postgresql/{OLD}/lib/vector.so vector" in files
    facts = json.loads(tree["postgres/image.json"].content)
    assert (facts["major"], facts["tag"]) == (OLD, f"{OLD}-standard")
    assert json.loads(tree["exporter/image.json"].content)["major"] is None
    assert json.loads(tree[f"{FACTS}/image.json"].content)["postgresql"]
    autotune = tree[AUTOTUNE].content.decode()
    written = next(line for line in autotune.splitlines() if line.startswith("_tune_settings="))
    assert "shared_buffers" in written and "io_method" not in written and "io_workers" not in written
    named = re.compile(rf"postgresql[-/]{OWN}\b|/{OWN}/|major.{{1,3}}{OWN}\b", re.IGNORECASE)
    assert not [name for name, file in tree.items() if named.search(file.content.decode())]


def test_the_record_has_the_major_of_the_build_context(
    image_dir: Path, old_lock: Lock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tree_of(image_dir, old_lock), tmp_path / "build")
    monkeypatch.setattr(base, "why_no_bootstrap", lambda: None)
    order = build.Order(
        build_dir=tmp_path / "build",
        cache_dir=tmp_path / "cache",
        dist_dir=tmp_path / "dist",
        source=load_source(image_dir, "debian"),
        lock=old_lock,
        images=["postgres", "exporter"],
        architectures=["amd64"],
        vcs_ref="abc",
    )
    server, exporter = build.plan(order).tasks
    assert build._record(order, server, tmp_path, 1)["major"] == OLD
    assert build._record(order, exporter, tmp_path, 1)["major"] is None
    with pytest.raises(AzaError) as raised:
        build.plan(replace(order, lock=replace(old_lock, major=OWN)))
    assert raised.value.reason == "context_stale"


@pytest.mark.parametrize(("major", "found"), [(0, True), (OLD, True), (OWN, False)])
def test_a_record_of_another_major_is_not_taken(major: int, found: bool, tmp_path: Path) -> None:
    records.store(tmp_path, {"postgres": {"digest": "a", "major": OLD}, "exporter": {"major": None}})
    assert records.find(tmp_path, "exporter", major) == {"major": None}
    if found:
        assert records.find(tmp_path, "postgres", major)["major"] == OLD
        return
    with pytest.raises(AzaError, match=rf"is of PostgreSQL {OLD}, expected {OWN}: run .*image_major={OWN}"):
        records.find(tmp_path, "postgres", major)


def test_the_paths_of_a_major() -> None:
    assert paths.data_directory(OLD) == f"/var/lib/postgresql/{OLD}/docker"
    assert paths.programs(OLD) == f"/usr/lib/postgresql/{OLD}/bin"
    assert paths.libraries(OLD) == f"/usr/lib/postgresql/{OLD}/lib"
    assert paths.shared_files(OLD) == f"/usr/share/postgresql/{OLD}"
