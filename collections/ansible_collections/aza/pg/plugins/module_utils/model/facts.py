# SPDX-License-Identifier: Apache-2.0
"""What is observed of a host and a server, as it travels in JSON from the managed host to the control node."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypedDict


class HostFacts(TypedDict, total=False):
    """The user that deploys, the clock, and the Docker Engine.

    ``time``: seconds since 1970; ``skew``: ahead of the control node's clock, in seconds. ``root``: the engine's data
    directory; ``disk_mb`` and ``disk_free_mb``: of its disk, None if this user may not see it. ``engine``: its version.
    """

    uid: int
    gid: int
    home: str
    psycopg: bool
    system_python: bool
    psql: str
    hostname: str
    systemd: bool
    time: float
    skew: float
    memory_mb: int
    cpus: int
    root: str
    disk_mb: int | None
    disk_free_mb: int | None
    engine: str
    containerd_store: bool


class HugePagesFacts(TypedDict):
    """``size_kb``: of one page. ``kernel``: pages that the kernel reserves. ``text``: the toolkit's file, which was
    ``modified`` at that time. ``permitted``: whether this user may reserve pages."""

    size_kb: int
    kernel: int
    available_mb: int
    text: str
    modified: float
    permitted: bool


class SettingFacts(TypedDict, total=False):
    """A setting as the server knows it: ``value`` in force as text, ``raw`` in its unit; ``elsewhere``: what files set
    other than the inventory's."""

    value: str
    raw: str
    unit: str
    vartype: str
    enumvals: list[str]
    context: str
    source: str
    file: str
    pending_restart: bool
    default: str
    elsewhere: str
    elsewhere_file: str
    last_file: str


class RoleFacts(TypedDict, total=False):
    login: bool
    superuser: bool
    createdb: bool
    createrole: bool
    replication: bool
    bypassrls: bool
    inherit: bool
    connection_limit: int
    valid_until: str
    has_password: bool
    settings: list[str]
    comment: str


class DatabaseFacts(TypedDict, total=False):
    """``acl``: grantee, privilege and grantor of each privilege. ``limit``: -2 marks an interrupted removal."""

    owner: str
    encoding: str | None
    provider: str | None
    locale: str | None
    limit: int
    connects: bool
    is_template: bool
    comment: str
    settings: list[str] | None
    acl: list[list[str]]
    collation: str | None
    library: str | None


class ServerFacts(TypedDict, total=False):
    """The server's own facts, and the answers of the kinds of objects under their keys (``objects/kind.py``).

    A kind outside of the toolkit has keys of its own: it reads them through ``objects.within.known``.
    """

    version: str
    in_recovery: bool
    started: float
    config_loaded: float
    settings: Mapping[str, SettingFacts]
    automatic: Mapping[str, str]
    pending_restart: list[str]
    config_errors: list[str]
    hba_errors: list[str]
    preloaded: str
    password_matches: Mapping[str, bool]
    roles: Mapping[str, RoleFacts]
    databases: Mapping[str, DatabaseFacts]
    # Database → the answers in it, and why others could not be asked.
    inside: Mapping[str, Mapping[str, Any]]
    unseen: Mapping[str, str]
