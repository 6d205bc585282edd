# SPDX-License-Identifier: Apache-2.0
"""The repository's own catalogue: what it promises, beyond being valid."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from ansible_collections.aza.pg.plugins.module_utils.catalog import Catalog, solve
from ansible_collections.aza.pg.plugins.module_utils.catalog.docs import render_extensions_page
from ansible_collections.aza.pg.plugins.module_utils.catalog.model import Git
from ansible_collections.aza.pg.plugins.module_utils.catalog.smoke import plan

IMAGE = Path(__file__).parents[7] / "image"


def names(catalog: Catalog, flavour: str) -> set[str]:
    return {entry.name for entry in solve(catalog, "debian", flavour).extensions}


def test_every_file_names_its_schema_for_editors() -> None:
    first = "# yaml-language-server: $schema=../extension.schema.json\n"
    for path in (IMAGE / "extensions").iterdir():
        assert path.suffix == ".yml"
        assert path.read_text().startswith(first), path.name


def test_flavours_are_nested(catalog: Catalog) -> None:
    minimal, standard, full = (names(catalog, flavour) for flavour in ("minimal", "standard", "full"))
    assert minimal < standard < full
    assert minimal == {entry.name for entry in catalog.extensions.values() if entry.bundled}


def test_what_only_exists_as_source_is_in_no_flavour(catalog: Catalog) -> None:
    built = {entry.name for entry in catalog.extensions.values() if not entry.prebuilt}
    assert built
    assert not built & names(catalog, "full")
    assert built == set(solve(catalog, "debian", "full").left_out)


def test_few_libraries_are_preloaded_by_default(catalog: Catalog) -> None:
    """A default costs every installation: only extensions that measure, and do nothing else by default."""
    for flavour in ("minimal", "standard", "full"):
        selection = solve(catalog, "debian", flavour)
        assert selection.preload == ["auto_explain", "pg_stat_statements"]
        assert selection.create == ["pg_stat_statements"]


def test_preload_order_of_everything(catalog: Catalog) -> None:
    order = solve(catalog, "debian", "full").preload_order
    assert order[0] == "timescaledb"
    for later in ("pg_stat_kcache", "pg_qualstats", "pg_wait_sampling", "powa"):
        assert order.index("pg_stat_statements") < order.index(later)


def test_sources_are_pinned(catalog: Catalog) -> None:
    for entry in catalog.extensions.values():
        for source in entry.sources:
            if isinstance(source, Git):
                assert re.fullmatch("[0-9a-f]{40}", source.commit)


def test_every_proof_asks_for_more_than_the_extension_itself(catalog: Catalog) -> None:
    """Some output is expected of each entry, and steps come one after the other in one database."""
    for server in plan(solve(catalog, "debian", "full")):
        for database in server.databases:
            assert any(step.expect.strip() for step in database.steps), database.extension
            if catalog.extensions[database.extension].kind == "extension":
                assert "create extension" in database.prepare


def test_libraries_that_crash_each_other_are_proven_apart(catalog: Catalog) -> None:
    servers = plan(solve(catalog, "debian", "full"))
    assert len(servers) == 2
    for server in servers:
        assert not {"timescaledb", "pg_show_plans"} <= set(server.preload)


@pytest.mark.parametrize("flavour", ["minimal", "standard"])
def test_one_server_proves_a_flavour(catalog: Catalog, flavour: str) -> None:
    (server,) = plan(solve(catalog, "debian", flavour))
    assert len(server.databases) == len(names(catalog, flavour))


def test_page(catalog: Catalog) -> None:
    page = render_extensions_page(catalog)
    assert page == render_extensions_page(catalog)
    for name in catalog.extensions:
        assert len(re.findall(rf"^\| (?:\[{name}\]|{name} )", page, re.MULTILINE)) == 1, name
    assert (
        "| [vector](https://github.com/pgvector/pgvector) (pgvector) | extension | standard, full |" in page
    )
    assert "Not to be preloaded together with timescaledb." in page
