"""Which engine does, what is done where none does, and the sentence where nothing can be done."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from ansible_collections.aza.pg.plugins.module_utils.docker_engine.model import (
    Engine,
    Machine,
    Wanted,
    merge,
    parse_info,
    version_key,
)
from ansible_collections.aza.pg.plugins.module_utils.docker_engine.plan import plan, shortcomings
from ansible_collections.aza.pg.plugins.module_utils.errors import AzaError

LOCAL = "unix:///var/run/docker.sock"
GOOD = Engine(client="28.5.2", server="28.5.2+dfsg4", compose="2.40.3-3", buildx="0.29.1", endpoint=LOCAL)
STOPPED = replace(GOOD, server=None, error="Cannot connect to the Docker daemon")
NONE = Engine()
MACHINE = Machine(
    name="Debian GNU/Linux 12 (bookworm)",
    family="debian",
    codename="bookworm",
    root=True,
    systemd=True,
    daemon=False,
)
CONFIG = {"features": {"containerd-snapshotter": True}}
WANTED = Wanted(config=CONFIG)


def kinds(wanted, engine, machine):
    return [step.kind for step in plan(wanted, engine, machine)]


@pytest.mark.parametrize(
    ("engine", "lacks"),
    [
        (GOOD, []),
        (replace(GOOD, server="24.0"), []),
        (replace(GOOD, server="20.10.24+dfsg1"), ["the one that runs is 20.10.24+dfsg1"]),
        (replace(GOOD, compose=None, buildx=None), ["it has no Compose v2", "it has no buildx"]),
        (replace(GOOD, compose="1.29.2"), ["it has no Compose v2"]),
        (STOPPED, ["none answers"]),
    ],
)
def test_shortcomings(engine, lacks):
    assert shortcomings(engine, "24.0") == lacks


@pytest.mark.parametrize(
    ("engine", "machine", "steps"),
    [
        # What suffices is left alone, whatever the machine and its configuration are like.
        (GOOD, MACHINE, []),
        (GOOD, replace(MACHINE, root=False, family="", config={"log-driver": "journald"}), []),
        # A bare machine; only a client; an older daemon without Compose.
        (NONE, MACHINE, ["configure", "install", "start"]),
        (replace(STOPPED, compose=None, buildx=None), MACHINE, ["configure", "install", "start"]),
        (replace(STOPPED, compose=None), replace(MACHINE, daemon=True), ["configure", "install", "start"]),
        # A user's configuration is not ours to change, although the packages are.
        (NONE, replace(MACHINE, config={"data-root": "/srv/docker"}), ["install", "start"]),
        (STOPPED, replace(MACHINE, daemon=True), ["start"]),
        (GOOD, replace(MACHINE, missing_packages=("mmdebstrap",)), ["install"]),
        (GOOD, replace(MACHINE, missing_packages=("mmdebstrap",), root=False), []),
    ],
)
def test_steps(engine, machine, steps):
    assert kinds(WANTED, engine, machine) == steps


def test_bookworm_takes_the_engine_from_a_later_suite_and_everything_in_one_transaction():
    install = plan(WANTED, NONE, replace(MACHINE, missing_packages=("mmdebstrap",)))[1]
    assert install.detail == (
        "docker.io",
        "docker-cli",
        "docker-buildx",
        "docker-compose",
        "iptables",
        "mmdebstrap",
    )
    assert "forky" in install.what
    assert "forky" not in plan(WANTED, NONE, replace(MACHINE, codename="trixie"))[1].what


def test_ubuntu_has_its_own_names():
    install = plan(WANTED, NONE, replace(MACHINE, family="ubuntu", codename="noble"))[1]
    assert "docker-compose-v2" in install.detail


def test_managed_configuration_converges_and_restarts_only_on_change():
    managed = replace(WANTED, manage_config=True)
    assert kinds(managed, GOOD, MACHINE) == ["configure", "restart"]
    assert kinds(managed, GOOD, replace(MACHINE, config={**CONFIG, "data-root": "/srv"})) == []


def test_upgrade_needs_permission():
    old = replace(GOOD, server="20.10.24")
    with pytest.raises(AzaError, match="docker_engine_upgrade: true"):
        plan(WANTED, old, MACHINE)
    assert kinds(replace(WANTED, upgrade=True), old, MACHINE) == ["configure", "install", "start"]


@pytest.mark.parametrize(
    ("engine", "machine", "reason", "words"),
    [
        (NONE, replace(MACHINE, root=False), "engine_needs_root", "root is needed to install it"),
        (
            STOPPED,
            replace(MACHINE, root=False, daemon=True),
            "engine_needs_root",
            "root is needed to start it",
        ),
        (
            replace(STOPPED, error="permission denied while trying to connect to the Docker daemon socket"),
            replace(MACHINE, root=False, daemon=True),
            "engine_permission",
            "usermod -aG docker",
        ),
        (replace(STOPPED, endpoint="ssh://builder"), MACHINE, "engine_remote", "ssh://builder"),
        (
            NONE,
            replace(MACHINE, family="", name="Fedora Linux 42"),
            "engine_unsupported_platform",
            "Fedora Linux 42",
        ),
        (NONE, replace(MACHINE, codename="bullseye"), "engine_unsupported_platform", "Debian 12"),
        (NONE, replace(MACHINE, foreign=True), "engine_foreign", "docker-compose-plugin"),
    ],
)
def test_one_sentence_where_there_is_no_way(engine, machine, reason, words):
    with pytest.raises(AzaError, match=words) as caught:
        plan(WANTED, engine, machine)
    assert caught.value.reason == reason
    assert "\n" not in caught.value.msg


def test_docker_info_of_a_running_engine():
    info = {
        "ServerVersion": "28.5.2+dfsg4",
        "DriverStatus": [["driver-type", "io.containerd.snapshotter.v1"]],
        "ClientInfo": {
            "Version": "28.2.2",
            "Plugins": [
                {"Name": "buildx", "Version": "0.29.1+ds1"},
                {"Name": "compose", "Version": "2.40.3-3"},
            ],
        },
    }
    engine = parse_info(json.dumps(info), "", LOCAL)
    assert (engine.client, engine.server, engine.buildx) == ("28.2.2", "28.5.2+dfsg4", "0.29.1+ds1")
    assert engine.containerd_store
    assert shortcomings(engine, "24.0") == []


def test_docker_info_without_a_server_keeps_the_clients_part():
    info = {"ServerVersion": "", "DriverStatus": None, "ClientInfo": {"Version": "28.2.2", "Plugins": None}}
    engine = parse_info(json.dumps(info), "Cannot connect to the Docker daemon", LOCAL)
    assert (engine.client, engine.server, engine.compose) == ("28.2.2", None, None)
    assert "Cannot connect" in engine.error
    assert parse_info("", "not a docker command at all", "").server is None


def test_versions_compare_as_numbers():
    assert version_key("v2.9.0") < version_key("2.26.1-4") < version_key("10")
    assert version_key("nonsense") == ()


def test_merge_goes_key_by_key():
    base = {"a": {"b": 1, "c": 2}, "d": 3}
    assert merge(base, {"a": {"c": 4}, "d": {"e": 5}}) == {"a": {"b": 1, "c": 4}, "d": {"e": 5}}
