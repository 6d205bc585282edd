# SPDX-License-Identifier: Apache-2.0
"""The kinds of objects that a PostgreSQL server holds. A new kind is a module here and a line in ``KINDS``."""

from __future__ import annotations

from ansible_collections.aza.pg.plugins.module_utils.objects import (
    collations,
    configuration,
    databases,
    extensions,
    hba,
    memberships,
    privileges,
    roles,
    schemas,
    settings,
    slots,
    unmanaged_inside,
    unmanaged_server,
)
from ansible_collections.aza.pg.plugins.module_utils.objects.kind import Kind

KINDS: tuple[Kind, ...] = (
    settings.KIND,
    configuration.KIND,
    slots.KIND,
    hba.KIND,
    roles.KIND,
    memberships.KIND,
    databases.KIND,
    schemas.KIND,
    extensions.KIND,
    privileges.KIND,
    collations.KIND,
    *unmanaged_server.KINDS,
    *unmanaged_inside.KINDS,
)
