# SPDX-License-Identifier: Apache-2.0
"""Which secrets a host gets: those of its files, and those of the roles that its server holds."""

from __future__ import annotations

from collections.abc import Sequence

from ansible_collections.aza.pg.plugins.module_utils.instance.observe import PREVIOUS
from ansible_collections.aza.pg.plugins.module_utils.model.desired import Desired
from ansible_collections.aza.pg.plugins.module_utils.objects import roles
from ansible_collections.aza.pg.plugins.module_utils.replication import topology as replication
from ansible_collections.aza.pg.plugins.module_utils.services import registry
from ansible_collections.aza.pg.plugins.module_utils.services.base import Service
from ansible_collections.aza.pg.plugins.module_utils.tls import certificate as tls
from ansible_collections.aza.pg.plugins.plugin_utils.certificates import Bundle
from ansible_collections.aza.pg.plugins.plugin_utils.control_secrets import (
    ADMINISTRATOR,
    ROLES,
    InstanceSecrets,
    pgpass_escape,
)


def names(wanted: Desired) -> list[str]:
    """Return the secrets that the host needs. A standby's roles come from its primary, so it needs none of theirs."""
    composed = {
        tls.SECRET,
        replication.PASSFILE,
        *(name for item in _services(wanted) for name in item.composed),
    }
    files = [item.secret for item in wanted.files if item.secret and item.secret not in composed]
    declared = [] if wanted.standby else [f"{ROLES}{name}" for name in roles.with_password(wanted)]
    return list(dict.fromkeys([ADMINISTRATOR, *files, *declared]))


def values(
    only: Sequence[str], wanted: Desired, secrets: InstanceSecrets, bundle: Bundle | None
) -> dict[str, str]:
    """Return each with its value. A run for a part of the changes (``only``) makes none that is not kept yet."""

    def may(*needed: str) -> bool:
        return not only or all(map(secrets.has, needed))

    found = {name: secrets.get(name) for name in names(wanted) if may(name)}
    # During a rotation the host may still have the old value, which shows that it belongs to this control node.
    found |= {f"{PREVIOUS}{name}": old for name in list(found) if (old := secrets.previous(name))}
    if bundle:
        found[tls.SECRET] = bundle.pem
    if wanted.standby and may(replication.PASSWORD):
        password = pgpass_escape(secrets.get(replication.PASSWORD))
        found[replication.PASSFILE] = f"*:*:*:{replication.REPLICATOR}:{password}\n"
    for item in _services(wanted):
        needed = {name for parts in item.composed.values() for name in parts}
        if needed and may(*needed):
            found |= item.compose_secrets({name: secrets.get(name) for name in needed})
    return found


def _services(wanted: Desired) -> list[Service]:
    return [registry.service(spec.name) for spec in wanted.services]
