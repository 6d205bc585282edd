# SPDX-License-Identifier: Apache-2.0
"""Why a server with data does not start: said in one line with the remedy, or fixed where nothing can be lost."""

from __future__ import annotations

from typing import Any

import pytest

PGDATA = "/var/lib/postgresql/18/docker"


@pytest.fixture(scope="module")
def mounts(shared_container: Any) -> dict[str, Any]:
    """Return a volume with the data of a server that was shut down. Each test leaves it as it was."""
    volume = {shared_container.volume(): {"bind": "/var/lib/postgresql", "mode": "rw"}}
    shared_container(volumes=volume).container.stop(timeout=20)
    return volume


def change(run_container: Any, mounts: dict[str, Any], command: str) -> None:
    done = run_container("bash", "-c", command, volumes=mounts, wait="exit")
    assert done.exit_code() == 0, done.logs()


def test_empty_list_of_libraries(run_container: Any, mounts: dict[str, Any]) -> None:
    """ALTER SYSTEM makes of '' a list with one empty name; what was meant is no libraries."""
    box = run_container(volumes=mounts)
    box.sql("ALTER SYSTEM SET shared_preload_libraries = ''")
    assert '""' in box.check("cat", f"{PGDATA}/postgresql.auto.conf")
    box.restart()
    assert box.show("shared_preload_libraries") == ""
    assert "sets shared_preload_libraries to one empty name" in box.logs()
    box.sql("ALTER SYSTEM RESET ALL")
    box.restart()
    assert "pg_stat_statements" in box.show("shared_preload_libraries")


@pytest.mark.parametrize(
    ("line", "status", "message"),
    [
        ("work_mem = 'much'", 78, 'invalid value for parameter "work_mem": "much"'),
        ("no_such_setting = 'x'", 78, 'unrecognized configuration parameter "no_such_setting"'),
        ("shared_preload_libraries = 'pg_stat_statements, nosuch'", 1, "preloads the library 'nosuch'"),
    ],
)
def test_line_of_alter_system(
    run_container: Any, mounts: dict[str, Any], line: str, status: int, message: str
) -> None:
    file = f"{PGDATA}/postgresql.auto.conf"
    change(run_container, mounts, f'cp {file} {file}.kept && echo "{line}" >>{file}')
    box = run_container(volumes=mounts, wait="exit")
    assert box.exit_code() == status
    assert message in box.logs() and file in box.logs()
    assert f"docker run --rm --volumes-from {box.container.short_id}" in box.logs()
    change(run_container, mounts, f"mv {file}.kept {file}")


def test_missing_library_of_a_configuration_file(run_container: Any, mounts: dict[str, Any]) -> None:
    files = {"/etc/aza-pg/conf.d/a.conf": "shared_preload_libraries = 'nosuch'\n"}
    box = run_container(volumes=mounts, files=files, wait="exit")
    assert box.exit_code() == 1
    assert "/etc/aza-pg/conf.d/a.conf preloads the library 'nosuch'" in box.logs()


@pytest.mark.parametrize("content", ["", "1234567\\n"])
def test_pid_file_of_a_crash(run_container: Any, mounts: dict[str, Any], content: str) -> None:
    change(
        run_container,
        mounts,
        f"printf '{content}' >$PGDATA/postmaster.pid; touch -d '1 minute ago' $PGDATA/postmaster.pid",
    )
    box = run_container(volumes=mounts)
    assert box.sql("SELECT 1") == "1"
    assert ("removed the empty" in box.logs()) == (not content)
    box.container.stop(timeout=20)


def test_pid_file_that_names_another_program(run_container: Any, mounts: dict[str, Any]) -> None:
    """Where processes of other containers are seen, PostgreSQL takes any of the same user for its own."""
    command = "sleep 60 & echo $! >$PGDATA/postmaster.pid; exec docker-entrypoint.sh"
    box = run_container("bash", "-c", command, volumes=mounts)
    assert "is 'sleep', not a server" in box.logs()
    box.container.stop(timeout=20)


def test_young_empty_pid_file_is_respected(run_container: Any, mounts: dict[str, Any]) -> None:
    box = run_container(
        "bash", "-c", ": >$PGDATA/postmaster.pid; docker-entrypoint.sh", volumes=mounts, wait="exit"
    )
    assert box.exit_code() == 1
    assert "another server is starting there, or it is a leftover" in box.logs()
    change(run_container, mounts, "rm $PGDATA/postmaster.pid")


def test_data_of_another_user(run_container: Any, mounts: dict[str, Any]) -> None:
    change(run_container, mounts, "chmod 755 $PGDATA")
    box = run_container(volumes=mounts, user="12345", wait="exit")
    assert box.exit_code() == 1
    assert "belongs to user 999, but this server runs as user 12345" in box.logs()


def test_mode_of_the_directory(run_container: Any, mounts: dict[str, Any]) -> None:
    change(run_container, mounts, "chmod 2770 $PGDATA")
    box = run_container(volumes=mounts)
    assert box.check("stat", "-c", "%a", PGDATA) == "2750"
    box.container.stop(timeout=20)


def test_read_only_mount(run_container: Any, mounts: dict[str, Any]) -> None:
    readonly = {name: {**mount, "mode": "ro"} for name, mount in mounts.items()}
    box = run_container(volumes=readonly, wait="exit")
    assert box.exit_code() == 1
    assert f"cannot write {PGDATA}: is it mounted read-only" in box.logs()


def test_full_disk(run_container: Any) -> None:
    volume = {run_container.volume(size="120m"): {"bind": "/var/lib/postgresql", "mode": "rw"}}
    # A tmpfs volume lives as long as it is mounted.
    holder = run_container("sleep", "120", volumes=volume, wait="none")
    small = {"POSTGRES_INITDB_ARGS": "--no-sync --wal-segsize=1", "POSTGRES_MEMORY": "512m"}
    run_container(volumes=volume, env=small).container.stop(timeout=20)
    holder.run("sh", "-c", "cat /dev/zero >/var/lib/postgresql/ballast")
    box = run_container(volumes=volume, wait="exit")
    assert box.exit_code() == 1
    assert f"the file system of {PGDATA} is full" in box.logs()
    holder.check("rm", "/var/lib/postgresql/ballast")
    assert run_container(volumes=volume).sql("SELECT 1") == "1"
