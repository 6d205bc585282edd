# SPDX-License-Identifier: Apache-2.0
"""Apply a plan in its order; stop at the first failure and report what was done and what was not.

Every step may be interrupted: what is half done is observed as such, and the next run continues.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ansible_collections.aza.pg.plugins.module_utils.errors import AzaError
from ansible_collections.aza.pg.plugins.module_utils.instance.context import Context
from ansible_collections.aza.pg.plugins.module_utils.instance.plan import Objects, part_of
from ansible_collections.aza.pg.plugins.module_utils.planning.change import EFFECTS, Change
from ansible_collections.aza.pg.plugins.module_utils.planning.plan import Plan
from ansible_collections.aza.pg.plugins.module_utils.server import connection as server
from ansible_collections.aza.pg.plugins.module_utils.server import waits
from ansible_collections.aza.pg.plugins.module_utils.services import registry


@dataclass
class _Pending:
    """What has to happen after the last change that asks for it."""

    # Of the server: none, reload or restart.
    server: str = "none"
    # What happens after the last change, for people.
    stage: str = ""
    # Whether the server was started by a change: then it has read everything.
    started: bool = False
    # Other services that read changed files, and whether objects of the server changed.
    readers: list[str] = field(default_factory=list)
    objects: bool = False

    def note(self, change: Change, container: str) -> None:
        if change.kind == "container":
            if change.name == container and change.action != "remove":
                self.server, self.started = "none", True
        elif change.reader:
            if change.effect == "reload" and change.reader not in self.readers:
                self.readers.append(change.reader)
        elif change.effect in ("reload", "restart") and not self.started:
            self.server = min(self.server, change.effect, key=EFFECTS.index)


def apply(plan: Plan, context: Context) -> list[str]:
    """Apply a plan and return what was done, one line for each change.

    Reload and restart of the server happen once, after the last file. What talks to the server comes after that; if
    the server was just started, it is left to the next round, when the server is ready. Other services read their files
    at the end, when the server has the roles that the files name.

    :raises AzaError: a change failed. ``done`` and ``not_done`` list the changes.
    """
    with waits.Watch(context.observer, context.processes) as watch:
        return _apply(plan, context, watch)


def _apply(plan: Plan, context: Context, watch: waits.Watch) -> list[str]:
    done: list[str] = []
    left, pending = list(plan.changes), _Pending()
    try:
        while left:
            watch.begin()
            change, part = left[0], part_of(left[0])
            speaks = isinstance(part, Objects)
            if speaks or change.once_ready:
                _activate_server(pending, context)
                if pending.started:
                    break
            part.apply(context, change)
            if not speaks:
                pending.note(change, context.wanted.container)
            # After a new password clients would be disconnected: PgBouncer knows their old one.
            lasting = change.action in ("create", "set the password of")
            pending.objects = pending.objects or (speaks and not lasting)
            done.append(change.text())
            left.pop(0)
        _activate_server(pending, context)
        for name in pending.readers:
            pending.stage = f"reload of {registry.service(name).label}"
            registry.service(name).reload(context.wanted, context.docker)
        if pending.objects:
            for service in registry.SERVICES:
                service.objects_changed(context.wanted)
    except server.failures() as error:
        message, state = _message_of(error).rstrip("."), str(getattr(error, "sqlstate", ""))
        reason = waits.REASONS.get(state, "")
        if reason and watch.message:
            message = f"{message}, it waited for {watch.message}"
        at = f"at “{left[0].text()}”" if left else f"at the {pending.stage}"
        raise AzaError(
            f"{context.wanted.instance}: stopped {at}: {message}. Done before: {len(done)}; not done: "
            f"{len(left)}. Once the cause is gone, the same command continues.",
            reason=reason or str(getattr(error, "reason", "apply_failed")),
            done=done,
            not_done=[change.text() for change in left],
        ) from None
    finally:
        context.close()
    return done


def _activate_server(pending: _Pending, context: Context) -> None:
    """Reload or restart the server if the changes so far need it."""
    pending.stage = f"{pending.server} of the server"
    if pending.server == "reload":
        context.close()
        registry.SERVICES[0].reload(context.wanted, context.docker)
    if pending.server == "restart":
        wait = context.wanted.stop_seconds
        context.docker.run("restart", "--time", str(wait), context.wanted.container, timeout=wait + 60)
        pending.started = True
    pending.server = "none"


def _message_of(error: Exception) -> str:
    """The server's message on one line, with what it adds to explain it."""
    diagnosis = getattr(error, "diag", None)
    if diagnosis is None or not diagnosis.message_primary:
        return " ".join(str(error).split())
    more = [diagnosis.message_detail, diagnosis.message_hint]
    return "; ".join(
        " ".join(part.rstrip(".").split()) for part in (diagnosis.message_primary, *more) if part
    )
