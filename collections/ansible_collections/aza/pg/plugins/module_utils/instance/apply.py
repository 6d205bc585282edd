# SPDX-License-Identifier: Apache-2.0
"""Carry out a plan, in order; stop at the first failure and say what was done and what was not.

Every step may be interrupted: what is half done is observed as such, and the next run continues.
"""

from __future__ import annotations

import os
import secrets as random
import shutil
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from ansible_collections.aza.pg.plugins.module_utils import objects
from ansible_collections.aza.pg.plugins.module_utils.errors import AzaError
from ansible_collections.aza.pg.plugins.module_utils.host import huge_pages
from ansible_collections.aza.pg.plugins.module_utils.host.docker import Docker
from ansible_collections.aza.pg.plugins.module_utils.instance import location, ownership
from ansible_collections.aza.pg.plugins.module_utils.instance import ownership_record as record
from ansible_collections.aza.pg.plugins.module_utils.instance.observe import subnets
from ansible_collections.aza.pg.plugins.module_utils.model.desired import Desired
from ansible_collections.aza.pg.plugins.module_utils.model.service import PGBOUNCER, File, container_name
from ansible_collections.aza.pg.plugins.module_utils.objects import hba
from ansible_collections.aza.pg.plugins.module_utils.planning.change import EFFECTS, Change
from ansible_collections.aza.pg.plugins.module_utils.planning.plan import Plan
from ansible_collections.aza.pg.plugins.module_utils.server import connection as server
from ansible_collections.aza.pg.plugins.module_utils.server import settings as pg
from ansible_collections.aza.pg.plugins.module_utils.server import waits
from ansible_collections.aza.pg.plugins.module_utils.services.pgbouncer import console
from ansible_collections.aza.pg.plugins.module_utils.services.pgbouncer import rules as pool_rules
from ansible_collections.aza.pg.plugins.module_utils.services.pgbouncer import service as pgbouncer
from ansible_collections.aza.pg.plugins.module_utils.tls import certificate as tls

_RELOAD_SECONDS = 10
_CONNECTIONS = 4
# Long enough for the update of a large extension or for everything that a role owns to change its owner.
_STATEMENT_SECONDS = 900


@dataclass
class Context:
    """What the appliers share."""

    wanted: Desired
    docker: Docker
    secrets: Mapping[str, str] = field(default_factory=dict)
    # Service → the archive of its image on this host.
    archives: Mapping[str, str] = field(default_factory=dict)
    connections: dict[str, Any] = field(default_factory=dict)

    @property
    def directory(self) -> Path:
        return Path(self.wanted.directory)

    def file(self, path: str) -> File:
        return next(item for item in self.wanted.files if item.path == path)

    def sql(self, database: str = "postgres") -> Any:
        """A connection as the administrator, in autocommit, kept for the changes that follow; only a few, because a
        server has only so many."""
        kept = self.connections.pop(database, None)
        if kept is None:
            others = [name for name in self.connections if name != "postgres"]
            for name in others[: max(0, len(others) + 1 - _CONNECTIONS)]:
                self.close(name)
            kept = self._connect(database)
        self.connections[database] = kept  # the last one used is the last one to go
        return kept

    def _connect(self, database: str) -> Any:
        connect = partial(
            server.connect,
            self.wanted.socket_dir,
            self.wanted.superuser,
            database,
            statement_seconds=_STATEMENT_SECONDS,
            changes=True,
        )
        if self.connections:
            with suppress(server.ServerError):
                return connect(full_seconds=0)
            # On a full server the kept connections may be those that are missing.
            self.close()
        return connect()

    def observer(self) -> Any:
        return server.connect(self.wanted.socket_dir, self.wanted.superuser)

    def processes(self) -> list[int]:
        """Those of the server that work for the changes."""
        return [kept.info.backend_pid for kept in list(self.connections.values()) if not kept.closed]

    def close(self, database: str = "") -> None:
        """Let go of one database (it is about to be dropped), or of all."""
        for name in [database] if database else list(self.connections):
            if name in self.connections:
                self.connections.pop(name).close()


def apply(plan: Plan, context: Context) -> list[str]:
    """Returns what was done, one line a change.

    Reload and restart happen once, after the last file. What speaks to the server comes after that; where the
    server was just started it is left to the next round, when the server is ready. PgBouncer reads its files at the
    end, when the server knows what stands in them. If an object changed, its pools get new sessions: the server judges
    whether a role may connect, and with which settings, only when a session starts.
    """
    with waits.Watch(context.observer, context.processes) as watch:
        return _apply(plan, context, watch)


def _apply(plan: Plan, context: Context, watch: waits.Watch) -> list[str]:
    done: list[str] = []
    pending = list(plan.changes)
    closing, started, pools, sessions = "none", False, False, False
    try:
        while pending:
            watch.begin()
            change = pending[0]
            if change.kind in _AFTER_CONFIGURATION or change.detail.get("once_ready"):
                started = _close(closing, context) or started
                closing = "none"
                if started:
                    break
            APPLIERS[change.kind](context, change)
            if (
                change.kind == "container"
                and change.action != "remove"
                and change.name == context.wanted.container
            ):
                closing, started = "none", True  # it has read everything that was written
            elif change.effect == "reload" and change.detail.get("reader") == PGBOUNCER:
                pools = True
            elif change.kind in _CONFIGURATION and not started:
                closing = min(closing, change.effect, key=EFFECTS.index)
            # Clients would be disconnected after a new password: PgBouncer knows their old one.
            lasting = change.action in ("create", "set the password of")
            sessions = sessions or (change.kind in _AFTER_CONFIGURATION and not lasting)
            done.append(change.text())
            pending.pop(0)
        _close(closing, context)
        if pools:
            console.reload(context.wanted, context.docker)
        if sessions:
            console.reconnect(context.wanted)
    except server.failures() as error:
        said, state = _said(error).rstrip("."), str(getattr(error, "sqlstate", ""))
        reason = waits.REASONS.get(state, "")
        if reason and watch.said:
            said = f"{said}, it waited for {watch.said}"
        at = f"at “{pending[0].text()}”" if pending else f"at the {closing} of the server"
        raise AzaError(
            f"{context.wanted.instance}: stopped {at}: {said}. Done before: {len(done)}; not done: "
            f"{len(pending)}. Once the cause is gone, the same command continues.",
            reason=reason or str(getattr(error, "reason", "apply_failed")),
            done=done,
            not_done=[change.text() for change in pending],
        ) from None
    finally:
        context.close()
    return done


def _said(error: Exception) -> str:
    """The server's message on one line, with what it adds to explain it."""
    diagnosis = getattr(error, "diag", None)
    if diagnosis is None or not diagnosis.message_primary:
        return " ".join(str(error).split())
    more = [diagnosis.message_detail, diagnosis.message_hint]
    return "; ".join(
        " ".join(part.rstrip(".").split()) for part in (diagnosis.message_primary, *more) if part
    )


# -- files -----------------------------------------------------------------------------------------


def write_atomic(path: Path, content: bytes, mode: int, owner: tuple[int, int]) -> None:
    """A reader sees the old file or the new one, whole, with its rights; a crash leaves one of them."""
    temporary = path.with_name(f".{path.name}.{random.token_hex(4)}")
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fchown(stream.fileno(), *owner)
            os.fchmod(stream.fileno(), mode)
            os.fsync(stream.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _owner(context: Context, item: File) -> tuple[int, int]:
    return context.wanted.owner(item, (os.geteuid(), os.getegid()))


def _file(context: Context, change: Change) -> None:
    path = context.directory / change.detail["path"]
    if change.action == "remove":
        path.unlink(missing_ok=True)
        return
    item = context.file(change.detail["path"])
    if change.action.startswith("set rights"):
        os.chown(path, *_owner(context, item), follow_symlinks=False)
        path.chmod(item.mode)
        return
    if item.is_directory:
        path.mkdir(parents=True, exist_ok=True)
        os.chown(path, *_owner(context, item))
        path.chmod(item.mode)
        return
    content = context.secrets[item.secret] if item.secret else _text(context, item)
    write_atomic(path, content.encode(), item.mode, _owner(context, item))


def _text(context: Context, item: File) -> str:
    """Its text on this host, whose engine has given the containers' network its addresses."""
    if item.path != pgbouncer.HBA:
        return item.text or ""
    network = context.docker.inspect(context.wanted.network)
    return pool_rules.here(item, subnets(context.wanted, network)) or ""


def _directory(context: Context, change: Change) -> None:
    if change.action == "remove":
        shutil.rmtree(context.directory / change.detail.get("path", ""))
    else:
        _file(context, change)


def _link(context: Context, change: Change) -> None:
    """/run is empty after a reboot: where systemd is, it makes the link again."""
    link = Path(change.name)
    rule = location.rule_of(context.wanted.instance)
    if change.action == "remove":
        link.unlink(missing_ok=True)
        rule.unlink(missing_ok=True)
        return
    link.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
    temporary = link.with_name(f".{link.name}.{random.token_hex(4)}")
    temporary.symlink_to(context.wanted.socket_dir)
    temporary.replace(link)
    if Path("/run/systemd/system").is_dir() and rule.parent.is_dir():
        write_atomic(rule, location.rule(context.wanted).encode(), 0o644, (0, 0))


def _environment(context: Context, change: Change) -> None:
    path = record.path_of(context.directory)
    if change.action == "forget":
        path.unlink(missing_ok=True)
        return
    claim = context.wanted.claim
    text = record.text(claim.environment, claim.origin, int(time.time()))
    write_atomic(path, text.encode(), 0o600, (os.geteuid(), os.getegid()))


def _huge_pages(context: Context, change: Change) -> None:
    """In such an order that the kernel never keeps more than the file says: that would be taken for somebody else's."""
    with huge_pages.held():
        seen = huge_pages.look()
        should = huge_pages.parse(seen["text"], seen["kernel"]).having(
            context.wanted.instance, change.detail["pages"]
        )
        if should.total < seen["kernel"]:
            huge_pages.ask_kernel(should.total)
            _huge_pages_file(should.render())
            return
        _huge_pages_file(should.render())
        try:
            huge_pages.ask_kernel(should.total)
        except AzaError:
            _huge_pages_file(seen["text"])
            raise


def _huge_pages_file(text: str) -> None:
    if text:
        write_atomic(huge_pages.PATH, text.encode(), 0o644, (os.geteuid(), os.getegid()))
    else:
        huge_pages.PATH.unlink(missing_ok=True)


def _rule(context: Context, change: Change) -> None:
    """The whole file, with the first change in it: what lies between two of them was never meant."""
    item = context.file(change.detail["path"])
    path = context.directory / item.path
    write_atomic(path, (item.text or "").encode(), item.mode, _owner(context, item))


def _setting(context: Context, change: Change) -> None:
    """One setting at a time, so that those that wait for a permission stay as they are."""
    if change.detail.get("reset"):
        from psycopg import sql

        context.sql().execute(sql.SQL("alter system reset {}").format(sql.Identifier(change.name)))
        return
    if "path" in change.detail:
        _rule(context, change)
        return
    item = context.file(pg.PATH)
    path = context.directory / pg.PATH
    values = pg.parse(path.read_text(encoding="utf-8"))
    if change.detail["value"] is None:
        values.pop(change.name, None)
    else:
        values[change.name] = change.detail["value"]
    write_atomic(path, pg.render(dict(sorted(values.items()))).encode(), item.mode, _owner(context, item))


# -- engine ----------------------------------------------------------------------------------------


def _image(context: Context, change: Change) -> None:
    name = change.detail["service"]
    service = context.wanted.service(name)
    if service and change.action == "pull":
        context.docker.run("pull", "--quiet", service.image["pinned"], timeout=3600)
        return
    if not context.archives.get(name):
        raise AzaError("the image's archive did not reach this host", reason="no_archive")
    context.docker.run("load", "--quiet", "--input", context.archives[name], timeout=1800)


def _volume(context: Context, change: Change) -> None:
    if change.action == "remove":
        context.docker.run("volume", "rm", change.name)
        return
    environment = context.wanted.claim.environment
    all_labels = {**context.wanted.labels, **({record.LABEL: environment} if environment else {})}
    labels = [part for key, value in all_labels.items() for part in ("--label", f"{key}={value}")]
    context.docker.run("volume", "create", *labels, change.name)


def _network(context: Context, change: Change) -> None:
    context.docker.run("network", "rm", change.name)


def _container(context: Context, change: Change) -> None:
    stop = str(context.wanted.stop_seconds)
    wait = context.wanted.stop_seconds + 60
    if change.action == "remove":
        context.docker.run("stop", "--time", stop, change.name, timeout=wait)
        context.docker.run("rm", "--force", change.name)
    elif change.action == "stop":
        context.docker.run("stop", "--time", stop, change.name, timeout=wait)
    elif change.action == "restart":
        context.docker.run("unpause", change.name, check=False)
        context.docker.run("restart", "--time", stop, change.name, timeout=wait)
    else:
        if change.detail.get("path"):
            _file(context, change)
        compose = str(context.directory / "compose.yml")
        again = ["--force-recreate"] if change.action == "recreate" else []
        # This service alone: what another one needs is a change of its own, or waits for a permission.
        alone = ["--no-deps", *again, change.detail["service"]]
        context.docker.run(
            "compose", "--file", compose, "up", "--detach", "--no-build", *alone, timeout=wait + 300
        )
    if change.action not in ("remove", "stop") and change.name == container_name(
        context.wanted.project, PGBOUNCER
    ):
        console.wait(context.wanted, context.docker)


def _server(context: Context, change: Change) -> None:
    """Nothing of its own: a reload or restart is carried out once, after the last change that asks for it."""


def _close(effect: str, context: Context) -> bool:
    """Carry out the reload or restart that the changes so far need; whether the server was started anew."""
    if effect == "reload":
        _reload(context)
    if effect != "restart":
        return False
    wait = context.wanted.stop_seconds
    context.docker.run("restart", "--time", str(wait), context.wanted.container, timeout=wait + 60)
    return True


def _reload(context: Context) -> None:
    """SIGHUP, then ask the server whether it took the files: a refused file must not go unnoticed."""
    context.close()
    before = _state(context)
    # Not `docker kill --signal HUP`: for the engine a container that got any signal was stopped by hand, and it
    # stays down when the host starts again.
    context.docker.run("exec", context.wanted.container, "bash", "-c", "kill -HUP 1")
    if before is None:
        return
    deadline = time.monotonic() + _RELOAD_SECONDS
    while True:
        now = _state(context)
        errors = [*now["config_errors"], *now["hba_errors"]] if now else []
        if errors:
            raise AzaError(
                f"the server refuses its configuration and keeps the old one: {'; '.join(errors)}",
                reason="bad_setting",
            )
        if now and now["config_loaded"] > before["config_loaded"]:
            return
        if time.monotonic() > deadline:
            raise AzaError(f"the server did not reload within {_RELOAD_SECONDS} s", reason="no_reload")
        time.sleep(0.1)


def _state(context: Context) -> dict[str, Any] | None:
    try:
        return server.observe(context.wanted.socket_dir, context.wanted.superuser, server.Question())
    except server.ServerError:
        return None


Applier = Callable[[Context, Change], None]

APPLIERS: dict[str, Applier] = {
    "image": _image,
    ownership.KIND: _environment,
    "directory": _directory,
    "file": _file,
    "secret": _file,
    tls.KIND: _file,
    PGBOUNCER: _server,
    "link": _link,
    huge_pages.KIND: _huge_pages,
    "volume": _volume,
    "network": _network,
    "setting": _setting,
    hba.RULE: _rule,
    hba.IDENT_LINE: _rule,
    "container": _container,
    "server": _server,
    **objects.APPLIERS,
}

# Kinds whose effect on the server is carried out once, after the last of them …
_CONFIGURATION = ("file", tls.KIND, "setting", hba.RULE, hba.IDENT_LINE, "server")
# … and kinds that speak to the server, which must have read its configuration by then.
_AFTER_CONFIGURATION = tuple(objects.APPLIERS)
