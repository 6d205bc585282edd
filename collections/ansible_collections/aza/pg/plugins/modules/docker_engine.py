#!/usr/bin/python
# SPDX-License-Identifier: Apache-2.0
"""Make sure that a Docker Engine with Compose v2 and buildx runs."""

from __future__ import annotations

DOCUMENTATION = r"""
module: docker_engine
short_description: Make sure that a Docker Engine with Compose v2 and buildx runs
version_added: 0.1.0
description:
  - Uses the engine that runs, when it suffices; its configuration is left alone.
  - On Debian and Ubuntu installs the distribution's own where there is none. On Debian 12, which has no Compose v2,
    the engine's packages come from a later suite of the archive that the machine's apt is configured for, pinned so
    that nothing else comes from it.
  - Starts it under systemd, or directly where there is no init system (log in C(/var/log/dockerd.log)).
options:
  minimum_version:
    description: The oldest engine that is used as it is.
    type: str
    default: "24.0"
  packages:
    description:
      - Further packages of the distribution that the machine is to have.
      - Left out, and reported in RV(missing_packages), where they cannot be installed (no root, no apt).
    type: list
    elements: str
    default: []
  upgrade:
    description: Replace an engine of the distribution that does not suffice. Its running containers restart.
    type: bool
    default: false
  config:
    description: What C(/etc/docker/daemon.json) has to say; merged over what it says already.
    type: dict
    default:
      features:
        containerd-snapshotter: true
      log-driver: json-file
      log-opts:
        max-size: 10m
        max-file: "3"
  manage_config:
    description:
      - Write O(config) also where the engine is not ours, and restart the engine when that changes the file.
      - Otherwise the file is written only at installation, and only if there is none.
    type: bool
    default: false
  start_timeout:
    description: Seconds that the engine has for starting or stopping.
    type: int
    default: 60
attributes:
  check_mode:
    support: full
    description: Says the steps, and takes none.
  diff_mode:
    support: full
    description: The steps are the difference.
author:
  - aza-pg maintainers (@aza-pg)
"""

EXAMPLES = r"""
- name: A Docker Engine runs here
  aza.pg.docker_engine:
    packages: [mmdebstrap]
    config:
      features: {containerd-snapshotter: true}
"""

RETURN = r"""
engine:
  description: The engine as it is in the end (in check mode, as it is now).
  returned: success
  type: dict
  sample: {client: 28.5.2, server: 28.5.2+dfsg4, compose: 2.40.3-3, buildx: 0.29.1, containerd_store: true}
steps:
  description: What was done, or in check mode would be.
  returned: success
  type: list
  elements: str
missing_packages:
  description: Packages of O(packages) that are not there and could not be installed.
  returned: success
  type: list
  elements: str
"""

from dataclasses import asdict

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.aza.pg.plugins.module_utils.docker_engine import host
from ansible_collections.aza.pg.plugins.module_utils.docker_engine.model import Wanted, merge
from ansible_collections.aza.pg.plugins.module_utils.docker_engine.plan import plan, shortcomings
from ansible_collections.aza.pg.plugins.module_utils.errors import AzaError

# Multi-platform images need the containerd image store, and a container that logs without end must not fill the disk.
CONFIG = {
    "features": {"containerd-snapshotter": True},
    "log-driver": "json-file",
    "log-opts": {"max-size": "10m", "max-file": "3"},
}


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "minimum_version": {"type": "str", "default": "24.0"},
            "packages": {"type": "list", "elements": "str", "default": []},
            "upgrade": {"type": "bool", "default": False},
            "config": {"type": "dict", "default": CONFIG},
            "manage_config": {"type": "bool", "default": False},
            "start_timeout": {"type": "int", "default": 60},
        },
        supports_check_mode=True,
    )
    options = module.params
    wanted = Wanted(
        minimum_version=options["minimum_version"],
        packages=tuple(options["packages"]),
        upgrade=options["upgrade"],
        manage_config=options["manage_config"],
        config=options["config"],
    )
    done: list[str] = []
    try:
        engine, machine = host.observe_engine(), host.observe_machine(wanted.packages)
        steps = plan(wanted, engine, machine)
        if steps and not module.check_mode:
            applier = host.Applier(
                machine, merge(machine.config or {}, wanted.config), options["start_timeout"], module.warn
            )
            for step in steps:
                applier.apply(step)
                done.append(step.what)
            engine, machine = host.observe_engine(), host.observe_machine(wanted.packages)
            lacks = shortcomings(engine, wanted.minimum_version)
            if lacks:
                raise AzaError(
                    f"the Docker Engine still does not do ({' and '.join(lacks)}) after: {'; '.join(done)}. "
                    f"{engine.error}",
                    reason="engine_insufficient",
                )
    except AzaError as err:
        module.fail_json(msg=err.msg, reason=err.reason, steps=done, changed=bool(done), **err.details)
    module.exit_json(
        changed=bool(steps),
        engine=asdict(engine),
        steps=[step.what for step in steps],
        missing_packages=list(machine.missing_packages),
        diff={"prepared": "".join(f"+ {step.what}\n" for step in steps)},
    )


if __name__ == "__main__":
    main()
