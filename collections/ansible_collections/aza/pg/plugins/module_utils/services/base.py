# SPDX-License-Identifier: Apache-2.0
"""The contract of a service: one container of a stack, and everything that the toolkit does for it.

A service is one module with one subclass of ``Service`` and one row in ``registry.py``. Nothing else names it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ansible_collections.aza.pg.plugins.module_utils.host.docker import Docker
from ansible_collections.aza.pg.plugins.module_utils.model.desired import Desired
from ansible_collections.aza.pg.plugins.module_utils.model.observed import ContainerFacts, Observed
from ansible_collections.aza.pg.plugins.module_utils.model.service import ContainerSpec, File, container_name
from ansible_collections.aza.pg.plugins.module_utils.objects.kind import Kind
from ansible_collections.aza.pg.plugins.module_utils.planning.change import Change
from ansible_collections.aza.pg.plugins.module_utils.planning.finding import Finding

if TYPE_CHECKING:
    from ansible_collections.aza.pg.plugins.module_utils.services.declaration import Declaration


@dataclass(frozen=True)
class Secret:
    """A password of a service. ``name``: on the control node. ``path``: its file on the host, if it has one of its
    own."""

    name: str
    purpose: str
    path: str = ""


@dataclass(frozen=True)
class Metrics:
    """What Prometheus scrapes. ``job``: its name there. ``subject``: what the exporter watches, for people."""

    job: str
    subject: str


@dataclass(frozen=True)
class Definition:
    """A service of one instance. ``compose``: its service as Compose reads it, without labels and logging.

    ``fixed``: what else a running container does not read again; if it changes, the container is recreated.
    """

    container: ContainerSpec
    compose: Mapping[str, Any]
    files: tuple[File, ...] = ()
    fixed: str = ""


class Service:
    """What every service has in common; a subclass overrides what it has of its own.

    On the control node ``is_declared`` … ``compose_secrets`` describe it. On the managed host ``observe`` …
    ``read_back`` run; none of them may fail because the service does not answer.
    """

    # Its name in the Compose project, and for people.
    name: str
    label: str
    # Its variables begin with this: PREFIX_port, PREFIX_publish_address, PREFIX_image.
    prefix: str
    # The entry of the image manifest that it runs.
    image: str
    # A user that nothing else on the host or in the image has.
    uid: int
    has_clients = False
    # The roles that it needs in the server, as entries of postgres_roles, and how an operator avoids them.
    roles: tuple[Mapping[str, Any], ...] = ()
    way_out = ""
    # Whether these roles are removed with the service, so that no declared role may have their names.
    removes_roles = False
    # Role → what its members can do that otherwise only a superuser can.
    powers: Mapping[str, str] = {}
    # The kinds of objects that it needs in the server in addition to its roles.
    kinds: tuple[Kind, ...] = ()
    # Of these, the roles that log in through the server's Unix socket with a password.
    socket_roles: tuple[str, ...] = ()
    secrets: tuple[Secret, ...] = ()
    # Files that are made of several secrets: the secret's name → the names that it needs.
    composed: Mapping[str, tuple[str, ...]] = {}
    metrics: Metrics | None = None
    # Files and directories that show that an instance exists, for what needs no declaration.
    skeleton: tuple[str, ...] = ()

    # -- on the control node ---------------------------------------------------------------------------

    def is_declared(self, variables: Mapping[str, Any]) -> bool:
        """Return whether the instance has this service. ``variables``: with their defaults, as text or as values."""
        raise NotImplementedError

    def define(self, declaration: Declaration) -> Definition:
        raise NotImplementedError

    def leftovers(self, declaration: Declaration) -> tuple[File, ...]:
        """Return the files and directories that must not remain on the host, because the service needs none of them.

        It is also called for a service that is not declared.
        """
        return ()

    def compose_secrets(self, values: Mapping[str, str]) -> dict[str, str]:
        """Return the content of each file of ``composed``. ``values``: of the secrets that it needs."""
        return {}

    def container_spec(self, declaration: Declaration) -> ContainerSpec:
        """Return its container with the user, port and address that its variables give.

        An ordinary user who deploys cannot give a file to another user, so the container runs as that user.
        """
        host = declaration.host
        return ContainerSpec(
            self.name,
            container_name(declaration.project, self.name),
            image=declaration.images[self.image],
            uid=self.uid if host.is_root else host.uid,
            gid=self.uid if host.is_root else host.gid,
            publish_address=declaration.published(self.prefix),
            port=int(declaration.value(f"{self.prefix}_port")),
            port_variable=f"{self.prefix}_port",
            has_clients=self.has_clients,
        )

    # -- on the managed host ---------------------------------------------------------------------------

    def observe(self, wanted: Desired, here: ContainerFacts) -> Any:
        """Return what the service reports about itself; None if there is nothing. ``here``: its running container."""
        return None

    def probe(self, wanted: Desired, found: Observed) -> Any:
        """Return what only a check needs to know, because it takes time; None if it cannot be known."""
        return None

    def text(self, item: File, subnets: Iterable[str]) -> str | None:
        """Return the text of a file that is ``per_network``. ``subnets``: of the containers' network."""
        return item.text

    def changes(self, wanted: Desired, found: Observed, planned: Iterable[Change]) -> Iterator[Change]:
        """Plan what makes its declared state active, in addition to ``planned``: a reload, a restart."""
        return iter(())

    def started(self, wanted: Desired, docker: Docker) -> None:
        """Wait until its container, which was started just now, works.

        :raises AzaError: it does not start.
        """

    def reload(self, wanted: Desired, docker: Docker) -> None:
        """Make changed files active without disconnecting clients.

        :raises AzaError: it refuses them.
        """

    def objects_changed(self, wanted: Desired) -> None:
        """Renew what it keeps of the server's objects, after a plan changed some of them."""

    def findings(self, wanted: Desired, found: Observed) -> Iterator[Finding]:
        """Report what a check should say in addition to what a deploy would change."""
        return iter(())

    def read_back(self, files: Mapping[str, str]) -> dict[str, str]:
        """Return the secrets that its files on the host hold, by their names. ``files``: path → text."""
        return {
            secret.name: files[secret.path].rstrip("\r\n")
            for secret in self.secrets
            if files.get(secret.path)
        }

    @property
    def image_variable(self) -> str:
        """The variable with which an inventory gives its image."""
        return f"{self.prefix}_image"

    @property
    def secret_paths(self) -> tuple[str, ...]:
        """The files on the host that ``read_back`` needs."""
        return tuple(secret.path for secret in self.secrets if secret.path)
