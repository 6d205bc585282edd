# SPDX-License-Identifier: Apache-2.0
"""Tell whether a host is deployed before its cluster's primary, as it, or after it."""

from __future__ import annotations

DOCUMENTATION = r"""
name: deploy_order
author: aza-pg maintainers (@aza-pg)
version_added: 0.1.0
short_description: Whether a host is deployed before its cluster's primary, as it, or after it
description:
  - Needs the facts that M(aza.pg.instance_host) returned for the members. The tasks C(look) of the role
    C(instance) register them as C(instance_host). Who writes is asked from the servers, not from the inventory.
  - C(writes) is a single server or the primary. C(grows) is a replica whose declared V(max_connections), or another
    value that a replica may not have less of than its primary, is more than it runs with, when this run may restart it.
    C(follows) is every other replica.
options: {}
"""

EXAMPLES = r"""
- name: Group the members by their place in the deploy order
  ansible.builtin.group_by:
    key: "instance_{{ lookup('aza.pg.deploy_order') }}"
"""

RETURN = r"""
_raw:
  description: One of C(writes), C(grows) and C(follows).
  type: list
  elements: str
"""

from typing import Any

from ansible.errors import AnsibleLookupError
from ansible.plugins.lookup import LookupBase
from ansible_collections.aza.pg.plugins.module_utils.errors import AzaError
from ansible_collections.aza.pg.plugins.plugin_utils import cluster


class LookupModule(LookupBase):
    def run(self, terms: list[str], variables: dict[str, Any] | None = None, **kwargs: Any) -> list[str]:
        self.set_options(var_options=variables, direct=kwargs)
        found = variables or {}
        try:
            return [cluster.deploy_order(found, str(found["inventory_hostname"]))]
        except AzaError as error:
            raise AnsibleLookupError(error.msg) from error
