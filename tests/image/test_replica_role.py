# SPDX-License-Identifier: Apache-2.0
"""POSTGRES_ROLE=replica: a standby is cloned before any server starts, and never refuses to start for being smaller."""

from __future__ import annotations

import re
import subprocess
from typing import Any

import pytest
from ansible_collections.aza.pg.plugins.module_utils.host import data_volume
from ansible_collections.aza.pg.plugins.module_utils.host.docker import Docker
from ansible_collections.aza.pg.plugins.module_utils.server import positions

PASSWORD = r"a:b\c'd e"
PRIMARY_INIT = {
    "/docker-entrypoint-initdb.d/1.sql": "CREATE ROLE replicator LOGIN REPLICATION PASSWORD E'a:b\\\\c''d e';\n"
    "CREATE TABLE t AS SELECT 42 AS answer;",
    "/docker-entrypoint-initdb.d/2.sh": "echo 'host replication replicator all scram-sha-256' >>$PGDATA/pg_hba.conf\n",
}


def replica_env(primary: str, **more: str) -> dict[str, str]:
    return {
        "POSTGRES_ROLE": "replica",
        "POSTGRES_PRIMARY_HOST": primary,
        "POSTGRES_REPLICATION_PASSWORD": PASSWORD,
        "POSTGRES_REPLICATION_SLOT": "second",
        **more,
    }


def start_primary(run_container: Any, **options: Any) -> tuple[Any, str]:
    network = run_container.network()
    arguments = (
        "-c",
        "max_connections=333",
        "-c",
        "max_locks_per_transaction=99",
        "-c",
        "max_prepared_transactions=7",
    )
    primary = run_container(*arguments, files=PRIMARY_INIT, network=network, **options)
    return primary, network


def stopped_facts(box: Any, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What a deploy learns of a stopped server from its volume. It is what pg_controldata says, for root, who may read
    the directory, as for a user who may only ask the engine."""
    (mount,) = [item for item in box.container.attrs["Mounts"] if item["Type"] == "volume"]
    found = data_volume.observe(Docker(), mount["Name"], box.name)
    with monkeypatch.context() as patch:
        patch.setattr(data_volume._Directory, "__init__", _closed)
        assert data_volume.observe(Docker(), mount["Name"], box.name) == found
    command = [
        "run",
        "--rm",
        "--volumes-from",
        box.name,
        "--entrypoint",
        "pg_controldata",
        box.container.image.id,
    ]
    message = subprocess.run(
        ["docker", *command, "/var/lib/postgresql/18/docker"], capture_output=True, text=True, check=True
    ).stdout
    values = dict(re.findall(r"^(.+?): +(.+)$", message, re.MULTILINE))
    ends = ("Latest checkpoint location", "Minimum recovery ending location")
    assert found["system_identifier"] == values["Database system identifier"]
    assert found["lsn"] in [values[name] for name in ends]
    lines = ("Latest checkpoint's TimeLineID", "Min recovery ending loc's timeline")
    assert found["timeline"] == max(int(values[name]) for name in lines)
    assert found["exact"] is values["Database cluster state"].startswith("shut down")
    return found


def _closed(*_: Any) -> None:
    raise data_volume.UnreadableError("closed")


def test_replica(run_container: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    primary, network = start_primary(run_container, mem_limit="2g")
    env = replica_env(primary.name)
    replica = run_container(password=None, env=env, network=network, mem_limit="512m")
    assert replica.sql("SELECT pg_is_in_recovery(), answer FROM t") == "t|42"
    assert replica.show("max_connections") == "333", (
        "a smaller standby takes the primary's value as its minimum"
    )
    assert replica.show("max_locks_per_transaction") == "99"
    assert replica.show("max_prepared_transactions") == "7"
    assert replica.show("shared_buffers") == "128MB", "what is not a minimum is tuned to the standby itself"
    assert replica.show("primary_slot_name") == "second"
    active = "SELECT active FROM pg_replication_slots WHERE slot_name = 'second'"
    replica.until(lambda: primary.sql(active) == "t", "the slot to be used")
    assert replica.run("aza-healthcheck")[0] == 0

    # The password is where libpq alone looks for it.
    assert replica.check("stat", "-c", "%a", "/run/aza-pg/replication.passfile") == "600"
    everything = replica.check(
        "sh", "-c", "cat /proc/[0-9]*/cmdline /proc/1/environ $PGDATA/*.conf | tr '\\0' ' '"
    )
    for text in (everything, replica.logs()):
        assert PASSWORD not in text and "a:b" not in text

    # The primary grows while the standby is down: pg_control does not know it yet, the primary does.
    replica.container.stop(timeout=20)
    seen = stopped_facts(replica, monkeypatch)
    assert (seen["data"], seen["standby"], seen["timeline"], seen["exact"]) == (True, True, 1, True)
    primary.sql("ALTER SYSTEM SET max_wal_senders = 23")
    primary.restart()
    replica.start().wait_ready()
    assert replica.show("max_wal_senders") == "23"

    # Without the primary its own data says what it needs.
    primary.container.stop(timeout=20)
    before = stopped_facts(primary, monkeypatch)
    assert (before["standby"], before["exact"]) == (False, True)
    replica.restart()
    assert "does not answer" in replica.logs()
    assert (replica.show("max_wal_senders"), replica.show("max_connections")) == ("23", "333")

    # Promoted, it is a primary, whatever its environment says, and stays one.
    replica.sql("SELECT pg_promote()")
    replica.restart()
    assert replica.sql("SELECT pg_is_in_recovery()") == "f"
    assert "is a primary's (no standby.signal; promoted?)" in replica.logs()

    # The promoted one has all that the old primary had, which was shut down in order; a killed one may have had more.
    replica.container.kill("KILL")
    replica.exit_code()
    promoted = stopped_facts(replica, monkeypatch)
    assert (promoted["standby"], promoted["timeline"], promoted["exact"]) == (False, 2, False)
    assert [timeline for timeline, _ in promoted["history"]] == [1]
    assert positions.missing(before, promoted) == 0
    assert (positions.missing(promoted, before) or 0) > 0


def test_what_conf_d_names_makes_a_replica(run_container: Any) -> None:
    """As a stack does it: no variable, so that another primary is a reload; and nothing is kept beside that file."""
    init = {
        **PRIMARY_INIT,
        "/docker-entrypoint-initdb.d/2.sh": "echo 'host replication all all trust' >>$PGDATA/pg_hba.conf\n",
    }
    network = run_container.network()
    primary = run_container("-c", "max_connections=333", files=init, network=network)
    conninfo = f"host=''{primary.name}'' user=replicator application_name=''the third''"
    conf = f"primary_conninfo = '{conninfo}'\nprimary_slot_name = 'third'\n"
    files = {"/etc/aza-pg/conf.d/10-stack.conf": conf}
    replica = run_container(password=None, files=files, network=network, mem_limit="512m")
    assert replica.sql("SELECT pg_is_in_recovery(), answer FROM t") == "t|42"
    active = "SELECT active FROM pg_replication_slots WHERE slot_name = 'third'"
    replica.until(lambda: primary.sql(active) == "t", "the slot to be used")
    assert primary.sql("SELECT application_name FROM pg_stat_replication") == "the third"
    assert replica.show("max_connections") == "333"
    assert "primary_conninfo" not in replica.check("sh", "-c", "cat $PGDATA/postgresql.auto.conf")

    # Restarted, it asks the primary that the file names for what it needs at least.
    replica.container.stop(timeout=20)
    primary.sql("ALTER SYSTEM SET max_wal_senders = 23")
    primary.restart()
    replica.start().wait_ready()
    assert replica.show("max_wal_senders") == "23"


@pytest.mark.parametrize("tune", ["on", "off"])
def test_a_smaller_value_that_is_set_waits_for_the_replay(run_container: Any, tune: str) -> None:
    """PostgreSQL compares it to what pg_control keeps, refuses, and so never gets to replay what would lower that."""
    primary, network = start_primary(run_container)
    env = replica_env(primary.name, POSTGRES_AUTOTUNE=tune)
    smaller = ("-c", "max_locks_per_transaction=98")
    replica = run_container(*smaller, password=None, env=env, network=network)
    replica.sql("ALTER SYSTEM SET max_prepared_transactions = 6")
    replica.restart()
    assert "max_prepared_transactions is 7, not 6 as it is set: a standby may not have less" in replica.logs()
    assert replica.show("max_prepared_transactions") == "7"
    assert replica.show("max_locks_per_transaction") == "99"
    assert replica.sql("SELECT pg_is_in_recovery()") == "t"

    replica.sql("SELECT pg_promote()")
    replica.restart()
    assert (replica.show("max_prepared_transactions"), replica.show("max_locks_per_transaction")) == (
        "6",
        "98",
    )


@pytest.mark.parametrize("tune", ["on", "off"])
def test_standby_data_stays_a_standby(run_container: Any, tune: str) -> None:
    """Truth comes from the data: started as a primary, without the primary's address, it follows and starts."""
    primary, network = start_primary(run_container)
    mounts = {run_container.volume(): {"bind": "/var/lib/postgresql", "mode": "rw"}}
    replica = run_container(password=None, env=replica_env(primary.name), network=network, volumes=mounts)
    replica.container.stop(timeout=20)
    again = run_container(env={"POSTGRES_AUTOTUNE": tune}, network=network, volumes=mounts, mem_limit="512m")
    assert again.sql("SELECT pg_is_in_recovery()") == "t"
    assert again.show("max_connections") == "333"
    assert "is a standby's (standby.signal)" in again.logs()


def test_waits_for_the_primary_and_says_so(run_container: Any) -> None:
    """Two containers that start together: the standby is there first."""
    network = run_container.network()
    name = run_container.new_name()
    replica = run_container(password=None, env=replica_env(name), network=network, wait="none")
    replica.wait_log(f"waiting up to 300 s for the primary {name}:5432 to accept replicator")
    replica.wait_log("still waiting for the primary")
    assert replica.run("aza-healthcheck")[0] == 1
    primary = run_container(files=PRIMARY_INIT, wait="none")
    run_container.engine.networks.get(network).connect(primary.container, aliases=[name])
    replica.wait_ready(60)
    assert replica.sql("SELECT answer FROM t") == "42"


def test_gives_up_after_the_stated_time(run_container: Any) -> None:
    env = replica_env("127.0.0.1", POSTGRES_PRIMARY_TIMEOUT="2")
    box = run_container(password=None, env=env, wait="exit")
    assert box.exit_code() == 1
    assert "the primary did not accept us within 2 s (POSTGRES_PRIMARY_TIMEOUT)" in box.logs()
    assert "Connection refused" in box.logs()
    assert box.files("/var/lib/postgresql/18") == set()


def test_stops_at_once_while_it_waits(run_container: Any) -> None:
    box = run_container(password=None, env=replica_env("192.0.2.1"), wait="none")
    box.wait_log("waiting up to 300 s")
    box.container.kill("TERM")
    assert box.exit_code(9) == 143


def test_wrong_password_is_told(run_container: Any) -> None:
    primary, network = start_primary(run_container)
    env = replica_env(primary.name, POSTGRES_REPLICATION_PASSWORD="wrong", POSTGRES_PRIMARY_TIMEOUT="1")
    box = run_container(password=None, env=env, network=network, wait="exit")
    assert box.exit_code() == 1
    assert "password authentication failed" in box.logs()


@pytest.mark.parametrize(
    ("env", "message"),
    [
        ({"POSTGRES_PRIMARY_HOST": ""}, "POSTGRES_ROLE=replica needs POSTGRES_PRIMARY_HOST"),
        ({"POSTGRES_PRIMARY_TIMEOUT": "soon"}, "POSTGRES_PRIMARY_TIMEOUT is 'soon'"),
        ({"POSTGRES_REPLICATION_SLOT": "Slot-1"}, "POSTGRES_REPLICATION_SLOT is 'Slot-1'"),
    ],
)
def test_bad_settings_are_refused(run_container: Any, env: dict[str, str], message: str) -> None:
    box = run_container(password=None, env={**replica_env("primary"), **env}, wait="exit")
    assert box.exit_code() == 78
    assert message in box.logs()


SPACE = "/var/lib/postgresql/space"
# A copy that takes seconds, so that it can be killed in the middle.
SLOW = '#!/bin/bash\nexec /usr/lib/postgresql/18/bin/pg_basebackup --max-rate=4M "$@"\n'


def test_a_copy_that_is_killed_begins_again_also_in_tablespaces(run_container: Any) -> None:
    """pg_basebackup refuses a directory that is not empty, and clears only the data directory."""
    primary, network = start_primary(run_container)
    primary.check("mkdir", SPACE)
    primary.sql(f"CREATE TABLESPACE space LOCATION '{SPACE}'")
    primary.sql(
        "CREATE TABLE big TABLESPACE space AS SELECT repeat('x', 1000) FROM generate_series(1, 16000)"
    )

    path = primary.check("printenv", "PATH").strip()
    env = replica_env(primary.name, PATH=f"/slow:{path}")
    files = {"/slow/pg_basebackup": SLOW}
    replica = run_container(password=None, env=env, network=network, files=files, wait="none")
    replica.until(
        lambda: replica.run("sh", "-c", f"ls {SPACE}/PG_18_*/*/*")[0] == 0, "files of the tablespace"
    )
    replica.container.kill("KILL")
    replica.exit_code()
    replica.start().wait_ready()
    assert f"removing what an unfinished copy left in {SPACE}" in replica.logs()
    assert replica.sql("SELECT pg_is_in_recovery(), count(*) FROM big") == "t|16000"
    assert replica.check("ls", "-A", "/var/lib/postgresql/18").split() == ["docker"]

    # What no copy of its own has left there is not touched, even where it looks so.
    foreign = {f"{SPACE}/PG_18_202506291/1/PG_VERSION": "18\n"}
    other = run_container(
        password=None,
        env=replica_env(primary.name, POSTGRES_REPLICATION_SLOT="third"),
        network=network,
        files=foreign,
        wait="exit",
        user="root",
    )
    assert other.exit_code() == 1
    assert f"has a tablespace in {SPACE}, and here this directory is not empty" in other.logs()
    assert other.files(f"{SPACE}/PG_18_202506291/1") == {"PG_VERSION"}
