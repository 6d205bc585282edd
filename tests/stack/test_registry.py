# SPDX-License-Identifier: Apache-2.0
"""Hosts that reach a registry take the images from there, by the digest that the inventory names."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.registry import serve

from .instance import Instance, built_image, docker

NAMES = ("postgres", "exporter", "pgbouncer")


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[str]:
    with serve(tmp_path) as address:
        yield address


def _publish(registry: str, name: str) -> str:
    """As a build does elsewhere: it leaves nothing of that name on this engine. NAME:TAG@DIGEST."""
    reference = f"{registry}/azatest/{name}:18"
    docker("tag", built_image(name)["reference"], reference)
    try:
        docker("push", "--quiet", reference)
        digests = docker("image", "inspect", "--format", '{{join .RepoDigests " "}}', reference).split()
    finally:
        docker("image", "rm", reference)
    (digest,) = (found.partition("@")[2] for found in digests if found.startswith(f"{registry}/"))
    return f"{reference}@{digest}"


def test_images_come_from_a_registry_by_their_digest(registry: str, fresh: Instance) -> None:
    images = {name: _publish(registry, name) for name in NAMES}
    fresh.declare(
        postgres_image=images["postgres"],
        postgres_exporter_image=images["exporter"],
        postgres_pgbouncer_image=images["pgbouncer"],
        postgres_pgbouncer=True,
    )
    try:
        planned = fresh.deploy("--check")
        first = fresh.deploy()
        assert planned.plan == first.plan
        for name, container in zip(NAMES, (fresh.container, fresh.exporter, fresh.pgbouncer), strict=True):
            assert f"pull image {registry}/azatest/{name}:18" in first.output
            used = docker("inspect", "--format", "{{.Config.Image}}", container)
            assert used.partition("@")[2] == images[name].partition("@")[2]
        assert fresh.sql("select 1") == "1"
        assert fresh.deploy().recap["changed"] == 0
        assert fresh.play("check").code == 0
    finally:
        fresh.remove()
        for value in images.values():
            docker("image", "rm", value)


def test_a_digest_that_the_registry_does_not_have(registry: str, fresh: Instance) -> None:
    lost = f"{registry}/azatest/postgres@sha256:{'0' * 64}"
    fresh.declare(postgres_image=lost.replace("@", ":18@"))
    run = fresh.play("deploy-single")
    assert run.code != 0
    assert lost in "".join(run.output.split()) and "not found" in run.output, run.output
    assert docker("ps", "--all", "--quiet", "--filter", f"name={fresh.container}") == ""
