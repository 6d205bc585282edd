# SPDX-License-Identifier: Apache-2.0
"""Which secrets a host gets: those of its files, and those of the roles that its server holds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.aza.pg.plugins.module_utils.instance.observe import PREVIOUS
from ansible_collections.aza.pg.plugins.module_utils.model.desired import Desired
from ansible_collections.aza.pg.plugins.module_utils.objects import roles
from ansible_collections.aza.pg.plugins.module_utils.replication import topology as replication
from ansible_collections.aza.pg.plugins.module_utils.services.pgbouncer import service as pgbouncer
from ansible_collections.aza.pg.plugins.module_utils.services.pgbouncer_exporter import USERLIST as STATS_USER
from ansible_collections.aza.pg.plugins.module_utils.tls import certificate as tls
from ansible_collections.aza.pg.plugins.plugin_utils.certificates import Bundle
from ansible_collections.aza.pg.plugins.plugin_utils.control_secrets import (
    ADMINISTRATOR,
    ROLES,
    InstanceSecrets,
    pgpass_escape,
)


def names(wanted: Desired) -> list[str]:
    """What the host has to know. A standby's roles come from its primary: it needs the secrets of its files alone."""
    composed = (tls.SECRET, replication.PASSFILE, pgbouncer.SECRET)
    files = [item.secret for item in wanted.files if item.secret and item.secret not in composed]
    declared = [] if wanted.standby else [f"{ROLES}{name}" for name in roles.with_password(wanted)]
    return list(dict.fromkeys([ADMINISTRATOR, *files, *declared]))


def values(
    given: Mapping[str, Any], wanted: Desired, secrets: InstanceSecrets, bundle: Bundle | None
) -> dict[str, str]:
    """Return each with its value. A run for a part of the changes (``only``) makes none that is not kept yet."""

    def may(*needed: str) -> bool:
        return not given["only"] or all(map(secrets.has, needed))

    found = {name: secrets.get(name) for name in names(wanted) if may(name)}
    # While a rotation goes on, the host may have the old value still, and show with it whose it is.
    found |= {f"{PREVIOUS}{name}": old for name in list(found) if (old := secrets.previous(name))}
    if bundle:
        found[tls.SECRET] = bundle.pem
    if wanted.standby and may(replication.PASSWORD):
        password = pgpass_escape(secrets.get(replication.PASSWORD))
        found[replication.PASSFILE] = f"*:*:*:{replication.REPLICATOR}:{password}\n"
    if given["pgbouncer"] and may(*pgbouncer.PASSWORDS):
        known = {name.removeprefix(ROLES): secrets.get(name) for name in pgbouncer.PASSWORDS}
        found[pgbouncer.SECRET] = f"{pgbouncer.userlist(known)}{STATS_USER}\n"
    return found
