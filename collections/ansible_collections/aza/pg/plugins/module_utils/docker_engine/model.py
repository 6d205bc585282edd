# SPDX-License-Identifier: Apache-2.0
"""The words that observing, planning and applying share: the engine, the machine, what is wanted, a step."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

LOCAL_SOCKETS = ("", "unix:///var/run/docker.sock", "unix:///run/docker.sock")


@dataclass(frozen=True)
class Engine:
    """What `docker info` says. None: not there. ``error``: why the server did not answer."""

    client: str | None = None
    server: str | None = None
    compose: str | None = None
    buildx: str | None = None
    containerd_store: bool = False
    error: str = ""
    endpoint: str = ""

    @property
    def local(self) -> bool:
        """Is it this machine's own engine that is asked (and so one that may be started here)?"""
        return self.endpoint in LOCAL_SOCKETS


@dataclass(frozen=True)
class Machine:
    """What the machine is. ``family``: a key of ``plan.DISTRIBUTIONS``, or "" for one we cannot install on."""

    name: str
    family: str
    codename: str
    root: bool
    systemd: bool
    daemon: bool
    foreign: bool = False
    missing_packages: tuple[str, ...] = ()
    config: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Wanted:
    minimum_version: str = "24.0"
    packages: tuple[str, ...] = ()
    upgrade: bool = False
    manage_config: bool = False
    config: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Step:
    """One change. ``kind``: configure | install | start | restart; ``detail``: what its applier needs."""

    kind: str
    what: str
    detail: tuple[str, ...] = ()


def parse_info(output: str, stderr: str, endpoint: str) -> Engine:
    """`docker info --format '{{json .}}'`: it prints the client's part also where no server answers."""
    try:
        info = json.loads(output)
    except ValueError:
        return Engine(error=(stderr or output).strip(), endpoint=endpoint)
    client = info.get("ClientInfo") or {}
    plugins = {p.get("Name"): p.get("Version") for p in client.get("Plugins") or []}
    return Engine(
        client=client.get("Version"),
        server=info.get("ServerVersion") or None,
        compose=plugins.get("compose"),
        buildx=plugins.get("buildx"),
        containerd_store=["driver-type", "io.containerd.snapshotter.v1"] in (info.get("DriverStatus") or []),
        error=" ".join(info.get("ServerErrors") or []) or stderr.strip(),
        endpoint=endpoint,
    )


def version_key(version: str) -> tuple[int, ...]:
    """`28.5.2+dfsg4` and `v2.40.3` as numbers that compare."""
    match = re.match(r"v?(\d+(?:\.\d+)*)", version)
    return tuple(int(part) for part in match.group(1).split(".")) if match else ()


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """``over`` on top of ``base``, dictionaries merged key by key."""
    result = dict(base)
    for key, value in over.items():
        below = result.get(key)
        result[key] = (
            merge(below, value) if isinstance(below, Mapping) and isinstance(value, Mapping) else value
        )
    return result
