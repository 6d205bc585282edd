# SPDX-License-Identifier: Apache-2.0
"""From a plan and an observation to findings: what, green, yellow or red, and a sentence. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ansible_collections.aza.pg.plugins.module_utils.stack.model import short

Finding = dict[str, str]
SEVERITY = ("red", "yellow", "green")
TUNED_FILE = "/run/aza-pg/tuned.conf"
_UNITS = {"b": 1, "kb": 2**10, "mb": 2**20, "gb": 2**30, "tb": 2**40}


def finding(what: str, state: str, said: str) -> Finding:
    return {"what": what, "state": state, "said": said}


def drift(plan: Mapping[str, Any]) -> Iterator[Finding]:
    """Each change that a deploy would make is a finding; what waits for a permission is known already."""
    for change in plan["changes"]:
        yield finding("drift", "red", _said(change))
    for change in plan["held"]:
        yield finding("waiting", "yellow", f"{_said(change)} (needs postgres_allow_{change['effect']})")
    if not plan["changes"]:
        yield finding(
            "drift", "green", "everything else is as declared" if plan["held"] else "all is as declared"
        )


def _said(change: Mapping[str, Any]) -> str:
    values = " → ".join(part for part in (change.get("before", ""), change.get("after", "")) if part)
    why = f"because {change['why']}" if change.get("why") else ""
    return "  ".join(
        part for part in (f"{change['action']} {change['kind']} {change['name']}", values, why) if part
    )


def container(observed: Mapping[str, Any]) -> Iterator[Finding]:
    found = observed["container"]
    if not found:
        yield finding("container", "red", "there is none")
        return
    if found["state"] != "running":
        yield finding("container", "red", f"it is {found['state']} (exit code {found['exit_code']})")
    elif found["health"] == "unhealthy":
        yield finding("container", "yellow", "it runs and its health check fails")
    if found["oom_killed"]:
        yield finding(
            "memory", "yellow", "the kernel killed it once for want of memory; give postgres_memory more"
        )
    if found["restarts"]:
        yield finding(
            "container", "yellow", f"it was started again {found['restarts']} times after a failure"
        )
    yield finding("image", "green", f"runs {short(found['image_reference'])}")


def tuning(predicted: Sequence[Mapping[str, str]], server: Mapping[str, Any] | None) -> Iterator[Finding]:
    """Values that come from the tuned file must be those that the rules predict; the user's own win."""
    if not predicted or not server:
        return
    own, other = [], []
    for value in predicted:
        now = server["settings"].get(value["name"])
        if now is None or same(now["value"], value["value"]):
            continue
        if now["file"] == TUNED_FILE:
            other.append(f"{value['name']} is {now['value']}, predicted {value['value']}")
        else:
            own.append(value["name"])
    for said in other:
        yield finding("tuning", "yellow", said)
    yours = f"; yours: {', '.join(own)}" if own else ""
    if not other:
        yield finding("tuning", "green", f"{len(predicted) - len(own)} values are as predicted{yours}")


def same(one: str, two: str) -> bool:
    """Compare as PostgreSQL would: ``1GB`` is ``1024MB``, ``0.90`` is ``0.9``, ``ON`` is ``on``."""
    return _value(one) == _value(two)


def _value(text: str) -> float | str:
    found = re.fullmatch(r"\s*(-?[0-9]+(?:\.[0-9]+)?)\s*([a-z]*)\s*", text.lower())
    if not found:
        return text.strip().lower()
    number, unit = float(found.group(1)), found.group(2)
    return number * _UNITS[unit] if unit in _UNITS else number if not unit else text.strip().lower()
