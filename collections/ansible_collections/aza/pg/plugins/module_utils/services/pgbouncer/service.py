# SPDX-License-Identifier: Apache-2.0
"""PgBouncer as a service of the stack: many clients share few connections, each of them as itself."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from ansible_collections.aza.pg.plugins.module_utils.host.docker import Docker
from ansible_collections.aza.pg.plugins.module_utils.model.desired import Desired
from ansible_collections.aza.pg.plugins.module_utils.model.observed import ContainerFacts, Observed
from ansible_collections.aza.pg.plugins.module_utils.model.service import File
from ansible_collections.aza.pg.plugins.module_utils.objects import hba
from ansible_collections.aza.pg.plugins.module_utils.planning.change import Change
from ansible_collections.aza.pg.plugins.module_utils.planning.finding import Finding
from ansible_collections.aza.pg.plugins.module_utils.server import settings as pg
from ansible_collections.aza.pg.plugins.module_utils.services.base import Definition, Secret, Service
from ansible_collections.aza.pg.plugins.module_utils.services.pgbouncer import (
    console,
    drift,
    files,
    lookup,
    rules,
)
from ansible_collections.aza.pg.plugins.module_utils.services.pgbouncer.roles import AUTH, HEALTH

if TYPE_CHECKING:
    from ansible_collections.aza.pg.plugins.module_utils.services.declaration import Declaration

_PASSWORDS = {
    f"roles/{AUTH}": "PgBouncer, to look up who logs in",
    f"roles/{HEALTH}": "PgBouncer's health check",
}


class PgBouncer(Service):
    name = files.NAME
    label = "PgBouncer"
    prefix = files.VARIABLE_PREFIX
    image = "pgbouncer"
    uid = files.UID
    has_clients = True
    roles = (
        {
            "name": AUTH,
            "connection_limit": 5,
            "comment": "PgBouncer of aza-pg, which looks up who logs in",
        },
        {
            "name": HEALTH,
            "connection_limit": 5,
            "comment": "the health check of PgBouncer of aza-pg",
        },
    )
    way_out = "set postgres_pgbouncer: false"
    removes_roles = True
    powers: Mapping[str, str] = {AUTH: "read the password verifiers of all logins"}
    kinds = (lookup.KIND,)
    secrets = tuple(Secret(name, purpose) for name, purpose in _PASSWORDS.items())
    composed: Mapping[str, tuple[str, ...]] = {files.SECRET: tuple(_PASSWORDS)}

    def is_declared(self, variables: Mapping[str, Any]) -> bool:
        return files.is_declared(variables)

    def define(self, declaration: Declaration) -> Definition:
        variables, spec = declaration.variables, self.container_spec(declaration)
        encrypted, own = variables["postgres_tls"], variables["postgres_pgbouncer_settings"]
        server = files.server_name(declaration.authority, encrypted, declaration.certificate)
        declared = declaration.objects
        ini = files.render(
            own,
            declaration.tuned.max_connections,
            server,
            encrypted,
            variables["postgres_database"],
            declared.get("databases", ()),
            pg.normalise(variables["postgres_settings"]),
        )
        network = hba.rules(
            variables["postgres_user"],
            declared.get("hba", ()),
            variables["postgres_allow_from"],
            encrypted,
        )
        access = rules.access(network, variables["postgres_user"])
        made = files.files(encrypted, declaration.authority, ini, access, declaration.origins)
        return Definition(spec, files.compose(spec, server), tuple(made), files.fixed(own))

    def leftovers(self, declaration: Declaration) -> tuple[File, ...]:
        variables = declaration.variables
        return files.leftovers(self.is_declared(variables), variables["postgres_tls"])

    def compose_secrets(self, values: Mapping[str, str]) -> dict[str, str]:
        known = {name.removeprefix("roles/"): values[name] for name in _PASSWORDS}
        return {files.SECRET: files.userlist(known)}

    def observe(self, wanted: Desired, here: ContainerFacts) -> Any:
        return console.observe(wanted, here["since"])

    def text(self, item: File, subnets: Iterable[str]) -> str | None:
        return None if item.text is None else rules.expand(item.text, subnets)

    def changes(self, wanted: Desired, found: Observed, planned: Iterable[Change]) -> Iterator[Change]:
        yield from drift.reload(wanted, found, planned)

    def started(self, wanted: Desired, docker: Docker) -> None:
        console.wait(wanted, docker)

    def reload(self, wanted: Desired, docker: Docker) -> None:
        console.reload(wanted, docker)

    def objects_changed(self, wanted: Desired) -> None:
        """The server judges whether a role may connect, and with which settings, only when a session starts."""
        console.reconnect(wanted)

    def findings(self, wanted: Desired, found: Observed) -> Iterator[Finding]:
        yield from drift.findings(wanted, found)

    @property
    def secret_paths(self) -> tuple[str, ...]:
        return (files.USERLIST,)

    def read_back(self, texts: Mapping[str, str]) -> dict[str, str]:
        passwords = files.passwords_of(texts.get(files.USERLIST, ""))
        return {f"roles/{name}": word for name, word in passwords.items() if f"roles/{name}" in _PASSWORDS}
