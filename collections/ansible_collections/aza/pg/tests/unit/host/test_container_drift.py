# SPDX-License-Identifier: Apache-2.0
"""What the engine showed of real containers of each kind, and what a user changed of them afterwards."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.aza.pg.plugins.module_utils.host import container_drift
from ansible_collections.aza.pg.plugins.module_utils.model.desired import Desired
from ansible_collections.aza.pg.tests.unit.declarations import describe

# `docker inspect` of Docker Engine 28.5, of containers that Compose 2.40 made from ``DECLARED``.
INSPECTED: dict[str, Any] = json.loads(Path(__file__).with_name("inspected.json").read_text())
IMAGE = {"reference": "aza-pg/x:1", "digest": "", "archive": "/x.tar", "pinned": "sha256:x"}
DECLARED: dict[str, Any] = {
    "home": "/root",
    "images": dict.fromkeys(("postgres", "pgbouncer", "exporter"), IMAGE),
    "cpus": 1.5,
    "port": 25432,
    "extra_preload_libraries": ["x$y"],
    "exporter": True,
    "exporter_port": 29187,
    "pgbouncer": True,
    "pgbouncer_port": 26432,
}
WANTED = describe(**DECLARED)


def differences(
    name: str, change: Callable[[dict[str, Any]], Any] = lambda _: None, wanted: Desired = WANTED
) -> list[str]:
    found = copy.deepcopy(INSPECTED[name])
    change(found["container"])
    service = wanted.service(name)
    assert service
    directories = (WANTED.directory,)
    return container_drift.differences(service.expected, found["container"], found["image"], directories)


@pytest.mark.parametrize("name", INSPECTED)
def test_what_was_made_from_the_definition_is_what_is_expected(name: str) -> None:
    assert differences(name) == []


def host(**values: Any) -> Callable[[dict[str, Any]], Any]:
    return lambda container: container["HostConfig"].update(values)


def mount(**values: Any) -> Callable[[dict[str, Any]], Any]:
    made = {"Type": "bind", "Source": "/etc", "Destination": "/mnt", "RW": True}
    return lambda container: container["Mounts"].append({**made, **values})


def networks(container: dict[str, Any]) -> dict[str, Any]:
    return container["NetworkSettings"]["Networks"]  # type: ignore[no-any-return]


EDITS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "memory limit is 2048 MB": host(Memory=2 * 2**30, MemorySwap=4 * 2**30),
    "memory limit is 1024 MB with 1024 MB of swap": host(MemorySwap=2**30),
    "processors is 0.5": host(NanoCpus=500_000_000),
    "processor quota is 5000": host(CpuQuota=5000),
    "processor shares is 2": host(CpuShares=2),
    "set of processors is 0": host(CpusetCpus="0"),
    "memory reservation is 5": host(MemoryReservation=5),
    "process limit is 50": host(PidsLimit=50),
    "restart policy is no": host(RestartPolicy={"Name": "no", "MaximumRetryCount": 0}),
    "block I/O is 500": host(BlkioWeight=500),
    "privileged mode is True": host(Privileged=True),
    "added capabilities is CAP_SYS_ADMIN": host(CapAdd=["CAP_SYS_ADMIN"]),
    "dropped capabilities is none": host(CapDrop=None),
    "security options is none": host(SecurityOpt=[]),
    "security options is no-new-privileges:true, seccomp:unconfined": host(
        SecurityOpt=["no-new-privileges=true", "seccomp:unconfined"]
    ),
    "masked system paths is False": host(MaskedPaths=[]),
    "read-only file system is False": host(ReadonlyRootfs=False),
    "process namespace is host": host(PidMode="host"),
    "IPC namespace is host": host(IpcMode="host"),
    "shared memory is 64 MB": host(ShmSize=64 * 2**20),
    "init process is False": host(Init=None),
    "tmpfs /tmp is mode=1777": host(Tmpfs={"/tmp": "mode=1777", "/run/aza-pg": "mode=1777,size=1m"}),
    "log driver is none": host(LogConfig={"Type": "none", "Config": {}}),
    "port 5432/tcp is 0.0.0.0:25432": host(PortBindings={"5432/tcp": [{"HostIp": "", "HostPort": "25432"}]}),
    "port 22/tcp is [::]:22, and declared is none": lambda container: container["HostConfig"][
        "PortBindings"
    ].update({"22/tcp": [{"HostIp": "::", "HostPort": "22"}]}),
    "networks is aza-pg-shop-single, other": lambda container: container["NetworkSettings"][
        "Networks"
    ].update(other={}),
    "networks is none": lambda container: container["NetworkSettings"]["Networks"].clear(),
    "mount /mnt is bind /etc rw, and declared is none": mount(),
    "mount /mnt is volume other ro": mount(Type="volume", Name="other", RW=False),
    "mount /etc/aza-pg is none, and declared is bind ./postgres ro": lambda container: container[
        "Mounts"
    ].remove(next(item for item in container["Mounts"] if item["Destination"] == "/etc/aza-pg")),
    "user is 0, and not the image's": lambda container: container["Config"].update(User="0"),
    "command is postgres -c fsync=off, and not the image's": lambda container: container["Config"].update(
        Cmd=["postgres", "-c", "fsync=off"]
    ),
    "environment POSTGRES_DB differs from the declaration": lambda container: container["Config"][
        "Env"
    ].append("POSTGRES_DB=x"),
    "environment PGDATA differs from the declaration": lambda container: container["Config"]["Env"].append(
        "PGDATA=/x"
    ),
    "environment OTHER differs from the declaration": lambda container: container["Config"]["Env"].append(
        "OTHER=secret"
    ),
}


@pytest.mark.parametrize("message", EDITS)
def test_what_somebody_changed_is_said(message: str) -> None:
    (found,) = differences("postgres", EDITS[message])
    assert message in found and "secret" not in found


@pytest.mark.parametrize(
    "change",
    [
        host(Memory=0, MemorySwap=-1),
        host(MemorySwap=-1),
        host(PidsLimit=0),
        host(IpcMode="shareable"),
        host(SecurityOpt=["no-new-privileges"]),
        host(CapDrop=["all"], CapAdd=[]),
        host(
            NewInTheNextVersion="whatever", Runtime="runsc", CgroupnsMode="host", Ulimits=[{"Name": "nofile"}]
        ),
        lambda container: container["Config"]["Env"].append("HTTPS_PROXY=http://proxy:3128"),
        lambda container: container["Config"].pop("StopTimeout", None),
        lambda container: (
            container["State"].update(Status="exited"),
            container["NetworkSettings"]["Networks"].clear(),
        ),
    ],
)
def test_what_depends_on_the_engine_is_no_difference(change: Callable[[dict[str, Any]], Any]) -> None:
    assert differences("postgres", change) == []


def test_another_definition_is_another_expectation() -> None:
    wanted = describe(**{**DECLARED, "memory_mb": 2048, "exporter": False})
    assert differences("postgres", wanted=wanted) == ["its memory limit is 1024 MB, and declared is 2048 MB"]


def test_without_a_definition_nothing_is_expected() -> None:
    assert container_drift.differences({}, INSPECTED["postgres"]["container"], {}, ()) == []
