# SPDX-License-Identifier: Apache-2.0
"""What only makes sense together, on one host: names that refer to each other, variables that exclude each other.

Each rule yields (place, sentence). Pure.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from typing import Any

from ansible_collections.aza.pg.plugins.module_utils.errors import AzaError, did_you_mean
from ansible_collections.aza.pg.plugins.module_utils.inventory.contents import Contents, chosen_major
from ansible_collections.aza.pg.plugins.module_utils.inventory.declared import (
    Contradiction,
    Declared,
    Path,
    entries,
    names,
    written,
)
from ansible_collections.aza.pg.plugins.module_utils.objects.hba import IDENT_MAP
from ansible_collections.aza.pg.plugins.module_utils.server.predefined import predefined
from ansible_collections.aza.pg.plugins.module_utils.services.base import Service
from ansible_collections.aza.pg.plugins.module_utils.services.registry import SERVICES
from ansible_collections.aza.pg.plugins.module_utils.yaml_values import text, truth

_RIGHTS = ("read_write", "read_only", "connect")
_DATABASE_WORDS = frozenset({"all", "sameuser", "samerole", "replication"})
_TEMPLATES = frozenset({"postgres", "template0", "template1"})
_CERTIFICATES = (
    ("postgres_tls_certificate", "postgres_tls_key"),
    ("postgres_tls_ca_certificate", "postgres_tls_ca_key"),
)


def contradictions(
    values: Mapping[str, Any],
    chosen: Mapping[str, Any],
    contents: Callable[[Mapping[str, Any]], Contents | None],
) -> Iterator[Contradiction]:
    """``values``: all variables with their defaults; ``chosen``: those that the inventory sets to something
    else."""
    administrator, database = text(values.get("postgres_user")), text(values.get("postgres_database"))
    roles = Declared.read(
        "role",
        ("postgres_roles",),
        values.get("postgres_roles"),
        given=frozenset(predefined(_major(values)))
        | {administrator}
        | {role["name"] for service in SERVICES if not service.removes_roles for role in service.roles},
    )
    databases = Declared.read(
        "database",
        ("postgres_databases",),
        values.get("postgres_databases"),
        given=frozenset({database, "postgres"}),
    )
    yield from _access(values)
    yield from _tls(values)
    yield from _ports(values)
    yield from _roles(roles, administrator)
    yield from _databases(databases, roles, database)
    yield from _hba(values, roles, databases)
    yield from _ident(values, roles)
    if _asks_for_the_image(chosen, databases):
        try:
            known = contents(values)
        except AzaError as error:
            named = [name for name in ("image_major", "image_extensions") if name in error.msg]
            variable = named[0] if named else "image_flavour"
            yield (variable,), error.msg.replace(f"{variable}: ", "")
            return
        if known is not None:
            yield from _libraries(values, known)
            for place, entry in databases.present.values():
                yield from _extensions(place, entry, values, known)


def _major(values: Mapping[str, Any]) -> int:
    """Return the major version of the server, as far as the variables tell: 0 if they do not."""
    return 0 if values.get("postgres_image") else chosen_major(values)


def _asks_for_the_image(chosen: Mapping[str, Any], databases: Declared) -> bool:
    """Reading the catalogue takes a moment: only who speaks of what is in the image waits for it."""
    if "postgres_image" in chosen:  # the user's own: only its server knows its contents
        return False
    speaking = ("postgres_extra_preload_libraries", "image_extensions", "image_flavour", "image_major")
    return any(chosen.get(name) for name in speaking) or any(
        entry.get("extensions") for _, entry in databases.present.values()
    )


# -- variables that exclude or need each other -------------------------------------------------------------------------


_SERVER = SERVICES[0]


def published(values: Mapping[str, Any], service: Service = _SERVER) -> str:
    """Return the address that the port of a service is published on, as far as the variables say."""
    given = text(values.get(f"{service.prefix}_publish_address"))
    if service is not _SERVER and not given:
        return published(values)
    if text(values.get("postgres_stack")) in ("", "single"):
        return given or "127.0.0.1"
    return given or text(values.get("postgres_address")) or "the member's address"


def _access(values: Mapping[str, Any]) -> Iterator[Contradiction]:
    try:
        loopback = ipaddress.ip_address(
            text(values.get("postgres_publish_address")) or "127.0.0.1"
        ).is_loopback
    except ValueError:
        return
    if not loopback and not values.get("postgres_allow_from") and not values.get("postgres_hba"):
        yield (
            ("postgres_publish_address",),
            f"'{published(values)}' can be reached by other machines: set the allowed clients with postgres_allow_from "
            "(a list of networks) or postgres_hba",
        )


def _tls(values: Mapping[str, Any]) -> Iterator[Contradiction]:
    given = {name for pair in _CERTIFICATES for name in pair if values.get(name)}
    for certificate, key in _CERTIFICATES:
        if (certificate in given) != (key in given):
            there, missing = (certificate, key) if certificate in given else (key, certificate)
            yield (there,), f"needs {missing} beside it"
    own, authority = _CERTIFICATES[0][0], _CERTIFICATES[1][0]
    if own in given and authority in given:
        yield (
            (authority,),
            f"{own} is set as well, so this authority would sign nothing; set one of the two",
        )
    if not truth(values.get("postgres_tls")):
        for name in sorted(given):
            yield (name,), "postgres_tls is false, so it would not be used; remove one of the two"


def _ports(values: Mapping[str, Any]) -> Iterator[Contradiction]:
    taken: list[Service] = []
    for service in SERVICES:
        if not service.is_declared(values):
            continue
        port = text(values.get(f"{service.prefix}_port"))
        for other in taken:
            addresses = [published(values, each) for each in (other, service)]
            if port and port == text(values.get(f"{other.prefix}_port")) and overlap(*addresses):
                yield (
                    (f"{service.prefix}_port",),
                    f"{port} is the port of {other.label} ({other.prefix}_port); give {service.label} another one",
                )
        taken.append(service)


def overlap(one: str, other: str) -> bool:
    """Whether the same port cannot be published on both addresses."""
    return one == other or bool({one, other} & {"0.0.0.0", "::"})


# -- roles -------------------------------------------------------------------------------------------------------------


def _roles(roles: Declared, administrator: str) -> Iterator[Contradiction]:
    yield from roles.twice
    reserved = {
        role["name"]: service.label for service in SERVICES if service.removes_roles for role in service.roles
    }
    for name, (place, _) in {**roles.present, **roles.absent}.items():
        if name in reserved:
            yield (
                place,
                f"'{name}' belongs to {reserved[name]}, and the stack declares it; remove it from the list",
            )
    if administrator in roles.absent:
        yield (
            roles.absent[administrator][0],
            f"'{administrator}' is the server's administrator (postgres_user) and cannot be absent",
        )
    above: dict[str, set[str]] = {}
    for name, (place, entry) in roles.present.items():
        if text(entry.get("password")) and truth(entry.get("passwordless")):
            yield (*place, "passwordless"), "a password is set as well; remove one of the two"
        if text(entry.get("reassign_to")):
            yield (*place, "reassign_to"), "has an effect only with state: absent; the role is present"
        memberships = entries((*place, "member_of"), entry.get("member_of"), key="role")
        above[name] = set()
        for where, membership in memberships:
            group = text(membership["role"])
            yield from roles.refer(where, group)
            if group in above[name]:
                yield where, f"the role '{group}' is declared twice"
            above[name].add(group)
    for name, (place, entry) in roles.absent.items():
        heir = text(entry.get("reassign_to"))
        if heir == name:
            yield (*place, "reassign_to"), f"'{heir}' is the role that is removed; name another one"
        else:
            yield from roles.refer((*place, "reassign_to"), heir)
    try:
        TopologicalSorter(above).prepare()
    except CycleError as error:
        circle = [str(name) for name in error.args[1]]
        declared = next(name for name in circle if name in roles.present)
        yield (
            (*roles.present[declared][0], "member_of"),
            f"circular memberships: {' → '.join(circle)}; PostgreSQL rejects that",
        )


# -- databases ---------------------------------------------------------------------------------------------------------


def _databases(databases: Declared, roles: Declared, made: str) -> Iterator[Contradiction]:
    yield from databases.twice
    for name in dict.fromkeys((made, "postgres")):
        if name in databases.absent:
            why = (
                "is postgres_database, which a deploy creates"
                if name == made
                else "is required for administration"
            )
            yield databases.absent[name][0], f"'{name}' {why}; it cannot be absent"
    for place, entry in databases.present.values():
        yield from roles.refer((*place, "owner"), text(entry.get("owner")))
        template = text(entry.get("template"))
        if template not in _TEMPLATES:
            yield from databases.refer((*place, "template"), template)
        schemas = Declared.read("schema", (*place, "schemas"), entry.get("schemas", []))
        yield from schemas.twice
        for where, schema in schemas.present.values():
            yield from roles.refer((*where, "owner"), text(schema.get("owner")))
        extensions = Declared.read("extension", (*place, "extensions"), entry.get("extensions", []))
        yield from extensions.twice
        for where, extension in extensions.present.values():
            if text(extension.get("schema")) in schemas.absent:
                yield from schemas.refer((*where, "schema"), text(extension["schema"]))
        access = entry.get("access")
        for right in _RIGHTS:
            given = access.get(right) if isinstance(access, dict) else None
            for where, role in names((*place, "access", right), given):
                yield from roles.refer(where, role)


# -- who may connect ---------------------------------------------------------------------------------------------------


def _hba(values: Mapping[str, Any], roles: Declared, databases: Declared) -> Iterator[Contradiction]:
    maps = {
        text(entry.get("map"))
        for _, entry in entries(("postgres_ident",), values.get("postgres_ident"), "map")
    }
    rules = values.get("postgres_hba")
    for number, rule in enumerate(rules if isinstance(rules, list) else []):
        if not isinstance(rule, dict):
            continue
        place: Path = ("postgres_hba", str(number))
        for where, name in names((*place, "roles"), rule.get("roles")):
            if name != "all" and not name.startswith("/"):
                yield from roles.refer(where, name.removeprefix("+"))
        for where, name in names((*place, "databases"), rule.get("databases")):
            if name not in _DATABASE_WORDS and not name.startswith("/"):
                yield from databases.refer(where, name)
        yield from _rule(place, rule, truth(values.get("postgres_tls")))
        options = rule.get("options")
        wanted = text(options.get("map")) if isinstance(options, dict) else ""
        if wanted and wanted not in maps | {IDENT_MAP}:
            hint = did_you_mean(wanted, [*maps, IDENT_MAP])
            yield (*place, "options", "map"), f"the map '{wanted}' is not declared in postgres_ident{hint}"


def _rule(place: Path, rule: Mapping[str, Any], tls: bool) -> Iterator[Contradiction]:
    kind, method = text(rule.get("type", "hostssl")), text(rule.get("method"))
    addresses = rule.get("addresses")
    if kind == "local" and addresses:
        yield (
            (*place, "addresses"),
            "a local rule is about the socket, which has no addresses; leave one of the two out",
        )
    if kind != "local" and not addresses:
        yield place, f"a {kind} rule needs addresses: networks, or samenet"
    if kind == "hostssl" and not tls:
        yield place, "a hostssl rule never matches while postgres_tls is false; say type: host"
    if method == "peer" and kind != "local":
        yield (*place, "method"), "peer asks the socket who is there, so it needs type: local"
    if method == "cert" and kind != "hostssl":
        yield (*place, "method"), "cert needs a client that speaks TLS, so it needs type: hostssl"


def _ident(values: Mapping[str, Any], roles: Declared) -> Iterator[Contradiction]:
    for place, entry in entries(("postgres_ident",), values.get("postgres_ident"), "map"):
        name = text(entry.get("role"))
        # all, +group, /expression, and \1: what the expression for the system's name has found.
        if name != "all" and not name.startswith("/") and "\\1" not in name:
            yield from roles.refer((*place, "role"), name.removeprefix("+"))


# -- what the image holds ----------------------------------------------------------------------------------------------


def _libraries(values: Mapping[str, Any], image: Contents) -> Iterator[Contradiction]:
    loaded = {name: image.libraries[name] for name in image.preloaded if name in image.libraries}
    for where, name in names(
        ("postgres_extra_preload_libraries",), values.get("postgres_extra_preload_libraries")
    ):
        if name not in image.libraries:
            # A path is its writer's own business.
            if "/" not in name and name not in image.loadable:
                hint = did_you_mean(name, image.libraries)
                yield (
                    where,
                    f"there is no library '{name}' to preload in the image (flavour {image.flavour}){hint}",
                )
            continue
        entry = image.libraries[name]
        for library, other in loaded.items():
            if excluded(entry, other):
                yield (
                    where,
                    f"'{name}' and '{library}' cannot be loaded into one server; leave one of the two out",
                )
        loaded[name] = entry


def excluded(one: Any, other: Any) -> bool:
    return other.name in one.preload.conflicts or one.name in other.preload.conflicts


def _extensions(
    place: Path, database: Mapping[str, Any], values: Mapping[str, Any], image: Contents
) -> Iterator[Contradiction]:
    declared = Declared.read("extension", (*place, "extensions"), database.get("extensions"))
    preloaded = image.preloaded | {
        name for _, name in names((), values.get("postgres_extra_preload_libraries"))
    }
    settings = values.get("postgres_settings")
    moved = (
        any(str(name).lower().endswith(".database_name") for name in settings)
        if isinstance(settings, dict)
        else False
    )
    for name, (where, _) in declared.present.items():
        entry = image.extensions.get(name)
        if entry is None:
            yield where, image.missing(name)
            continue
        if entry.preload and entry.preload.required and entry.preload.library not in preloaded:
            # It comes with the extension.
            for library in sorted(preloaded):
                if library in image.libraries and excluded(entry, image.libraries[library]):
                    yield (
                        where,
                        f"the extension '{name}' needs the library '{entry.preload.library}', which cannot be loaded "
                        f"beside '{library}'; leave one of the two out",
                    )
        if entry.database and text(database.get("name")) != entry.database and not moved:
            yield (
                where,
                f"the extension '{name}' can be created in the database '{entry.database}' only; declare it there, or "
                "choose another database with the setting that ends in .database_name (postgres_settings)",
            )
        for needed in image.requires(name):
            if needed in declared.absent:
                other = written(declared.absent[needed][0])
                yield where, f"the extension '{name}' needs '{needed}', which {other} declares absent"
