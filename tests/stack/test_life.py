# SPDX-License-Identifier: Apache-2.0
"""The life of one instance, from the first plan to its removal. The tests build on each other, in this order."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import pytest

from .instance import Instance, docker


def test_check_mode_foretells_the_first_deploy_exactly(instance: Instance) -> None:
    foretold = instance.deploy("--check", "--diff")
    assert foretold.recap["changed"] == 1
    assert not instance.directory.exists()
    assert not (instance.inventory / "secrets").exists()
    real = instance.deploy()
    assert foretold.plan == real.plan
    assert len(real.plan) >= 12
    assert "is ready, first write after" in real.output


def test_a_second_deploy_changes_nothing_with_few_tasks(instance: Instance) -> None:
    facts = ("inspect", "--format", "{{.Id}} {{.State.StartedAt}} {{.RestartCount}}", instance.container)
    before = docker(*facts), instance.sql("select pg_conf_load_time()")
    again = instance.deploy()
    assert again.recap["changed"] == 0
    assert again.recap["ok"] + again.recap["skipped"] <= 8
    assert again.plan == []
    assert (docker(*facts), instance.sql("select pg_conf_load_time()")) == before


def test_what_is_remembered_of_the_host_is_held_against_the_host(
    instance: Instance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANSIBLE_CACHE_PLUGIN_CONNECTION", str(tmp_path))
    looked, remembered = instance.deploy(), instance.deploy()
    assert remembered.recap["ok"] < looked.recap["ok"]
    [known] = tmp_path.iterdir()
    for wrong in ('\\"uid\\": 12345', '\\"memory_mb\\": 64', '\\"hostname\\": \\"other\\"'):
        word = wrong.partition(":")[0]
        known.write_text(re.sub(rf"{re.escape(word)}: [^,]+", lambda _: wrong, known.read_text()))  # noqa: B023
    assert "12345" in known.read_text()
    again = instance.deploy()
    assert (again.recap["changed"], again.plan) == (0, [])
    assert "12345" not in known.read_text(), "and what was wrong is not believed again"


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
    foretold = instance.deploy("--check", "--diff")
    real = instance.deploy()
    assert foretold.plan == real.plan
    assert "reload: active at once" in real.output
    assert instance.sql("show work_mem") == "7MB"
    assert instance.sql("show log_line_prefix") == "it's \\%m"
    assert instance.sql("select pg_postmaster_start_time()") == started
    assert instance.deploy().recap["changed"] == 0


def test_what_needs_a_restart_waits_for_the_permission(instance: Instance) -> None:
    started = instance.sql("select pg_postmaster_start_time()")
    instance.declare(postgres_settings={"work_mem": "7MB", "max_connections": 33})
    waiting = instance.deploy()
    assert "waits for postgres_allow_restart: true" in waiting.output
    assert instance.sql("select pg_postmaster_start_time()") == started
    again = instance.deploy()
    assert again.recap["changed"] == 0
    assert "waits for postgres_allow_restart: true" in again.output
    checked = instance.play("check")
    assert checked.code == 0 and "yellow" in checked.output
    allowed = instance.deploy("-e", "postgres_allow_restart=true")
    assert "1 restart; nothing is lost" in allowed.output
    assert instance.sql("show max_connections") == "33"
    assert instance.sql("select pg_postmaster_start_time()") != started
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


def test_drift_is_found_and_repaired(instance: Instance) -> None:
    hba = instance.directory / "postgres" / "pg_hba.conf"
    hba.write_text(hba.read_text() + "host all all 0.0.0.0/0 trust\n")
    (instance.directory / "postgres" / "conf.d" / "99-mine.conf").write_text("work_mem = 1MB\n")
    instance.sql("alter role postgres password 'somebody was here'")
    (instance.directory / "secrets").chmod(0o755)
    checked = instance.play("check")
    assert checked.code != 0
    for words in (
        "remove hba rule",
        "0.0.0.0/0",
        "99-mine.conf",
        "set the password of role postgres",
        "set rights of",
    ):
        assert words in " ".join(checked.output.split())
    instance.deploy()
    assert "trust" not in instance.sql("select string_agg(auth_method, ' ') from pg_hba_file_rules")
    assert instance.sql("show work_mem") == "7MB"
    assert instance.deploy().recap["changed"] == 0
    test_the_psql_line_works_as_it_is_pasted(instance)


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


def test_stop_check_start(instance: Instance) -> None:
    assert instance.play("stop", "--check").recap["changed"] == 1
    assert instance.play("stop").recap["changed"] == 1
    assert instance.play("stop").recap["changed"] == 0
    assert docker("inspect", "--format", "{{.State.ExitCode}}", instance.container) == "0"
    checked = instance.play("check")
    assert checked.code != 0 and "it is exited" in checked.output
    assert instance.play("start").recap["changed"] == 1
    assert instance.play("start").recap["changed"] == 0
    assert instance.sql("table kept") == "1"


def test_a_killed_server_is_started_by_a_deploy(instance: Instance) -> None:
    docker("kill", instance.container)
    run = instance.deploy()
    assert "start container" in run.output
    assert instance.sql("table kept") == "1"


def test_removing_needs_the_name_and_keeps_data_and_secrets(instance: Instance) -> None:
    for arguments in (
        (),
        ("-e", "confirm=nonsense"),
        ("-e", f"confirm={instance.cluster}", "-e", "remove_data=x"),
    ):
        run = instance.play("remove", *arguments)
        assert run.code != 0 and "Nothing was changed" in " ".join(run.output.split()), run.output
    assert instance.sql("select 1") == "1"
    assert instance.play("remove", "-e", f"confirm={instance.cluster}", "--check").recap["changed"] == 1
    assert instance.play("remove", "-e", f"confirm={instance.cluster}").code == 0
    assert not instance.directory.exists()
    assert not list(instance.directory.parent.iterdir())
    assert docker("volume", "inspect", "--format", "{{.Name}}", instance.volume) == instance.volume
    assert (instance.inventory / "secrets" / instance.cluster / "postgres_password").is_file()
    assert instance.play("remove", "-e", f"confirm={instance.cluster}").recap["changed"] == 0


def test_a_deploy_finds_the_data_again_and_then_it_can_go_for_good(instance: Instance) -> None:
    instance.deploy()
    assert instance.sql("table kept") == "1"
    name = instance.cluster
    gone = instance.play("remove", "-e", f"confirm={name}", "-e", f"remove_data={name}")
    assert "LOST: every database" in gone.output
    volumes = docker("volume", "ls", "--quiet").split()
    assert instance.volume not in volumes
    assert Path(instance.inventory / "secrets").is_dir()
