# SPDX-License-Identifier: Apache-2.0
"""Give the record of an image that was built here."""

from __future__ import annotations

DOCUMENTATION = r"""
name: image
author: aza-pg maintainers (@aza-pg)
version_added: 0.1.0
short_description: The record of an image that was built here
description:
  - Reads what M(aza.pg.image_build) noted last. Fails, and says how to build, when there is nothing.
options:
  _terms:
    description: Names of images.
    required: true
    type: list
    elements: str
  dist_dir:
    description:
      - Directory of the record. By default C(dist) below the directory that P(aza.pg.project#lookup) calls V(cache).
    type: path
    vars:
      - name: image_dist_dir
  major:
    description: PostgreSQL major that an image of the server must have. V(0) accepts any.
    type: int
    default: 0
    vars:
      - name: image_major
"""

EXAMPLES = r"""
- name: Which image runs PostgreSQL
  ansible.builtin.debug:
    msg: "{{ lookup('aza.pg.image', 'postgres').reference }}"
"""

RETURN = r"""
_raw:
  description: One record an image, as P(aza.pg.image_build#module) returns it.
  type: list
  elements: dict
"""

from pathlib import Path
from typing import Any

from ansible.errors import AnsibleLookupError
from ansible.plugins.lookup import LookupBase
from ansible_collections.aza.pg.plugins.module_utils.errors import AzaError
from ansible_collections.aza.pg.plugins.module_utils.image import records
from ansible_collections.aza.pg.plugins.plugin_utils import project


class LookupModule(LookupBase):
    def run(
        self, terms: list[str], variables: dict[str, Any] | None = None, **kwargs: Any
    ) -> list[dict[str, Any]]:
        self.set_options(var_options=variables, direct=kwargs)
        given = self.get_option("dist_dir")
        dist_dir = Path(given) if given else project.find().cache / "dist"
        try:
            return [records.find(dist_dir, str(term), self.get_option("major")) for term in terms]
        except AzaError as error:
            raise AnsibleLookupError(error.msg) from error
