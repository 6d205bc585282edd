# SPDX-License-Identifier: Apache-2.0
"""What breaks or is changed by hand: check.yml finds it, check mode foretells the repair, a deploy repairs it."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from steps.checks import assert_check_mode_is_exact
from steps.instances import Instance
from steps.playbooks import Run

Playbook = Callable[..., Run]
Instances = dict[str, Instance]


@dataclass(frozen=True)
class Damage:
    """``command`` is done on the host; ``says`` must be in the plan's words afterwards."""

    command: str
    says: str


DAMAGES = {
    "container killed": Damage("docker kill {container}", "start container"),
    "container removed": Damage("docker rm -f {container}", "create container"),
    "compose file edited": Damage(
        "sed -i s/mem_limit:.*/mem_limit:\\ 5g/ {directory}/compose.yml", "compose.yml"
    ),
    "settings edited": Damage("echo work_mem=99MB >> $(ls {directory}/postgres/conf.d/*.conf)", "work_mem"),
    "foreign settings added": Damage("echo work_mem=98MB > {directory}/postgres/conf.d/zz.conf", "zz.conf"),
    "HBA opened": Damage("echo host all all all trust >> {directory}/postgres/pg_hba.conf", "pg_hba.conf"),
    "secret readable": Damage("chmod 644 {directory}/secrets/postgres_password", "set rights of secret"),
    "secret lost": Damage("rm {directory}/secrets/postgres_password", "create secret"),
    "password changed": Damage(
        "docker exec {container} psql -qX -U postgres -c \"alter role postgres password 'another-one-123'\"",
        "set the password of",
    ),
    "socket link lost": Damage("rm {socket}", "link"),
}


@pytest.mark.parametrize("kind", DAMAGES)
def test_damage_is_found_foretold_and_repaired(kind: str, instances: Instances, playbook: Playbook) -> None:
    """The hosts take turns; the one that is sound must not be touched."""
    damage, turn = DAMAGES[kind], list(DAMAGES).index(kind)
    names = sorted(instances)
    hurt, sound = names[turn % 2], names[(turn + 1) % 2]
    victim = instances[hurt]
    before = instances[sound].facts()
    victim.run(
        damage.command.format(container=victim.container, directory=victim.directory, socket=victim.socket)
    )
    foretold, _ = assert_check_mode_is_exact(lambda *words: playbook("deploy-single.yml", *words), instances)
    assert damage.says in foretold.output
    assert foretold.changed(hurt)
    assert instances[sound].facts() == before
    assert victim.sql("select answer from kept") == "42"
    assert victim.sql("show work_mem") not in ("98MB", "99MB")


def test_check_finds_drift_and_passes_without(instances: Instances, playbook: Playbook) -> None:
    playbook("check.yml")
    name, victim = next(iter(instances.items()))
    victim.run(f"echo '# by hand' >> {victim.directory}/postgres/pg_ident.conf")
    before = victim.facts()
    run = playbook("check.yml", expect_failure=True)
    assert "pg_ident.conf" in run.output
    assert victim.facts() == before, "check.yml changes nothing"
    playbook("deploy-single.yml", limit=[name])
    playbook("check.yml")


def test_reboot_of_the_hosts(instances: Instances, playbook: Playbook) -> None:
    """/run is empty afterwards. One host starts its engine itself; the other has no init system, and is told so."""
    subprocess.run(["docker", "restart", "--time", "20", *instances], check=True, capture_output=True)
    own = next(
        name for name, found in instances.items() if found.variables["test_host_command"] == ["dockerd"]
    )
    without = next(name for name in instances if name != own)
    _wait_for_engine(instances[own])
    said = playbook("deploy-single.yml", expect_failure=True)
    assert "engine" in said.failure(without).lower()
    assert instances[own].sql("select answer from kept") == "42"

    playbook("molecule/single/converge.yml")
    for found in instances.values():
        assert found.sql("select answer from kept") == "42"
        assert found.host.file(found.socket).is_symlink
    playbook("check.yml")


def test_stop_and_start(instances: Instances, playbook: Playbook) -> None:
    foretold, _ = assert_check_mode_is_exact(lambda *words: playbook("playbooks/stop.yml", *words), instances)
    for name, found in instances.items():
        assert foretold.changed(name)
        assert found.inspect()["State"]["Status"] == "exited"
        assert found.inspect()["State"]["ExitCode"] == 0, "the server was killed instead of stopped"
    assert not any(playbook("playbooks/stop.yml").changed(name) for name in instances)
    assert_check_mode_is_exact(lambda *words: playbook("playbooks/start.yml", *words), instances)
    for name, found in instances.items():
        assert found.sql("select answer from kept") == "42", name
    assert not any(playbook("playbooks/start.yml").changed(name) for name in instances)


def _wait_for_engine(found: Instance, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while found.host.run(f"docker exec {found.container} pg_isready -q").rc != 0:
        assert time.monotonic() < deadline, f"{found.name}: the server did not come back by itself"
        time.sleep(0.5)
