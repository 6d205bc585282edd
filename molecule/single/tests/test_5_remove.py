# SPDX-License-Identifier: Apache-2.0
"""Removing needs the cluster's name; the data has a confirmation of its own; secrets stay on the control node."""

from __future__ import annotations

from collections.abc import Callable

from support.checks import assert_check_mode_is_exact
from support.instances import Instance
from support.playbooks import Run
from support.plugin import INVENTORY

Playbook = Callable[..., Run]
REMOVE = "remove.yml"


def test_remove(instances: dict[str, Instance], playbook: Playbook) -> None:
    name, found = next((name, found) for name, found in instances.items() if found.cluster == "plain")
    other = next(found for found in instances.values() if found.cluster != "plain")
    bystander, before = other.facts(), found.facts()
    passwords = (INVENTORY / "secrets/plain/postgres_password").read_text()

    for confirmation in ({}, {"confirm": "yes"}):
        refused = playbook(REMOVE, extra=confirmation, expect_failure=True)
        assert "Nothing was changed" in " ".join(refused.output.split())
        assert found.facts() == before
    # Another cluster's name is none of this host's business.
    playbook(REMOVE, extra={"confirm": "busy"}, limit=[name])
    assert found.facts() == before

    assert_check_mode_is_exact(
        lambda *words: playbook(REMOVE, *words, extra={"confirm": "plain"}, limit=[name]), {name: found}
    )
    assert found.container not in found.run("docker ps -a")
    assert not found.host.file(found.directory).exists
    assert not found.host.file(found.socket).exists
    assert found.volume in found.run("docker volume ls -q")
    assert (INVENTORY / "secrets/plain/postgres_password").read_text() == passwords

    # The data was kept: a deploy finds it, with the password that the control node kept.
    playbook("deploy-single.yml", limit=[name])
    assert found.sql("select answer from kept") == "42"

    wrong = playbook(
        REMOVE, extra={"confirm": "plain", "remove_data": "busy"}, limit=[name], expect_failure=True
    )
    assert "plain" in wrong.output
    assert found.sql("select answer from kept") == "42"

    both = {"confirm": "plain", "remove_data": "plain"}
    predicted, made = assert_check_mode_is_exact(
        lambda *words: playbook(REMOVE, *words, extra=both, limit=[name]), {name: found}
    )
    assert "data" in [change["effect"] for change in predicted.plan(name)]
    assert "LOST: every database" in made.output
    assert found.volume not in found.run("docker volume ls -q")
    assert not playbook(REMOVE, extra=both, limit=[name]).changed(name)
    assert other.facts() == bystander
