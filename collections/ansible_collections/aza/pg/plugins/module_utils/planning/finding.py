# SPDX-License-Identifier: Apache-2.0
"""A finding: what a check reports about one subject."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from ansible_collections.aza.pg.plugins.module_utils.plain import plain

SEVERITIES = ("red", "yellow", "green")


@dataclass(frozen=True)
class Finding:
    """What a check has to say about one thing. ``state``: red is not as declared or does not work, yellow waits or
    deserves a look, green is well. ``remedy`` is what helps, empty when nothing has to be done. Each becomes one line,
    whatever a server or a host put into it."""

    what: str
    state: str
    message: str
    remedy: str = ""

    def __post_init__(self) -> None:
        if self.state not in SEVERITIES:
            raise ValueError(f"unknown severity {self.state!r}")
        for name in ("what", "message", "remedy"):
            object.__setattr__(self, name, plain(getattr(self, name)))

    def to_dict(self) -> dict[str, str]:
        return {key: str(value) for key, value in asdict(self).items() if value}
