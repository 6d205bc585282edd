# SPDX-License-Identifier: Apache-2.0
"""Read back the secrets that a host holds, and say what cannot be read back."""

from __future__ import annotations

import secrets as random
from typing import Any

from ansible_collections.aza.pg.plugins.module_utils.errors import AzaError
from ansible_collections.aza.pg.plugins.module_utils.instance import ownership
from ansible_collections.aza.pg.plugins.module_utils.instance import secrets_readback as readback
from ansible_collections.aza.pg.plugins.module_utils.replication import topology as replication
from ansible_collections.aza.pg.plugins.modules import secrets_fetch as documentation
from ansible_collections.aza.pg.plugins.plugin_utils import secret_list
from ansible_collections.aza.pg.plugins.plugin_utils.authority import Recovered
from ansible_collections.aza.pg.plugins.plugin_utils.control_secrets import (
    ROLES,
    SecretStore,
    inventory_passwords,
)
from ansible_collections.aza.pg.plugins.plugin_utils.environment import Environment
from ansible_collections.aza.pg.plugins.plugin_utils.instance_action import InstanceAction
from ansible_collections.aza.pg.plugins.plugin_utils.instance_arguments import arguments
from ansible_collections.aza.pg.plugins.plugin_utils.instance_variables import collect

ARGUMENTS = arguments(documentation.DOCUMENTATION)


class ActionModule(InstanceAction):
    def perform(self) -> dict[str, Any]:
        _, given = self.validate_argument_spec(argument_spec=ARGUMENTS)
        variables = collect(self.task_vars, self.templar, given["variables"])
        inventory, cluster = self.task_vars.get("inventory_dir"), variables["postgres_cluster"]
        key = random.token_hex(32)
        answer = self.on_target(
            "secrets_read",
            key=key,
            cluster=cluster,
            stack=variables["postgres_stack"],
            base_dir=variables["postgres_base_dir"],
        )
        found, owner = readback.unseal(answer["sealed"], key), answer["environment"].get("environment", "")
        if not found:
            raise AzaError(
                f"{self.host} holds no secret of {cluster}: it is not deployed there, or its files were removed.",
                reason="not_deployed",
            )
        environment = Environment(inventory, dry=True)
        if owner and not environment.fresh and owner != environment.identity:
            raise AzaError(
                f"{cluster} on {self.host} belongs to environment {owner[:8]}, and {environment.directory} to "
                f"{environment.identity[:8]}. Move that directory away, and run this again. Nothing was changed.",
                reason=ownership.FOREIGN,
            )
        store = SecretStore(inventory, cluster, self.check_mode)
        pem = Recovered(
            store.root, cluster, found.pop(readback.CERTIFICATE, ""), found.pop(readback.TRUST, "")
        )
        inventory_gives = inventory_passwords(variables["postgres_password"], variables["postgres_roles"])
        fetched, different = [], []
        for name, value in found.items():
            if store.has(name):
                different += [name] if store.get(name) != value else []
            elif name not in inventory_gives:
                fetched.append(name)
                store.keep(name, value)
        fetched += pem.keep(self.host.replace("/", "_"), dry=self.check_mode)
        if owner and environment.fresh:
            fetched.append("environment.id")
            if not self.check_mode:
                environment.keep(owner)
        lost = [
            name
            for name in secret_list.uses(variables)
            if name not in {*found, *inventory_gives, replication.PASSWORD} and not store.has(name)
        ]
        self._tell(store, fetched, different, lost)
        if pem.lacks_key:
            self.say(
                f"{store.root}/ca/ca.key cannot be read back, since it is on no host. Certificates stay valid. Before "
                "the first one expires, begin a new authority: docs/runbooks/rotate-the-authority.md"
            )
        return {"changed": bool(fetched), "fetched": fetched, "different": different, "lost": lost}

    def _tell(self, store: SecretStore, fetched: list[str], different: list[str], lost: list[str]) -> None:
        self.say(f"read back into {store.directory}: {', '.join(fetched) or 'nothing that was missing'}")
        if different:
            self.say(f"kept as they are, although the host has other values: {', '.join(different)}")
        for name in lost:
            role = name.removeprefix(ROLES)
            self.say(
                f"{name} cannot be read back: the server holds only a verifier. Write the password into "
                f"{store.path(name)}, or give the role a new one: ansible-playbook secrets.yml -e rotate={role}"
            )
