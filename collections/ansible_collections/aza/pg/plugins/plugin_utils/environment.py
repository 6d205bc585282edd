# SPDX-License-Identifier: Apache-2.0
"""The identity of an inventory's secrets, which every instance of the environment records on its host.

``INVENTORY/secrets/environment.id``, made with the first secret. A directory of secrets that is older than this gets
one that follows from its authority, so that two copies of it agree.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible_collections.aza.pg.plugins.module_utils.errors import AzaError
from ansible_collections.aza.pg.plugins.module_utils.instance import ownership
from ansible_collections.aza.pg.plugins.module_utils.model.claim import Claim
from ansible_collections.aza.pg.plugins.plugin_utils import cluster as members
from ansible_collections.aza.pg.plugins.plugin_utils.control_secrets import SecretStore, random_value
from ansible_collections.aza.pg.plugins.plugin_utils.instance_action import who

# No cluster can have this name.
FILE = "environment.id"


class Environment:
    """``dry``: nothing is written. Without a directory for secrets the identity is empty."""

    def __init__(self, inventory_dir: str | None, dry: bool) -> None:
        self._store: SecretStore | None = None
        self.identity, self.fresh = "", False
        self.inventory = Path(inventory_dir).resolve() if inventory_dir else None
        try:
            self._store = SecretStore(inventory_dir, "", dry)
        except AzaError:
            return  # all that the inventory needs, it gives itself
        if self._store.has(FILE):
            self.identity = self._store.get(FILE)
            return
        self.identity, self.fresh = self._first(self._store), True
        if not dry:
            self.keep(self.identity)

    @property
    def directory(self) -> str:
        return str(self._store.root) if self._store else ""

    def keep(self, identity: str) -> None:
        """Write the identity, unless another run was first."""
        if self._store:
            self._store.dry = False
            self._store.keep(FILE, identity)
            self.identity, self.fresh = self._store.get(FILE), False

    @staticmethod
    def _first(store: SecretStore) -> str:
        try:
            authority = (store.root / "ca" / "ca.crt").read_bytes()
        except OSError:
            return random_value()
        return hashlib.sha256(authority).hexdigest()[:32]

    def claim(self, **more: Any) -> Claim:
        """Return the claim for a host. ``more``: further fields of ``Claim``."""
        return Claim(
            environment=self.identity,
            fresh=self.fresh,
            name=self.inventory.name if self.inventory else "",
            origin=f"{who()}:{self.inventory}" if self.inventory else who(),
            secrets=self.directory,
            asks=True,
            **more,
        )

    def refuse_foreign_members(self, task_vars: Mapping[str, Any], cluster: str, host: str) -> None:
        """Refuse a new member of a cluster whose other members belong to another environment.

        :raises AzaError: it would begin with passwords and an authority that the others do not know.
        """
        others = {
            name: record
            for name, record in members.environments(task_vars, cluster, host).items()
            if record["environment"] != self.identity
        }
        if others:
            raise AzaError(
                f"{host}: the other members of {cluster} ({', '.join(others)}) belong to an environment whose secrets "
                f"are not in {self.directory or 'this inventory'}. Copy the directory secrets of that environment, or "
                f"take all members over: -e take_over={cluster}. Nothing was changed.",
                reason=ownership.MISSING if self.fresh else ownership.FOREIGN,
            )
