# SPDX-License-Identifier: Apache-2.0
"""A replica is removed by its cluster's name only; its data stays, and so does everything of the cluster beside it."""

from __future__ import annotations

from collections.abc import Callable

from support.clients import ask
from support.instances import Instance
from support.members import Members, pool
from support.playbooks import Run

HOST = "azatest-db3"


def test_remove_one_of_two_instances_of_a_host(
    shop: Members, blog: Instance, playbook: Callable[..., Run]
) -> None:
    found, beside = shop[HOST], blog.facts()
    before = found.facts()
    run = playbook("remove.yml", extra={"confirm": "shopp"}, limit=[HOST], expect_failure=True)
    assert "Nothing was changed" in run.output
    # The other cluster's name is none of this instance's business.
    playbook("remove.yml", extra={"confirm": "blog"}, limit=[HOST])
    assert found.facts() == before

    playbook("remove.yml", extra={"confirm": "shop"}, limit=[HOST])
    assert not set(found.run("docker ps -a --format '{{.Names}}'").split()) & {
        found.container,
        found.pgbouncer,
        found.exporter,
        found.pool_exporter,
    }
    assert not found.host.file(found.directory).exists
    assert found.volume in found.run("docker volume ls -q").split()
    assert blog.facts() == beside
    with pool(blog, "author", "press") as client:
        assert ask(client, "select 1") == 1
