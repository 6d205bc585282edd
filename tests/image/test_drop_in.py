# SPDX-License-Identifier: Apache-2.0
"""In place of the official image: what public images, Compose files and init scripts do with it works here, too."""

from __future__ import annotations

from typing import Any

import pytest

PGDATA = "/var/lib/postgresql/18/docker"
OLD_PGDATA = "/var/lib/postgresql/data"
INIT = "/docker-entrypoint-initdb.d"
NOTE = '"${{psql[@]}}" <<<"INSERT INTO seen (how) VALUES (\'{}\')"\n'
SCRIPTS: dict[str, str | bytes] = {
    f"{INIT}/00.sql": "CREATE TABLE seen (n int GENERATED ALWAYS AS IDENTITY, how text)",
    # In the order of en_US.utf8; in that of C it would be B, C_, Cb, a.
    f"{INIT}/a-restart.sh": '#!/bin/bash\npg_ctl -D "$PGDATA" -m fast -w restart\n'
    "psql -d \"dbname='$POSTGRES_DB'\" -c \"INSERT INTO seen (how) VALUES ('a')\"\n",
    f"{INIT}/B-stop-and-start.sh": '#!/bin/bash\npg_ctl -D "$PGDATA" -m fast -w stop\n'
    'pg_ctl -D "$PGDATA" -o "-c listen_addresses=\'127.0.0.1\'" -w start\n'
    "psql -d \"dbname='$POSTGRES_DB'\" -c \"INSERT INTO seen (how) VALUES ('B')\"\n",
    f"{INIT}/Cb-plain-start.sh": '#!/bin/bash\npg_ctl -D "$PGDATA" -m fast -w stop\n'
    'pg_ctl -D "$PGDATA" -w start\n! pg_isready -h /var/run/postgresql && ! pg_isready -h 127.0.0.1\n',
    f"{INIT}/Cc-noted.sh": NOTE.format("Cc"),
    f"{INIT}/C_d-functions.sh": "docker_temp_server_stop\ndocker_temp_server_start\n" + NOTE.format("C_d"),
}


@pytest.fixture(scope="module")
def dressed(shared_container: Any) -> Any:
    """A server whose first start had many wishes, all of them the official image's."""
    env = {
        "POSTGRES_DB": "shop=prod",
        "POSTGRES_INITDB_ARGS": "-c max_connections=77 --set Work_Mem=7MB --encoding=SQL_ASCII --no-sync",
        "POSTGRES_MEMORY": "12g",
        "TZ": "US/Pacific",
    }
    return shared_container("-c", "shared_buffers=64MB", env=env, files=SCRIPTS)


def in_shop(box: Any, statement: str) -> str:
    return str(box.sql(statement, "dbname='shop=prod'"))


def test_a_name_is_not_taken_for_a_connection_string(dressed: Any) -> None:
    assert in_shop(dressed, "SELECT current_database()") == "shop=prod"
    assert in_shop(dressed, "SELECT extname FROM pg_extension WHERE extname = 'pg_stat_statements'")


def test_scripts_may_restart_the_server(dressed: Any) -> None:
    """Their order is that of the image's locale, as the official documentation says."""
    assert in_shop(dressed, "SELECT string_agg(how, ' ' ORDER BY n) FROM seen") == "a B Cc C_d"


def test_nothing_of_the_temporary_server_is_left(dressed: Any) -> None:
    assert (dressed.show("listen_addresses"), dressed.show("fsync")) == ("*", "on")
    assert dressed.show("unix_socket_directories") == "/var/run/postgresql"
    assert "private" not in dressed.check("cat", f"{PGDATA}/postgresql.conf")
    assert dressed.files("/run/aza-pg") == {"tuned.conf"}


def test_settings_in_initdb_arguments_are_kept(dressed: Any) -> None:
    assert (dressed.show("max_connections"), dressed.show("work_mem")) == ("77", "7MB")


def test_default_locale_gives_way_to_an_encoding(dressed: Any) -> None:
    row = "SELECT pg_encoding_to_char(encoding), datlocprovider, datlocale FROM pg_database"
    assert set(dressed.sql(row).splitlines()) == {"SQL_ASCII|b|C"}


def test_legacy_time_zones_are_there(dressed: Any) -> None:
    assert dressed.show("TimeZone") == "US/Pacific"
    assert dressed.sql("SELECT timestamptz '2026-01-01 00:00+00' AT TIME ZONE 'Asia/Calcutta'").endswith(
        "05:30:00"
    )


def test_small_shared_memory_is_told(dressed: Any, run_container: Any) -> None:
    assert "/dev/shm has 64 MB" in dressed.logs() and "--shm-size=" in dressed.logs()
    # The first start is not waited for.
    large = run_container(env={"POSTGRES_MEMORY": "12g"}, shm_size="6g", wait="none")
    large.wait_log("first start: initdb")
    assert "/dev/shm" not in large.logs()


def test_own_configuration_file_may_name_the_data(run_container: Any) -> None:
    content = f"data_directory = '{PGDATA}'\nlisten_addresses = '*'\nwork_mem = 9MB\n"
    arguments = ("-c", "config_file=/etc/postgresql.conf")
    box = run_container(*arguments, files={"/etc/postgresql.conf": content})
    assert (box.show("work_mem"), box.show("data_directory")) == ("9MB", PGDATA)
    other = run_container(
        *arguments, files={"/etc/postgresql.conf": "data_directory = '/elsewhere'\n"}, wait="exit"
    )
    assert other.exit_code() == 78 and "set PGDATA to that directory" in other.logs()
    assert "initdb" not in other.logs()


@pytest.mark.parametrize("kind", ["named-volume", "root-gives-it"])
def test_data_at_a_mount_point_of_its_own(run_container: Any, kind: str) -> None:
    """A named volume at the old place takes the image's owner; elsewhere it belongs to root, who gives it away."""
    place = OLD_PGDATA if kind == "named-volume" else "/srv/data"
    volumes = {run_container.volume(): {"bind": place, "mode": "rw"}}
    user = "" if kind == "named-volume" else "0"
    box = run_container(env={"PGDATA": place}, volumes=volumes, user=user)
    assert box.show("data_directory") == place
    box.restart()


def test_root_makes_a_directory_that_is_not_there(run_container: Any) -> None:
    box = run_container(env={"PGDATA": "/srv/own"}, user="0", volumes={})
    assert box.check("stat", "-c", "%U %a", "/srv/own") == "postgres 700"


@pytest.mark.parametrize("kind", ["tmpfs", "volume"])
def test_a_mount_of_root_is_refused_before_any_work(run_container: Any, kind: str) -> None:
    options: dict[str, Any] = {"tmpfs": {PGDATA: ""}} if kind == "tmpfs" else {}
    if kind == "volume":
        options = {"volumes": {run_container.volume(): {"bind": PGDATA, "mode": "rw"}}}
    box = run_container(wait="exit", **options)
    assert box.exit_code() == 1
    assert "belongs to user 0, but the server runs as user 999" in box.logs() and "--user root" in box.logs()
    assert "initdb" not in box.logs()


def test_password_of_two_lines_is_refused(run_container: Any) -> None:
    box = run_container(password="first\nsecond", wait="exit")
    assert box.exit_code() == 1
    assert "POSTGRES_PASSWORD has more than one line" in box.logs()
    assert "first" not in box.logs() and box.files(PGDATA) == set()


@pytest.mark.parametrize("name", ["o'brien", 'a"b', "back\\slash", "do$lar"])
def test_a_name_that_initdb_cannot_make_is_refused(run_container: Any, name: str) -> None:
    box = run_container(env={"POSTGRES_USER": name}, wait="exit")
    assert box.exit_code() == 1
    assert "POSTGRES_USER is" in box.logs() and box.files(PGDATA) == set()


def test_secret_file_from_windows(run_container: Any) -> None:
    files = {"/s/db": "store\r\n", "/s/password": "of a file\r\n"}
    env = {"POSTGRES_DB_FILE": "/s/db", "POSTGRES_PASSWORD_FILE": "/s/password"}
    box = run_container(password=None, env=env, files=files)
    login = ("psql", "-XwqAt", "-h", "127.0.0.1", "-U", "postgres", "-d", "store", "-c", "SELECT 1")
    assert box.run(*login, env={"PGPASSWORD": "of a file"}) == (0, "1")


def test_ensure_and_enforce(run_container: Any) -> None:
    """They make the data and start no server; with data, one is content, and the other is not."""
    mounts = {run_container.volume(): {"bind": "/var/lib/postgresql", "mode": "rw"}}
    ensure, enforce = "docker-ensure-initdb.sh", "docker-enforce-initdb.sh"
    first = run_container(enforce, "-c", "work_mem=5MB", volumes=mounts, wait="exit")
    assert first.exit_code() == 0
    assert "ready to accept connections" not in first.logs().rpartition("init process complete")[2]
    assert run_container(ensure, volumes=mounts, password=None, wait="exit").exit_code() == 0
    again = run_container(enforce, "postgres", volumes=mounts, password=None, wait="exit")
    assert again.exit_code() == 1 and f"there is data in {PGDATA} already" in again.logs()
    assert run_container(volumes=mounts, password=None).sql("SELECT 1") == "1"


def test_a_wrapper_may_source_the_entrypoint(run_container: Any) -> None:
    script = "source docker-entrypoint.sh; echo before; _main postgres --version"
    box = run_container("bash", "-c", script, wait="exit")
    assert box.exit_code() == 0 and box.logs().startswith("before\npostgres (PostgreSQL) 18.")
