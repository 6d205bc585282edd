# SPDX-License-Identifier: Apache-2.0
"""The primary is lost and a replica promoted by hand: a deploy follows it, and the old primary becomes a replica."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from support.checks import assert_second_run_changes_nothing
from support.clients import ask
from support.instances import Instance
from support.members import Members, pool, slot, until_says, until_streaming
from support.playbooks import Run
from support.waiting import until

OLD, NEW, OTHER = "azatest-db1", "azatest-db2", "azatest-db3"
Deploy = Callable[..., Run]


# As if the host of the new primary, the one that is reached by SSH, were away.
AWAY = {
    "ansible_ssh_common_args": "-o UserKnownHostsFile=/dev/null -o StrictHostKeyChecking=yes -o ControlPath=none"
}
BOTH = {"confirm": "shop", "remove_data": "shop"}


@pytest.fixture(scope="module")
def promoted(shop: Members) -> None:
    shop[OLD].run(f"docker stop {shop[OLD].container}")
    assert shop[NEW].sql("select pg_promote()") == "t"
    with pool(shop[NEW]) as client:
        client.execute("insert into items values ('after the failover')")


@pytest.mark.usefixtures("promoted")
def test_the_other_replica_follows_the_promoted_one_and_the_old_primary_is_refused(
    shop: Members, blog: Instance, deploy: Deploy
) -> None:
    identity = {name: shop[name].identity() for name in (NEW, OTHER)}
    stopped, beside = shop[OLD].facts(), blog.facts()
    run = deploy("--diff", expect_failure=True)
    message = run.failure(OLD)
    assert "has a primary's data and does not run" in message and f"{NEW} is the primary" in message, message
    assert f"remove.yml --limit {OLD}" in message
    assert shop[OLD].facts() == stopped
    assert f"{NEW} was promoted and is the primary, but the inventory declares a replica" in " ".join(
        run.output.split()
    )
    followed = [change for change in run.plan(OTHER) if change["name"] == "primary_conninfo"]
    assert [change["effect"] for change in followed] == ["reload"]
    until_streaming(shop[NEW], {OTHER: shop[OTHER]})
    assert {name: shop[name].identity() for name in (NEW, OTHER)} == identity, (
        "nothing was copied or restarted"
    )
    assert shop[NEW].sql("select pg_is_in_recovery()") == "f"
    assert blog.facts() == beside


@pytest.mark.usefixtures("promoted")
@pytest.mark.parametrize(
    ("name", "words", "more"),
    [
        ("deploy.yml", (), {}),
        ("deploy.yml", ("--check",), {}),
        ("start.yml", (), {}),
        ("secrets.yml", (), {"rotate": "shop_app"}),
        ("remove.yml", (), BOTH),
    ],
)
def test_the_old_primary_is_left_alone_while_the_new_one_cannot_be_asked(
    shop: Members,
    playbook: Deploy,
    declared: dict[str, Any],
    name: str,
    words: tuple[str, ...],
    more: dict[str, Any],
) -> None:
    """As an operator finds it who does not know of the failover."""
    before = shop[OLD].facts()
    run = playbook(name, *words, extra=declared | AWAY | more, limit=[OLD], expect_failure=True)
    # The inspect the one that is away failed before, and is ignored.
    refused = [task.result for task in run.of(OLD) if task.result.get("reason") == "cluster"]
    assert len(refused) == 1, run.output
    assert f"{NEW} (it cannot be reached)" in refused[0]["msg"], refused[0]["msg"]
    assert shop[OLD].facts() == before
    assert shop[OLD].inspect()["State"]["Status"] == "exited"
    assert shop[OLD].volume in shop[OLD].run("docker volume ls -q").split()


@pytest.mark.usefixtures("promoted")
def test_the_old_primary_is_not_started_beside_the_new_one(shop: Members, playbook: Deploy) -> None:
    """Independent of what the operator names as the primary."""
    for more in ({}, {"not_primary": NEW}, {"start_primary": OLD}):
        run = playbook("start.yml", extra=more, limit=[OLD], expect_failure=True)
        assert f"{NEW} is the primary" in run.failure(OLD), run.failure(OLD)
        assert shop[OLD].inspect()["State"]["Status"] == "exited"


@pytest.mark.usefixtures("promoted")
def test_the_data_of_the_live_primary_is_not_removed(shop: Members, playbook: Deploy) -> None:
    before = shop[NEW].facts()
    run = playbook("remove.yml", extra=BOTH, limit=[NEW], expect_failure=True)
    assert NEW in run.failure(NEW) and "primary" in run.failure(NEW), run.failure(NEW)
    assert shop[NEW].facts() == before


def _give_up(found: Instance, name: str) -> None:
    """As a server does with a slot that was not used for too long."""
    found.sql("alter system set idle_replication_slot_timeout = '1s'")
    found.sql("select pg_reload_conf()")

    def lost() -> bool:
        found.sql("checkpoint")
        return found.sql(f"select wal_status from pg_replication_slots where slot_name = '{name}'") == "lost"

    until(lost, f"{found.name} gives {name} up")
    found.sql("alter system reset idle_replication_slot_timeout")
    found.sql("select pg_reload_conf()")
    until_says(found, "show idle_replication_slot_timeout", "7d")


@pytest.mark.usefixtures("promoted")
def test_the_old_primary_without_its_data_becomes_a_replica(
    shop: Members, playbook: Deploy, deploy: Deploy, declared: dict[str, Any]
) -> None:
    """Although the new one kept nothing for it any more."""
    _give_up(shop[NEW], slot(OLD))
    old = shop[OLD]
    # It was shut down in order, so the one that was promoted has everything.
    plan = playbook("remove.yml", "--check", extra=BOTH, limit=[OLD]).plan(OLD)
    assert "data" in {change["effect"] for change in plan}
    # Now it has what no other member has.
    old.run(f"docker start {old.container}")
    until(lambda: old.host.run(f"docker exec {old.container} pg_isready -q").rc == 0, "the old primary runs")
    old.sql("insert into items values ('nobody else has it')", database="shop")
    old.run(f"docker stop {old.container}")
    message = playbook("remove.yml", extra=BOTH, limit=[OLD], expect_failure=True).failure(OLD)
    assert f"of WAL that {NEW} lacks" in message and f"accept_loss={OLD}" in message, message
    assert old.volume in old.run("docker volume ls -q").split()
    playbook("remove.yml", extra=BOTH | {"accept_loss": OLD}, limit=[OLD])
    assert shop[OLD].volume not in shop[OLD].run("docker volume ls -q").split()
    run = deploy()
    assert ("slot", "recreate") in {(change["kind"], change["action"]) for change in run.plan(NEW)}
    assert f"the inventory says that {OLD} is the primary, and {NEW} is" in " ".join(run.output.split())
    until_streaming(shop[NEW], {name: shop[name] for name in (OLD, OTHER)})
    for name in (OLD, OTHER):
        with pool(shop[name]) as client:
            assert ask(client, "select count(*) from items where name = 'after the failover'") == 1
    assert_second_run_changes_nothing(deploy, shop, most_tasks=25)
    # That the roles are others than the inventory says is told, and is nothing that does not work.
    check = playbook("check.yml", extra=declared, limit=["shop"])
    assert f"the inventory declares a primary; the primary is {NEW}" in " ".join(check.output.split())
