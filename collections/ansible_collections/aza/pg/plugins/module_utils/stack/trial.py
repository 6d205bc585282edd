# SPDX-License-Identifier: Apache-2.0
"""Let the image's own server read the settings before anybody else does.

A container that lives for half a second, without network, without data: what PostgreSQL refuses there, in its
own words, would have kept the real one from starting.
"""

from __future__ import annotations

import re

from ansible_collections.aza.pg.plugins.module_utils.errors import AzaError, did_you_mean
from ansible_collections.aza.pg.plugins.module_utils.stack import settings as pg
from ansible_collections.aza.pg.plugins.module_utils.stack.docker import Docker
from ansible_collections.aza.pg.plugins.module_utils.stack.model import Desired

# -C prints one setting and ends; before that the server reads and checks the whole file.
_TRY = (
    "cat >/tmp/try.conf; unset PGDATA; exec postgres -c config_file=/tmp/try.conf -c data_directory=/tmp "
    "-c hba_file=/dev/null -c ident_file=/dev/null -C data_directory"
)
_SAID = re.compile(r"(?:LOG|ERROR|FATAL|HINT|DETAIL):\s+(.*)")
_NOISE = ("skipping missing configuration file", "contains errors")
_UNKNOWN = re.compile(r'unrecognized configuration parameter "([^"]+)".*')


def check_settings(wanted: Desired, docker: Docker) -> None:
    if not wanted.settings:
        return
    done = docker.run(
        *_container(wanted, "--interactive", "--tmpfs", "/tmp"), "-c", _TRY,
        stdin=pg.render(wanted.settings),
        check=False,
        timeout=60,
    )  # fmt: skip
    if done.returncode == 0:
        return
    said = [
        found.group(1).rstrip(".")
        for line in done.stderr.splitlines()
        if (found := _SAID.search(line)) and not any(noise in line for noise in _NOISE)
    ]
    if not said:
        raise docker.error(("run", wanted.image["pinned"]), done)
    if any(_UNKNOWN.match(line) for line in said):
        known = _known_settings(wanted, docker)
        said = [
            _UNKNOWN.sub(lambda m: f"there is no setting '{m[1]}'{did_you_mean(m[1], known)}", x)
            for x in said
        ]
    where = f" ({wanted.origin('postgres_settings')})" if wanted.origin("postgres_settings") else ""
    raise AzaError(
        f"postgres_settings{where}: PostgreSQL refuses them: {'; '.join(said)}. Nothing was changed.",
        reason="bad_setting",
        problems=said,
    )


def _container(wanted: Desired, *options: str) -> list[str]:
    isolated = [
        "--network",
        "none",
        "--read-only",
        "--cap-drop",
        "ALL",
        "--user",
        f"{wanted.uid}:{wanted.gid}",
    ]
    return ["run", "--rm", *isolated, *options, "--entrypoint", "/bin/sh", wanted.image["pinned"]]


def _known_settings(wanted: Desired, docker: Docker) -> list[str]:
    done = docker.run(*_container(wanted), "-c", "exec postgres --describe-config", check=False, timeout=60)
    return [line.split("\t", 1)[0] for line in done.stdout.splitlines()]
