# SPDX-License-Identifier: Apache-2.0
"""The logs that servers left which did not start, each with its reason and a remedy that can be pasted."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.aza.pg.plugins.module_utils.server.diagnosis import Diagnosis, Place, diagnose
from hypothesis import given
from hypothesis import strategies as st

SAMPLES: dict[str, Any] = yaml.safe_load(
    Path(__file__).with_name("failed_starts.yml").read_text(encoding="utf-8")
)
DATA = "/var/lib/postgresql/18/docker"
PLACE = Place("aza-pg-shop-data", "aza-pg/postgres@sha256:1", DATA)
# What was done → the reason, a word of the explanation, and a word of the remedy.
EXPECTED = {
    "bad_address": ("bad_setting", "TCP/IP", "ALTER SYSTEM"),
    "bad_hba": ("refused", "POSTGRES_HBA_FILE", "deploy"),
    "bad_postgresql_conf": ("bad_setting", "max_connections", f"{DATA}/postgresql.conf"),
    "bad_value": ("bad_setting", 'parameter "work_mem": "lots"', "/^work_mem /d"),
    "bogus_pid": ("pid_file", "bogus data", "postmaster.pid"),
    "empty_pid": ("pid_file", "is empty", "postmaster.pid"),
    "empty_preload": ("bad_preload", "empty name", "/^shared_preload_libraries /d"),
    "entrypoint_preload": ("bad_preload", "'nosuch'", "postgres_extra_preload_libraries"),
    "full_start": ("disk_full", "aza-pg-shop-data", "pg_wal"),
    "huge_pages": ("no_memory", "shared memory", "postgres_huge_pages"),
    "no_cert": ("bad_certificate", "/nope.crt", "postgres_tls_certificate"),
    "no_checkpoint": ("data_damaged", "checkpoint record", "backup"),
    "no_control": ("data_damaged", "pg_control", "backup"),
    "no_shm": ("no_memory", "Cannot allocate memory", "postgres_memory"),
    "nosuch_preload": ("bad_preload", "'nosuch'", "postgresql.auto.conf"),
    "nul_auto": ("bad_setting", "syntax error", "-i 1d"),
    "other_major": ("other_major", "PostgreSQL 17", "dump and restore"),
    "port_docker": ("port_taken", "127.0.0.1:25999", "ss -ltnp"),
    "port_other": ("port_taken", "127.0.0.1:25998", "ss -ltnp"),
    "recovery_signal": ("recovery", "restore_command", "recovery.signal"),
    "small_memory": ("no_memory", "100 MB of memory", "postgres_memory"),
    "stale_pid": None,
    "stale_pid_alive": None,
    "syntax": ("bad_setting", "syntax error", "-i 3d"),
    "torn_control": ("data_damaged", "PG_CONTROL_VERSION", "backup"),
    "two": ("data_in_use", "another container", "docker ps"),
    "unknown_name": ("bad_setting", "wrok_mem", "/^wrok_mem /d"),
    "unreadable": ("wrong_owner", "postgresql.conf: Permission denied", "-R 999:999"),
    "unreadable_data": ("wrong_owner", "pg_control", "-R 999:999"),
    "wrong_mode": ("wrong_owner", "invalid permissions", "chmod"),
    "wrong_owner": ("wrong_owner", "user 999 cannot write", "-R 999:999"),
}


def of(name: str) -> Diagnosis | None:
    return diagnose(SAMPLES[name]["state"], SAMPLES[name]["log"].split("\n"), PLACE)


def test_every_sample_has_its_reason() -> None:
    assert set(SAMPLES) == set(EXPECTED)


@pytest.mark.parametrize("name", SAMPLES)
def test_the_reason_and_the_remedy(name: str) -> None:
    found, expected = of(name), EXPECTED[name]
    if expected is None:
        assert found is None
        return
    reason, message, remedy = expected
    assert found is not None
    assert found.reason == reason
    assert message in found.message and remedy in found.remedy
    assert "\n" not in found.message + found.remedy


# The entrypoint looks before the server does, and says it as text of its own.
SENTENCES = {
    f"aza-pg: the file system of {DATA} is full: the server cannot start without free space": "disk_full",
    f"aza-pg: {DATA} belongs to user 0, but this server runs as user 999: PostgreSQL refuses another user's data": (
        "wrong_owner"
    ),
    f"aza-pg: user 999 cannot write {DATA}: is it mounted read-only? Mount it writable": "wrong_owner",
    f"aza-pg: {DATA}/postmaster.pid is empty: another server is starting there, or it is a leftover": "pid_file",
    f"aza-pg: a line of {DATA}/postgresql.auto.conf keeps the server from starting: syntax error": "bad_setting",
    "aza-pg: POSTGRES_STORAGE_TYPE is 'x', expected one of: ssd hdd san": "refused",
    '2026-12-01 03:22:00 UTC [1] PANIC:  could not write to file "pg_wal/xlogtemp.9": No space left on device': (
        "disk_full"
    ),
    '2026-12-01 03:22:00 UTC [1] FATAL:  lock file "postmaster.pid" already exists': "pid_file",
    "2026-12-01 03:22:00 UTC [1] FATAL:  requested timeline 2 is not a child of this server's history": "diverged",
    '2026-12-01 03:22:00 UTC [1] FATAL:  WAL streaming ("max_wal_senders" > 0) requires "wal_level" to be "replica"': (
        "bad_setting"
    ),
    '2026-12-01 03:22:00 UTC [1] FATAL:  data directory "/x" has wrong ownership': "wrong_owner",
    "2026-12-01 03:22:00 UTC [1] FATAL:  could not load /etc/aza-pg/pg_hba.conf": "bad_rules",
}


@pytest.mark.parametrize("line", SENTENCES)
def test_one_line(line: str) -> None:
    found = diagnose({"ExitCode": 1}, ["aza-pg: preloaded libraries: none", line, "        More."], PLACE)
    assert found is not None and found.reason == SENTENCES[line]


def test_the_kernel_ended_it() -> None:
    found = diagnose({"OOMKilled": True, "ExitCode": 137}, [], PLACE)
    assert found is not None and found.reason == "oom_killed" and "postgres_memory" in found.remedy


def test_what_was_wrong_before_a_start_that_succeeded_is_over() -> None:
    log = [*SAMPLES["bad_value"]["log"].split("\n"), "LOG:  database system is ready to accept connections"]
    assert diagnose({"ExitCode": 0}, log, PLACE) is None
    again = diagnose({"ExitCode": 1}, [*log, *SAMPLES["empty_pid"]["log"].split("\n")], PLACE)
    assert again is not None and again.reason == "pid_file"


def test_a_log_cannot_put_words_into_a_command() -> None:
    """The name of a setting and a path come from the log, and stand in a line that a user pastes."""
    bad = "x'; rm -rf / #"
    log = [
        f'LOG:  invalid value for parameter "{bad}": "1"',
        'FATAL:  configuration file "/a b/postgresql.auto.conf" contains errors',
    ]
    found = diagnose({"ExitCode": 1}, log, PLACE)
    assert found is not None
    words = shlex.split(found.remedy.partition("server: ")[2])
    assert words[-3:] == ["-i", "/^NAME /d", "/a b/postgresql.auto.conf"]
    assert words[:3] == ["docker", "run", "--rm"]


@given(st.lists(st.text()), st.integers(0, 255))
def test_any_log_is_read(log: list[str], code: int) -> None:
    diagnose({"ExitCode": code}, log, PLACE)
