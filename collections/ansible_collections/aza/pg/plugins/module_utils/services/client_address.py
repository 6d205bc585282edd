# SPDX-License-Identifier: Apache-2.0
"""Under which address the server sees a client of the network. What it tells rules of access apart by.

An engine that publishes ports by its packet filter leaves the client's address as it is. Its proxy (``userland-proxy``
without iptables or ip6tables, an engine without root, an IPv6 client of an IPv4 network) connects to the container
itself: then every client has the address of the network's gateway, which ``samenet`` admits.
"""

from __future__ import annotations

import contextlib
import ipaddress
import re
import socket
import struct
from collections.abc import Iterable, Iterator, Mapping

from ansible_collections.aza.pg.plugins.module_utils.model.desired import Desired
from ansible_collections.aza.pg.plugins.module_utils.model.observed import Observed
from ansible_collections.aza.pg.plugins.module_utils.model.service import SERVER, ContainerSpec
from ansible_collections.aza.pg.plugins.module_utils.planning.finding import Finding

_SECONDS = 3
# Documentation prefixes: no packet is sent there, the kernel only chooses the address that it would send from.
_ELSEWHERE = {"0.0.0.0": (socket.AF_INET, "192.0.2.1"), "::": (socket.AF_INET6, "2001:db8::1")}
_USER = "aza_pg_check"


def probe(service: ContainerSpec) -> dict[str, str]:
    """Connects to the published port from the host's own address. Returns that address and the one that the server
    saw; nothing if the port is published for the host alone, or if the server does not tell.

    The server names the address when it refuses a client. No rule admits this one: it has no role, and asks to
    replicate.
    """
    address = service.publish_address
    with contextlib.suppress(OSError):
        if address in _ELSEWHERE:
            family, elsewhere = _ELSEWHERE[address]
            with socket.socket(family, socket.SOCK_DGRAM) as chooser:
                chooser.connect((elsewhere, 9))
                address = chooser.getsockname()[0]
        if ipaddress.ip_address(address).is_loopback:
            return {}
        with socket.create_connection((address, service.port), _SECONDS) as client:
            client.sendall(_startup())
            seen = told(client.recv(4096))
            return {"own": client.getsockname()[0], "seen": seen} if seen else {}
    return {}


def _startup() -> bytes:
    words = ("user", _USER, "replication", "true", "application_name", "aza-pg")
    body = struct.pack("!i", 3 << 16) + b"".join(word.encode() + b"\0" for word in words) + b"\0"
    return struct.pack("!i", len(body) + 4) + body


def told(answer: bytes) -> str:
    """The address in an error of the server, whatever its language; empty for any other answer."""
    if answer[:1] != b"E":
        return ""
    for field in answer[5:].split(b"\0"):
        for word in (
            re.findall(r"[0-9A-Fa-f:.]{3,}", field[1:].decode(errors="replace")) if field[:1] == b"M" else ()
        ):
            with contextlib.suppress(ValueError):
                return str(ipaddress.ip_address(word.rstrip(".")))
    return ""


def findings(wanted: Desired, found: Observed) -> Iterator[Finding]:
    probed = found.probes.get(SERVER)
    if probed and is_hidden(probed, found.subnets):
        yield Finding(
            "access",
            "red",
            f"a client of {probed['own']} reaches the server as {probed['seen']}, an address of the containers' "
            "network: rules cannot tell clients apart by their address, and the rule for samenet admits all of them "
            "with a password",
            "let Docker Engine publish ports by its packet filter (iptables and ip6tables in /etc/docker/daemon.json, "
            f"an engine that runs as root), or set {wanted.server.address_variable}: 127.0.0.1",
        )


def is_hidden(probed: Mapping[str, str], subnets: Iterable[str]) -> bool:
    """Whether the server saw an address of the containers' network instead of the client's own."""
    seen = ipaddress.ip_address(probed["seen"])
    networks = [ipaddress.ip_network(subnet) for subnet in subnets]
    return probed["seen"] != probed["own"] and any(
        network.version == seen.version and seen in network for network in networks
    )
