# SPDX-License-Identifier: Apache-2.0
"""Replace the environment's authority in two steps; what is on the hosts follows in the playbook."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ansible.module_utils.parsing.convert_bool import boolean
from ansible_collections.aza.pg.plugins.module_utils.errors import AzaError
from ansible_collections.aza.pg.plugins.modules import authority as documentation
from ansible_collections.aza.pg.plugins.plugin_utils import authority, certificates, cluster
from ansible_collections.aza.pg.plugins.plugin_utils.control_secrets import SecretStore
from ansible_collections.aza.pg.plugins.plugin_utils.instance_action import InstanceAction
from ansible_collections.aza.pg.plugins.plugin_utils.instance_arguments import arguments

ARGUMENTS = arguments(documentation.DOCUMENTATION)


class ActionModule(InstanceAction):
    _requires_connection = False

    def perform(self) -> dict[str, Any]:
        _, given = self.validate_argument_spec(argument_spec=ARGUMENTS)
        root = SecretStore(self.task_vars.get("inventory_dir"), "", self.check_mode).root
        rotation = authority.Rotation(root, certificates.now())
        before, step = rotation.stage, given["step"]
        if step == "begin" and before != authority.BEGUN:
            rotation.begin(dry=self.check_mode)
        elif step == "switch":
            self._may_switch(rotation)
            if not self.check_mode:
                rotation.switch()
        elif step == "finish" and before == authority.SWITCHED and self._may_finish() and not self.check_mode:
            rotation.finish()
        predicted = (step, before) in (("begin", authority.ALONE), ("switch", authority.BEGUN))
        changed = predicted if self.check_mode else rotation.stage != before
        return {"changed": changed, "stage": rotation.stage}

    def _may_switch(self, rotation: authority.Rotation) -> None:
        """:raises AzaError: none was begun, or a member could not verify its signatures."""
        if rotation.stage == authority.ALONE:
            raise AzaError(
                "No rotation of the authority is in progress. Begin one: ansible-playbook playbooks/certificates.yml "
                "-e authority=begin. Nothing was changed.",
                reason="no_rotation",
            )
        wanted = rotation.next_fingerprint
        without = [
            host
            for host in self._ours()
            if self._hosts[host].get("postgres_stack", "single") != "single"
            and wanted not in cluster.trusts(self.task_vars, host)
        ]
        if rotation.stage == authority.BEGUN and without and not rotation.expired:
            raise AzaError(
                f"{', '.join(without)}: unreachable, or without the new authority among those that are trusted; "
                "replicas could not reconnect. Deploy it to all members first: ansible-playbook "
                "playbooks/certificates.yml -e authority=begin. Nothing was changed.",
                reason="authority_not_trusted",
                hosts=without,
            )

    def _may_finish(self) -> bool:
        """Whether this run has brought a certificate of the new authority to every server."""
        missing = [
            host
            for host in self._ours()
            if host not in self.task_vars["ansible_play_hosts"]
            or not (self._hosts[host].get("instance_result") or {}).get("certificate")
        ]
        if missing:
            self.say(
                f"the old authority stays trusted, because {', '.join(missing)} can still use a certificate that "
                "it signed: run "
                "this again for all hosts"
            )
        return not missing

    @property
    def _hosts(self) -> Mapping[str, Any]:
        hosts: Mapping[str, Any] = self.task_vars["hostvars"]
        return hosts

    def _ours(self) -> Iterator[str]:
        """Hosts whose certificate comes from the environment's own authority."""
        for host in self._hosts:
            values = self._hosts[host]
            own = values.get("postgres_tls_certificate") or values.get("postgres_tls_ca_certificate")
            if values.get("postgres_cluster") and boolean(values.get("postgres_tls", True)) and not own:
                yield str(host)
