# SPDX-License-Identifier: Apache-2.0
"""From the engine and the machine that are there to the steps that are missing. Pure.

An engine that runs and suffices is used as it is. Configuration is ours to write only where we install the engine
and find none, or as configured.
"""

from __future__ import annotations

from ansible_collections.aza.pg.plugins.module_utils.docker_engine.model import (
    Engine,
    Machine,
    Step,
    Wanted,
    merge,
    version_key,
)
from ansible_collections.aza.pg.plugins.module_utils.errors import AzaError

# The packages that make an engine with Compose v2 and buildx, by family of distribution.
DISTRIBUTIONS = {
    "debian": ("docker.io", "docker-cli", "docker-buildx", "docker-compose", "iptables"),
    "ubuntu": ("docker.io", "docker-buildx", "docker-compose-v2", "iptables"),
}
# Releases whose own packages do not suffice (no Compose v2, an engine of 2021), the later suite whose packages run
# there, and those of them that come from it. runc stays the release's own: the later one needs a newer libc.
LATER_SUITES = {"bookworm": "forky"}
FROM_LATER_SUITE = ("docker.io", "docker-cli", "docker-buildx", "docker-compose", "containerd", "tini-static")
TOO_OLD = ("buster", "bullseye", "bionic", "focal")

NEEDED = "a Docker Engine {minimum} or newer with Compose v2 and buildx is needed"


def shortcomings(engine: Engine, minimum: str) -> list[str]:
    """Why an engine does not do; empty when it does."""
    if engine.server is None:
        return ["none answers"]
    result = []
    if version_key(engine.server) < version_key(minimum):
        result.append(f"the one that runs is {engine.server}")
    if not engine.compose or version_key(engine.compose) < (2,):
        result.append("it has no Compose v2")
    if not engine.buildx:
        result.append("it has no buildx")
    return result


def plan(wanted: Wanted, engine: Engine, machine: Machine) -> list[Step]:
    """The steps, in order; AzaError where there is no way."""
    lacks = shortcomings(engine, wanted.minimum_version)
    extra = machine.missing_packages if machine.root and machine.family else ()
    config = merge(machine.config or {}, wanted.config)
    changed = config != (machine.config or {})
    configure = Step("configure", "write /etc/docker/daemon.json") if changed else None

    if lacks and engine.server is None and machine.daemon and engine.compose and engine.buildx:
        _refuse_unless_ours(wanted, engine, machine, lacks, "start it")
        steps = [configure] if configure and wanted.manage_config else []
        steps.append(Step("start", "start the Docker Engine that is installed"))
    elif lacks:
        if engine.server is not None and not wanted.upgrade:
            raise _insufficient(wanted, engine, lacks)
        _refuse_unless_ours(wanted, engine, machine, lacks, "install it")
        packages: tuple[str, ...] = DISTRIBUTIONS[machine.family]
        suite = LATER_SUITES.get(machine.codename, "")
        # Before the packages: theirs is the first start, so it needs no second one.
        steps = [configure] if configure and (wanted.manage_config or machine.config is None) else []
        origin = f" (the engine from suite {suite})" if suite else ""
        packages = (*packages, *extra)
        steps.append(Step("install", f"install {', '.join(packages)}{origin}", packages))
        steps.append(Step("start", "start the Docker Engine"))
        return steps
    elif configure and wanted.manage_config:
        _refuse_unless_ours(wanted, engine, machine, lacks, "write /etc/docker/daemon.json and restart it")
        steps = [configure, Step("restart", "restart the Docker Engine (its containers stop)")]
    else:
        steps = []
    if extra:
        steps.append(Step("install", f"install {', '.join(extra)}", extra))
    return steps


def _insufficient(wanted: Wanted, engine: Engine, lacks: list[str]) -> AzaError:
    return AzaError(
        f"{NEEDED.format(minimum=wanted.minimum_version)}, and {' and '.join(lacks)}; upgrade it, or let the toolkit "
        "do it from the distribution with docker_engine_upgrade: true (running containers restart)",
        reason="engine_insufficient",
        server=engine.server,
    )


def _refuse_unless_ours(
    wanted: Wanted, engine: Engine, machine: Machine, lacks: list[str], verb: str
) -> None:
    """One sentence where the machine's engine is not ours to change, or we cannot."""
    needed = NEEDED.format(minimum=wanted.minimum_version)
    if not engine.local:
        raise AzaError(
            f"{needed}, and the one at {engine.endpoint} (DOCKER_HOST or the docker context) does not meet them: "
            f"{engine.error or ' and '.join(lacks)}; start or upgrade it there, or unset it to use this machine's own",
            reason="engine_remote",
        )
    if "permission denied" in engine.error.lower():
        raise AzaError(
            "a Docker Engine runs here and this user may not use it; as root: usermod -aG docker USER, then log in "
            "again, or run as root",
            reason="engine_permission",
        )
    if not machine.root:
        raise AzaError(
            f"{needed}, and {' and '.join(lacks)}; root is needed to {verb}: run this once as root, or have an engine "
            "installed and your user added to its group docker (a rootless engine with DOCKER_HOST set does as well)",
            reason="engine_needs_root",
        )
    if verb != "install it":
        return
    if machine.foreign:
        raise AzaError(
            f"{needed}, and {' and '.join(lacks)}; this machine's Docker packages are not its distribution's: upgrade "
            "or repair them from where they came from (docker-ce with docker-compose-plugin and docker-buildx-plugin)",
            reason="engine_foreign",
        )
    if not machine.family or machine.codename in TOO_OLD:
        raise AzaError(
            f"{needed}, and {' and '.join(lacks)}; the toolkit installs one on Debian 12, Ubuntu 22.04 and newer, and "
            f"this is {machine.name}: install one from its own packages first",
            reason="engine_unsupported_platform",
        )
