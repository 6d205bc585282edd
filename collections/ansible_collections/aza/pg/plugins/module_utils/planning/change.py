# SPDX-License-Identifier: Apache-2.0
"""A change: one step from the observed to the declared state, and its effect on what runs."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, TypeVar

from ansible_collections.aza.pg.plugins.module_utils.plain import plain

# From the most to the least drastic: the order in which a person should read a plan.
EFFECTS = ("data", "recreate", "restart", "reload", "sql", "none")
EFFECT_MEANING = {
    "data": "data is lost",
    "recreate": "the container is recreated; clients are disconnected for seconds",
    "restart": "clients are disconnected",
    "reload": "active at once; no client is disconnected",
    "sql": "a statement on the running server",
    "none": "nothing that runs is affected",
}
NEEDS_PERMISSION = ("restart", "recreate")


@dataclass(frozen=True)
class Detail:
    """What applying a change needs in addition to its kind, name and action. Each kind has records of its own."""


DetailT = TypeVar("DetailT", bound=Detail)
_NOTHING = Detail()


@dataclass(frozen=True)
class Change:
    """One step from what is to what should be.

    ``before`` and ``after`` are for people, short, and never a secret. ``risk`` is empty when nothing can be
    lost. ``origin`` is where it was declared (file and key), ``detail`` what else carrying it out needs.
    """

    kind: str
    name: str
    action: str
    effect: str = "none"
    before: str = ""
    after: str = ""
    why: str = ""
    risk: str = ""
    # What has to happen first, other than a permission: ``the end of its use``.
    awaits: str = ""
    origin: str = ""
    # The service that reads what changed; empty for the server.
    reader: str = ""
    # What a check makes of it: red, or another severity. ``edited``: it was changed on the host only.
    severity: str = ""
    edited: bool = False
    # Whether it waits until the server is ready.
    once_ready: bool = False
    detail: Detail = _NOTHING
    # ``role shop``, and the ids of what must be done before: the order of the server's objects comes from these.
    id: str = ""
    needs: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.effect not in EFFECTS:
            raise ValueError(f"unknown effect {self.effect!r}")

    @property
    def object(self) -> str:
        """How a permission names it: ``database shop``."""
        return f"{self.kind} {self.name}"

    def detail_as(self, record: type[DetailT]) -> DetailT:
        """Return the detail, which is of the type that this kind of change has.

        :raises TypeError: it is of another type.
        """
        if not isinstance(self.detail, record):
            raise TypeError(f"{self.action} {self.object} has {self.detail!r}, not a {record.__name__}")
        return self.detail

    def text(self) -> str:
        """What happens, as text: ``create role shop``, ``change role shop  connection limit -1 → 5``.

        A setting or a certificate that gets another value needs no verb: ``setting work_mem  4MB → 16MB``.
        """
        values = f"{self.before} → {self.after}" if self.before and self.after else self.after or self.before
        quiet = (("setting", "change"), ("certificate", "change"))
        verb = "" if (self.kind, self.action) in quiet else f"{self.action} "
        parts = [f"{verb}{self.kind} {self.name}", values]
        if self.why:
            parts.append(f"because {self.why}")
        if self.risk:
            parts.append(f"RISK: {self.risk}")
        return plain("  ".join(part for part in parts if part))

    def line(self) -> str:
        """The text with its effect and origin: ``setting work_mem  4MB → 16MB  reload  (group_vars/all.yml: …)``."""
        parts = [self.text(), "" if self.effect == "none" else self.effect]
        if self.origin:
            parts.append(f"({plain(self.origin)})")
        return "  ".join(part for part in parts if part)

    def to_dict(self) -> dict[str, Any]:
        hidden = ("detail", "id", "needs", "reader", "severity", "edited", "once_ready")
        shown = {
            key: plain(value) for key, value in asdict(self).items() if key not in hidden and value != ""
        }
        return {**shown, "text": self.text()}
