# SPDX-License-Identifier: Apache-2.0
"""Why a plan could not be applied on a host, found before the first change. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from ansible_collections.aza.pg.plugins.module_utils.errors import AzaError
from ansible_collections.aza.pg.plugins.module_utils.host import huge_pages, ports
from ansible_collections.aza.pg.plugins.module_utils.instance import server_objects
from ansible_collections.aza.pg.plugins.module_utils.instance.host_parts import is_renewed
from ansible_collections.aza.pg.plugins.module_utils.model.desired import Desired
from ansible_collections.aza.pg.plugins.module_utils.model.names import IPV6_SUFFIX
from ansible_collections.aza.pg.plugins.module_utils.model.observed import Observed
from ansible_collections.aza.pg.plugins.module_utils.tls import certificate as tls

# The smallest free space for initdb, WAL and the first checkpoints.
SMALLEST_DISK_MB = 1024
SOCKET_PATH_MAX = 107
# A call takes seconds to arrive; clocks that NTP keeps differ by far less than this.
MOST_SKEW_SECONDS = 60
# The first Docker Engine whose packet filter for IPv6 is on, and which chooses addresses for such a network itself.
IPV6_ENGINE = 27


def problems(wanted: Desired, found: Observed) -> list[str]:
    """Why the plan could not be applied on this host: everything at once, before anything is touched."""
    host, where = found.host, f"instance {wanted.instance}"
    result = []
    for service in wanted.services:
        here, problem = found.containers.get(service.name), found.port_problems.get(service.name, "")
        if here and here["project"] != wanted.project:
            result.append(
                f"a container named {service.container} exists already and is not part of {where}; remove or rename "
                "it"
            )
        if problem.startswith(ports.OF_SERVICE):
            other = wanted.service(problem[len(ports.OF_SERVICE) :])
            result.append(
                f"{service.port_variable} {service.port}: {other.container if other else problem} of this instance "
                "still publishes that port. Give it another port and deploy, then deploy this one"
            )
        if problem == ports.TAKEN:
            result.append(
                f"something else on this host listens on {service.publish_address}:{service.port} already; choose "
                f"another {service.port_variable} or stop it (ss -ltnp shows it)"
            )
        if problem == ports.NO_ADDRESS:
            result.append(
                f"{service.address_variable} {service.publish_address} is not an address of this host; "
                "`ip -brief address` lists its addresses"
            )
    result += _same_ports(wanted)
    result += tls.problems(wanted, found)
    engine = str(host.get("engine") or "")
    major = engine.partition(".")[0]
    if wanted.network.endswith(IPV6_SUFFIX) and major.isdecimal() and int(major) < IPV6_ENGINE:
        result.append(
            f"an IPv6 address is published, and Docker Engine {engine} hides the addresses of IPv6 clients from the "
            f"server, so that no rule could tell them apart; install Docker Engine {IPV6_ENGINE} or later, or publish "
            "an IPv4 address"
        )
    memory = host.get("memory_mb") or 0
    if memory and wanted.memory_mb > memory:
        result.append(
            f"postgres_memory asks for {wanted.memory_mb} MB and this host has {memory} MB; choose less, and leave "
            "some to the host"
        )
    cpus = host.get("cpus") or 0
    if cpus and wanted.cpus > cpus:
        result.append(f"postgres_cpus asks for {wanted.cpus:g} processors and this host has {cpus}")
    free = host.get("disk_free_mb")
    if free is not None and free < SMALLEST_DISK_MB and not found.volume:
        result.append(
            f"the disk of the Docker Engine has {free} MB left and a new server needs {SMALLEST_DISK_MB} MB; make room "
            "there (docker system df)"
        )
    longest = len(f"{wanted.socket_dir}/.s.PGSQL.5432".encode())
    if longest > SOCKET_PATH_MAX:
        result.append(
            f"the path of the socket would have {longest} bytes and Linux allows {SOCKET_PATH_MAX}; set a shorter "
            "postgres_base_dir or postgres_cluster"
        )
    if found.server_error and f'role "{wanted.superuser}" does not exist' in found.server_error:
        result.append(
            f"postgres_user is '{wanted.superuser}', but this server was created with another administrator; the "
            "name is chosen at the first start, so set postgres_user back"
        )
    if found.data_major and found.image_major and found.data_major != found.image_major:
        result.append(
            f"the data in {wanted.volume} is of PostgreSQL {found.data_major}, and postgres_image is PostgreSQL "
            f"{found.image_major}: another major version cannot read it. Use an image of PostgreSQL "
            f"{found.data_major}; a major upgrade is an operation of its own"
        )
    skew = float(host.get("skew") or 0)
    if abs(skew) > MOST_SKEW_SECONDS:
        result.append(
            f"the clock of this host is {abs(skew):.0f} s {'ahead of' if skew > 0 else 'behind'} the control node's; "
            "certificates, lag and logs cannot be judged by it: set one of them right (timedatectl, chrony)"
        )
    if wanted.huge_pages_mb:
        result += huge_pages.problems(wanted, found, is_renewed(wanted, found))
    result += server_objects.problems(wanted, found)
    return result


def _same_ports(wanted: Desired) -> Iterator[str]:
    """Two services of one instance on one port; what only one of them would get."""
    for number, one in enumerate(wanted.services):
        for other in wanted.services[number + 1 :]:
            everywhere = {"0.0.0.0", "::"} & {one.publish_address, other.publish_address}
            if one.port == other.port != 0 and (everywhere or one.publish_address == other.publish_address):
                yield (
                    f"{one.port_variable} and {other.port_variable} are both {one.port}; choose another one for one of "
                    "them"
                )


def refuse(wanted: Desired, found: Observed) -> None:
    message = problems(wanted, found)
    if message:
        raise AzaError(
            f"{wanted.instance}: {'; '.join(message)}. Nothing was changed.",
            reason="preflight",
            problems=message,
        )
