# SPDX-License-Identifier: Apache-2.0
"""A running server: what the health check says, how it stops, and what the entrypoint costs."""

from __future__ import annotations

from typing import Any

import pytest

SHIM = "#!/bin/bash\necho reached\n"
SLOW_STAT = '#!/bin/bash\n/usr/bin/stat "$@"\nsleep 1\n'
MEASURE = """#!/bin/bash
TIMEFORMAT='%3U %3S'
for _ in {1..20}; do
    { time PATH=/shim:$PATH docker-entrypoint.sh postgres 2>/dev/null | tail -1; } 2>&1
done
"""


def healthy(box: Any) -> bool:
    return bool(box.run("aza-healthcheck")[0] == 0)


def test_healthy_without_its_usual_database_role_and_extensions(run_container: Any) -> None:
    """A user who renames, drops and restricts has changed the server, not killed it."""
    box = run_container(env={"POSTGRES_DB": "store"})
    assert healthy(box)
    box.sql("DROP EXTENSION IF EXISTS pg_stat_statements", "store")
    box.sql("CREATE ROLE boss SUPERUSER LOGIN", "store")
    box.sql("DROP DATABASE postgres", "store")
    assert healthy(box)
    box.check("psql", "-Uboss", "-dstore", "-c", "ALTER ROLE postgres RENAME TO somebody")
    assert healthy(box)
    box.check("sh", "-c", "echo 'local all all reject' >$PGDATA/pg_hba.conf && kill -HUP 1")
    box.wait_log("received SIGHUP")
    assert healthy(box)


def test_healthy_when_full(run_container: Any) -> None:
    box = run_container(
        "-c", "max_connections=2", "-c", "superuser_reserved_connections=0", "-c", "reserved_connections=0"
    )
    # Who comes while the health check or our own question has a connection comes again.
    client = "until psql -Upostgres -c 'SELECT pg_sleep(60)'; do sleep 0.1; done"
    for _ in range(2):
        box.background("sh", "-c", client)

    def full() -> bool:
        return "too many clients" in str(box.run("psql", "-Upostgres", "-c", "SELECT 1")[1])

    box.until(full, "a full connection table")
    assert healthy(box)


def test_healthy_on_another_port_directory_and_user(run_container: Any) -> None:
    arguments = ("-p", "6000", "-c", "unix_socket_directories=/tmp", "-c", "log_connections=on")
    box = run_container(*arguments, env={"POSTGRES_USER": "ann"})
    assert healthy(box)
    assert box.run("sh", "-c", "PGHOST=nowhere PGUSER=nobody PGPORT=1 aza-healthcheck") == (0, "")
    assert "FATAL" not in box.logs().rpartition("ready to accept connections")[2], "it fills the log"


def test_unhealthy_without_a_server(run_container: Any) -> None:
    box = run_container("sleep", "60", wait="none")
    code, message = box.run("aza-healthcheck")
    assert (code, message) == (1, "no server runs on /var/lib/postgresql/18/docker yet")


def test_unhealthy_while_starting_up(run_container: Any) -> None:
    """A standby that waits for WAL answers, but admits no client: not ready, so not healthy."""
    box = run_container()
    box.check(
        "sh",
        "-c",
        "echo \"restore_command = 'sleep 60; false'\" >>$PGDATA/postgresql.conf; touch $PGDATA/recovery.signal",
    )
    box.container.stop(timeout=20)
    box.start()
    box.until(lambda: box.run("pg_isready")[0] == 1, "a server that rejects connections")
    assert not healthy(box)


@pytest.mark.parametrize("signal", ["INT", "TERM"])
def test_stops_cleanly(run_container: Any, signal: str) -> None:
    box = run_container()
    box.container.kill(signal)
    assert box.exit_code(20) == 0
    assert "database system is shut down" in box.logs().splitlines()[-1]
    restarted = box.start().wait_ready()
    assert "was not properly shut down" not in restarted.logs()


def test_docker_stop_does_not_wait_for_clients(run_container: Any) -> None:
    box = run_container()
    box.background("psql", "-Upostgres", "-c", "SELECT pg_sleep(60)")
    busy = "SELECT count(*) = 1 FROM pg_stat_activity WHERE query ~ 'sleep.60.$' AND pid <> pg_backend_pid()"
    box.until(lambda: box.sql(busy) == "t", "a client that stays")
    box.container.stop(timeout=15)
    assert box.exit_code() == 0


def test_what_the_entrypoint_asked_is_gone_when_the_server_starts(run_container: Any) -> None:
    """Otherwise it would be a child of the server that it knows nothing of, and hold the lock of the data beside it."""
    mounts = {run_container.volume(): {"bind": "/var/lib/postgresql", "mode": "rw"}}
    run_container(volumes=mounts).container.stop(timeout=20)
    twice = "export PATH=/shim:$PATH; docker-entrypoint.sh postgres && docker-entrypoint.sh postgres"
    files = {"/shim/postgres": SHIM, "/shim/stat": SLOW_STAT}
    box = run_container("bash", "-c", twice, volumes=mounts, files=files, wait="exit")
    assert box.logs().count("reached") == 2, box.logs()


def test_cost_of_the_entrypoint(run_container: Any) -> None:
    """From its own start to the server's: 60 ms of processor time at most, as nothing in it waits. The best of 20."""
    mounts = {run_container.volume(): {"bind": "/var/lib/postgresql", "mode": "rw"}}
    box = run_container(volumes=mounts)
    box.container.stop(timeout=20)
    files = {"/shim/postgres": SHIM, "/shim/measure": MEASURE}
    measured = run_container("/shim/measure", volumes=mounts, files=files, wait="exit")
    lines = measured.logs().splitlines()
    assert lines[::2] == ["reached"] * 20, lines
    times = [sum(map(float, line.split())) for line in lines[1::2]]
    assert min(times) <= 0.06, times
