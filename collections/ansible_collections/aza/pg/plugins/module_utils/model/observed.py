# SPDX-License-Identifier: Apache-2.0
"""The record of what one instance is on its host."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from ansible_collections.aza.pg.plugins.module_utils.model.service import SERVER


@dataclass(frozen=True)
class Observed:
    """What one instance is. Every field is plain data, so that it can be printed as facts.

    ``files``: path → type, mode, uid, gid, sha256 and text, or for a secret ``matches`` (never a value, and
    never a hash of one: a hash of a weak password gives it away).
    ``containers``, ``images`` (their id) and ``port_problems``: by the name of the service, as far as there are any.
    ``orphans``: further containers of the project, each with its ``state`` and the names of its ``volumes``. ``server``
    is None when nobody answered; ``server_error`` says why.
    """

    files: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    containers: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    orphans: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
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
    server: Mapping[str, Any] | None = None
    server_error: str = ""
    # What pg_control of a standby keeps of what it may not have less of; where nobody asked, nothing.
    control: Mapping[str, int] = field(default_factory=dict)
    # Fingerprint of the certificate that clients are shown; empty where that could not be asked.
    certificate_in_use: str = ""
    # Exporter → why its metrics cannot be had, empty when they can; those that were asked for.
    scrapes: Mapping[str, str] = field(default_factory=dict)
    # What PgBouncer says of itself (``console.py``); None when it does not answer, or is not asked.
    pgbouncer: Mapping[str, Any] | None = None
    port_problems: Mapping[str, str] = field(default_factory=dict)
    client_address: Mapping[str, str] = field(default_factory=dict)  # what ``client_address.probe`` says
    # What ``huge_pages.look`` says; empty where they are nothing to the instance.
    huge_pages: Mapping[str, Any] = field(default_factory=dict)
    host: Mapping[str, Any] = field(default_factory=dict)

    @property
    def container(self) -> Mapping[str, Any] | None:
        return self.containers.get(SERVER)

    @property
    def image(self) -> str:
        return self.images.get(SERVER, "")

    @property
    def running(self) -> bool:
        return bool(self.container) and (self.container or {}).get("state") == "running"

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)
