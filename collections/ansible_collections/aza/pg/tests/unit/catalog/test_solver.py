# SPDX-License-Identifier: Apache-2.0
"""From a flavour and a choice to what an image gets: examples, each with the sentence that refuses it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from ansible_collections.aza.pg.plugins.module_utils.catalog import Selection, solve
from ansible_collections.aza.pg.plugins.module_utils.errors import AzaError

if TYPE_CHECKING:
    from .conftest import Workbench

GIT = {
    "git": {"repo": "https://example.org/x.git", "tag": "v1", "commit": "a" * 40, "build": {"type": "pgxs"}}
}


def names(selection: Selection) -> list[str]:
    return [entry.name for entry in selection.extensions]


def refusal(bench: Workbench, *extensions: str, source: str = "debian", flavour: str = "minimal") -> AzaError:
    with pytest.raises(AzaError) as caught:
        solve(bench.load(), source, flavour, list(extensions))
    return caught.value


def test_a_flavour_and_ones_own_choice(bench: Workbench) -> None:
    bench.add("extra")
    bench.add("hstore", sources=[{"bundled": {}}])
    catalog = bench.load()
    assert names(solve(catalog, "debian", "minimal")) == ["hstore"]
    assert names(solve(catalog, "debian", "standard")) == ["hstore", "vector"]
    assert names(solve(catalog, "debian", "minimal", ["extra"])) == ["extra", "hstore"]
    assert names(solve(catalog, "debian", "full")) == ["extra", "hstore", "vector"]


def test_packages_are_named_once_and_come_after_the_servers(bench: Workbench) -> None:
    both = [{"apt": {"source": "debian", "package": "postgresql-{major}-both"}}]
    bench.add("a", sources=both)
    bench.add("b", sources=both)
    assert solve(bench.load(), "debian", "minimal", ["a", "b"]).packages == [
        "postgresql-18",
        "postgresql-18-both",
    ]


def test_what_is_required_comes_along_and_first(bench: Workbench) -> None:
    bench.add("a", requires=["z"], create=True, schema="store")
    bench.add("z", requires=["vector"], sql_name="zed", files=["extension/zed.control"])
    selection = solve(bench.load(), "debian", "minimal", ["a"])
    assert names(selection) == ["vector", "z", "a"]
    assert selection.create == ["vector", "zed", "a store"]
    assert selection.files["z"] == ["extension/zed.control"]


def test_preload_order_and_workers(bench: Workbench) -> None:
    bench.add("late", preload={"library": "late", "after": ["stats"], "workers": 2})
    bench.add("stats", preload={"library": "stats", "default": True})
    bench.add("head", preload={"library": "head", "first": True, "workers": 7})
    bench.add("early", preload={"library": "early", "before": ["stats"], "default": True})
    selection = solve(bench.load(), "debian", "full")
    assert selection.preload == ["early", "stats"]
    assert selection.opt_in_preload == ["head", "late"]
    assert selection.preload_order == ["head", "early", "stats", "late"]
    assert selection.preload_workers == {"early": 0, "head": 7, "late": 2, "stats": 0}


def test_output_plugins(bench: Workbench) -> None:
    bench.add("plug", output_plugins=["plug"])
    assert solve(bench.load(), "debian", "full").output_plugins == ["plug"]


@pytest.mark.parametrize("order", [("a", "b"), ("b", "a")])
def test_conflicting_defaults_are_refused(bench: Workbench, order: tuple[str, str]) -> None:
    bench.add("a", preload={"library": "a", "default": True, "conflicts": ["b"]})
    bench.add("b", preload={"library": "b", "default": True})
    error = refusal(bench, *order)
    assert error.reason == "preload_conflict"
    assert "'a' and 'b'" in error.msg
    assert "leave one of them out" in error.msg


def test_conflicting_opt_ins_share_an_image(bench: Workbench) -> None:
    bench.add("a", preload={"library": "a", "conflicts": ["b"]})
    bench.add("b", preload={"library": "b", "default": True})
    assert solve(bench.load(), "debian", "full").opt_in_preload == ["a"]


@pytest.mark.parametrize("word", ["vektor", "pgvector", "PGVector", "postgresql-18-pgvector"])
def test_unknown_extension(bench: Workbench, word: str) -> None:
    bench.add(
        "vector",
        title="pgvector",
        sources=[{"apt": {"source": "debian", "package": "postgresql-{major}-pgvector"}}],
    )
    error = refusal(bench, word)
    assert error.reason == "unknown_extension"
    assert error.msg == f"image_extensions: unknown extension '{word}'; did you mean 'vector'?"


def test_all_refusals_at_once(bench: Workbench) -> None:
    error = refusal(bench, "nothing_like_it", "vektor", "vector")
    assert error.details["problems"] == [
        "unknown extension 'nothing_like_it'",
        "unknown extension 'vektor'; did you mean 'vector'?",
    ]


def test_not_available_from_this_source(bench: Workbench) -> None:
    elsewhere = [{"apt": {"source": "pgdg", "package": "x-elsewhere"}}, GIT]
    bench.add("elsewhere", sources=elsewhere)
    bench.add("needy", requires=["elsewhere"])
    error = refusal(bench, "needy")
    assert error.reason == "extension_unavailable"
    assert error.msg == (
        "image_extensions: 'elsewhere' (required by 'needy') is not available from the source 'debian'; "
        "it exists in: the archive 'pgdg' as x-elsewhere; source code at https://example.org/x.git v1"
    )
    # A flavour is a selection: it leaves both out and says why.
    selection = solve(bench.load(), "debian", "full")
    assert names(selection) == ["vector"]
    assert set(selection.left_out) == {"elsewhere", "needy"}
    assert "required by 'needy'" in selection.left_out["needy"]


def test_disabled(bench: Workbench) -> None:
    bench.add("off", enabled=False, disabled_reason="does not build with 18")
    assert refusal(bench, "off").msg == "image_extensions: 'off' is disabled: does not build with 18"
    assert solve(bench.load(), "debian", "full").left_out == {
        "off": "'off' is disabled: does not build with 18"
    }


def test_unknown_flavour_and_source(bench: Workbench) -> None:
    error = refusal(bench, flavour="standart")
    assert error.msg == (
        "image_flavour: unknown flavour 'standart'; did you mean 'standard'?; known: minimal, standard, full"
    )
    # An archive without the server's packages cannot be an image's source.
    assert "unknown source 'pgdg'; known: debian" in refusal(bench, source="pgdg").msg
