# SPDX-License-Identifier: Apache-2.0
"""The service and the kind of object of docs/extending.md: each has everything that the built-in ones have."""

from __future__ import annotations

import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from docs import examples

from .instance import ROOT, Instance, Run, docker, free_port


class Extended(Instance):
    """An instance that a copy of the repository with a fifth service deploys."""

    def __init__(self, directory: Path, repository: Path, **variables: Any) -> None:
        self.repository = repository
        super().__init__(directory, **variables)

    responder = property(lambda self: f"aza-pg-{self.cluster}-single-responder")
    token = property(lambda self: self.inventory / "secrets" / self.cluster / "services/responder")

    def play(self, name: str, *arguments: str) -> Run:
        environment = {
            **os.environ,
            "ANSIBLE_CONFIG": str(self.repository / "ansible.cfg"),
            "ANSIBLE_NOCOLOR": "1",
        }
        words = (
            "ansible-playbook",
            "-i",
            str(self.inventory),
            f"playbooks/{name.replace('-', '_')}.yml",
            *arguments,
        )
        done = subprocess.run(words, cwd=self.repository, env=environment, capture_output=True, text=True)
        return Run(done.returncode, done.stdout + done.stderr)

    def remove(self) -> None:
        subprocess.run(["docker", "rm", "-fv", self.responder], capture_output=True, check=False)
        super().remove()


@pytest.fixture(scope="module")
def instance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Extended]:
    repository = examples.copy(tmp_path_factory.mktemp("copy"))
    examples.apply("A service", repository)
    examples.apply("A kind of object", repository)
    subprocess.run([sys.executable, "scripts/generate.py"], cwd=repository, check=True, capture_output=True)
    (repository / ".collections").symlink_to(ROOT / ".collections")
    made = Extended(
        tmp_path_factory.mktemp("inventory"),
        repository,
        postgres_responder_port=free_port(),
        postgres_exporter=False,
    )
    made.deploy()
    yield made
    made.remove()


def answer(instance: Extended) -> str:
    url = f"http://127.0.0.1:{instance.variables['postgres_responder_port']}/metrics"
    with urllib.request.urlopen(url, timeout=10) as found:
        return str(found.read().decode())


def test_it_comes_as_predicted_and_a_second_run_changes_nothing(instance: Extended) -> None:
    instance.declare(postgres_responder=True)
    predicted = instance.deploy("--check", "--diff")
    real = instance.deploy("--diff")
    assert predicted.plan == real.plan
    assert any("create container" in line and instance.responder in line for line in real.plan)
    assert any("secret" in line and "responder_token" in line for line in real.plan)
    assert "responder_up 1" in answer(instance)
    assert instance.deploy().recap["changed"] == 0
    limits = docker(
        "inspect", "--format", "{{.HostConfig.ReadonlyRootfs}} {{.HostConfig.CapDrop}}", instance.responder
    )
    assert limits == "true [ALL]"


def test_its_secret_is_made_once_and_is_shown_nowhere(instance: Extended) -> None:
    token = instance.token.read_text().strip()
    assert docker("exec", instance.responder, "cat", "/run/secrets/responder_token") == token
    seen = docker("inspect", instance.responder) + instance.deploy("-vvv", "--diff").output
    assert token not in seen
    listed = instance.play("secrets")
    assert listed.code == 0 and "services/responder" in listed.output and "the responder" in listed.output
    rotated = instance.play("secrets", "-e", "rotate=responder")
    assert rotated.code == 0, rotated.output
    assert instance.token.read_text().strip() != token
    assert (
        docker("exec", instance.responder, "cat", "/run/secrets/responder_token")
        == instance.token.read_text().strip()
    )
    kept = instance.token.read_text().strip()
    instance.token.unlink()
    fetched = instance.play("secrets", "-e", "fetch=true")
    assert fetched.code == 0, fetched.output
    assert instance.token.read_text().strip() == kept


def test_a_check_reports_it_and_its_drift(instance: Extended) -> None:
    green = instance.play("check")
    assert green.code == 0 and "its metrics say that the responder is up" in green.output
    docker("update", "--memory", "200m", "--memory-swap", "200m", instance.responder)
    drifted = instance.play("check")
    assert drifted.code != 0 and "memory limit" in drifted.output
    instance.deploy()
    docker("stop", "--time", "1", instance.responder)
    stopped = instance.play("check")
    assert stopped.code != 0 and "it is exited" in stopped.output
    instance.deploy()
    assert instance.play("check").code == 0


def test_prometheus_gets_a_target(instance: Extended, tmp_path: Path) -> None:
    made = instance.play("monitoring", "-e", f"monitoring_dir={tmp_path}")
    assert made.code == 0, made.output
    port = instance.variables["postgres_responder_port"]
    assert f"responder: 127.0.0.1:{port}" in made.output


def test_its_port_is_checked_against_the_others(instance: Extended) -> None:
    port = instance.variables["postgres_responder_port"]
    instance.declare(postgres_responder_port=instance.variables["postgres_port"])
    refused = instance.play("deploy-single")
    instance.declare(postgres_responder_port=port)
    assert refused.code != 0 and "postgres_responder_port" in refused.output
    assert "the port of the server" in refused.output


def test_without_it_nothing_of_it_remains(instance: Extended) -> None:
    instance.declare(postgres_responder=False)
    predicted, real = instance.deploy("--check"), instance.deploy()
    assert predicted.plan == real.plan
    assert instance.responder not in docker("ps", "--all", "--format", "{{.Names}}").split()
    assert not (instance.directory / "secrets/responder_token").exists()
    assert instance.deploy().recap["changed"] == 0


def origins(instance: Extended) -> str:
    return instance.sql(
        "select coalesce(string_agg(roname, ' ' order by roname), '') from pg_replication_origin"
    )


def test_a_kind_of_object_is_planned_applied_and_checked(instance: Extended) -> None:
    instance.declare(postgres_replication_origins=[{"name": "stock"}])
    predicted, real = instance.deploy("--check"), instance.deploy()
    assert predicted.plan == real.plan
    assert any("create replication origin stock" in line for line in real.plan)
    assert origins(instance) == "stock"
    assert instance.deploy().recap["changed"] == 0
    instance.sql("select pg_replication_origin_drop('stock')")
    drifted = instance.play("check")
    assert drifted.code != 0 and "replication origin stock" in drifted.output
    instance.deploy()
    assert origins(instance) == "stock"


def test_a_kind_of_object_is_not_lost_without_permission(instance: Extended) -> None:
    instance.declare(postgres_replication_origins=[{"name": "stock", "state": "absent"}])
    instance.deploy()
    assert origins(instance) == "stock"
    instance.declare(postgres_allow_loss=["replication origin stock"])
    instance.deploy()
    assert origins(instance) == ""
