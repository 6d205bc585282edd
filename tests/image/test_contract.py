# SPDX-License-Identifier: Apache-2.0
"""The official image's contract: its environment, its subcommands, its refusals, and who may run it."""

from __future__ import annotations

from typing import Any

import pytest

PGDATA = "/var/lib/postgresql/18/docker"
TMPFS = {"/tmp": "", "/run/aza-pg": "mode=1777", "/var/run/postgresql": "mode=3777"}


@pytest.fixture(scope="module")
def plain(shared_container: Any) -> Any:
    """A server that was started as simply as can be, that no one changes."""
    return shared_container(
        password="correct horse",
        env={"POSTGRES_USER": "owner", "POSTGRES_DB": "my app", "POSTGRES_REPLICATION_PASSWORD": "battery"},
        sql_user="owner",
    )


def test_user_and_database_are_made(plain: Any) -> None:
    assert plain.sql("SELECT current_user, rolsuper FROM pg_roles WHERE rolname = 'owner'") == "owner|t"
    assert "my app" in plain.sql("SELECT datname FROM pg_database").splitlines()


def test_defaults_of_the_cluster(plain: Any) -> None:
    """UTF-8, a sort order that no base image can change, checksums, scram, data where version 18 keeps it."""
    database = "SELECT pg_encoding_to_char(encoding), datlocprovider, datlocale FROM pg_database"
    assert set(plain.sql(database).splitlines()) == {"UTF8|b|C.UTF-8"}
    assert plain.show("data_checksums") == "on"
    assert plain.show("data_directory") == PGDATA
    assert plain.show("listen_addresses") == "*"
    assert (
        plain.sql("SELECT rolpassword LIKE 'SCRAM-SHA-256$%' FROM pg_authid WHERE rolname = 'owner'") == "t"
    )


def test_password_is_asked_for_over_tcp(plain: Any) -> None:
    address = "host=127.0.0.1 user=owner dbname=postgres"
    code, output = plain.run("psql", "-XwqAt", "-d", address, "-c", "SELECT 1")
    assert code != 0 and "no password supplied" in output
    code, output = plain.run(
        "psql", "-XwqAt", "-d", address, "-c", "SELECT 1", env={"PGPASSWORD": "correct horse"}
    )
    assert (code, output) == (0, "1")


def test_server_is_process_one_and_knows_no_secret(plain: Any) -> None:
    assert plain.check("cat", "/proc/1/comm") == "postgres"
    everything = plain.check("sh", "-c", "cat /proc/[0-9]*/cmdline /proc/1/environ | tr '\\0' ' '")
    for secret in ("correct horse", "battery"):
        assert secret not in everything
        assert secret not in plain.logs()
    assert "POSTGRES_PASSWORD" not in plain.check("cat", "/proc/1/environ")
    for word in ("correct horse", "battery"):
        assert plain.run("grep", "-rlsF", word, "/run", "/tmp", "/var/lib/postgresql", "/etc/aza-pg") == (
            1,
            "",
        )


def test_nothing_of_the_first_start_is_left(plain: Any) -> None:
    assert plain.files("/var/lib/postgresql/18") == {"docker"}
    assert plain.files("/run/aza-pg") == {"tuned.conf"}
    assert not {name for name in plain.files(PGDATA) if name.startswith(".")}


def test_existing_data_is_kept_and_needs_no_password(run_container: Any) -> None:
    volume = run_container.volume()
    mounts = {volume: {"bind": "/var/lib/postgresql", "mode": "rw"}}
    first = run_container(volumes=mounts)
    first.sql("CREATE TABLE kept AS SELECT 42 AS answer")
    first.container.stop(timeout=20)
    second = run_container(password=None, volumes=mounts)
    assert second.sql("SELECT answer FROM kept") == "42"
    assert "Skipping initialization" in second.logs()


def test_no_password_is_refused(run_container: Any) -> None:
    box = run_container(password=None, wait="exit")
    assert box.exit_code() == 1
    assert "no password for the superuser" in box.logs() and "POSTGRES_PASSWORD_FILE" in box.logs()


def test_trust_needs_no_password_and_warns(run_container: Any) -> None:
    box = run_container(password=None, env={"POSTGRES_HOST_AUTH_METHOD": "trust"})
    assert "warning: POSTGRES_HOST_AUTH_METHOD=trust" in box.logs()
    assert box.check("psql", "-XwqAt", "-h", "127.0.0.1", "-U", "postgres", "-c", "SELECT 1") == "1"


def test_files_give_values(run_container: Any) -> None:
    files = {
        "/s/password": "from file\n",
        "/s/user": "ann\n",
        "/s/db": "store\n",
        "/s/args": "--wal-segsize=32\n",
    }
    env = {
        "POSTGRES_PASSWORD_FILE": "/s/password",
        "POSTGRES_USER_FILE": "/s/user",
        "POSTGRES_DB_FILE": "/s/db",
        "POSTGRES_INITDB_ARGS_FILE": "/s/args",
    }
    box = run_container(password=None, env=env, files=files, sql_user="ann")
    assert box.show("wal_segment_size") == "32MB"
    login = (
        "psql",
        "-XwqAt",
        "-h",
        "127.0.0.1",
        "-U",
        "ann",
        "-d",
        "store",
        "-c",
        "SELECT current_database()",
    )
    assert box.run(*login, env={"PGPASSWORD": "from file"}) == (0, "store")
    assert box.run("aza-healthcheck")[0] == 0
    assert "from file" not in box.check("cat", "/proc/1/environ")


@pytest.mark.parametrize(
    "name", ["POSTGRES_PASSWORD", "POSTGRES_USER", "POSTGRES_DB", "POSTGRES_INITDB_ARGS"]
)
def test_value_and_file_together_are_refused(run_container: Any, name: str) -> None:
    box = run_container(env={name: "a", f"{name}_FILE": "/s"}, wait="exit")
    assert box.exit_code() == 1
    assert f"both {name} and {name}_FILE are set" in box.logs()


def test_unreadable_file_is_named(run_container: Any) -> None:
    box = run_container(password=None, env={"POSTGRES_PASSWORD_FILE": "/run/secrets/none"}, wait="exit")
    assert box.exit_code() == 1
    assert "POSTGRES_PASSWORD_FILE names '/run/secrets/none'" in box.logs()


def test_initdb_arguments_win(run_container: Any) -> None:
    args = "--no-data-checksums --locale=C --encoding=LATIN1 --auth-local='md5' --no-sync"
    box = run_container(env={"POSTGRES_INITDB_ARGS": args})
    assert box.run("psql", "-wU", "postgres", "-c", "SELECT 1")[0] != 0
    login = ("psql", "-XwqAt", "-U", "postgres", "-c")
    row = "SELECT pg_encoding_to_char(encoding), datlocprovider FROM pg_database WHERE datname = 'postgres'"
    assert box.run(*login, row, env={"PGPASSWORD": "x"}) == (0, "LATIN1|c")
    assert box.run(*login, "SHOW data_checksums", env={"PGPASSWORD": "x"}) == (0, "off")


def test_locale_of_the_official_image_is_there(run_container: Any) -> None:
    """A volume that the official image made has en_US.utf8; without that locale no one could connect to it."""
    box = run_container(env={"POSTGRES_INITDB_ARGS": "--locale=en_US.utf8 --no-sync"})
    assert box.show("lc_messages") == "en_US.utf8"


def test_wal_directory(run_container: Any) -> None:
    box = run_container(env={"POSTGRES_INITDB_WALDIR": "/var/lib/postgresql/wal"})
    assert box.check("readlink", f"{PGDATA}/pg_wal") == "/var/lib/postgresql/wal"
    box.restart()


@pytest.mark.parametrize(
    ("command", "answer"),
    [
        (["postgres", "--version"], "postgres (PostgreSQL) 18."),
        (["--version"], "postgres (PostgreSQL) 18."),
        (["psql", "--version"], "psql (PostgreSQL) 18."),
        (["bash", "-c", "echo said $((40 + 2))"], "said 42"),
    ],
)
def test_other_commands(run_container: Any, command: list[str], answer: str) -> None:
    box = run_container(*command, password=None, wait="exit")
    assert box.exit_code() == 0
    assert answer in box.logs()


def test_bare_options_are_the_servers(run_container: Any) -> None:
    box = run_container("-c", "work_mem=64MB", "--shared-buffers=64MB", mem_limit="1g")
    assert (box.show("work_mem"), box.show("shared_buffers")) == ("64MB", "64MB")


def test_hba_and_ident_files(run_container: Any) -> None:
    files = {
        "/etc/aza-pg/hba": "local all all peer map=ops\n",
        "/etc/aza-pg/ident": "ops postgres postgres\n",
    }
    env = {"POSTGRES_HBA_FILE": "/etc/aza-pg/hba", "POSTGRES_IDENT_FILE": "/etc/aza-pg/ident"}
    box = run_container(env=env, files=files)
    assert box.show("hba_file") == "/etc/aza-pg/hba"
    assert box.sql("SELECT current_user") == "postgres"
    missing = run_container(env={"POSTGRES_HBA_FILE": "/none"}, wait="exit")
    assert missing.exit_code() == 78 and "POSTGRES_HBA_FILE names '/none'" in missing.logs()


@pytest.mark.parametrize("role", ["standby", "Primary"])
def test_unknown_role_is_refused(run_container: Any, role: str) -> None:
    box = run_container(env={"POSTGRES_ROLE": role}, wait="exit")
    assert box.exit_code() == 78
    assert f"POSTGRES_ROLE is '{role}', expected one of: primary replica" in box.logs()


def test_arbitrary_user(run_container: Any) -> None:
    box = run_container(user="12345:23456")
    assert box.check("stat", "-c", "%u", PGDATA) == "12345"
    box.restart()
    assert box.run("aza-healthcheck") == (0, "")


def test_root_gives_the_directories_to_postgres(run_container: Any) -> None:
    volume = run_container.volume()
    mounts = {volume: {"bind": PGDATA, "mode": "rw"}}
    # A secret that only root may read: it is read before root is left.
    files = {
        "/s/password": "of root\n",
        "/s/start": "#!/bin/bash\nchmod 400 /s/password\nexec docker-entrypoint.sh\n",
    }
    env = {"POSTGRES_PASSWORD_FILE": "/s/password"}
    box = run_container("/s/start", password=None, user="0", volumes=mounts, env=env, files=files)
    login = ("psql", "-XwqAt", "-h", "127.0.0.1", "-U", "postgres", "-c", "SELECT 1")
    assert box.run(*login, env={"PGPASSWORD": "of root"}) == (0, "1")
    assert box.check("stat", "-c", "%U", PGDATA, user="0") == "postgres"
    assert box.check("stat", "-c", "%u", "/proc/1", user="0") == "999"


def test_hardened(run_container: Any) -> None:
    """Nothing of the image is written, no capability is used; a restart works as well as the first start."""
    box = run_container(
        read_only=True, cap_drop=["ALL"], security_opt=["no-new-privileges"], tmpfs=TMPFS, mem_limit="1g"
    )
    box.sql("CREATE TABLE t AS SELECT 1")
    assert "CapEff:\t0000000000000000" in box.check("cat", "/proc/1/status")
    box.restart()
    assert box.container.diff() in (None, [])


def test_missing_tmpfs_is_named(run_container: Any) -> None:
    box = run_container(read_only=True, tmpfs={"/tmp": "", "/var/run/postgresql": "mode=3777"}, wait="exit")
    assert box.exit_code() == 78
    assert "add --tmpfs /run/aza-pg:mode=1777" in box.logs()


@pytest.mark.parametrize(
    ("mount", "content", "message"),
    [
        ("/var/lib/postgresql/data", {}, "/var/lib/postgresql/data (a volume that would stay unused)"),
        ("/var/lib/postgresql", {"data/PG_VERSION": "17\n"}, "/var/lib/postgresql/data"),
        ("/var/lib/postgresql", {"17/docker/PG_VERSION": "17\n"}, "/var/lib/postgresql/17/docker"),
        ("/var/lib/postgresql", {"18/docker/PG_VERSION": "17\n"}, "holds data of PostgreSQL 17"),
    ],
)
def test_old_data_is_refused(run_container: Any, mount: str, content: dict[str, str], message: str) -> None:
    volume = run_container.volume()
    box = run_container(
        volumes={volume: {"bind": mount, "mode": "rw"}},
        files={f"{mount}/{name}": text for name, text in content.items()},
        wait="exit",
    )
    assert box.exit_code() == 1
    assert message in box.logs()
    assert not box.files(f"{PGDATA}/base")


def test_two_containers_cannot_share_the_data(run_container: Any) -> None:
    volume = run_container.volume()
    mounts = {volume: {"bind": "/var/lib/postgresql", "mode": "rw"}}
    first = run_container(volumes=mounts)
    second = run_container(volumes=mounts, wait="exit")
    assert second.exit_code() == 1
    assert "another container is using" in second.logs()
    first.container.kill("KILL")
    assert run_container(volumes=mounts).sql("SELECT 1") == "1"
