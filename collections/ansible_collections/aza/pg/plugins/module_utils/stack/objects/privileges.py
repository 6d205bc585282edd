# SPDX-License-Identifier: Apache-2.0
"""Privileges."""

from __future__ import annotations

from collections.abc import Iterator

from ansible_collections.aza.pg.plugins.module_utils.stack.model import Change, Desired, Observed
from ansible_collections.aza.pg.plugins.module_utils.stack.objects.kind import Kind


def _plan(wanted: Desired, found: Observed) -> Iterator[Change]:
    yield from ()


KIND = Kind("privileges", _plan)
