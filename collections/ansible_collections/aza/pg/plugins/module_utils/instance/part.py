# SPDX-License-Identifier: Apache-2.0
"""The contract of a part of an instance: how its changes are planned, applied and simulated."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ansible_collections.aza.pg.plugins.module_utils.instance.context import Context
from ansible_collections.aza.pg.plugins.module_utils.model.desired import Desired
from ansible_collections.aza.pg.plugins.module_utils.model.observed import Observed
from ansible_collections.aza.pg.plugins.module_utils.planning.change import Change


class Part:
    """One part of an instance: its files, its volume, its containers, …"""

    # The values of ``Change.kind`` that it applies.
    kinds: tuple[str, ...]

    def plan(self, wanted: Desired, found: Observed, planned: Sequence[Change]) -> Iterator[Change]:
        """Return its changes. Pure. ``planned``: those of the parts before it."""
        raise NotImplementedError

    def apply(self, context: Context, change: Change) -> None:
        """Apply one change."""
        raise NotImplementedError

    def simulate(self, wanted: Desired, found: Observed, change: Change) -> Observed:
        """Return what would be observed after the change. Pure."""
        return found


def later(found: Observed) -> float:
    """Return a time after everything that was observed, for files that a simulated change writes."""
    times = [float(state.get("modified", 0)) for state in found.files.values()]
    return 1 + max([float((found.server or {}).get("config_loaded", 0)), 0.0, *times])
