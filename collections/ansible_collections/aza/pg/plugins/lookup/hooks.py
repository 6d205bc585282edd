# SPDX-License-Identifier: Apache-2.0
"""Give the task files of a hook point."""

from __future__ import annotations

DOCUMENTATION = r"""
name: hooks
author: aza-pg maintainers (@aza-pg)
version_added: 0.1.0
short_description: The user's task files of a hook point
description:
  - Returns the absolute paths of the task files that O(postgres_hooks) names for a point, in their order. A relative
    path starts at the directory of the inventory.
options:
  _terms:
    description: Names of points, keys of O(postgres_hooks).
    required: true
    type: list
    elements: str
  postgres_hooks:
    description: The task files of each point. The default is the variable of this name.
    type: dict
    default: {}
    vars:
      - name: postgres_hooks
"""

EXAMPLES = r"""
- name: Show what runs after a deploy
  ansible.builtin.debug:
    msg: "{{ lookup('aza.pg.hooks', 'after_deploy', wantlist=True) }}"
"""

RETURN = r"""
_raw:
  description: Absolute paths.
  type: list
  elements: str
"""

from typing import Any

from ansible.plugins.lookup import LookupBase
from ansible_collections.aza.pg.plugins.plugin_utils.hooks import files


class LookupModule(LookupBase):
    def run(self, terms: list[str], variables: dict[str, Any] | None = None, **kwargs: Any) -> list[str]:
        self.set_options(var_options=variables, direct=kwargs)
        directory = str((variables or {}).get("inventory_dir") or "")
        given = self.get_option("postgres_hooks")
        hooks = self._templar.template(given) if self._templar else given
        return [path for point in terms for path in files(hooks, str(point), directory)]
