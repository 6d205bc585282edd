# SPDX-License-Identifier: Apache-2.0
"""What is wrong in a catalogue is said with file, key, value and expectation, all of it at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from .conftest import Workbench

GIT = {"git": {"repo": "https://example.org/x.git", "commit": "a" * 40, "build": {"type": "pgxs"}}}
AT = "image/extensions/broken.yml: "


def test_valid(bench: Workbench) -> None:
    vector = bench.load().extensions["vector"]
    assert vector.created_name == "vector"
    assert vector.source_in("debian").package == "postgresql-18-vector"  # type: ignore[union-attr]
    assert vector.source_in("pgdg") is None


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"name": "other"}, "name: 'other' is not the file's name; expected 'broken'"),
        ({"summry": "x"}, "summry: unknown key; did you mean 'summary'?"),
        ({"summary": None}, "summary: missing"),
        ({"summary": "Ends with a full stop."}, 'summary: "Ends with a full stop." does not have the form'),
        (
            {"kind": "extention"},
            'kind: "extention" is not one of extension, module, tool, schema; did you mean',
        ),
        ({"create": "yes"}, 'create: "yes" is not of type boolean'),
        ({"smoke": [{"sql": "select 1;", "expect": 1}]}, "smoke[0].expect: 1 is not of type string"),
        ({"smoke": [{"expect": "1"}]}, "smoke[0]: expected either 'sql' or 'command'"),
        (
            {"smoke": [{"sql": "x", "expect": "", "preload": True}]},
            "smoke[0].preload: true, but the entry has no",
        ),
        ({"smoke": None}, "smoke: missing"),
        ({"files": None}, "files: missing"),
        ({"files": ["broken.so"]}, "files: 'extension/broken.control' is missing"),
        ({"preload": {"library": "brk"}}, "files: 'brk.so' is missing, the library that preload names"),
        ({"preload": {"default": True}}, "preload.library: missing"),
        ({"output_plugins": ["plug"]}, "files: 'plug.so' is missing, a library that output_plugins names"),
        ({"enabled": False}, "disabled_reason: missing"),
        ({"disabled_reason": "is not good enough"}, "disabled_reason: given, but the entry is enabled"),
        (
            {
                "enabled": False,
                "disabled_reason": "is not good enough",
                "preload": {"library": "broken", "default": True},
            },
            "preload.default: true, but the entry is not enabled",
        ),
        ({"requires": ["vektor"]}, "requires: 'vektor' is not in the catalogue; did you mean 'vector'?"),
        ({"requires": ["broken"]}, "requires: 'broken' requires itself"),
        (
            {"preload": {"library": "broken", "after": ["vector"]}},
            "preload.after: 'vector' has no preload library",
        ),
        (
            {"preload": {"library": "broken", "conflicts": ["nothing"]}},
            "preload.conflicts: 'nothing' is not in the catalogue",
        ),
        (
            {"sources": [{"apt": {"source": "debain", "package": "x-y"}}]},
            "sources[0].apt.source: unknown archive 'debain'; known: debian, pgdg",
        ),
        ({"sources": []}, "sources: [] should be non-empty"),
        ({"sources": [{"git": {"repo": "https://x", "commit": "v1"}}]}, "sources[0].git.build: missing"),
        (
            {"sql_name": "vector", "files": ["extension/vector.control"]},
            "both claim CREATE EXTENSION 'vector'",
        ),
        ({"kind": "tool", "create": True}, "create: only for kind 'extension', this is a tool"),
    ],
)
def test_one_problem(bench: Workbench, fields: dict[str, Any], expected: str) -> None:
    bench.add("broken", **fields)
    found = bench.problems()
    assert any(expected in problem for problem in found), found
    assert all(problem.startswith("image/") for problem in found)


def test_everything_at_once(bench: Workbench) -> None:
    """One run names the problems of all files, and a broken file is not reported again by those that need it."""
    bench.add("broken", kind="extention", licence="MIT")
    bench.add("needy", requires=["broken"])
    bench.add("other", name="another", files=["extension/another.control"])
    assert len(bench.problems()) == 3


def test_yaml_is_read_strictly(bench: Workbench) -> None:
    bench.text("broken", "name: broken\nname: again\n")
    bench.text("worse", "name: [\n")
    found = bench.problems()
    assert any("broken.yml:2:1: duplicate key 'name'" in problem for problem in found)
    assert any("worse.yml:" in problem for problem in found)


def test_circles(bench: Workbench) -> None:
    bench.add("a", requires=["b"], preload={"library": "a", "after": ["b"]})
    bench.add("b", requires=["a"], preload={"library": "b", "after": ["a"]})
    found = bench.problems()
    assert any("requires is circular: " in problem for problem in found)
    assert any("preload order is circular: " in problem for problem in found)


def test_one_first_place_and_one_owner_of_a_library(bench: Workbench) -> None:
    bench.add("a", preload={"library": "a", "first": True})
    bench.add("b", preload={"library": "a", "first": True}, files=["extension/b.control", "a.so"])
    found = bench.problems()
    assert any("a and b both claim preload.first" in problem for problem in found)
    assert any("a and b both claim the preload library 'a'" in problem for problem in found)


def test_what_is_required_must_go_together(bench: Workbench) -> None:
    """No one could ever use an entry whose requirements exclude each other."""
    bench.add("a", preload={"library": "a"}, settings={"wal_level": "logical"})
    bench.add("b", preload={"library": "b", "conflicts": ["a"]}, requires=["a"])
    bench.add("c", settings={"wal_level": "replica"}, requires=["a"])
    assert bench.problems() == [
        "image/extensions/b.yml: requires: 'b' and 'a' go together, but their preload libraries conflict",
        "image/extensions/c.yml: requires: 'c' and 'a' go together, but differ in settings.wal_level",
    ]


def test_a_disabled_entry_cannot_be_required(bench: Workbench) -> None:
    bench.add("broken", enabled=False, disabled_reason="does not build", smoke=None)
    bench.add("needy", requires=["broken"])
    assert bench.problems() == [
        "image/extensions/needy.yml: requires: 'broken' is not enabled, so 'needy' cannot be either"
    ]


def test_what_is_only_source_needs_no_files_and_no_proof(bench: Workbench) -> None:
    bench.add("built", sources=[GIT], smoke=None, files=None)
    assert not bench.load().extensions["built"].prebuilt


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (
            {"flavours": {"standard": {"summary": "x", "extends": "minmal"}}},
            "flavours.standard.extends: 'minmal'",
        ),
        (
            {"flavours": {"standard": {"summary": "x", "extensions": ["vectr"]}}},
            "flavours.standard.extensions: 'vectr' is not in the catalogue; did you mean 'vector'?",
        ),
        (
            {"flavours": {"a": {"summary": "x", "extends": "b"}, "b": {"summary": "x", "extends": "a"}}},
            "flavours: extends is circular",
        ),
        (
            {"images": {"postgres": {"summary": "x", "packages": {"debain": ["x-y"]}}}},
            "images.postgres.packages: unknown archive 'debain'",
        ),
        ({"images": {}}, "images.postgres: missing"),
        ({"postgresql": {"majors": ["18"]}}, 'postgresql.majors[0]: "18" is not of type integer'),
    ],
)
def test_manifest(bench: Workbench, change: dict[str, Any], expected: str) -> None:
    from .conftest import MANIFEST

    bench.manifest({**MANIFEST, **change})
    assert any(expected in problem for problem in bench.problems())


def test_an_empty_catalogue_is_an_error(bench: Workbench) -> None:
    (bench.directory / "extensions" / "vector.yml").unlink()
    assert any("holds no entry" in problem for problem in bench.problems())
