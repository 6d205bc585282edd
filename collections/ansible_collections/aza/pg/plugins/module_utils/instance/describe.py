# SPDX-License-Identifier: Apache-2.0
"""From a declaration to what the host should hold: files, Compose project, names. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from ansible_collections.aza.pg.plugins.module_utils.errors import AzaError
from ansible_collections.aza.pg.plugins.module_utils.host import container_drift
from ansible_collections.aza.pg.plugins.module_utils.instance import server_objects
from ansible_collections.aza.pg.plugins.module_utils.model.desired import Desired
from ansible_collections.aza.pg.plugins.module_utils.model.names import base_directory, identity
from ansible_collections.aza.pg.plugins.module_utils.model.service import (
    CONFIG_HASH,
    ContainerSpec,
    File,
    container_name,
)
from ansible_collections.aza.pg.plugins.module_utils.replication import topology as replication
from ansible_collections.aza.pg.plugins.module_utils.server import settings as pg
from ansible_collections.aza.pg.plugins.module_utils.services import registry
from ansible_collections.aza.pg.plugins.module_utils.services.base import Definition, Service
from ansible_collections.aza.pg.plugins.module_utils.services.declaration import Declaration

COMPOSE = "compose.yml"
# The variables with what the server should hold, and the key of each in ``Desired.objects``.
OBJECTS = (*server_objects.DECLARED, "undeclared", "allow_loss")


def describe(declaration: Declaration, to_yaml: Callable[[Any], str]) -> Desired:
    """Return the whole instance. ``to_yaml``: given by the control node, because hosts need no YAML library.

    :raises AzaError: the declaration contradicts itself.
    """
    names: dict[str, Any] = declaration.names
    services = registry.declared(declaration.variables)
    declaration = replace(
        declaration,
        objects=_objects(declaration, services),
        socket_roles=tuple(role for service in services for role in service.socket_roles),
    )
    definitions = [service.define(declaration) for service in services]
    ipv6 = _has_ipv6(definitions)
    if ipv6:
        names |= {"network": names["other_network"], "other_network": names["network"]}
    containers, compose = _containers(declaration, names, definitions, ipv6)
    files = [
        File("", 0o755),
        File("secrets", 0o700),
        *(item for definition in definitions for item in definition.files),
    ]
    project = _project(declaration, names, compose, services, ipv6)
    files.append(File(COMPOSE, 0o644, text=_header(names) + to_yaml(project)))
    paths = {item.path for item in files}
    variables = declaration.variables
    return Desired(
        **names,
        services=containers,
        files=tuple(files),
        leftovers=tuple(
            item
            for service in registry.SERVICES
            for item in service.leftovers(declaration)
            if item.path not in paths
        ),
        settings=pg.normalise(variables["postgres_settings"]),
        superuser=variables["postgres_user"],
        service_roles=registry.roles(),
        database=variables["postgres_database"],
        memory_mb=declaration.tuned.memory_mb,
        cpus=float(variables["postgres_cpus"]),
        huge_pages_mb=declaration.tuned.huge_pages_mb,
        stop_seconds=declaration.stop_seconds,
        origins=declaration.origins,
        certificate=declaration.certificate,
        objects=declaration.objects,
        standby=bool(declaration.member and declaration.member.standby),
        minimums=declaration.minimums,
    )


def _header(names: Mapping[str, str]) -> str:
    return (
        f"# PostgreSQL, cluster {names['cluster']}, stack {names['stack']}. Written by aza-pg: an edit here is drift, "
        "and the next deploy takes it back.\n"
        "# By hand:  docker compose -f THIS_FILE up -d | stop | logs -f      "
        "(`down -v` keeps the data: the volume is external)\n"
    )


def _objects(declaration: Declaration, services: Sequence[Service]) -> dict[str, Any]:
    """Return what the inventory declares in the server, and what the stack itself needs there."""
    variables = declaration.variables
    given = {key: declaration.value(f"postgres_{key}") for key in OBJECTS} | {"preload": declaration.preload}
    declared = server_objects.normalise(given)
    declared["preload"] = {**declared.get("preload", {}), "declared": list(declaration.libraries)}
    declared["initdb_args"] = variables["postgres_initdb_args"]
    for service in services:
        _add_roles(declared, service.roles, service.label, service.way_out)
    if declaration.member:
        _add_roles(declared, replication.ROLES, "the replicas", "choose another name")
        declared["slots"] = [member.slot for member in declaration.member.downstream]
    return declared


def _add_roles(declared: dict[str, Any], own: Sequence[Mapping[str, Any]], whose: str, instead: str) -> None:
    """Add the stack's own roles to the declared ones, which must have other names."""
    added = server_objects.normalise({"roles": list(own)})["roles"]
    for role in added:
        if any(item["name"] == role["name"] for item in declared.get("roles", ())):
            raise AzaError(
                f"postgres_roles: the role {role['name']} belongs to {whose}, and the stack declares it. Remove it "
                f"from the list, or {instead}.",
                reason="bad_object",
            )
    declared["roles"] = [*declared.get("roles", ()), *added]


def _has_ipv6(definitions: Sequence[Definition]) -> bool:
    """Return whether clients may come by IPv6. Without it in the containers' network, the engine would forward them
    from the address of the network's gateway, which every rule takes for a client of the host."""
    specs = [definition.container for definition in definitions]
    return any(":" in spec.publish_address for spec in specs if spec.has_clients)


def _containers(
    declaration: Declaration, names: Mapping[str, str], definitions: Sequence[Definition], ipv6: bool
) -> tuple[tuple[ContainerSpec, ...], dict[str, Any]]:
    """Return the containers of the stack, the server's first, and the services as Compose reads them."""
    variables, specs, compose = declaration.variables, [], {}
    for item in definitions:
        definition: dict[str, Any] = {
            **item.compose,
            "logging": {
                "driver": "local",
                "options": {
                    "max-size": variables["postgres_log_max_size"],
                    "max-file": str(variables["postgres_log_max_files"]),
                },
            },
        }
        if item.container.image["archive"]:
            # Built, not published: no registry has that name, and none must be queried.
            definition["pull_policy"] = "never"
        expected = container_drift.expected(definition, names["volume"], names["network"])
        definition = _literal(definition)
        # Another network is another container; the usual one is not part of its definition.
        facts = [definition, item.fixed, *([names["network"]] if ipv6 else [])]
        fingerprint = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
        specs.append(replace(item.container, config_hash=fingerprint.hexdigest()[:16], expected=expected))
        definition["labels"] = {**_labels(names), CONFIG_HASH: specs[-1].config_hash}
        compose[item.container.name] = definition
    return tuple(specs), compose


def _literal(value: Any) -> Any:
    """Return the same for Compose, which would replace $NAME by the value of a variable."""
    if isinstance(value, Mapping):
        return {key: _literal(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_literal(item) for item in value]
    return value.replace("$", "$$") if isinstance(value, str) else value


def _labels(names: Mapping[str, str]) -> dict[str, str]:
    return {"io.aza-pg.cluster": names["cluster"], "io.aza-pg.stack": names["stack"]}


def _project(
    declaration: Declaration,
    names: Mapping[str, str],
    compose: Mapping[str, Any],
    services: Sequence[Service],
    ipv6: bool,
) -> dict[str, Any]:
    labels = _labels(names)
    if declaration.member:
        # Compose recreates a network if its labels change, and a primary can become a replica.
        del labels["io.aza-pg.stack"]
    default: dict[str, Any] = {"name": names["network"], "labels": labels}
    if ipv6:
        default["enable_ipv6"] = True
    paths = [secret.path for secret in registry.secrets(services) if secret.path]
    return {
        "name": names["project"],
        "services": dict(compose),
        "secrets": {path.rpartition("/")[2]: {"file": f"./{path}"} for path in paths},
        "networks": {"default": default},
        "volumes": {"data": {"name": names["volume"], "external": True}},
    }


def skeleton(
    cluster: str, stack: str, base_dir: str, host: Mapping[str, Any], user: str = "postgres"
) -> Desired:
    """Return an instance by its names alone: enough to observe, stop, start or remove it."""
    base = base_directory(base_dir, host["uid"], host["home"])
    names: dict[str, Any] = identity(cluster, stack, base, host["uid"])
    no_image = dict.fromkeys(("reference", "digest", "archive", "pinned"), "")
    containers = [
        ContainerSpec(
            item.name, container_name(names["project"], item.name), no_image, has_clients=item.has_clients
        )
        for item in registry.SERVICES
    ]
    server = registry.SERVICES[0]
    return Desired(
        **names,
        services=tuple(containers),
        files=(
            *(File(path, 0) for path in ("", "secrets", COMPOSE, *server.skeleton)),
            *(File(secret.path, 0, secret=secret.name) for secret in server.secrets if secret.path),
        ),
        superuser=user,
    )
