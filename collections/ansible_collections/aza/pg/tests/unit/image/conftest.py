# SPDX-License-Identifier: Apache-2.0
"""A source and its lock, without a network."""

from __future__ import annotations

from dataclasses import replace

import pytest
from ansible_collections.aza.pg.plugins.module_utils.image.lock import Architecture, Lock, packages_from
from ansible_collections.aza.pg.plugins.module_utils.image.source import Base, Repository, Source
from ansible_collections.aza.pg.tests.unit.image.samples import RECORDS


@pytest.fixture
def source() -> Source:
    repository = Repository(
        "debian", "forky", ("main",), "Debian", "Debian", keyring="debian-archive-keyring.gpg"
    )
    return Source(
        "debian", "test", Base("debian:forky-slim"), (repository,), ("amd64",), check_valid_until=False
    )


@pytest.fixture
def lock() -> Lock:
    packages = packages_from(RECORDS)
    architecture = Architecture(base=("bash", "libc6"), packages=packages, rootfs="0" * 64)
    other = replace(architecture, rootfs=None)
    return Lock(
        source="debian",
        major=18,
        suite="forky",
        image="debian:forky-slim",
        resolved_at="2026-11-22T21:00:00Z",
        base_at="2026-11-20T00:00:00Z",
        architectures={"amd64": architecture, "arm64": other},
    )
