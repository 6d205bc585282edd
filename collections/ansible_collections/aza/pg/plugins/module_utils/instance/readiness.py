# SPDX-License-Identifier: Apache-2.0
"""Is it really there? Some stages, each of which only a server that works can reach.

process → socket → SQL → extensions → first write (of a standby: streaming). A caller that waits learns the stage, and
when it takes too long, which one failed and what the log says about it.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from ansible_collections.aza.pg.plugins.module_utils.host.docker import Docker
from ansible_collections.aza.pg.plugins.module_utils.model.desired import Desired
from ansible_collections.aza.pg.plugins.module_utils.server import connection as server
from ansible_collections.aza.pg.plugins.module_utils.server.diagnosis import Place, diagnose

# As the entrypoint of the image reports how far pg_basebackup is.
_COPY = "aza-pg: copy: "
# A standby writes nothing: its last stage is that it follows its primary.
STAGES = ("process", "socket", "SQL", "extensions", "streaming", "first write")
_TELLING = (
    "PANIC",
    "FATAL",
    "ERROR",
    "WARNING",
    "HINT",
    "DETAIL",
    "refus",
    "cannot",
    "denied",
    "No space",
    "aza-pg",
)


@dataclass(frozen=True)
class Readiness:
    """``stage`` is the first one that was not reached; empty when all were."""

    stage: str
    message: str = ""
    hopeless: bool = False
    log: tuple[str, ...] = ()
    # How far a long step is, in its own words: who waits for it need not give up while they change.
    progress: str = ""
    # Why the server does not start, as a word, and what to do about it; where that was recognised.
    cause: str = ""
    remedy: str = ""

    @property
    def ready(self) -> bool:
        return not self.stage

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "ready": self.ready}


def probe(wanted: Desired, docker: Docker, created: bool = False) -> Readiness:
    """One pass through the stages. ``created``: this deploy made the data, so the image's own extensions must
    be there; on an older server a user may have dropped one, and that is drift, not a failure."""
    found = docker.inspect(wanted.container)
    if not found:
        return Readiness("process", "there is no container", hopeless=True)
    state = found[0]["State"]
    if state["Status"] != "running":
        restarts = found[0].get("RestartCount", 0)
        code = state["ExitCode"]
        reason = "it was OOM-killed" if state.get("OOMKilled") else f"exit code {code}"
        message = (
            state.get("Error")
            or f"the container is {state['Status']} ({reason}, started again {restarts} times)"
        )
        # 78: the entrypoint refuses its configuration, and will again.
        hopeless = state["Status"] == "exited" or code == 78 or restarts >= 3
        return _explained(Readiness("process", message, hopeless), wanted, docker, found[0])
    if found[0].get("RestartCount", 0) >= 3:
        now = Readiness("process", "the container restarts repeatedly", hopeless=True)
        return _explained(now, wanted, docker, found[0])
    if not (Path(wanted.socket_dir) / ".s.PGSQL.5432").exists():
        return Readiness("socket", "the server has not opened its socket yet")
    try:
        with server.connect(wanted.socket_dir, wanted.superuser) as connection:
            in_recovery = connection.execute("select pg_is_in_recovery()").fetchone()[0]
            stage = "extensions"
            try:
                if message := _extensions(wanted, docker, created):
                    return message
                if wanted.standby and in_recovery and not server.follows(connection):
                    return Readiness("streaming", "it does not receive WAL from its upstream server")
                stage = "first write"
                if not in_recovery:
                    server.first_write(connection)
            except Exception as error:  # whatever the server says belongs to the stage it was said in
                return Readiness(stage, " ".join(str(error).split()))
    except server.ServerError as error:
        return Readiness("SQL", str(error))
    return Readiness("")


def _explained(now: Readiness, wanted: Desired, docker: Docker, inspected: Mapping[str, Any]) -> Readiness:
    """With the reason for which the server does not start, if its log has one that is known."""
    log = docker.logs(wanted.container)
    found = diagnose(inspected["State"], log, Place.of(wanted, inspected))
    if found is None:
        return now
    return replace(now, message=f"{found.message} ({now.message})", cause=found.reason, remedy=found.remedy)


def _extensions(wanted: Desired, docker: Docker, created: bool) -> Readiness | None:
    """What is wrong with those of the main database. On an older server its owner can reject all connections: that
    is drift, too."""
    try:
        with server.connect(wanted.socket_dir, wanted.superuser, wanted.database) as connection:
            if lost := server.missing_extension_files(connection):
                message = f"database {wanted.database} uses {', '.join(lost)}, which this image does not have"
                return Readiness("extensions", message, hopeless=True)
            there = server.extensions(connection)
    except server.ServerError:
        if created:
            raise
        return None
    absent = sorted(set(_expected_extensions(wanted, docker)) - set(there)) if created else []
    return Readiness("extensions", f"not created yet: {', '.join(absent)}") if absent else None


def _expected_extensions(wanted: Desired, docker: Docker) -> list[str]:
    """The image says itself what it creates at a first start."""
    done = docker.run("exec", wanted.container, "cat", "/usr/local/share/aza-pg/create", check=False)
    return [line.split()[0] for line in done.stdout.splitlines() if line.strip() and not line.startswith("#")]


def wait(wanted: Desired, docker: Docker, seconds: float, created: bool = False) -> Readiness:
    """Probe until ready, hopeless or ``seconds`` have passed; the caller decides whether to ask again."""
    deadline = time.monotonic() + seconds
    while True:
        now = probe(wanted, docker, created)
        if now.ready or now.hopeless or time.monotonic() >= deadline:
            return _copying(now, docker.logs(wanted.container)) if _may_copy(wanted, now) else now
        time.sleep(0.2)


def _may_copy(wanted: Desired, now: Readiness) -> bool:
    return wanted.standby and now.stage == "socket"


def _copying(now: Readiness, log: Sequence[str]) -> Readiness:
    """A standby that still copies its primary's data, which takes as long as there is data."""
    far = next((line.partition(_COPY)[2] for line in reversed(log) if _COPY in line), "")
    return replace(now, message=f"it copies its primary's data: {far}", progress=far) if far else now


def telling_lines(lines: Sequence[str], limit: int = 12) -> list[str]:
    """The log lines that matter: the complaints, without repetition; without any, simply the last ones."""
    chosen: list[str] = []
    for line in lines:
        if any(word in line for word in _TELLING) and line not in chosen:
            chosen.append(line)
    return [line[:300] for line in (chosen or list(lines))[-limit:]]
