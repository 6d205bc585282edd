# SPDX-License-Identifier: Apache-2.0
"""PostgreSQL's major is named in image/manifest.yml and the locks alone: the rule of scripts/lint.py."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="module")
def lint(script: Callable[[str], ModuleType]) -> ModuleType:
    return script("lint")


@pytest.mark.parametrize(
    "line",
    [
        "packages: [postgresql-18, zstd]",
        "apt-get install postgresql-client-17",
        "/usr/lib/postgresql/18/bin/psql",
        "PGDATA=$home/18/docker",
        "image: pg18",
        "major = 18",
        "PG_MAJOR=18",
        "  major: 18",
        "if major == 18:",
        '{"major": 18}',
        "image_major: 17",
        "/usr/lib/postgresql/18/bin  # https://www.postgresql.org/docs/18/",
    ],
)
def test_a_constant_is_found(line: str, lint: ModuleType) -> None:
    (problem,) = lint.major_constants(Path("roles/x/tasks/main.yml"), ["---", line])
    assert problem.startswith("roles/x/tasks/main.yml:2: ") and "image/manifest.yml" in problem


@pytest.mark.parametrize(
    "line",
    [
        "# https://www.postgresql.org/docs/18/app-pgcontroldata.html",
        "package: postgresql-{major}-pgvector",
        "/usr/lib/postgresql/{{ major }}/bin",
        "/usr/lib/postgresql/*/lib",
        "locked on 2026-12-18",
        "image_major: 0",
        "postgresql-common",
        "18: (pg_signal_autovacuum_worker,),",
    ],
)
def test_what_is_no_constant_is_allowed(line: str, lint: ModuleType) -> None:
    assert not list(lint.major_constants(Path("roles/x/tasks/main.yml"), [line]))


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("image/manifest.yml", True),
        ("image/locks/debian-18.yml", True),
        ("image/build/Dockerfile", True),
        ("collections/ansible_collections/aza/pg/image/manifest.yml", True),
        ("collections/ansible_collections/aza/pg/tests/unit/x.py", True),
        ("tests/stack/x.py", True),
        ("docs/monitoring/dashboards.yml", True),
        ("README.md", True),
        ("image/extensions/vector.yml", False),
        ("image/templates/Dockerfile.j2", False),
        ("collections/ansible_collections/aza/pg/plugins/module_utils/image/build.py", False),
        ("scripts/bootstrap", False),
    ],
)
def test_the_places_that_may_name_one(path: str, allowed: bool, lint: ModuleType) -> None:
    assert bool(list(lint.major_constants(Path(path), ["postgresql-18"]))) is not allowed


def test_the_repository_keeps_the_rules(lint: ModuleType) -> None:
    assert lint.house_rules() == ""
