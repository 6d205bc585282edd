# SPDX-License-Identifier: Apache-2.0
"""The project's own catalogue, lock and templates are rendered: what comes out is what image/build must hold."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from ansible_collections.aza.pg.plugins.module_utils.catalog import Catalog, load_catalog, solve
from ansible_collections.aza.pg.plugins.module_utils.errors import AzaError
from ansible_collections.aza.pg.plugins.module_utils.image import render as rendering
from ansible_collections.aza.pg.plugins.module_utils.image.lock import Lock, load_lock
from ansible_collections.aza.pg.plugins.module_utils.image.render import File, Tree
from ansible_collections.aza.pg.plugins.module_utils.image.resolve import require_known, roots
from ansible_collections.aza.pg.plugins.module_utils.image.source import Source, load_source
from ansible_collections.aza.pg.tests.unit.image.samples import ROOT

IMAGE = ROOT / "image"


@pytest.fixture(scope="module")
def own() -> tuple[Catalog, Source, Lock]:
    return load_catalog(IMAGE), load_source(IMAGE, "debian"), load_lock(IMAGE, "debian", 18)


def tree_of(own: tuple[Catalog, Source, Lock], flavour: str, extensions: list[str] | None = None) -> Tree:
    catalog, source, lock = own
    return rendering.render(IMAGE, catalog, source, lock, solve(catalog, source.name, flavour, extensions))


def text(tree: Tree, name: str) -> str:
    return tree[name].content.decode()


def test_the_same_input_gives_the_same_bytes(own: tuple[Catalog, Source, Lock]) -> None:
    assert tree_of(own, "standard") == tree_of(own, "standard")


def test_the_lock_covers_the_whole_catalogue(own: tuple[Catalog, Source, Lock]) -> None:
    catalog, source, lock = own
    require_known(lock, catalog, source)
    assert "postgresql-18" in roots(catalog, source)


def test_the_dockerfile_takes_two_arguments_and_no_frontend(own: tuple[Catalog, Source, Lock]) -> None:
    dockerfile = text(tree_of(own, "standard"), "Dockerfile")
    assert set(re.findall(r"^ARG (\S+)", dockerfile, re.M)) == {"BUILD_DATE", "VCS_REF"}
    assert not re.search(r"^# *syntax *=", dockerfile, re.M)
    assert re.findall(r"^FROM (\S+) AS (\S+)", dockerfile, re.M) == [
        ("debian:forky-slim", "common"),
        ("common", "postgres"),
        ("common", "pgbouncer"),
        ("common", "exporter"),
    ]


def test_no_command_can_hide_anothers_failure(own: tuple[Catalog, Source, Lock]) -> None:
    dockerfile = text(tree_of(own, "standard"), "Dockerfile")
    assert 'SHELL ["/bin/bash", "-euo", "pipefail", "-c"]' in dockerfile
    commands = re.findall(r"^RUN (?:.*\\\n)*.*$", dockerfile, re.M)
    assert commands
    for command in commands:
        assert ";" not in command
        assert "||" not in command


def test_no_package_host_is_named(own: tuple[Catalog, Source, Lock]) -> None:
    for name, file in tree_of(own, "full").items():
        found = set(re.findall(rb"https?://([a-z0-9.-]+)", file.content)) - {b"github.com"}
        assert not found, f"{name}: {found}"


def packages(tree: Tree, layer: str) -> list[str]:
    lines = text(tree, f"{layer}/locked/packages.amd64").splitlines()
    return [line for line in lines if not line.startswith("#")]


def test_a_layer_of_an_older_lock_is_not_reused(own: tuple[Catalog, Source, Lock]) -> None:
    """Its files keep the times of its own build, which the time of the newer lock does not raise."""
    catalog, source, lock = own
    later = replace(lock, resolved_at="2099-01-01T00:00:00Z")
    before, after = (tree_of((catalog, source, each), "minimal") for each in (lock, later))
    changed = {name for name in before if before[name] != after[name]}
    # Every image is built on the common layer.
    assert "common/locked/packages.amd64" in changed and "Dockerfile" not in changed


def test_layers_do_not_repeat_packages(own: tuple[Catalog, Source, Lock]) -> None:
    tree = tree_of(own, "standard")

    def names(layer: str) -> set[str]:
        return {line.split()[0] for line in packages(tree, layer)}

    for image in ("postgres", "pgbouncer", "exporter"):
        assert not names("common") & names(image)
    assert {"libc6", "apt", "postgresql-common"} <= names("common")
    assert "postgresql-18" in names("postgres")
    assert names("pgbouncer") >= {"pgbouncer"}


def test_the_common_layer_is_the_same_for_every_choice(own: tuple[Catalog, Source, Lock]) -> None:
    minimal, full = tree_of(own, "minimal"), tree_of(own, "full")
    for name in minimal:
        if name.startswith(("common/", "pgbouncer/", "exporter/")):
            assert minimal[name] == full[name], name


def test_arm64_has_its_own_lists(own: tuple[Catalog, Source, Lock]) -> None:
    tree = tree_of(own, "minimal")
    assert "_arm64.deb" in text(tree, "postgres/locked/packages.arm64")
    assert "_amd64.deb" not in text(tree, "postgres/locked/packages.arm64")


def test_every_line_of_a_list_is_complete(own: tuple[Catalog, Source, Lock]) -> None:
    for line in packages(tree_of(own, "full"), "postgres"):
        assert re.fullmatch(r"[a-z0-9][a-z0-9+.-]+ \S+ [0-9a-f]{64} \S+_(amd64|all)\.deb", line), line


def test_an_extensions_files_are_expected(own: tuple[Catalog, Source, Lock]) -> None:
    lines = text(tree_of(own, "minimal", ["vector"]), "postgres/locked/files").splitlines()
    assert "/usr/share/postgresql/18/extension/vector.control vector" in lines
    assert "/usr/lib/postgresql/18/lib/vector.so vector" in lines


def test_own_choice_has_a_name_of_its_own(own: tuple[Catalog, Source, Lock]) -> None:
    def tag(tree: Tree) -> str:
        return str(json.loads(text(tree, "postgres/image.json"))["tag"])

    assert tag(tree_of(own, "minimal")) == "18-minimal"
    assert tag(tree_of(own, "minimal", ["vector"])) == "18-minimal-custom"
    assert tag(tree_of(own, "full", ["vector"])) == "18-full"


def test_labels_are_complete(own: tuple[Catalog, Source, Lock]) -> None:
    tree = tree_of(own, "standard")
    for image in ("postgres", "pgbouncer", "exporter"):
        labels = json.loads(text(tree, f"{image}/image.json"))["labels"]
        keys = {key.removeprefix("org.opencontainers.image.") for key in labels}
        assert keys == {
            "title",
            "description",
            "version",
            "licenses",
            "vendor",
            "source",
            "documentation",
            "base.name",
        }
        assert all(labels.values())
        assert all(f'{key}="{value}"' in text(tree, "Dockerfile") for key, value in labels.items())


def test_facts_for_the_entrypoint(own: tuple[Catalog, Source, Lock]) -> None:
    tree = tree_of(own, "standard")
    facts = {
        name: text(tree, f"{rendering.FACTS}/{name}")
        for name in ("preload", "preload-available", "preload-order", "output-plugins", "create")
    }
    order = text(tree_of(own, "full"), f"{rendering.FACTS}/preload-order").splitlines()
    assert order[0] == "timescaledb pg_show_plans"
    assert "pg_show_plans timescaledb" in order
    assert "wal2json" in facts["output-plugins"].split()
    assert re.fullmatch(r"([\w.-]+ \d+\n)+", facts["preload"])
    assert re.fullmatch(r"([\w.-]+ \d+\n)*", facts["preload-available"])
    assert re.fullmatch(r"([\w-]+( \w+)?\n)+", facts["create"])
    described = json.loads(text(tree, f"{rendering.FACTS}/image.json"))
    assert (described["flavour"], described["source"]) == ("standard", "debian")
    assert all(entry["version"] for entry in described["extensions"])


def test_a_package_deleted_from_the_lock_is_named(own: tuple[Catalog, Source, Lock]) -> None:
    catalog, source, lock = own
    architectures = {
        name: replace(facts, packages={k: v for k, v in facts.packages.items() if k != "libpq5"})
        for name, facts in lock.architectures.items()
    }
    with pytest.raises(AzaError, match=r"lacks the package libpq5 .*playbooks/lock.yml"):
        tree_of((catalog, source, replace(lock, architectures=architectures)), "standard")


# --- on disk --------------------------------------------------------------------------------------------------------

TREE = {"a": File(b"1\n"), "d/b": File(b"2\n", executable=True)}


def test_writing_ends_the_drift(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("old\n")
    (tmp_path / "gone" / "deep").mkdir(parents=True)
    (tmp_path / "gone" / "deep" / "c").write_text("x")
    drift = rendering.drift(TREE, tmp_path)
    assert (drift.missing, drift.different, drift.extra) == (["d/b"], ["a"], ["gone/deep/c"])
    assert "-old" in rendering.text_diff(TREE, tmp_path)
    rendering.write(TREE, tmp_path)
    assert not rendering.drift(TREE, tmp_path)
    assert rendering.read_tree(tmp_path) == TREE
    assert not (tmp_path / "gone").exists()


def test_what_is_right_is_not_touched(tmp_path: Path) -> None:
    rendering.write(TREE, tmp_path)
    before = (tmp_path / "a").stat().st_mtime_ns
    rendering.write({**TREE, "e": File(b"3")}, tmp_path)
    assert (tmp_path / "a").stat().st_mtime_ns == before


def test_a_lost_executable_bit_is_drift(tmp_path: Path) -> None:
    rendering.write(TREE, tmp_path)
    (tmp_path / "d" / "b").chmod(0o644)
    assert rendering.drift(TREE, tmp_path).different == ["d/b"]


def test_a_long_difference_is_cut(tmp_path: Path) -> None:
    lines = rendering.text_diff({"a": File(b"x\n" * 500)}, tmp_path, limit=10).splitlines()
    assert len(lines) == 11
    assert lines[-1] == "… 493 more lines"
