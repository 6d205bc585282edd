# SPDX-License-Identifier: Apache-2.0
"""Where an instance lies on its host: its directory, and the link to its socket that outlives a restart of the host."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ansible_collections.aza.pg.plugins.module_utils.errors import AzaError
from ansible_collections.aza.pg.plugins.module_utils.model.desired import Desired
from ansible_collections.aza.pg.plugins.module_utils.model.observed import Observed
from ansible_collections.aza.pg.plugins.module_utils.planning.change import Change

# Compose tells with this label from which directory it has made a container.
WORKING_DIRECTORY = "com.docker.compose.project.working_dir"
KIND = "link"


def elsewhere(labels: Mapping[str, str], directory: Path) -> str:
    """Return the directory that a container was made from, if that is not the instance's."""
    made_from = labels.get(WORKING_DIRECTORY, "")
    return made_from if made_from and os.path.realpath(made_from) != os.path.realpath(directory) else ""


def refuse(wanted: Desired, found: Observed) -> None:
    """Refuse an instance whose containers use the files of another directory.

    :raises AzaError: ``postgres_base_dir`` was changed after the deploy.
    """
    others = {str(state["elsewhere"]) for state in found.containers.values() if state.get("elsewhere")}
    if not others:
        return
    old = sorted(others)[0]
    raise AzaError(
        f"{wanted.instance}: postgres_base_dir is {wanted.base_dir}, and the instance was deployed to "
        f"{Path(old).parent}: its containers use the files in {old}. Set postgres_base_dir back. To move the "
        f"instance, run remove.yml with the old value (-e confirm={wanted.cluster}; the data stays), then change the "
        "value and deploy. Nothing was changed.",
        reason="moved",
        directory=old,
    )


def rule_of(instance: str) -> Path:
    """Return the rule by which systemd makes the link again when the host starts."""
    return Path("/etc/tmpfiles.d") / f"aza-pg-{instance}.conf"


def rule(wanted: Desired) -> str:
    return f"L+ {wanted.socket_link} - - - - {wanted.socket_dir}\n"


def rule_missing(wanted: Desired, host: Mapping[str, Any]) -> bool:
    """Whether nothing makes the link again, although something could."""
    path = rule_of(wanted.instance)
    if not wanted.socket_link or not host.get("systemd") or not path.parent.is_dir():
        return False
    try:
        return path.read_text(encoding="utf-8") != rule(wanted)
    except OSError:
        return True


def changes(wanted: Desired, found: Observed) -> Iterator[Change]:
    """Plan the link in /run. It is a convenience for people who type psql: nothing that runs uses it."""
    if not wanted.socket_link:
        return
    wrong = found.socket_link != wanted.socket_dir
    if not wrong and not found.rule_missing:
        return
    lost = found.socket_link is None and bool(found.containers)
    why = "/run was emptied when the host started" if lost else ""
    if not wrong:
        why = "nothing recreates it when the host starts"
    yield Change(
        KIND,
        wanted.socket_link,
        "create",
        before=found.socket_link or "",
        after=wanted.socket_dir,
        why=why,
        # One that leads elsewhere deceives people; one that is missing does not.
        severity="" if found.socket_link and wrong else "yellow",
    )
