# SPDX-License-Identifier: Apache-2.0
"""From the variables of a host and the facts of its cluster to everything that the control node brings to a deploy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleError
from ansible.plugins.loader import lookup_loader
from ansible_collections.aza.pg.plugins.module_utils.errors import AzaError
from ansible_collections.aza.pg.plugins.module_utils.instance import describe as describing
from ansible_collections.aza.pg.plugins.module_utils.model.desired import Desired
from ansible_collections.aza.pg.plugins.module_utils.model.names import identity
from ansible_collections.aza.pg.plugins.module_utils.model.service import SERVER, container_name
from ansible_collections.aza.pg.plugins.module_utils.model.variables import Variables
from ansible_collections.aza.pg.plugins.module_utils.replication import topology as replication
from ansible_collections.aza.pg.plugins.module_utils.server import settings as pg
from ansible_collections.aza.pg.plugins.module_utils.services import registry
from ansible_collections.aza.pg.plugins.module_utils.services.declaration import Declaration, Host, Tuned
from ansible_collections.aza.pg.plugins.module_utils.tls import certificate as tls
from ansible_collections.aza.pg.plugins.module_utils.yaml_dumper import dump
from ansible_collections.aza.pg.plugins.plugin_utils import (
    certificates,
    cluster,
    handed_secrets,
    instance_images,
    project,
)
from ansible_collections.aza.pg.plugins.plugin_utils.control_secrets import InstanceSecrets, SecretStore
from ansible_collections.aza.pg.plugins.plugin_utils.environment import Environment
from ansible_collections.aza.pg.plugins.plugin_utils.instance_action import InstanceAction
from ansible_collections.aza.pg.plugins.plugin_utils.inventory_sources import origins
from ansible_collections.aza.pg.plugins.plugin_utils.prediction import Prediction, predict
from ansible_collections.aza.pg.plugins.plugin_utils.preload import preload


@dataclass(frozen=True)
class Facts:
    """What ``aza.pg.instance_host`` returned: the host, its engine, what its instance is to its cluster."""

    host: Mapping[str, Any]
    engine: Mapping[str, Any]
    member: Mapping[str, Any]


@dataclass(frozen=True)
class Declared:
    """Everything that the control node brings to a deploy of one instance. ``images``: by service."""

    wanted: Desired
    declaration: Declaration
    prediction: Prediction
    images: Mapping[str, instance_images.Record]
    part: cluster.Part
    secrets: InstanceSecrets
    bundle: certificates.Bundle | None
    environment: Environment
    # The value of each secret that the host needs.
    values: Mapping[str, str]
    # Whether a secret, a certificate or the environment's identity is new.
    makes: bool


class Declare:
    """``options``: those of the task. ``dry``: nothing is written on the control node."""

    def __init__(
        self, action: InstanceAction, variables: Variables, options: Mapping[str, Any], dry: bool
    ) -> None:
        self.action, self.variables, self.options, self.dry = action, variables, options, dry
        self.cluster = variables["postgres_cluster"]
        self.inventory = action.task_vars.get("inventory_dir")

    def part(self, member: Mapping[str, Any]) -> cluster.Part:
        """Return what the host is to its cluster."""
        given = {
            **self.options,
            "cluster": self.cluster,
            "stack": self.variables["postgres_stack"],
            "synchronous_replicas": self.variables["postgres_synchronous_replicas"],
        }
        action = self.action
        return cluster.Part(action.task_vars, action.host, given, member, action.in_check_mode)

    def secrets(self) -> InstanceSecrets:
        found = InstanceSecrets(
            self.variables["postgres_password"],
            self.variables["postgres_roles"],
            lambda: SecretStore(self.inventory, self.cluster, self.dry),
        )
        if self.options["rotating"] and self.action.check_mode:
            found.predict(self.options["rotating"])
        return found

    @property
    def take_over(self) -> bool:
        return bool(self.options["take_over"] == self.cluster)

    def all(self, facts: Facts) -> Declared:
        """Return everything for a deploy.

        :raises AzaError: the declaration cannot be applied, whatever the host holds.
        """
        variables, part = self.variables, self.part(facts.member)
        member = part.role()
        if member is not None:
            part.refuse(member)
        images = self._images(facts.engine)
        environment, secrets = Environment(self.inventory, self.dry), self.secrets()
        host = Host(facts.host["uid"], facts.host["gid"], facts.host["home"])
        bundle = self._certificate(facts.host, member) if variables["postgres_tls"] else None
        if member and not facts.member.get("data") and not self.take_over:
            environment.refuse_foreign_members(self.action.task_vars, self.cluster, self.action.host)
        if member and bundle and not bundle.authority:
            raise AzaError(
                "postgres_tls_certificate: it does not end with the root that signed it, so the members of the cluster "
                "could not verify each other. Give the whole chain, the root's certificate last.",
                reason="bad_certificate",
            )
        directories = project.find(self.action.templar.template(self.action.task_vars.get("image_dir")))
        libraries = preload(
            directories, variables["postgres_databases"], variables["postgres_extra_preload_libraries"]
        )
        major = int(images[SERVER]["major"] or 0)
        prediction = predict(variables, libraries["declared"], facts.engine, directories, major)
        minimums = part.minimums(member) if member else {}
        declaration = Declaration(
            variables,
            host,
            {item.image: images[item.name] for item in registry.declared(variables)},
            self._tuned(prediction, minimums),
            origins=origins(self.action.task_vars, self.action.loader, prefix="postgres_"),
            certificate={**bundle.facts, "replace": self.options["replace_authority"]} if bundle else {},
            authority=bundle.authority if bundle else "",
            member=member,
            minimums=minimums,
            preload=libraries,
            libraries=tuple(libraries["declared"]),
        )
        wanted = describing.describe(declaration, dump)
        values = handed_secrets.values(self.options["only"], wanted, secrets, bundle)
        only = self.options["only"]
        signs = bundle is not None and (not only or tls.KIND in only)
        claim = environment.claim(
            # Once the host has agreed, what was made just now is no longer missing.
            made=secrets.created if self.dry else (),
            authorities=tls.fingerprints(bundle.authority.encode())
            if bundle and not variables["postgres_tls_certificate"]
            else (),
            new_authority=bool(self.dry and signs and bundle and bundle.new_authority),
            take_over=self.take_over,
        )
        makes = bool(environment.fresh or secrets.created or (signs and bundle and bundle.made))
        return Declared(
            replace(wanted, claim=claim),
            declaration,
            prediction,
            images,
            part,
            secrets,
            bundle,
            environment,
            values,
            makes,
        )

    def skeleton(self, host: Mapping[str, Any]) -> Desired:
        """Return the instance by its names alone, for what needs no declaration."""
        variables = self.variables
        found = describing.skeleton(
            self.cluster,
            variables["postgres_stack"],
            variables["postgres_base_dir"],
            host,
            variables["postgres_user"],
        )
        declaration = Declaration(variables, Host(0, 0, ""), {}, Tuned(0, 0))
        claim = Environment(self.inventory, True).claim(take_over=self.take_over)
        return replace(
            found,
            claim=claim,
            database=variables["postgres_database"],
            stop_seconds=declaration.stop_seconds,
        )

    def _tuned(self, prediction: Prediction, minimums: Mapping[str, int]) -> Tuned:
        settings = pg.normalise(self.variables["postgres_settings"])
        huge = prediction.shared_mb(settings, minimums) if self.variables["postgres_huge_pages"] else 0
        return Tuned(
            prediction.memory_mb, prediction.shm_size_mb, huge, prediction.setting("max_connections", 100)
        )

    def _images(self, engine: Mapping[str, Any]) -> dict[str, instance_images.Record]:
        """Return the image of each service, with the name that the host's engine has for it."""
        found: dict[str, instance_images.Record] = {}
        for service in registry.declared(self.variables):
            values: Mapping[str, Any] = self.variables
            image = values.get(service.image_variable)
            if image in ("", None):
                lookup = lookup_loader.get(
                    "aza.pg.image", loader=self.action.loader, templar=self.action.templar
                )
                (image,) = lookup.run([service.image], variables=self.action.task_vars)
            record = instance_images.record(service.image_variable, image)
            found[service.name] = {**record, "pinned": instance_images.pinned(record, engine)}
        return found

    def _certificate(self, host: Mapping[str, Any], member: replication.Role | None) -> certificates.Bundle:
        """Return the server's certificate for every name that this host and its instance are known by."""
        variables, action, only = self.variables, self.action, self.options["only"]
        dry = self.dry or (bool(only) and tls.KIND not in only)
        names = identity(self.cluster, variables["postgres_stack"], "", host["uid"])
        reached = [
            str(action.templar.template(action.task_vars.get("ansible_host") or action.host)),
            variables["postgres_publish_address"] or (member.me.address if member else "127.0.0.1"),
            *([member.me.address] if member else []),
            *variables["postgres_tls_names"],
        ]
        derived = ["localhost", "127.0.0.1", "::1", SERVER, container_name(names["project"], SERVER)]
        request = certificates.CertificateRequest(
            host=action.host.replace("/", "_"),
            names=tls.names([host["hostname"], action.host, *reached, *derived]),
            expected=tuple(name for name in tls.names(reached) if not tls.is_loopback(name)),
            certificate=variables["postgres_tls_certificate"],
            key=variables["postgres_tls_key"],
            ca_certificate=variables["postgres_tls_ca_certificate"],
            ca_key=variables["postgres_tls_ca_key"],
            renew=self.options["renew_certificate"],
        )
        # Nothing is kept of the operator's own certificate, so it needs no place.
        own = bool(request.certificate)
        root = Path() if own else SecretStore(self.inventory, self.cluster, dry).root
        return certificates.Certificates(root, self.cluster, certificates.now(), self._file, dry).server(
            request
        )

    def _file(self, path: str) -> str:
        """Return a file of the control node, encrypted with Ansible Vault or not. A path begins at the inventory."""
        given = Path(path).expanduser()
        beside = Path(self.inventory or ".") / given
        found = beside if beside.exists() else given
        try:
            return Path(self.action.loader.get_real_file(str(found.absolute()))).read_text(encoding="utf-8")
        except (OSError, AnsibleError) as error:
            raise AzaError(
                f"{path} cannot be read on the control node: {getattr(error, 'strerror', None) or error}. Give the "
                "path of a PEM file, or its text.",
                reason="unreadable_file",
            ) from None
