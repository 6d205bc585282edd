# SPDX-License-Identifier: Apache-2.0
"""No password anywhere: in what a run prints, a process shows, the engine tells, or the server remembers."""

from __future__ import annotations

import re
import subprocess

from support.processes import watched

from .instance import CANARY, Instance, docker

# Whoever sees this can try passwords as fast as he likes.
VERIFIER = re.compile(r"SCRAM-SHA-256\$4096:[A-Za-z0-9+/=]+\$")
TALKATIVE = {"log_statement": "all", "log_min_duration_statement": 0, "pg_stat_statements.track": "all"}
LOUD = ("-vvv", "--diff")


def test_no_secret_anywhere(fresh: Instance) -> None:
    fresh.declare(
        postgres_user="boss",
        postgres_password=CANARY,
        postgres_allow_plain_passwords=True,
        postgres_roles=[{"name": name, "password": f"{CANARY}-{name}"} for name in ("web", "fresh")],
        postgres_settings=TALKATIVE,
    )
    with watched() as seen:
        outputs = [
            fresh.play("deploy-single", "--check", *LOUD).output,
            fresh.play("deploy-single", *LOUD).output,
            fresh.play("check", "-vvv").output,
        ]
        fresh.sql("alter role boss password 'another one'")
        fresh.sql("alter role fresh password null")
        outputs.append(fresh.play("deploy-single", *LOUD).output)
        outputs.append(fresh.play("secrets", "-e", "rotate=all", *LOUD).output)
        queries = [
            fresh.sql(f"select string_agg(query, ' ') from {view}")
            for view in ("pg_stat_activity", "pg_stat_statements")
        ]
        fresh.declare(postgres_port=1)
        outputs.append(fresh.play("deploy-single", "-vvv", "-e", "postgres_memory=900g").output)
    assert any("docker" in arguments for arguments in seen), "what the runs started was not looked at"
    for role in ("boss", "fresh"):
        assert f"set the password of role {role}" in outputs[3]
    remembered = {"the server's log": _log(fresh), "pg_stat_statements": queries[1]}
    for what, text in remembered.items():
        assert "alter role" in text.lower(), f"{what} remembers nothing"
    # The environment of what runs in the end. While the first start's scripts run they have the official image's
    # POSTGRES_PASSWORD in theirs, which only their own user and root can read.
    places = [
        *outputs,
        *seen,
        *queries,
        *remembered.values(),
        _environments(),
        docker("inspect", fresh.container),
    ]
    places.append(docker("exec", fresh.container, "sh", "-c", "tr '\\0' '\\n' </proc/1/environ"))
    assert not [text for text in places if CANARY in text]
    assert not [text for text in places if VERIFIER.search(text)]
    files = [path for path in fresh.directory.rglob("*") if path.is_file() and CANARY in path.read_text()]
    assert files == [fresh.directory / "secrets" / "postgres_password"]


def _environments() -> str:
    return subprocess.run(["ps", "axwwe", "-o", "args"], capture_output=True, text=True, check=False).stdout


def _log(instance: Instance) -> str:
    done = subprocess.run(["docker", "logs", instance.container], capture_output=True, text=True, check=False)
    return done.stdout + done.stderr
