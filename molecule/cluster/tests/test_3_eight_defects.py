# SPDX-License-Identifier: Apache-2.0
"""Eight reasons for which the stacks of the project before this one did not come up as they ship: each is absent."""

from __future__ import annotations

from contextlib import ExitStack

import yaml

from support.clients import ask
from support.instances import Instance
from support.members import Members, pool, slot, streaming, until_healthy
from support.waiting import until

PRIMARY, SMALL = "azatest-db1", "azatest-db3"


def test_1_the_server_does_not_listen_on_loopback_inside_its_container(instance: Instance) -> None:
    """PgBouncer, exporter and replicas reach it, and on the host it is at one address, not at all of them."""
    assert instance.sql("show listen_addresses") == "*"
    assert instance.inspect()["HostConfig"]["PortBindings"]["5432/tcp"][0]["HostIp"] == instance.address
    until(lambda: instance.says_up(instance.exporter_port, "pg"), "its exporter sees the server")
    until(lambda: instance.says_up(instance.pool_exporter_port, "pgbouncer"), "its exporter sees the pooler")
    database, user = ("press", "author") if instance.cluster == "blog" else ("shop", "shop")
    with pool(instance, user, database) as client:
        assert ask(client, "select inet_server_port()") == 5432


def test_2_a_replica_with_less_memory_than_its_primary_starts_and_follows(shop: Members) -> None:
    assert shop[SMALL].inspect()["HostConfig"]["Memory"] < shop[PRIMARY].inspect()["HostConfig"]["Memory"]
    small, primary = (int(shop[name].sql("show max_connections")) for name in (SMALL, PRIMARY))
    assert small >= primary
    assert slot(SMALL) in streaming(shop[PRIMARY])
    assert shop[SMALL].inspect()["RestartCount"] == 0


def test_3_replicas_need_no_network_or_name_of_the_primarys_project(shop: Members) -> None:
    for name, found in shop.items():
        project = yaml.safe_load(found.run(f"cat {found.directory}/compose.yml"))
        assert not any(network.get("external") for network in project["networks"].values()), name
        if name != PRIMARY:
            conninfo = found.sql("show primary_conninfo")
            assert f"host={shop[PRIMARY].address} port={shop[PRIMARY].port} " in conninfo


def test_4_a_replica_runs_with_the_configuration_and_the_rules_that_were_made_for_it(shop: Members) -> None:
    for found in shop.values():
        assert found.sql("show hba_file") == "/etc/aza-pg/pg_hba.conf"
        rows = found.sql("select distinct file_name from pg_hba_file_rules").splitlines()
        assert rows == ["/etc/aza-pg/pg_hba.conf"]
        at = found.sql("select sourcefile from pg_settings where name = 'idle_replication_slot_timeout'")
        assert at == "/etc/aza-pg/conf.d/10-stack.conf"
        assert found.sql("show max_wal_senders") == shop[PRIMARY].sql("show max_wal_senders")


def test_5_clients_of_pgbouncer_are_themselves_and_as_many_as_the_pool_has_room_for(shop: Members) -> None:
    """Not all of them the role that looks up passwords, which may have but a few connections and may read nothing."""
    at, clients = shop[PRIMARY], 12
    with ExitStack() as stack:
        for _ in range(clients):
            client = stack.enter_context(pool(at, autocommit=False))
            assert ask(client, "select session_user::text from items limit 1") == "shop"
        active = (
            "select count(*) from pg_stat_activity where usename = 'shop' and state = 'idle in transaction'"
        )
        assert int(at.sql(active)) >= clients


def test_6_another_database_and_another_administrator_are_no_reason_to_be_unhealthy(blog: Instance) -> None:
    assert (blog.database, blog.user) == ("press", "editor")
    until_healthy(blog)
    for database in ("press", "postgres"):
        with pool(blog, "author", database) as client:
            assert ask(client, "select current_database()::text") == database
    assert blog.sql("select count(*) from pg_roles where rolname = 'postgres'") == "0"
    assert blog.sql("select count(*) > 1 from pg_extension", database="press") == "t"


def test_7_every_name_follows_from_the_clusters_and_no_variable_is_left_to_be_read_by_nothing(
    instance: Instance,
) -> None:
    text = instance.run(f"cat {instance.directory}/compose.yml")
    assert "${" not in text
    project = yaml.safe_load(text)
    assert project["name"] == f"aza-pg-{instance.instance}"
    assert project["volumes"]["data"]["name"] == instance.volume
    assert project["networks"]["default"]["name"] == f"aza-pg-{instance.instance}"
    assert {item["container_name"] for item in project["services"].values()} == {
        instance.container,
        instance.pgbouncer,
        instance.exporter,
        instance.pool_exporter,
    }
    assert instance.run(f"docker compose -f {instance.directory}/compose.yml config --quiet") == ""


def test_8_no_server_runs_with_stock_rules_and_settings(shop: Members, blog: Instance) -> None:
    for found in (*shop.values(), blog):
        assert found.sql("select count(*) from pg_hba_file_rules where auth_method = 'trust'") == "0"
        files = found.sql("select distinct sourcefile from pg_file_settings where applied").splitlines()
        assert "/etc/aza-pg/conf.d/10-stack.conf" in files
        tuned = "select sourcefile from pg_settings where name = 'shared_buffers'"
        assert found.sql(tuned) == "/run/aza-pg/tuned.conf"
