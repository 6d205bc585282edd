# SPDX-License-Identifier: Apache-2.0
"""A deploy that changes nothing, changes that are predicted exactly, and permissions that are asked for."""

from __future__ import annotations

import functools
from collections.abc import Callable

from support.checks import assert_check_mode_is_exact, assert_second_run_changes_nothing
from support.instances import Instance
from support.playbooks import Run
from support.plugin import INVENTORY

Playbook = Callable[..., Run]
Instances = dict[str, Instance]
# Two hosts and their engines share this machine, perhaps with other work; the deploy itself takes a few seconds.
SECONDS = 60


def test_second_deploy_changes_nothing(instances: Instances, playbook: Playbook) -> None:
    again = assert_second_run_changes_nothing(lambda: playbook("deploy-single.yml"), instances, most_tasks=8)
    assert again.seconds < SECONDS


def test_setting_is_changed_without_a_restart(instances: Instances, playbook: Playbook) -> None:
    identity = {name: found.identity() for name, found in instances.items()}
    deploy = functools.partial(
        playbook, "deploy-single.yml", extra={"postgres_settings": {"log_min_duration_statement": "750ms"}}
    )
    predicted, _ = assert_check_mode_is_exact(deploy, instances, INVENTORY / "secrets")
    for name, found in instances.items():
        assert [change["effect"] for change in predicted.plan(name)] == ["reload"]
        assert found.sql("show log_min_duration_statement") == "750ms"
        assert found.identity() == identity[name]


def test_restart_waits_for_permission(instances: Instances, playbook: Playbook) -> None:
    identity = {name: found.identity() for name, found in instances.items()}
    before = {name: found.sql("show max_locks_per_transaction") for name, found in instances.items()}
    request = {"postgres_settings": {"max_locks_per_transaction": 333}}
    deploy = functools.partial(playbook, "deploy-single.yml", extra=request)
    predicted, made = assert_check_mode_is_exact(deploy, instances)
    for name, found in instances.items():
        assert [change["name"] for change in made.held(name)] == ["max_locks_per_transaction"]
        assert found.identity() == identity[name]
        assert found.sql("show max_locks_per_transaction") == before[name]
    assert "postgres_allow_restart" in predicted.output
    again = playbook("deploy-single.yml", extra=request)
    assert not any(again.changed(name) for name in instances)
    assert "waits for postgres_allow_restart: true" in again.output
    assert "yellow" in playbook("check.yml", extra=request).output

    allowed = playbook("deploy-single.yml", extra={**request, "postgres_allow_restart": True})
    assert "1 restart; nothing is lost" in allowed.output
    for name, found in instances.items():
        assert found.sql("show max_locks_per_transaction") == "333"
        assert found.identity()[0] == identity[name][0], "a restart does not need a new container"


def test_new_limit_recreates_the_container_and_keeps_the_data(
    instances: Instances, playbook: Playbook
) -> None:
    for found in instances.values():
        found.sql("create table if not exists kept as select 42 as answer")
    request = {"postgres_memory": "900m", "postgres_allow_recreate": True}
    deploy = functools.partial(playbook, "deploy-single.yml", extra=request)
    predicted, _ = assert_check_mode_is_exact(deploy, instances)
    for name, found in instances.items():
        assert "recreate" in [change["effect"] for change in predicted.plan(name)]
        assert found.inspect()["HostConfig"]["Memory"] == 900 * 2**20
        assert found.sql("select answer from kept") == "42"


def test_declared_state_comes_back(instances: Instances, playbook: Playbook) -> None:
    """What the inventory says, after the experiments above; with one permission for both."""
    playbook("deploy-single.yml", extra={"postgres_allow_recreate": True})
    assert_second_run_changes_nothing(lambda: playbook("deploy-single.yml"), instances, most_tasks=8)
    for found in instances.values():
        assert found.sql("select answer from kept") == "42"
        assert found.sql("show max_locks_per_transaction") != "333"


def test_wrong_inventory_touches_no_host(instances: Instances, playbook: Playbook) -> None:
    """All mistakes are told at once, each with its variable, its value and what was expected."""
    before = {name: found.facts() for name, found in instances.items()}
    wrong = {
        "postgres_memroy": "2g",
        "postgres_port": 70000,
        "postgres_workload": "webb",
        "postgres_log_max_files": "many",
    }
    run = playbook("deploy-single.yml", extra=wrong, expect_failure=True)
    for words in (
        ("postgres_memroy", "did you mean 'postgres_memory'"),
        ("postgres_port", "70000", "65535"),
        ("postgres_workload", "webb", "did you mean 'web'"),
        ("postgres_log_max_files", "many"),
    ):
        assert any(all(word in line for word in words) for line in run.output.splitlines()), run.output
    for name, found in instances.items():
        assert found.facts() == before[name]


def test_unknown_setting_is_refused_by_the_server_before_anything_changes(
    instances: Instances, playbook: Playbook
) -> None:
    before = {name: found.facts() for name, found in instances.items()}
    request = {"postgres_settings": {"work_memory": "16MB"}}
    run = playbook("deploy-single.yml", extra=request, expect_failure=True)
    for name, found in instances.items():
        assert "work_memory" in run.failure(name)
        assert found.facts() == before[name]
