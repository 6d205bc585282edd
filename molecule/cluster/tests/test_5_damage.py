# SPDX-License-Identifier: Apache-2.0
"""What goes wrong with a replica: it catches up by itself, or a deploy brings it back."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable

from support.clients import ask
from support.instances import Instance
from support.members import Members, pool, slot, streaming, until_streaming
from support.playbooks import Run
from support.waiting import until

PRIMARY, NEAR, FAR = "azatest-db1", "azatest-db2", "azatest-db3"


def _write(shop: Members, what: str) -> None:
    with pool(shop[PRIMARY]) as client:
        client.execute("insert into items values (%s)", (what,))


def _has(found: Instance, what: str) -> bool:
    return found.sql(f"select count(*) from items where name = '{what}'", database="shop") == "1"


def _until_ready(found: Instance) -> None:
    ready = f"docker exec {found.container} pg_isready -q"
    until(lambda: found.host.run(ready).rc == 0, f"{found.instance} is back")


def _replicas(shop: Members) -> dict[str, Instance]:
    return {name: found for name, found in shop.items() if name != PRIMARY}


def test_a_killed_replica_comes_back_by_itself(shop: Members) -> None:
    replica = shop[NEAR]
    before = replica.inspect()["State"]["StartedAt"]
    replica.run(f"kill -9 {replica.inspect()['State']['Pid']}")
    _write(shop, "while one was dead")
    until(lambda: replica.inspect()["State"]["StartedAt"] != before, "it is started again")
    until_streaming(shop[PRIMARY], _replicas(shop))
    assert _has(replica, "while one was dead")


def test_a_replica_whose_network_was_cut_catches_up_by_itself(shop: Members) -> None:
    """The primary has given its connection up meanwhile, and keeps in its slot what it has not received."""
    primary, replica = shop[PRIMARY], shop[FAR]
    ways = [f"DOCKER-USER -{way} {primary.address} -j DROP" for way in ("s", "d")]
    started = replica.identity()
    replica.run("; ".join(f"iptables -I {way}" for way in ways))
    try:
        name = slot(FAR)
        ended = f"select pg_terminate_backend(pid) from pg_stat_replication where application_name = '{name}'"
        primary.sql(ended)
        state = f"select active, wal_status from pg_replication_slots where slot_name = '{name}'"
        until(lambda: primary.sql(state) == "f|reserved", "the primary has given it up, and keeps its slot")
        _write(shop, "while one was cut off")
        assert not _has(replica, "while one was cut off")
    finally:
        replica.run("; ".join(f"iptables -D {way}" for way in ways))
    until_streaming(primary, _replicas(shop))
    assert _has(replica, "while one was cut off")
    assert replica.identity() == started


def test_a_host_whose_engine_restarted_has_both_clusters_again(shop: Members, blog: Instance) -> None:
    subprocess.run(["docker", "restart", "--time", "20", shop[FAR].machine], check=True, capture_output=True)
    _write(shop, "while one restarted")
    for found in (shop[FAR], blog):
        _until_ready(found)
    until_streaming(shop[PRIMARY], _replicas(shop))
    assert _has(shop[FAR], "while one restarted")
    with pool(shop[FAR]) as client:
        assert ask(client, "select pg_is_in_recovery()") is True


# Ansible may find its pipe to ssh closed before it has read why.
_REFUSED = re.compile("Host key verification failed|this host can be reached over ssh")


def test_a_host_key_that_is_wrong_stops_that_host_alone(
    shop: Members, blog: Instance, playbook: Callable[..., Run], declared: dict[str, object]
) -> None:
    """As a host does that cannot be reached at all. Who stayed out is said, and the others are deployed and judged."""
    strange = {
        "ansible_ssh_common_args": "-o UserKnownHostsFile=/dev/null -o StrictHostKeyChecking=yes -o ControlPath=none"
    }
    run = playbook("deploy.yml", extra=declared | strange, expect_failure=True)
    recap = {line.split()[0]: line for line in run.output.splitlines() if re.search(r" ok=\d+ ", line)}
    assert set(recap) == {*shop, blog.name}
    for name, line in recap.items():
        assert ("unreachable=1" in line) is (name == NEAR), line
        assert "failed=0" in line, line
    assert _REFUSED.search(" ".join(run.output.split())), run.output
    for name in (PRIMARY, FAR, blog.name):
        assert any(task.name.endswith("Converge the instance") for task in run.of(name))
    check = playbook("check.yml", extra=declared | strange, expect_failure=True)
    message = " ".join(check.output.split())
    assert "it cannot be reached: " in message and _REFUSED.search(message), check.output
    assert "1 instance" not in message and "4 instances: 1 red" in message, check.output


def test_a_check_says_what_is_broken_and_a_deploy_brings_it_back(
    shop: Members, playbook: Callable[..., Run], deploy: Callable[..., Run], declared: dict[str, object]
) -> None:
    """With it comes what the restart of the host took: the link in /run."""
    primary, near, far, name = shop[PRIMARY], shop[NEAR], shop[FAR], slot(NEAR)
    near.run(f"docker stop {near.container}")
    # Its pooler looks for the server's name while no one has it.
    near.run(f"docker restart {near.pgbouncer}")
    until(lambda: name not in streaming(primary), "the primary knows that it is away")
    slots = f"from pg_replication_slots where slot_name = '{name}'"
    primary.sql(f"select pg_drop_replication_slot(slot_name) {slots}")
    primary.sql("create role stray superuser")
    primary.run(f"echo 'host all all 0.0.0.0/0 trust' >> {primary.directory}/postgres/pg_hba.conf")
    far.sql("select pg_wal_replay_pause()")
    far.run(f"docker stop {far.pgbouncer}")
    check = playbook("check.yml", extra=declared, limit=["shop"], expect_failure=True)
    message = " ".join(check.output.split())
    for words in (
        f"start container {near.container}",
        f"create slot {name}",
        "role stray: a superuser that is not declared",
        "host all all 0.0.0.0/0 trust",
        "its replay is paused",
        f"start container {far.pgbouncer}",
    ):
        assert words in message, f"{words}: not in {check.output}"
    assert "does not outlive" not in message, "what checks has connections enough for each database"

    primary.sql("drop role stray")
    far.sql("select pg_wal_replay_resume()")
    deploy()
    until_streaming(primary, _replicas(shop))
    for found in shop.values():
        assert found.host.file(found.socket).is_symlink
        with pool(found) as client:
            assert ask(client, "select count(*) from items where name like 'while%'") == 3
