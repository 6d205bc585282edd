# SPDX-License-Identifier: Apache-2.0
"""The record of what one instance is on its host."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, TypedDict, cast

from ansible_collections.aza.pg.plugins.module_utils.model.facts import HostFacts, ServerFacts
from ansible_collections.aza.pg.plugins.module_utils.model.service import SERVER


class FileFacts(TypedDict, total=False):
    """One file or directory. A secret has ``matches`` instead of text and hash: the hash of a weak password gives it
    away."""

    type: str  # directory, file or other
    mode: int
    uid: int
    gid: int
    modified: float
    sha256: str
    text: str
    # Whether a secret is the control node's; None if the control node gave none to compare with.
    matches: bool | None
    # Whether it is the value that the control node had before a rotation that is not finished.
    was_ours: bool
    # Of a file with a certificate: ``tls.read`` and ``tls.authority``.
    certificate: Mapping[str, Any]
    authority: Mapping[str, Any]
    # Whether it does not belong to the instance.
    foreign: bool


class ContainerFacts(TypedDict, total=False):
    id: str
    state: str
    health: str
    exit_code: int
    oom_killed: bool
    error: str
    restarts: int
    started: str
    since: float  # seconds since 1970
    image: str
    image_reference: str
    config_hash: str
    published: list[str]
    project: str
    # How it differs from its definition although its hash label says otherwise.
    edited: list[str]
    # The directory of another instance that it was made from; empty if it is this one's.
    elsewhere: str


class OrphanFacts(TypedDict):
    """A container of the project that is not one of its services."""

    state: str
    volumes: list[str]


@dataclass(frozen=True)
class Observed:
    """What one instance is. Every field is plain data, so that it can be printed as facts.

    ``files``: by path. ``containers``, ``images`` (their id) and ``port_problems``: by the name of the service, as far
    as there are any. ``orphans``: by container name. ``server``: None if it does not answer, for the reason
    ``server_error``.
    """

    files: Mapping[str, FileFacts] = field(default_factory=dict)
    containers: Mapping[str, ContainerFacts] = field(default_factory=dict)
    orphans: Mapping[str, OrphanFacts] = field(default_factory=dict)
    volume: bool = False
    network: bool = False
    other_network: bool = False  # whether it exists, and connects nothing but containers of the instance
    # The addresses of the containers' network.
    subnets: tuple[str, ...] = ()
    images: Mapping[str, str] = field(default_factory=dict)
    socket_link: str | None = None
    # Whether systemd does not make the link again when the host starts.
    rule_missing: bool = False
    # The environment that is recorded as the instance's: ``environment``, ``from``, ``since``, and ``file``.
    owner: Mapping[str, Any] = field(default_factory=dict)
    server: ServerFacts | None = None
    server_error: str = ""
    # PostgreSQL's major version of the data and of the server's image; empty if unknown.
    data_major: str = ""
    image_major: str = ""
    # The minimum settings in pg_control of a standby; empty if they were not read.
    control: Mapping[str, int] = field(default_factory=dict)
    # Fingerprint of the certificate that clients are shown; empty where that could not be checked.
    certificate_in_use: str = ""
    # Service → what it reports about itself, if it runs and answers (``Service.observe``), and what a check probed.
    reports: Mapping[str, Any] = field(default_factory=dict)
    probes: Mapping[str, Any] = field(default_factory=dict)
    port_problems: Mapping[str, str] = field(default_factory=dict)
    # What ``huge_pages.observe`` says; empty where they are nothing to the instance.
    huge_pages: Mapping[str, Any] = field(default_factory=dict)
    host: HostFacts = field(default_factory=HostFacts)

    @property
    def answers(self) -> Mapping[str, Any]:
        """The facts of the server under any key, those of kinds of objects included; empty if it does not answer."""
        return self.server or {}

    def with_server(self, facts: Mapping[str, Any]) -> Observed:
        """Return the same with other facts of the server."""
        return replace(self, server=cast(ServerFacts, facts))

    @property
    def container(self) -> ContainerFacts | None:
        return self.containers.get(SERVER)

    @property
    def image(self) -> str:
        return self.images.get(SERVER, "")

    @property
    def running(self) -> bool:
        return bool(self.container) and (self.container or {}).get("state") == "running"

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)
