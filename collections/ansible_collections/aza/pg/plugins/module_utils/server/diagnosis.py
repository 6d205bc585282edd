# SPDX-License-Identifier: Apache-2.0
"""Why a server does not start, and what to do about it: from its container's state and the lines of its log. Pure.

The patterns are the messages of PostgreSQL 18 and of the image's entrypoint, as they are in English. What none of them
fits stays with the log itself.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ansible_collections.aza.pg.plugins.module_utils.model import paths
from ansible_collections.aza.pg.plugins.module_utils.model.desired import Desired
from ansible_collections.aza.pg.plugins.module_utils.server import settings as pg

# A start that succeeded: what stands before it is over.
_READY = "database system is ready to accept connections"
_AUTOMATIC = "postgresql.auto.conf"
_MESSAGE = re.compile(r"(?:LOG|FATAL|PANIC):\s+(.*)")
_LEVEL = r"(?:FATAL|PANIC):\s+"
_OWN = r"^aza-pg: (?:warning: )?"


@dataclass(frozen=True)
class Diagnosis:
    """``reason``: a stable word for programs. ``message``: what is wrong. ``remedy``: what to do, as a sentence."""

    reason: str
    message: str
    remedy: str

    def to_dict(self) -> dict[str, str]:
        return asdict(self)


@dataclass(frozen=True)
class Place:
    """What a remedy has to name: the data volume, the image, the directory of the data in it, and the server's user."""

    volume: str
    image: str
    data: str
    user: str = "999:999"

    @classmethod
    def of(cls, wanted: Desired, inspected: Mapping[str, Any]) -> Place:
        config = inspected["Config"]
        environment = dict(entry.partition("=")[::2] for entry in config.get("Env") or ())
        data = environment.get("PGDATA", paths.VOLUME)
        return cls(wanted.volume, str(config["Image"]), data, f"{wanted.uid}:{wanted.gid}")

    def command(self, *words: str, user: str = "") -> str:
        """How a command is run on the data of the stopped server."""
        mount = ("--volume", f"{self.volume}:{paths.VOLUME}", "--user", user or self.user)
        return shlex.join(("docker", "run", "--rm", *mount, "--entrypoint", words[0], self.image, *words[1:]))


def diagnose(state: Mapping[str, Any], log: Sequence[str], place: Place) -> Diagnosis | None:
    """Return why the server does not start; None if nothing that is known stands there.

    :param state: ``State`` of the container, as the engine shows it.
    :param log: the last lines of the container, the newest last.
    """
    found = engine(str(state.get("Error") or ""))
    if found:
        return found
    if state.get("OOMKilled"):
        remedy = "Give it more with postgres_memory, or lower your own settings of memory (work_mem, max_connections)."
        return Diagnosis(
            "oom_killed", "it was OOM-killed: the memory limit of the container was reached", remedy
        )
    for number in range(len(log) - 1, -1, -1):
        if _READY in log[number]:
            return None
        for pattern, explain in _RULES:
            match = pattern.search(log[number])
            if match:
                return explain(_Line(match, log[:number], log[number + 1 :], place))
    return _refused(log) if state.get("ExitCode") in (1, 78) else None


def engine(message: str) -> Diagnosis | None:
    """Return why the engine does not start a container, from its own words."""
    if re.search(r"port is already allocated|address already in use", message):
        where = re.search(r"for (\[?[0-9a-f.:]+\]?:[0-9]+)", message)
        return Diagnosis(
            "port_taken",
            f"its port is taken{f' ({where[1]})' if where else ''}",
            "Choose another port in the inventory, or stop what listens there (ss -ltnp shows it).",
        )
    if re.search(r"cannot assign requested address", message):
        return Diagnosis(
            "no_address",
            "its publish address is not an address of this host",
            "Correct the publish address in the inventory; `ip -brief address` lists those of the host.",
        )
    if re.search(r"network \S+ not found|could not find a network", message):
        return Diagnosis(
            "no_network",
            "the network of the containers was removed",
            "Deploy with postgres_allow_recreate: true to create it again.",
        )
    if re.search(
        r"error while creating mount source path|bind source path does not exist|invalid mount", message
    ):
        return Diagnosis(
            "no_mount", f"a directory that it mounts is missing: {message}", "Deploy to create it again."
        )
    return None


@dataclass(frozen=True)
class _Line:
    """A line of the log that a rule fits: its ``match``, the lines before and after it, and what remedies name."""

    match: re.Match[str]
    before: Sequence[str]
    after: Sequence[str]
    place: Place

    @property
    def text(self) -> str:
        return str(self.match[1]).strip()


_Explain = Callable[[_Line], Diagnosis]


def _stated(reason: str, message: str, remedy: str) -> _Explain:
    """A diagnosis of ``message`` and the first group of the pattern."""
    return lambda line: Diagnosis(reason, f"{message}: {line.text}", remedy)


def _preload(line: _Line) -> Diagnosis:
    what = f"the library '{line.match[1]}'" if line.text else "a library with an empty name"
    file = f"{line.place.data}/{_AUTOMATIC}"
    fix = line.place.command("sed", "-i", "/^shared_preload_libraries /d", file)
    return Diagnosis(
        "bad_preload",
        f"shared_preload_libraries has {what}, which this image cannot load",
        "Take it out of postgres_extra_preload_libraries, or build the image with the extension that has it. If "
        f"ALTER SYSTEM set it, remove the line from {_AUTOMATIC} and start the server: {fix}",
    )


def _settings(line: _Line) -> Diagnosis:
    """The server names the file last, and its mistakes in the lines before that."""
    message: list[str] = []
    for text in reversed(line.before):
        found = _MESSAGE.search(text)
        if found is None or not _COMPLAINS.search(found[1]):
            break
        message.insert(0, found[1])
    return _bad_setting(line.match[1], "; ".join(message) or line.match[0], line.place)


_COMPLAINS = re.compile(
    r"invalid value for parameter|unrecognized configuration parameter|outside the valid range|syntax error in file|"
    r"cannot be changed|permission denied to set|could not open|requires a|is not a valid|"
    r"invalid configuration parameter"
)


def _one_setting(line: _Line) -> Diagnosis:
    return _bad_setting("", line.match[1], line.place)


def _line_of_file(line: _Line) -> Diagnosis:
    return _bad_setting(line.match[1], line.match[2], line.place)


def _bad_setting(file: str, message: str, place: Place) -> Diagnosis:
    name = re.search(r'parameter "([^"]+)"', message)
    number = re.search(r"line (\d+)", message)
    named = re.search(r'in file "([^"]+)"', message)
    file = named[1] if named else file
    if file.endswith(_AUTOMATIC):
        path = file if file.startswith("/") else f"{place.data}/{_AUTOMATIC}"
        # The name goes into a command, and the log may hold anything.
        line = (
            f"/^{name[1]} /d"
            if name and pg.NAME.match(name[1])
            else f"{number[1]}d"
            if number
            else "/^NAME /d"
        )
        fix = place.command("sed", "-i", line, path)
        remedy = f"ALTER SYSTEM, or a manual edit, wrote that line. Remove it and start the server: {fix}"
    elif file.endswith("/" + pg.NAME_OF_FILE):
        remedy = "Correct postgres_settings and deploy."
    elif file:
        remedy = f"Correct the line in {file} and start the server. Settings belong into postgres_settings."
    else:
        remedy = "Correct postgres_settings and deploy, or remove the line that ALTER SYSTEM wrote for it."
    return Diagnosis("bad_setting", f"its configuration is not valid: {message}", remedy)


def _disk(line: _Line) -> Diagnosis:
    return Diagnosis(
        "disk_full",
        f"the file system of its data (volume {line.place.volume}) is full",
        "Make room there (docker system df, df -h) or enlarge it, then start the server. Never delete files of pg_wal "
        "or of other directories of the data: without them the server is lost.",
    )


def _owner(line: _Line) -> Diagnosis:
    place = line.place
    fix = place.command("chown", "-R", place.user, place.data, user="0:0")
    return Diagnosis(
        "wrong_owner",
        f"its data has another owner or other rights than PostgreSQL needs: {line.text}",
        f"Give the data back and start the server: {fix} && {place.command('chmod', '0700', place.data)}",
    )


def _major(version: str) -> Diagnosis:
    return Diagnosis(
        "other_major",
        f"its data was made by PostgreSQL {version}, and the image has another major version",
        "Deploy an image of that version, and move the data with dump and restore or pg_upgrade.",
    )


def _incompatible(line: _Line) -> Diagnosis:
    detail = " ".join(line.after[:2])
    made = re.search(r"initialized by PostgreSQL version (\S+?),", detail)
    return _major(made[1]) if made else _damage(detail)


def _pid(line: _Line) -> Diagnosis:
    fix = line.place.command("rm", f"{line.place.data}/postmaster.pid")
    return Diagnosis(
        "pid_file",
        f"the lock file of an earlier start is in its way: {line.text}",
        f"Make sure that no other container uses the data (docker ps --filter volume={line.place.volume}). Then remove "
        f"the file and start the server: {fix}",
    )


def _in_use(line: _Line) -> Diagnosis:
    return Diagnosis(
        "data_in_use",
        "another container uses its data",
        f"Stop that one first: docker ps --filter volume={line.place.volume}",
    )


def _damage(message: str) -> Diagnosis:
    return Diagnosis(
        "data_damaged",
        f"its data is damaged or incomplete: {message.strip()}",
        "Keep a copy of the volume, then restore a backup, or remove the data of a replica and deploy it again. "
        "pg_resetwal loses data and is the last resort.",
    )


def _recovery(line: _Line) -> Diagnosis:
    fix = line.place.command("rm", f"{line.place.data}/recovery.signal")
    return Diagnosis(
        "recovery",
        f"a requested recovery is not possible: {line.text}",
        "Correct restore_command and recovery_target… of the restore. If no recovery is wanted, remove the file "
        f"recovery.signal: {fix}",
    )


_MEMORY = _stated(
    "no_memory",
    "it cannot allocate its memory",
    "Raise postgres_memory, lower shared_buffers of postgres_settings, or reserve huge pages (postgres_huge_pages) if "
    "huge_pages is on.",
)
_CERTIFICATE = _stated(
    "bad_certificate",
    "it cannot use its certificate",
    "Deploy, which writes it again; if the certificate is your own, correct postgres_tls_certificate and "
    "postgres_tls_key.",
)
_ACCESS = _stated(
    "bad_rules",
    "it cannot read its access rules",
    "Deploy, which writes them again; correct postgres_hba if it is refused.",
)
_DIVERGED = _stated(
    "diverged",
    "its data does not belong to its primary's history",
    "Remove the data of this replica and deploy it again, which copies the primary.",
)


def _refused(log: Sequence[str]) -> Diagnosis | None:
    """Return what else the image's entrypoint refuses: its last message, with the remedy in the lines below it."""
    ends = next((number for number in range(len(log) - 1, -1, -1) if not log[number].startswith("  ")), -1)
    if ends < 0 or not log[ends].startswith("aza-pg: "):
        return None
    more = " ".join(line.strip() for line in log[ends + 1 :])
    message = log[ends].partition(": ")[2].rstrip(".")
    return Diagnosis("refused", message, more or "Correct it in the inventory and deploy.")


# The first that fits a line explains it; the last line that is explained counts.
_RULES: tuple[tuple[re.Pattern[str], _Explain], ...] = tuple(
    (re.compile(pattern), explain)
    for pattern, explain in (
        (rf'{_LEVEL}could not access file "([^"]*)": No such file', _preload),
        (rf'{_LEVEL}(?:could not load library|incompatible library) "([^"]*)"', _preload),
        (rf"{_OWN}(?:.*\b(?:preloads )?the library '([^']*)'.*(?:preload|does not have).*)", _preload),
        (rf"{_OWN}a line of (\S+) keeps the server from starting: (.*)", _line_of_file),
        (rf'{_LEVEL}configuration file "([^"]*)" contains errors', _settings),
        (r"No space left on device|the file system of \S+ is full", _disk),
        (rf'{_LEVEL}(data directory "[^"]*" has (?:wrong ownership|invalid permissions).*)', _owner),
        (rf"{_OWN}(\S+ belongs to user \d+, but this server runs as user .*)", _owner),
        (rf"{_OWN}(user \d+ cannot write (?:where the data is|{paths.VOLUME}).*)", _owner),
        (rf'((?:could not open (?:file|directory) ")?{paths.VOLUME}/\S+: Permission denied)', _owner),
        (rf"{_OWN}.*holds data of PostgreSQL (\d+)", lambda line: _major(line.text)),
        (rf"{_LEVEL}database files are incompatible with server", _incompatible),
        (rf'{_LEVEL}((?:lock file|bogus data in lock file) "postmaster.pid".*)', _pid),
        (rf"{_OWN}(\S*postmaster.pid is empty.*)", _pid),
        (rf"{_OWN}another container is using", _in_use),
        (
            rf"{_LEVEL}(could not locate (?:a valid|required) checkpoint record.*)",
            lambda line: _damage(line.text),
        ),
        (rf"{_LEVEL}(incorrect checksum in control file.*)", lambda line: _damage(line.text)),
        (r'(could not open file "[^"]*pg_control": No such file.*)', lambda line: _damage(line.text)),
        (rf"{_LEVEL}(could not (?:map anonymous|create) shared memory.*)", _MEMORY),
        (rf"{_LEVEL}(huge pages not supported.*)", _MEMORY),
        (rf"{_OWN}(there are \d+ MB of memory.*)", _MEMORY),
        (
            rf"{_LEVEL}(could not load (?:server certificate|private key|root certificate|the server certificate).*|"
            r"private key file .*)",
            _CERTIFICATE,
        ),
        (rf"{_LEVEL}(could not load \S*(?:hba|ident)\S*.*)", _ACCESS),
        (
            rf"{_LEVEL}(must specify .*restore_command.*|recovery ended before configured recovery target.*|"
            r"requested recovery stop point.*)",
            _recovery,
        ),
        (
            rf"{_LEVEL}(requested timeline .*|database system identifier differs .*|highest timeline .*)",
            _DIVERGED,
        ),
        (
            rf"{_LEVEL}(.*(?:must be less than|requires \"?wal_level|invalid value for parameter|"
            r"could not create any TCP/IP sockets|insufficient parameter settings).*)",
            _one_setting,
        ),
    )
)
