# SPDX-License-Identifier: Apache-2.0
"""What breaks or is changed by hand: check mode predicts the repair, a deploy repairs it, nothing else is touched."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable

from support.checks import assert_check_mode_is_exact
from support.instances import Instance
from support.playbooks import Run

Playbook = Callable[..., Run]
Instances = dict[str, Instance]

# What is done on the host → what the plan has to say about it.
EDITED_BY_HAND = {
    "sed -i 's/mem_limit:.*/mem_limit: 5g/' {directory}/compose.yml": "change file compose.yml",
    "echo work_mem=99MB >> {directory}/postgres/conf.d/50-inventory.conf": "change setting work_mem",
    "echo work_mem=98MB > {directory}/postgres/conf.d/zz.conf": "remove file postgres/conf.d/zz.conf",
    "echo host all all all trust >> {directory}/postgres/pg_hba.conf": "remove hba rule",
    "echo spoilt > {directory}/postgres/tls/server.pem": "certificate server",
    "chmod 644 {directory}/secrets/postgres_password": "set rights of secret secrets/postgres_password",
    "rm {socket}": "create link",
}
LOST = {
    "docker kill {container}": "start container {container}",
    "docker kill {exporter}": "start container {exporter}",
    "rm -r {directory}/secrets": "create secret secrets/postgres_password",
}
SERVER_CHANGED = {
    "docker exec {container} psql -qX -U postgres -c \"alter role postgres password 'another-one-123'\"": "set the "
    "password of role postgres",
}
REMOVED = {
    "docker rm -f {container} {exporter} && docker network rm aza-pg-{instance}": "create container {container}",
    "rm -r {directory}": "create file compose.yml",
}


def _hurt(victim: Instance, damages: dict[str, str]) -> list[str]:
    names = {
        name: getattr(victim, name) for name in ("container", "exporter", "directory", "socket", "instance")
    }
    for command in damages:
        victim.run(command.format(**names))
    return [says.format(**names) for says in damages.values()]


def _assert_repaired(instances: Instances, playbook: Playbook, message: dict[str, list[str]]) -> None:
    predicted, _ = assert_check_mode_is_exact(lambda *words: playbook("deploy-single.yml", *words), instances)
    for name, sentences in message.items():
        planned = "\n".join(" ".join((c["action"], c["kind"], c["name"])) for c in predicted.plan(name))
        assert not [sentence for sentence in sentences if sentence not in planned], planned
        assert instances[name].sql("select answer from kept") == "42"


def test_edited_by_hand(instances: Instances, playbook: Playbook) -> None:
    """check.yml finds it too; the other host, which is sound, is not touched by any of it."""
    playbook("check.yml")
    hurt, sound = sorted(instances)
    before = instances[sound].facts()
    identity = instances[hurt].identity()
    message = _hurt(instances[hurt], EDITED_BY_HAND)
    damaged = instances[hurt].facts()
    found = playbook("check.yml", expect_failure=True)
    for words in (
        "compose.yml",
        "work_mem",
        "zz.conf",
        "hba rule",
        "certificate server",
        "postgres_password",
    ):
        assert words in found.output, found.output
    assert instances[hurt].facts() == damaged, "check.yml changed something"
    _assert_repaired(instances, playbook, {hurt: message})
    assert instances[sound].facts() == before
    assert instances[hurt].identity() == identity, "none of this needs a restart"
    assert instances[hurt].sql("select count(*) from pg_hba_file_rules where auth_method = 'trust'") == "0"


def test_killed_and_server_changed(instances: Instances, playbook: Playbook) -> None:
    killed, changed = sorted(instances)
    message = {
        killed: _hurt(instances[killed], LOST),
        changed: _hurt(instances[changed], SERVER_CHANGED),
    }
    _assert_repaired(instances, playbook, message)


def test_removed_by_hand(instances: Instances, playbook: Playbook) -> None:
    """Everything but the volume and what the control node keeps."""
    sound, hurt = sorted(instances)
    before = instances[sound].facts()
    _assert_repaired(instances, playbook, {hurt: _hurt(instances[hurt], REMOVED)})
    assert instances[sound].facts() == before


def test_reboot_of_the_hosts(instances: Instances, playbook: Playbook) -> None:
    """/run is empty afterwards. One host starts its engine itself; the other has no init system, and is told so.

    It also lacks a prerequisite that an earlier deploy installed.
    """
    subprocess.run(["docker", "restart", "--time", "20", *instances], check=True, capture_output=True)
    without, own = sorted(
        instances, key=lambda name: instances[name].variables["test_host_command"] == ["dockerd"]
    )
    _wait_for_server(instances[own])
    message = playbook("deploy-single.yml", expect_failure=True)
    assert "Docker Engine" in message.failure(without)
    assert instances[own].sql("select answer from kept") == "42"

    instances[without].run("dpkg --purge --force-depends python3-psycopg")
    playbook("molecule/single/converge.yml")
    assert instances[without].host.package("python3-psycopg").is_installed
    for found in instances.values():
        assert found.sql("select answer from kept") == "42"
        assert found.host.file(found.socket).is_symlink
    playbook("check.yml")


def test_stop_and_start(instances: Instances, playbook: Playbook) -> None:
    predicted, _ = assert_check_mode_is_exact(lambda *words: playbook("stop.yml", *words), instances)
    for name, found in instances.items():
        assert predicted.changed(name)
        state = found.inspect()["State"]
        assert (state["Status"], state["ExitCode"]) == ("exited", 0), (
            "the server was killed instead of stopped"
        )
        assert found.inspect(found.exporter)["State"]["Status"] == "exited"
    assert not any(playbook("stop.yml").changed(name) for name in instances)
    assert "it is exited" in playbook("check.yml", expect_failure=True).output
    assert_check_mode_is_exact(lambda *words: playbook("start.yml", *words), instances)
    for name, found in instances.items():
        assert found.sql("select answer from kept") == "42", name
    assert not any(playbook("start.yml").changed(name) for name in instances)


def _wait_for_server(found: Instance, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while found.host.run(f"docker exec {found.container} pg_isready -q").rc != 0:
        assert time.monotonic() < deadline, f"{found.name}: the server did not come back by itself"
        time.sleep(0.5)
