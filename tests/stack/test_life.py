# SPDX-License-Identifier: Apache-2.0
"""The life of one instance, from the first plan on. The tests build on each other, in this order.

What it outlives (kills, drift, stops) and its removal are tested on hosts: molecule/single.
"""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from pathlib import Path

from ansible_collections.aza.pg.plugins.module_utils.yaml_dumper import dump

from .instance import Instance, docker


def test_check_mode_predicts_the_first_deploy_exactly(instance: Instance) -> None:
    predicted = instance.deploy("--check", "--diff")
    assert predicted.recap["changed"] == 1
    assert not instance.directory.exists()
    assert not (instance.inventory / "secrets").exists()
    real = instance.deploy()
    assert predicted.plan == real.plan
    assert len(real.plan) >= 12
    assert "is ready, first write after" in real.output


def test_compose_reads_what_was_written(tmp_path: Path) -> None:
    """A hash that it took for a number was a label, and the container was made again in each run."""
    texts = [
        "54953589697148e8",
        "089",
        "1_0e5",
        "0o17",
        "0X1F",
        ".5e3",
        "+1E-2",
        "1:30",
        "2026-11-27",
        "no",
        "~",
        "1e5x",
    ]
    labels = {f"label{number}": text for number, text in enumerate(texts)}
    (tmp_path / "compose.yml").write_text(dump({"services": {"one": {"image": "x", "labels": labels}}}))
    command = ("compose", "--file", str(tmp_path / "compose.yml"), "config", "--format", "json")
    assert json.loads(docker(*command))["services"]["one"]["labels"] == labels


def test_no_name_is_a_variable_to_compose(fresh: Instance) -> None:
    fresh.declare(
        postgres_database="sh$op",
        postgres_extra_preload_libraries=["$libdir/auto_explain"],
        # It brings its library.
        postgres_databases=[{"name": "postgres", "extensions": ["pg_cron"]}],
    )
    fresh.deploy()
    assert docker("exec", fresh.container, "printenv", "POSTGRES_DB") == "sh$op"
    assert "sh$op" in fresh.sql("select datname from pg_database").split()
    libraries = fresh.sql("show shared_preload_libraries")
    assert "auto_explain" in libraries and "pg_cron" in libraries
    assert fresh.sql("select count(*) from pg_extension where extname = 'pg_cron'") == "1"
    assert fresh.deploy().recap["changed"] == 0


def test_a_second_deploy_changes_nothing_with_few_tasks(instance: Instance) -> None:
    facts = ("inspect", "--format", "{{.Id}} {{.State.StartedAt}} {{.RestartCount}}", instance.container)
    before = docker(*facts), instance.sql("select pg_conf_load_time()")
    again = instance.deploy()
    assert again.recap["changed"] == 0
    assert again.recap["ok"] + again.recap["skipped"] <= 10
    assert again.plan == []
    assert (docker(*facts), instance.sql("select pg_conf_load_time()")) == before


def test_the_psql_line_works_as_it_is_pasted(instance: Instance) -> None:
    line = re.search(r"connect\s+(.+)", instance.deploy().output)
    assert line
    words = [word for word in shlex.split(line.group(1)) if word != "-it"]
    done = subprocess.run([*words, "-Atc", "select 6 * 7"], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "42", done.stderr


def test_plain_compose_drives_it(instance: Instance) -> None:
    compose = ("compose", "-f", str(instance.directory / "compose.yml"))
    assert "postgres" in docker(*compose, "ps", "--services")
    before = docker("inspect", "--format", "{{.Id}}", instance.container)
    docker(*compose, "up", "-d")
    assert docker("inspect", "--format", "{{.Id}}", instance.container) == before


def test_check_is_green(instance: Instance) -> None:
    run = instance.play("check")
    assert run.code == 0, run.output
    assert re.search(r"green\s+ready\s+PostgreSQL 18", run.output)
    assert "values are as predicted" in run.output
    assert "fleet: 1 instance: 0 red, 0 yellow, 1 green; findings: 0 red, 0 yellow" in run.output


def test_a_setting_that_a_reload_takes(instance: Instance) -> None:
    started = instance.sql("select pg_postmaster_start_time()")
    instance.declare(postgres_settings={"work_mem": "7MB", "log_line_prefix": "it's \\%m "})
    predicted = instance.deploy("--check", "--diff")
    real = instance.deploy()
    assert predicted.plan == real.plan
    assert "reload: active at once" in real.output
    assert instance.sql("show work_mem") == "7MB"
    assert instance.sql("show log_line_prefix") == "it's \\%m"
    assert instance.sql("select pg_postmaster_start_time()") == started
    assert instance.deploy().recap["changed"] == 0


def test_bad_settings_are_refused_in_words_and_the_old_server_keeps_running(instance: Instance) -> None:
    started = instance.sql("select pg_postmaster_start_time()")
    good = instance.variables["postgres_settings"]
    instance.declare(postgres_settings={"work_mem": "1 parsec", "max_connections": -1})
    for arguments in ((), ("--check",)):
        run = instance.play("deploy-single", *arguments)
        assert run.code != 0
        for words in (
            "1 parsec",
            "Valid units",
            "max_connections",
            "group_vars/all.yml",
            "Nothing was changed",
        ):
            assert words in " ".join(run.output.split()), run.output
    instance.declare(postgres_settings={"max_conections": 5})
    assert "did you mean" in instance.play("deploy-single").output
    instance.declare(postgres_settings=good)
    assert instance.sql("select pg_postmaster_start_time()") == started
    assert instance.deploy().recap["changed"] == 0


def test_a_new_container_waits_for_the_permission_and_keeps_the_data(instance: Instance) -> None:
    instance.sql("create table kept as select 1 as one")
    instance.declare(postgres_memory="768m")
    # What only a running server can take comes after the new container is ready, in the same deploy.
    instance.sql("alter role postgres password 'somebody was here again'")
    assert "waits for postgres_allow_recreate: true" in instance.deploy("--check").output
    real = instance.deploy("-e", "postgres_allow_recreate=true")
    assert "mem_limit: 512m → mem_limit: 768m" in real.output
    test_the_psql_line_works_as_it_is_pasted(instance)
    assert instance.sql("table kept") == "1"
    assert instance.deploy().recap["changed"] == 0
