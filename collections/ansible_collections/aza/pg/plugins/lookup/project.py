# SPDX-License-Identifier: Apache-2.0
"""Give directories of the control node."""

from __future__ import annotations

DOCUMENTATION = r"""
name: project
author: aza-pg maintainers (@aza-pg)
version_added: 0.1.0
short_description: Directories of the control node
description:
  - Returns where the data of the image is and where files are written. In a checkout of the repository, both are the
    checkout. For an installed collection, the data is that of the collection, and files are written below the
    directory in which C(ansible-playbook) was started.
options:
  _terms:
    description:
      - V(image) is the directory of catalogue, locks and templates, V(build) that of the build context, V(cache) that
        of what can be made again.
    required: true
    type: list
    elements: str
    choices: [image, build, cache]
  image_dir:
    description: Absolute path of the image data, if it is not that of the collection. V(build) depends on it.
    type: str
    default: ""
"""

EXAMPLES = r"""
- name: Show where the archives of the images are
  ansible.builtin.debug:
    msg: "{{ lookup('aza.pg.project', 'cache') }}/dist"
"""

RETURN = r"""
_raw:
  description: One path a term.
  type: list
  elements: str
"""

from typing import Any

from ansible.errors import AnsibleLookupError
from ansible.plugins.lookup import LookupBase
from ansible_collections.aza.pg.plugins.plugin_utils import project


class LookupModule(LookupBase):
    def run(self, terms: list[str], variables: dict[str, Any] | None = None, **kwargs: Any) -> list[str]:
        self.set_options(var_options=variables, direct=kwargs)
        found = project.find(self.get_option("image_dir"))
        paths = {"image": found.image, "build": found.build, "cache": found.cache}
        if unknown := [term for term in terms if term not in paths]:
            raise AnsibleLookupError(f"{unknown[0]}: unknown directory. Valid names: {', '.join(paths)}.")
        return [str(paths[term]) for term in terms]
