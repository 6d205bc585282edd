# SPDX-License-Identifier: Apache-2.0
"""What a control node says of itself to a host: which environment it deploys for, and which secrets it lacks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Claim:
    """Compared with what is recorded on the host (``ownership.py``).

    ``environment``: the identity of the control node's secrets; empty if it has no place for one. ``fresh``: the
    control node has no identity yet, this one would be made now. ``name``: of the inventory. ``origin``: who deploys,
    from where. ``secrets``: their directory. ``made``: secrets that the control node lacks and would make now.
    ``authorities``: fingerprints of the certificates that it trusts. ``new_authority``: it lacks that too.
    ``asks``: whether the control node says anything at all; without it nothing is compared.
    """

    environment: str = ""
    fresh: bool = False
    name: str = ""
    origin: str = ""
    secrets: str = ""
    made: tuple[str, ...] = ()
    authorities: tuple[str, ...] = ()
    new_authority: bool = False
    take_over: bool = False
    asks: bool = False

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Claim:
        lists = {name: tuple(data.get(name, ())) for name in ("made", "authorities")}
        return cls(**{**data, **lists})
