# SPDX-License-Identifier: Apache-2.0
"""What the inventory's image_major decides, before any host is contacted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible_collections.aza.pg.plugins.module_utils.catalog import load_manifest
from ansible_collections.aza.pg.plugins.module_utils.inventory.check import Problem, check_host
from ansible_collections.aza.pg.plugins.module_utils.inventory.specs import load_specs
from ansible_collections.aza.pg.plugins.plugin_utils.image_contents import contents_for

ROOT = next(parent for parent in Path(__file__).resolve().parents if (parent / "roles" / "instance").is_dir())
SPECS = load_specs([ROOT / "roles"])
OWN = load_manifest(ROOT / "image").major
# Of PostgreSQL 18.
NEW_ROLE = [{"name": "a", "member_of": ["pg_signal_autovacuum_worker"]}]


def problems(**values: Any) -> list[Problem]:
    return check_host("db1", {"postgres_cluster": "shop", **values}, SPECS, contents_for())


@pytest.mark.parametrize("major", [0, OWN])
def test_a_major_of_the_manifest_is_valid(major: int) -> None:
    assert not problems(image_major=major)


def test_another_major_is_refused_with_the_valid_ones() -> None:
    (problem,) = problems(image_major=12)
    assert problem.path == ("image_major",)
    assert problem.message == f"12 is not a major of image/manifest.yml. Valid majors: {OWN}"


def test_text_is_refused_once() -> None:
    (problem,) = problems(image_major="newest")
    assert problem.path == ("image_major",) and "a whole number" in problem.message


@pytest.mark.parametrize(("major", "known"), [(17, False), (18, True), (0, True)])
def test_the_predefined_roles_are_those_of_the_major(major: int, known: bool) -> None:
    found = problems(image_major=major, postgres_roles=NEW_ROLE)
    assert any("pg_signal_autovacuum_worker" in problem.message for problem in found) is not known


def test_the_major_of_an_image_of_a_registry_is_not_known() -> None:
    image = f"registry.example/postgres:17@sha256:{'0' * 64}"
    assert not problems(image_major=OWN, postgres_image=image, postgres_roles=NEW_ROLE)
