# SPDX-License-Identifier: Apache-2.0
"""The services that a stack can have. A new one is a module and a row here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ansible_collections.aza.pg.plugins.module_utils.model.service import container_name
from ansible_collections.aza.pg.plugins.module_utils.services.base import Secret, Service
from ansible_collections.aza.pg.plugins.module_utils.services.pgbouncer.service import PgBouncer
from ansible_collections.aza.pg.plugins.module_utils.services.pgbouncer_exporter import PgBouncerExporter
from ansible_collections.aza.pg.plugins.module_utils.services.postgres import Postgres
from ansible_collections.aza.pg.plugins.module_utils.services.postgres_exporter import PostgresExporter

# In the order in which they start; the server is the first.
SERVICES: tuple[Service, ...] = (Postgres(), PgBouncer(), PgBouncerExporter(), PostgresExporter())


def service(name: str) -> Service:
    """Return the service of that name.

    :raises StopIteration: there is none.
    """
    return next(item for item in SERVICES if item.name == name)


def declared(variables: Mapping[str, Any]) -> list[Service]:
    """Return the services that an instance with these variables has."""
    return [item for item in SERVICES if item.is_declared(variables)]


def secrets(services: Sequence[Service] = SERVICES) -> Iterator[Secret]:
    for item in services:
        yield from item.secrets


def roles() -> dict[str, str]:
    """Return the roles that services can have in the server → what their members can do, empty for nothing special."""
    return {role["name"]: item.powers.get(role["name"], "") for item in SERVICES for role in item.roles}


def clientless(project: str, container: str) -> bool:
    """Return whether a container of the project belongs to a service that no client is connected to."""
    return any(container_name(project, item.name) == container for item in SERVICES if not item.has_clients)


def derived_names(identity: Mapping[str, str]) -> dict[str, str]:
    """Return every name that an instance may take on its engine, and what has that name.

    Containers, volumes and networks are looked for by their names alone, so two instances of a host can share none.
    """
    return {
        **{container_name(identity["project"], item.name): "container" for item in SERVICES},
        identity["volume"]: "volume",
        identity["network"]: "network",
    }
