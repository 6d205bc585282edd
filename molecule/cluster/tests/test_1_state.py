# SPDX-License-Identifier: Apache-2.0
"""What a fresh deploy of two clusters leaves on three hosts: seen on each host, and from outside."""

from __future__ import annotations

import psycopg
import pytest

from support.clients import ask
from support.instances import Instance
from support.members import Members, pool, slot, streaming, until_healthy, until_streaming

PRIMARY = "azatest-db1"
REPLICAS = ("azatest-db2", "azatest-db3")
# What a standby may not have less of.
MINIMUM = (
    "max_connections",
    "max_worker_processes",
    "max_wal_senders",
    "max_prepared_transactions",
    "max_locks_per_transaction",
)


def _containers(instance: Instance) -> dict[str, tuple[int, str, int, int]]:
    """Container → port inside, address and port of the host, user inside."""
    return {
        instance.container: (5432, instance.address, instance.port, 999),
        instance.pgbouncer: (6432, instance.address, instance.pool_port, 6432),
        instance.exporter: (9187, "127.0.0.1", instance.exporter_port, 9187),
        instance.pool_exporter: (9127, "127.0.0.1", instance.pool_exporter_port, 6432),
    }


# -- on each host ----------------------------------------------------------------------------------


def test_containers_are_healthy(instance: Instance) -> None:
    until_healthy(instance)


def test_each_is_published_at_one_address(instance: Instance) -> None:
    listening = instance.run("ss -Hltn").split()
    for container, (inside, address, port, _) in _containers(instance).items():
        ports = instance.inspect(container)["HostConfig"]["PortBindings"]
        assert ports == {f"{inside}/tcp": [{"HostIp": address, "HostPort": str(port)}]}
        assert [where for where in listening if where.endswith(f":{port}")] == [f"{address}:{port}"]


def test_containers_have_no_rights_to_spare(instance: Instance) -> None:
    for container, (*_, user) in _containers(instance).items():
        found = instance.inspect(container)
        host = found["HostConfig"]
        assert host["ReadonlyRootfs"], container
        assert (host["CapDrop"], host["CapAdd"], host["Privileged"]) == (["ALL"], None, False)
        assert [option.split(":")[0] for option in host["SecurityOpt"]] == ["no-new-privileges"]
        assert host["Memory"] > 0 and host["RestartPolicy"]["Name"] == "unless-stopped"
        assert host["LogConfig"]["Config"] == {"max-size": "20m", "max-file": "5"}
        assert instance.run(f"docker exec {container} id -u").strip() == str(user)
        assert instance.host.run(f"docker exec {container} touch /etc/written").rc != 0
        assert found["Config"]["Image"].startswith("sha256:") or "@sha256:" in found["Config"]["Image"]


def test_files_of_the_instance(instance: Instance) -> None:
    private = {
        "secrets/postgres_password": 999,
        "secrets/exporter_password": 9187,
        "postgres/tls/server.pem": 999,
        "pgbouncer/tls/server.pem": 6432,
        "pgbouncer/userlist.txt": 6432,
    }
    if instance.name in REPLICAS:
        private["postgres/replication.pgpass"] = 999
    for path, owner in private.items():
        file = instance.host.file(f"{instance.directory}/{path}")
        assert (file.mode, file.uid, file.gid) == (0o400, owner, owner), path
    for path in ("compose.yml", "postgres/pg_hba.conf", "pgbouncer/pgbouncer.ini"):
        file = instance.host.file(f"{instance.directory}/{path}")
        assert (file.mode, file.uid) == (0o644, 0), path
    folder = instance.host.file(f"{instance.directory}/secrets")
    assert (folder.mode, folder.uid) == (0o700, 0)
    assert instance.host.file(instance.socket).linked_to == f"{instance.directory}/run"


# -- replication -----------------------------------------------------------------------------------


def test_replicas_stream_over_tls_with_slots_named_as_their_hosts(shop: Members) -> None:
    primary = shop[PRIMARY]
    until_streaming(primary, {name: shop[name] for name in REPLICAS})
    assert streaming(primary) == {slot(name) for name in REPLICAS}
    for name in REPLICAS:
        status, slot_name, conninfo = (
            shop[name].sql("select status, slot_name, conninfo from pg_stat_wal_receiver").split("|")
        )
        assert (status, slot_name) == ("streaming", slot(name))
        assert f"host={primary.address} " in conninfo and "sslmode=verify-full" in conninfo
        assert shop[name].sql("select pg_is_in_recovery()") == "t"
        assert shop[name].sql("select count(*) from pg_replication_slots") == "0"


def test_a_dead_replica_cannot_fill_the_disk(shop: Members) -> None:
    for found in shop.values():
        assert int(found.sql("select setting from pg_settings where name = 'max_slot_wal_keep_size'")) > 0
        assert found.sql("show idle_replication_slot_timeout") == "7d"


def test_a_smaller_replica_has_at_least_what_its_primary_has(shop: Members) -> None:
    primary, small = shop[PRIMARY], shop["azatest-db3"]
    assert small.inspect()["HostConfig"]["Memory"] < primary.inspect()["HostConfig"]["Memory"]
    for name in MINIMUM:
        assert int(small.sql(f"show {name}")) >= int(primary.sql(f"show {name}")), name
    assert small.sql("show shared_buffers") == "150MB", "what is not a minimum is tuned to the replica itself"


# -- PgBouncer -------------------------------------------------------------------------------------


@pytest.mark.parametrize("user", ["shop", "shop_app", "canary"])
@pytest.mark.parametrize("member", [PRIMARY, *REPLICAS])
def test_a_role_reaches_its_database_through_every_pool(shop: Members, member: str, user: str) -> None:
    """Verified in full, as itself, encrypted up to the server. The password of ``canary`` has every character."""
    with pool(shop[member], user) as client:
        assert ask(client, "select session_user::text") == user
        assert ask(client, "select current_database()::text") == "shop"
        assert ask(client, "select ssl from pg_stat_ssl where pid = pg_backend_pid()") is True
        assert ask(client, "select pg_is_in_recovery()") is (member in REPLICAS)


def test_what_is_written_through_the_primarys_pool_is_read_through_a_replicas(shop: Members) -> None:
    with pool(shop[PRIMARY]) as client:
        client.execute("create table if not exists items (name text)")
        client.execute("insert into items values ('first')")
        client.execute("grant select on items to canary")
    until_streaming(shop[PRIMARY], {name: shop[name] for name in REPLICAS})
    for name in REPLICAS:
        with pool(shop[name], "canary") as client:
            assert ask(client, "select name from items") == "first"
            with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
                client.execute("create table not_here ()")


def test_rejected_clients_are_rejected(shop: Members) -> None:
    for found in shop.values():
        for more, message in (
            ({"password": "wrong"}, "authentication failed"),
            ({"sslmode": "disable"}, "no authentication method"),
            ({"host": "other.example.org", "hostaddr": found.address}, "does not match host name"),
        ):
            with pytest.raises(psycopg.OperationalError, match=message):
                pool(found, **more)


# -- two clusters on one host ----------------------------------------------------------------------


def test_two_clusters_on_one_host_do_not_collide(shop: Members, blog: Instance) -> None:
    beside = shop["azatest-db3"]
    assert beside.machine == blog.machine
    for name in ("directory", "socket", "volume", "container", "pgbouncer", "exporter", "port", "pool_port"):
        assert getattr(beside, name) != getattr(blog, name), name
    networks = [set(found.inspect()["NetworkSettings"]["Networks"]) for found in (beside, blog)]
    assert networks == [{"aza-pg-shop"}, {"aza-pg-blog"}]
    identifiers = {found.sql("select system_identifier from pg_control_system()") for found in (beside, blog)}
    assert len(identifiers) == 2
    # Each pool leads to its own server, and knows no one of the other.
    with pool(blog, "author", "press") as client:
        assert ask(client, "select current_database()::text") == "press"
    with pytest.raises(psycopg.OperationalError, match="no such user"):
        pool(blog, "shop", "press", password="whatever")
