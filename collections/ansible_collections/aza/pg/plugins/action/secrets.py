# SPDX-License-Identifier: Apache-2.0
"""The secrets on the control node: which there are, new values for them, and those that nothing uses."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible_collections.aza.pg.plugins.module_utils.errors import AzaError, did_you_mean
from ansible_collections.aza.pg.plugins.modules import secrets as documentation
from ansible_collections.aza.pg.plugins.plugin_utils import secret_list
from ansible_collections.aza.pg.plugins.plugin_utils.control_secrets import ROLES, SecretStore
from ansible_collections.aza.pg.plugins.plugin_utils.instance_action import InstanceAction
from ansible_collections.aza.pg.plugins.plugin_utils.instance_arguments import arguments
from ansible_collections.aza.pg.plugins.plugin_utils.instance_variables import collect

ARGUMENTS = arguments(documentation.DOCUMENTATION)


class ActionModule(InstanceAction):
    _requires_connection = False

    def perform(self) -> dict[str, Any]:
        _, given = self.validate_argument_spec(argument_spec=ARGUMENTS)
        variables = collect(self.task_vars, self.templar, given["variables"])
        given = {**json.loads(json.dumps(given, default=str)), "cluster": variables["postgres_cluster"]}
        store = SecretStore(self.task_vars.get("inventory_dir"), given["cluster"], self.check_mode)
        entries = secret_list.entries(store, variables)
        others = self._abandoned(store.root) if self._first_of(self._hosts()) else {}
        self._know(given, entries, others)
        rotating = [entry.name for entry in entries if secret_list.asked_for(entry, given["rotate"])]
        for name in rotating:
            store.renew(name)
        removed = self._remove(given, store, entries, others)
        if self._first_of(self._hosts(given["cluster"])):
            for line in secret_list.lines(store, entries, set(removed), set(rotating)):
                self.say(line)
            for cluster, names in others.items():
                self.say(secret_list.abandoned_line(store.root / cluster, names, given["remove_unused"]))
        return {
            "changed": bool(rotating or removed),
            "secrets": [entry.to_dict() for entry in entries if entry.name not in removed],
            "rotating": rotating,
            "removed": removed,
        }

    def _know(
        self, given: Mapping[str, Any], entries: list[secret_list.Entry], others: Mapping[str, Any]
    ) -> None:
        """Refuse what names nothing, before anything is done. Other hosts may have what this one has not."""
        wanted, clusters = given["rotate"], {str(name) for name in self._clusters().values()}
        if wanted and not any(secret_list.asked_for(entry, wanted) for entry in entries):
            inventory = [entry for entry in entries if entry.given and wanted in entry.names]
            if inventory:
                raise AzaError(
                    f"rotate: {wanted} of {given['cluster']} is given by the inventory; change it there "
                    "(ansible-vault edit), then deploy. Nothing was changed.",
                    reason="given_by_inventory",
                )
            if len(set(self._clusters().values())) == 1 and wanted != "all":
                known = [entry.name.removeprefix(ROLES) for entry in entries if entry.used_by]
                raise AzaError(
                    f"rotate: {given['cluster']} has no secret '{wanted}'{did_you_mean(wanted, known)} It has "
                    f"{', '.join(known)}. Nothing was changed.",
                    reason="unknown_secret",
                )
        unused = given["remove_unused"]
        if unused and self._first_of(self._hosts()) and unused not in clusters | set(others):
            raise AzaError(
                f"remove_unused: there is no cluster '{unused}'{did_you_mean(unused, clusters | set(others))} Give the "
                "name of the cluster whose unused secrets to remove. Nothing was removed.",
                reason="not_confirmed",
            )

    def _remove(
        self,
        given: Mapping[str, Any],
        store: SecretStore,
        entries: list[secret_list.Entry],
        others: Mapping[str, list[str]],
    ) -> list[str]:
        unused = given["remove_unused"]
        if unused == given["cluster"]:
            names = [entry.name for entry in entries if entry.there and not entry.used_by]
            for name in names:
                store.remove(name)
            return names
        if unused in others:
            other = SecretStore(self.task_vars.get("inventory_dir"), unused, self.check_mode)
            for name in others[unused]:
                other.remove(name)
            other.forget_pgpass()
            return [f"{unused}/{name}" for name in others[unused]]
        return []

    # -- which host speaks for which cluster -----------------------------------------------------------

    def _clusters(self) -> dict[str, Any]:
        """Host → its cluster, for all hosts of the inventory."""
        known = self.task_vars["hostvars"]
        return {
            str(host): known[host]["postgres_cluster"]
            for host in known
            if known[host].get("postgres_cluster")
        }

    def _hosts(self, cluster: str = "") -> list[str]:
        clusters = self._clusters()
        return [
            str(host)
            for host in self.task_vars["ansible_play_hosts_all"]
            if host in clusters and cluster in ("", clusters[host])
        ]

    def _first_of(self, hosts: list[str]) -> bool:
        return hosts[:1] == [self.host]

    def _abandoned(self, root: Path) -> dict[str, list[str]]:
        """Clusters that no host of the inventory has, and whose secrets are there still."""
        known = set(self._clusters().values())
        found = {}
        for path in sorted(root.glob("[!.]*")):
            if path.is_dir() and path.name not in known:
                names = SecretStore(self.task_vars.get("inventory_dir"), path.name, dry=True).names()
                if names:
                    found[path.name] = list(names)
        return found
