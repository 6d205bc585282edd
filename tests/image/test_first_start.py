# SPDX-License-Identifier: Apache-2.0
"""The first start: complete or nothing, whatever happens in the middle of it."""

from __future__ import annotations

import gzip
import lzma
from typing import Any

import pytest

PGDATA = "/var/lib/postgresql/18/docker"
INIT = "/docker-entrypoint-initdb.d"
HOLD = "/var/lib/postgresql/18/.docker.init"
BLOCK = {f"{INIT}/50-block.sh": "#!/bin/bash\nmkfifo /tmp/gate\necho at the gate\nread -r _ </tmp/gate\n"}


def direct(run_container: Any) -> dict[str, Any]:
    """Return a mount of a volume at PGDATA itself, where no rename is possible."""
    volume = run_container.volume()
    own = run_container(
        "chown", "999", "/v", user="0", volumes={volume: {"bind": "/v", "mode": "rw"}}, wait="exit"
    )
    assert own.exit_code() == 0
    return {volume: {"bind": PGDATA, "mode": "rw"}}


def beside(run_container: Any) -> dict[str, Any]:
    """Return a mount of a volume as it is meant."""
    return {run_container.volume(): {"bind": "/var/lib/postgresql", "mode": "rw"}}


places = pytest.mark.parametrize("place", [beside, direct])


def zstd(text: bytes) -> bytes:
    """Return a zstd frame with one raw block, so that no tool is needed here: magic, sizes, the text as it is."""
    header = b"\x28\xb5\x2f\xfd" + b"\x20" + bytes([len(text)])
    return header + (len(text) << 3 | 1).to_bytes(3, "little") + text


def test_every_kind_of_script(run_container: Any) -> None:
    """In the order of names; executables run, other shell scripts are sourced with psql and its helpers at hand."""
    files: dict[str, str | bytes] = {
        f"{INIT}/10.sql": "CREATE TABLE seen (n int, how text); INSERT INTO seen VALUES (10, 'sql');",
        f"{INIT}/20.sql.gz": gzip.compress(b"INSERT INTO seen VALUES (20, 'gz');"),
        f"{INIT}/30.sql.xz": lzma.compress(b"INSERT INTO seen VALUES (30, 'xz');"),
        f"{INIT}/50.sh": '#!/bin/bash\npsql -d "$POSTGRES_DB" -c "INSERT INTO seen VALUES (50, \'executed\')"\n'
        '[[ -n $POSTGRES_PASSWORD ]] && echo "work_mem = 7MB" >>"$PGDATA/postgresql.conf"\n',
        f"{INIT}/60.sh": 'if [ -n "$UNSET_BY_ALL" ]; then exit 1; fi\n'
        "docker_process_sql -c \"INSERT INTO seen VALUES (60, 'sourced')\"\n"
        '"${psql[@]}" <<<"INSERT INTO seen VALUES (61, \'array\')"\n',
        f"{INIT}/70-path.sql": "SELECT format('ALTER SYSTEM SET ssl_ca_file = %L', "
        "current_setting('data_directory') || '/ca.crt') \\gexec",
        f"{INIT}/readme.txt": "not a script",
    }
    box = run_container(env={"POSTGRES_DB": "store", "POSTGRES_USER": "ann"}, files=files, sql_user="ann")
    seen = box.sql("SELECT string_agg(n || ' ' || how, ', ' ORDER BY n) FROM seen", "store")
    assert seen == "10 sql, 20 gz, 30 xz, 50 executed, 60 sourced, 61 array"
    assert f"ignoring {INIT}/readme.txt" in box.logs()
    assert box.show("work_mem") == "7MB"
    assert box.show("ssl_ca_file") == f"{PGDATA}/ca.crt", "a path that a script wrote must survive the rename"


def test_zstd_script(run_container: Any) -> None:
    box = run_container(files={f"{INIT}/a.sql.zst": zstd(b"CREATE TABLE unpacked ();")})
    assert box.sql("SELECT to_regclass('unpacked')") == "unpacked"


@places
@pytest.mark.parametrize(
    "script",
    [
        {f"{INIT}/1.sql": "CREATE TABLE t (); SELECT 1/0;"},
        {f"{INIT}/1.sh": "#!/bin/sh\nexit 3\n"},
        {f"{INIT}/1.sh": "exit 0\n"},
    ],
    ids=["sql", "executed", "sourced-exit"],
)
def test_failing_script_leaves_nothing_finished(
    run_container: Any, place: Any, script: dict[str, str]
) -> None:
    mounts = place(run_container)
    box = run_container(volumes=mounts, files=script, wait="exit")
    assert box.exit_code() == 1
    assert "nothing of it is kept, the next start begins again" in box.logs()
    assert box.files(PGDATA) == set() and box.files(HOLD) == set()
    again = run_container(volumes=mounts)
    assert again.sql("SELECT to_regclass('t') IS NULL") == "t"


@places
def test_killed_in_the_middle(run_container: Any, place: Any) -> None:
    mounts = place(run_container)
    box = run_container(volumes=mounts, files=BLOCK, wait="none", durable=True)
    box.wait_log("at the gate")
    box.container.kill("KILL")
    box.exit_code()
    assert "PG_VERSION" not in box.files(PGDATA), "it looks finished"
    again = run_container(volumes=mounts, durable=True)
    assert "removing what an unfinished first start left" in again.logs()
    assert again.sql("SELECT 1") == "1"
    assert again.files("/var/lib/postgresql/18") == {"docker"}
    assert not {name for name in again.files(PGDATA) if name.startswith(".")}
    again.restart()


def test_killed_while_entries_are_moved(run_container: Any) -> None:
    """Without a rename there is a moment with half of the data in its place: what the marker lists is ours, no more."""
    mounts = direct(run_container)
    box = run_container(volumes=mounts)
    halfway = "cd $PGDATA && { echo; ls | sed 's/^/entry /'; } >/tmp/m && mkdir .aza-init && mv base global .aza-init"
    box.check("sh", "-c", f"{halfway} && cp /tmp/m .aza-incomplete && touch photo.jpg")
    box.container.kill("KILL")
    box.exit_code()
    again = run_container(volumes=mounts, wait="exit")
    assert "is not empty, but holds no PostgreSQL data" in again.logs()
    assert again.files(PGDATA) == {"photo.jpg"}
    assert run_container("rm", f"{PGDATA}/photo.jpg", volumes=mounts, wait="exit").exit_code() == 0
    assert run_container(volumes=mounts).sql("SELECT 1") == "1"


def test_killed_after_the_rename(run_container: Any) -> None:
    """The data is complete then, and only a holding directory with its marker is left to be cleaned up."""
    box = run_container()
    box.check("sh", "-c", f"mkdir {HOLD} && touch {HOLD}/.aza-incomplete")
    box.restart()
    assert box.files("/var/lib/postgresql/18") == {"docker"}


def test_with_a_terminal(run_container: Any) -> None:
    """docker run -it: a script that reads its input gets none, and does not stop the start."""
    box = run_container(tty=True, stdin_open=True, files={f"{INIT}/1.sh": "read -r _ || echo no input\n"})
    assert "no input" in box.logs()


def test_killed_with_a_wal_directory(run_container: Any) -> None:
    """The WAL directory was empty when it began, so what is in it now is ours, and goes too."""
    mounts = {
        **beside(run_container),
        run_container.volume(): {"bind": "/var/lib/postgresql/wal", "mode": "rw"},
    }
    env = {"POSTGRES_INITDB_WALDIR": "/var/lib/postgresql/wal"}
    box = run_container(volumes=mounts, env=env, files=BLOCK, user="0", wait="none")
    box.wait_log("at the gate")
    box.container.kill("KILL")
    box.exit_code()
    assert run_container(volumes=mounts, env=env, user="0").sql("SELECT 1") == "1"


@places
@pytest.mark.parametrize(("signal", "status"), [("TERM", 143), ("INT", 130)])
def test_stopped_in_the_middle(run_container: Any, place: Any, signal: str, status: int) -> None:
    """At once, with nothing left, even while a script that ignores signals runs."""
    files = {f"{INIT}/1.sh": "trap '' TERM INT\nmkfifo /tmp/gate\necho at the gate\nread -r _ </tmp/gate\n"}
    box = run_container(volumes=place(run_container), files=files, wait="none")
    box.wait_log("at the gate")
    box.container.kill(signal)
    assert box.exit_code(9) == status
    assert f"stopped by SIG{signal} during the first start" in box.logs()
    assert box.files(PGDATA) == set() and box.files(HOLD) == set()


def test_stopped_during_initdb(run_container: Any) -> None:
    box = run_container(wait="none")
    box.wait_log("creating subdirectories")
    box.container.kill("TERM")
    assert box.exit_code(9) == 143
    assert box.files("/var/lib/postgresql/18") == set()


@pytest.mark.parametrize("bind", ["/var/lib/postgresql", PGDATA])
def test_full_disk(run_container: Any, bind: str) -> None:
    mounts = {run_container.volume(size="24m"): {"bind": bind, "mode": "rw"}}
    # A tmpfs volume lives as long as it is mounted: the second container holds it while the first ends.
    run_container("sleep", "60", volumes=mounts, wait="none")
    box = run_container(volumes=mounts, wait="exit")
    assert box.exit_code() == 1
    assert "No space left on device" in box.logs()
    assert "nothing of it is kept" in box.logs()
    left = run_container("find", bind, "-mindepth", "1", volumes=mounts, wait="exit").logs().split()
    assert set(left) <= {"/var/lib/postgresql/18", "/var/lib/postgresql/data"}


@places
def test_foreign_files_are_never_removed(run_container: Any, place: Any) -> None:
    mounts = place(run_container)
    box = run_container(volumes=mounts, files={f"{PGDATA}/photo.jpg": "mine"}, wait="exit")
    assert box.exit_code() == 1
    assert "is not empty, but holds no PostgreSQL data: nothing was changed" in box.logs()
    assert box.files(PGDATA) == {"photo.jpg"}


def test_foreign_holding_directory_is_never_removed(run_container: Any) -> None:
    files = {f"{HOLD}/data/photo.jpg": "mine"}
    box = run_container(volumes=beside(run_container), files=files, wait="exit")
    assert box.exit_code() == 1
    assert f"{HOLD} is in the way" in box.logs()
    assert box.files(HOLD) == {"data"}


def test_nobody_reaches_the_temporary_server(run_container: Any) -> None:
    box = run_container(files=BLOCK, wait="none")
    box.wait_log("at the gate")
    assert box.run("aza-healthcheck")[0] == 1
    assert box.run("pg_isready", "-h", "127.0.0.1")[0] == 2
    assert box.run("pg_isready", "-h", "/var/run/postgresql")[0] == 2
    environment = box.check(
        "sh", "-c", "cat $(grep -l '^postgres' /proc/[0-9]*/comm | head -1 | xargs dirname)/environ"
    )
    assert "POSTGRES_PASSWORD" not in environment
    box.check("sh", "-c", "echo go >/tmp/gate")
    box.wait_ready()


def test_settings_that_would_hang_the_first_start_do_not(run_container: Any) -> None:
    conf = "synchronous_standby_names = 'nobody'\narchive_mode = on\narchive_command = 'false'\n"
    files = {"/etc/aza-pg/conf.d/a.conf": conf}
    box = run_container(env={"POSTGRES_DB": "store"}, files=files)
    assert box.show("synchronous_standby_names") == "nobody"
