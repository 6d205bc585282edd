# SPDX-License-Identifier: Apache-2.0
"""What each run of our playbooks loads after Ansible itself: to be imported once, by what runs are forked from."""

from __future__ import annotations

import gc
import warnings
from importlib import import_module

from ansible.plugins.loader import init_plugin_loader

init_plugin_loader()
# A run does it once more, which changes nothing, and would say so.
warnings.filterwarnings("ignore", "AnsibleCollectionFinder has already been configured")

for name in (
    "ansible.plugins.action.normal",
    "ansible.plugins.callback.default",
    "ansible.plugins.connection.local",
    "ansible.plugins.filter.core",
    "ansible.plugins.shell.sh",
    "ansible.plugins.strategy.linear",
    # By Ansible's own loader: this one reads the table of all that it ever renamed.
    "ansible_collections.ansible.builtin",
    "ansible_collections.aza.pg.plugins.action.inventory_validate",
    "ansible_collections.aza.pg.plugins.action.instance",
):
    import_module(name)

# All of this stays: no run need look through it for garbage, and copy its memory as it does.
gc.freeze()
