# SPDX-License-Identifier: Apache-2.0
"""Whether a service can publish its port on this host, and what holds the port otherwise."""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import re
import socket
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ansible_collections.aza.pg.plugins.module_utils.model.service import ContainerSpec

TAKEN, NO_ADDRESS = "taken", "no_address"
# Before the name of another service of the same instance.
OF_SERVICE = "service "
_TABLES = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))
_LISTENS = "0A"
_HOLDS = ("running", "restarting", "paused")


def problem(service: ContainerSpec, containers: Mapping[str, Mapping[str, Any]]) -> str:
    """Return ``taken``, ``no_address`` or ``service NAME`` if its container could not publish its port, or nothing.

    Found by trying, so that any program counts. What its own container publishes is no obstacle: that one stops before
    the next one starts, also when it publishes the same port on another address.
    """
    address, port = service.publish_address, service.port
    held = {name: _holds(item) for name, item in containers.items()}
    if (_canonical(address), port) in held.get(service.name, ()):
        return ""
    refusal = _refusal(address, port)
    if refusal == errno.EADDRNOTAVAIL:
        return NO_ADDRESS
    if refusal != errno.EADDRINUSE:
        return ""
    return judge(service.name, address, port, held, listeners(port))


def judge(
    service: str,
    address: str,
    port: int,
    held: Mapping[str, Iterable[tuple[str, int]]],
    listening: Iterable[str],
) -> str:
    """Return what holds a port that cannot be bound; nothing if it is the service's own container alone. Pure.

    :param held: service → the addresses and ports that its container holds.
    :param listening: the addresses on which anything listens on that port.
    """
    of = {
        where: name
        for name, bindings in held.items()
        for where, number in bindings
        if number == port and conflict(address, where)
    }
    if service in of.values() and all(
        of.get(_canonical(where)) == service for where in listening if conflict(address, where)
    ):
        return ""
    others = sorted(set(of.values()) - {service})
    return f"{OF_SERVICE}{others[0]}" if others else TAKEN


def conflict(one: str, two: str) -> bool:
    """Return whether two sockets cannot listen on one port of these addresses. A wildcard takes every address."""
    first, second = ipaddress.ip_address(one), ipaddress.ip_address(two)
    if first == second:
        return True
    if any(item.is_unspecified and item.version == 6 for item in (first, second)):
        return True
    return first.version == second.version and (first.is_unspecified or second.is_unspecified)


def listeners(port: int) -> set[str]:
    """Return the addresses of this host on which something listens on the port."""
    found = set()
    for table in _TABLES:
        with contextlib.suppress(OSError):
            found.update(parse(table.read_text(encoding="ascii"), port))
    return found


def parse(table: str, port: int) -> set[str]:
    """Return the same from the text of /proc/net/tcp or tcp6. Pure."""
    rows = re.findall(r"^\s*\d+: ([0-9A-F]+):([0-9A-F]{4}) \S+ ([0-9A-F]{2}) ", table, re.MULTILINE)
    return {
        _address(address) for address, number, state in rows if int(number, 16) == port and state == _LISTENS
    }


def _address(text: str) -> str:
    """The kernel writes words of four bytes, each in the order of the processor."""
    words = [bytes.fromhex(text[start : start + 8])[::-1] for start in range(0, len(text), 8)]
    return str(ipaddress.ip_address(b"".join(words)))


def _canonical(address: str) -> str:
    return str(ipaddress.ip_address(address))


def _holds(container: Mapping[str, Any]) -> set[tuple[str, int]]:
    if container.get("state") not in _HOLDS:
        return set()
    parts = (text.rpartition(":") for text in container.get("published") or ())
    return {(_canonical(address), int(number)) for address, _, number in parts if number.isdecimal()}


def _refusal(address: str, port: int) -> int:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError as error:
            return error.errno or 0
    return 0
