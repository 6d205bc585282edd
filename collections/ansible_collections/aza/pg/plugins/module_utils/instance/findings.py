# SPDX-License-Identifier: Apache-2.0
"""What a check says about one instance: from what is wanted, what is, and the plan between them. Pure.

Every change that a deploy would make is a finding, so that drift cannot forget a kind of object. Besides that stands
what no deploy changes: whether it works, what is not declared, how often it restarted.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from ansible_collections.aza.pg.plugins.module_utils.errors import AzaError
from ansible_collections.aza.pg.plugins.module_utils.host import huge_pages
from ansible_collections.aza.pg.plugins.module_utils.instance import server_objects
from ansible_collections.aza.pg.plugins.module_utils.instance.readiness import Readiness
from ansible_collections.aza.pg.plugins.module_utils.model.desired import Desired
from ansible_collections.aza.pg.plugins.module_utils.model.observed import Observed
from ansible_collections.aza.pg.plugins.module_utils.model.service import short, title
from ansible_collections.aza.pg.plugins.module_utils.planning.change import Change
from ansible_collections.aza.pg.plugins.module_utils.planning.finding import Finding
from ansible_collections.aza.pg.plugins.module_utils.planning.plan import Plan
from ansible_collections.aza.pg.plugins.module_utils.services.registry import SERVICES
from ansible_collections.aza.pg.plugins.module_utils.tls import certificate as tls

TUNED_FILE = "/run/aza-pg/tuned.conf"
_UNITS = {"b": 1, "kb": 2**10, "mb": 2**20, "gb": 2**30, "tb": 2**40}
_ENGINE = ("no_engine", "no_docker", "docker_permission", "docker_timeout")


def failure(error: AzaError) -> Finding:
    """Why there is nothing else to say about an instance."""
    what = "engine" if error.reason in _ENGINE else "host" if error.reason == "unreachable" else "plan"
    return Finding(what, "red", error.msg)


def judge(
    wanted: Desired,
    found: Observed,
    plan: Plan | None,
    readiness: Readiness | None,
    predicted: Sequence[Mapping[str, str]] = (),
) -> Iterator[Finding]:
    """``plan`` is None where none could be made, ``readiness`` where nothing runs that could be asked.

    ``predicted``: the tuned settings, as the rules predict them.
    """
    if not (found.container or found.volume or found.files):
        yield Finding("instance", "red", "it is not deployed on this host", "deploy it")
        return
    if readiness:
        yield _readiness(found, readiness)
    if plan is not None:
        yield from drift(plan)
    yield from container(wanted, found)
    yield from tls.findings(wanted, found)
    for service in SERVICES:
        yield from service.findings(wanted, found)
    if found.running and found.server is None and (readiness is None or readiness.ready):
        yield Finding("server", "red", f"its objects could not be read: {found.server_error}")
    if found.server is not None:
        yield from server(found.server)
        yield from undeclared(wanted, found)
        yield from server_objects.findings(wanted, found)
        yield from huge_pages.findings(wanted, found)
        yield from tuning(predicted, found.server)


def _readiness(found: Observed, now: Readiness) -> Finding:
    if not now.ready:
        return Finding("ready", "red", f"stage '{now.stage}' is not reached: {now.message}", now.remedy)
    version = str((found.server or {}).get("version", "")).split(" ")[0]
    return Finding("ready", "green", f"PostgreSQL {version} passed every stage up to a first write")


def drift(plan: Plan) -> Iterator[Finding]:
    """Each change that a deploy would make; what waits for a permission is known already."""
    for change in plan.changes:
        yield Finding("drift", change.severity or "red", _message_of(change), "deploy to restore it")
    for reason, changes in plan.waiting().items():
        for change in changes:
            # A declared change that waits is known; a change made outside of the inventory is not.
            state = change.severity or ("red" if change.edited else "yellow")
            yield Finding(
                "waiting",
                state,
                _message_of(change),
                f"deploy {'after' if change.awaits else 'with'} {reason}",
            )
    if not plan.changes:
        what = "everything else" if plan.held else "everything"
        yield Finding("drift", "green", f"{what} matches the inventory")


def _message_of(change: Change) -> str:
    return "  ".join(filter(None, (change.text(), f"({change.origin})" if change.origin else "")))


def container(wanted: Desired, found: Observed) -> Iterator[Finding]:
    here = found.container
    if not here:
        yield Finding("container", "red", "there is none", "deploy to create it; the data is kept")
        return
    if here["state"] != "running":
        yield Finding("container", "red", f"it is {here['state']} (exit code {here['exit_code']})")
    elif here["health"] == "unhealthy":
        yield Finding("container", "yellow", "it runs and its health check fails", "read its log")
    if here["oom_killed"]:
        yield Finding("memory", "yellow", "it was OOM-killed", "give postgres_memory more")
    if here["restarts"]:
        times = "once" if here["restarts"] == 1 else f"{here['restarts']} times"
        yield Finding("container", "yellow", f"it restarted, {times}", "read its log")
    yield image(wanted, found)


def image(wanted: Desired, found: Observed) -> Finding:
    """A container that was deployed as it is declared and runs something else was recreated by hand; one that
    was deployed from an older declaration waits for its deploy, and the plan says so."""
    here = found.container or {}
    runs = short(here["image_reference"])
    if found.image and here["image"] != found.image:
        message = f"runs {runs}, declared is {title(wanted.image)}"
        if here["config_hash"] == wanted.config_hash:
            message += ": the container was recreated by hand, from another image"
            return Finding("image", "red", message, "deploy with postgres_allow_recreate: true")
        return Finding("image", "yellow", message, "deploy with postgres_allow_recreate: true")
    return Finding("image", "green", f"runs {title(wanted.image) if found.image else runs}")


def server(now: Mapping[str, object]) -> Iterator[Finding]:
    """What the server itself says is not in order."""
    for error in (*_texts(now.get("config_errors")), *_texts(now.get("hba_errors"))):
        message = f"the server rejects a part of its configuration and keeps the old values: {error}"
        yield Finding("configuration", "red", message)
    waiting = _texts(now.get("pending_restart"))
    if waiting:
        message = (
            f"{', '.join(waiting)}: changed in the files but not active. The next restart, planned or not, "
        )
        yield Finding(
            "pending_restart",
            "red",
            f"{message}activates it",
            "deploy with postgres_allow_restart: true",
        )


def _texts(value: object) -> list[str]:
    return [str(item) for item in value] if isinstance(value, (list, tuple)) else []


def undeclared(wanted: Desired, found: Observed) -> Iterator[Finding]:
    """What is there and was not declared: found, and never removed on its own."""
    for item in server_objects.undeclared(wanted, found):
        ignore = f"postgres_undeclared: {{{item.policy}: ignore}}"
        remedy = f"{item.remedy or 'declare it, or declare it with state: absent to remove it'}; or {ignore}"
        yield Finding("undeclared", item.severity, ": ".join(filter(None, (item.what, item.message))), remedy)


def tuning(predicted: Sequence[Mapping[str, str]], now: Mapping[str, object]) -> Iterator[Finding]:
    """Information, never drift: which values the rules predict and the server has, and which are your own."""
    settings = now["settings"]
    if not predicted or not isinstance(settings, Mapping):
        return
    own, other = [], []
    for value in predicted:
        is_now = settings.get(value["name"])
        if is_now is None or same(is_now["value"], value["value"]):
            continue
        if is_now["file"] == TUNED_FILE:
            other.append(f"{value['name']} is {is_now['value']}, predicted {value['value']}")
        else:
            own.append(value["name"])
    yours = f"; set by the inventory: {', '.join(own)}" if own else ""
    differ = f"; set when the container started: {'; '.join(other)}" if other else ""
    number = len(predicted) - len(own) - len(other)
    yield Finding("tuning", "green", f"{number} values are as predicted{yours}{differ}")


def same(one: str, two: str) -> bool:
    """Compare as PostgreSQL would: ``1GB`` is ``1024MB``, ``0.90`` is ``0.9``, ``ON`` is ``on``."""
    return _value(one) == _value(two)


def _value(text: str) -> float | str:
    found = re.fullmatch(r"\s*(-?[0-9]+(?:\.[0-9]+)?)\s*([a-z]*)\s*", text.lower())
    if not found:
        return text.strip().lower()
    number, unit = float(found.group(1)), found.group(2)
    return number * _UNITS[unit] if unit in _UNITS else number if not unit else text.strip().lower()
