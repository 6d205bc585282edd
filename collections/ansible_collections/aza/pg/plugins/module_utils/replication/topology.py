# SPDX-License-Identifier: Apache-2.0
"""The topology of a cluster: what is declared, what the servers report, and what follows for one member. Pure.

The inventory says what should be; who is the primary is asked from the servers. A deploy therefore never demotes a
server, never copies over data and never starts a second primary: it follows the live one, and says what is declared.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.aza.pg.plugins.module_utils.model.names import STANDBY_MINIMUMS
from ansible_collections.aza.pg.plugins.module_utils.model.service import File

PRIMARY, REPLICA = "primary", "replica"
# The role that standbys connect as. Its connections are no client's: PostgreSQL counts them by max_wal_senders.
REPLICATOR = "replicator"
PASSWORD = f"roles/{REPLICATOR}"
PASSFILE = "replication/passfile"
PASSFILE_PATH = "postgres/replication.pgpass"
_PASSFILE_INSIDE = "/etc/aza-pg/replication.pgpass"
_CA_INSIDE = "/etc/aza-pg/tls/ca.crt"
# What is declared in the server for it.
ROLES: tuple[Mapping[str, Any], ...] = (
    {"name": REPLICATOR, "replication": True, "comment": "the replicas of aza-pg"},
)
# How long a slot may be unused: a replica that was down for longer is copied again. There is also a limit by size
# (max_slot_wal_keep_size, tuned to the disk).
_SLOT_DAYS = 7
# A standby whose network was cut notices in a quarter of a minute, instead of in hours.
_KEEPALIVES = {"keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3, "connect_timeout": 10}


def slot_name(host: str) -> str:
    """The slot of a host, which is its application_name as well: what PostgreSQL allows of the host's name.

    >>> slot_name("DB-2.example.org")
    'db_2_example_org'
    """
    return re.sub(r"[^a-z0-9_]", "_", host.lower())[:63]


@dataclass(frozen=True)
class Member:
    """One host of a cluster as it is declared, with its facts (``host.member_facts``), None if they were not
    could look; ``error`` says why then."""

    host: str
    stack: str
    address: str
    port: int = 5432
    # Seconds.
    delay: int = 0
    upstream: str = ""
    facts: Mapping[str, Any] | None = None
    error: str = ""
    # The operator has made sure that it accepts no writes, although it is unreachable (``not_primary``).
    vouched: bool = False

    @property
    def slot(self) -> str:
        return slot_name(self.host)

    @property
    def known(self) -> bool:
        """Whether it is known what data it has, if any."""
        return self.facts is not None

    @property
    def has_data(self) -> bool:
        return bool((self.facts or {}).get("data"))

    @property
    def writes(self) -> bool:
        """Whether it is a primary that runs."""
        return bool((self.facts or {}).get("answers")) and not (self.facts or {}).get("in_recovery")

    @property
    def may_write(self) -> bool:
        """Whether its data is a primary's, running or not, or may be."""
        if not self.known:
            return not self.vouched
        facts = self.facts or {}
        return self.has_data and (self.writes if facts.get("answers") else facts.get("standby") is not True)

    @property
    def place(self) -> str:
        """How far its data has come, for a person."""
        facts = self.facts or {}
        if not facts.get("timeline") or not facts.get("lsn"):
            return "position unknown"
        return f"timeline {facts['timeline']}, {'' if facts.get('exact') else 'at least '}{facts['lsn']}"

    @property
    def why(self) -> str:
        message = self.error or str((self.facts or {}).get("error") or "")
        if message or not self.known:
            return message or "it was not checked"
        return "a standby" if (self.facts or {}).get("in_recovery") else "its server answers"


@dataclass(frozen=True)
class Role:
    """What one member is to do. ``upstream`` is None for a primary."""

    me: Member
    upstream: Member | None
    # Members that follow this one, and those of them that a commit can wait for.
    downstream: tuple[Member, ...] = ()
    candidates: tuple[Member, ...] = ()
    members: tuple[Member, ...] = ()
    synchronous: int = 0
    # What a person should know, because it is not what the inventory says.
    notes: tuple[str, ...] = field(default=())

    @property
    def standby(self) -> bool:
        return self.upstream is not None


def primary_of(members: Sequence[Member]) -> Member | None:
    """The primary, running or not. If no member has data, the declared one."""
    live = [member for member in members if member.writes]
    able = live or [member for member in members if member.known and member.may_write]
    if len(able) == 1:
        return able[0]
    if not able and all(member.known and not member.has_data for member in members):
        return next((member for member in members if member.stack == PRIMARY), None)
    return None


def role(host: str, members: Sequence[Member], synchronous: int = 0) -> Role:
    """``members``: all of the cluster. Call ``refusals`` first: here everything is known to be possible."""
    me = next(member for member in members if member.host == host)
    primary = primary_of(members) or next((it for it in members if it.stack == PRIMARY), me)
    followers = {
        member.host: _upstream(member, primary, members) for member in members if member is not primary
    }
    downstream = tuple(member for member in members if followers.get(member.host) is me)
    direct = tuple(member for member in members if followers.get(member.host) is primary and not member.delay)
    return Role(
        me,
        followers.get(host),
        downstream,
        direct,
        tuple(members),
        synchronous,
        tuple(_notes(me, primary, members)),
    )


def _upstream(member: Member, primary: Member, members: Sequence[Member]) -> Member:
    """The declared one, unless that would be itself; the primary otherwise."""
    declared = next((other for other in members if other.host == member.upstream), primary)
    return primary if declared.host == member.host else declared


def _notes(me: Member, primary: Member, members: Sequence[Member]) -> Iterator[str]:
    if primary is me and me.stack == REPLICA:
        yield (
            f"{me.host} was promoted and is the primary, but the inventory declares a replica. It remains the "
            "primary; declare "
            "postgres_stack: primary for it, and replica for the other"
        )
    if primary is not me and me.stack == PRIMARY:
        yield (
            f"the inventory says that {me.host} is the primary, and {primary.host} is: it stays what it is; declare "
            "postgres_stack: replica here, and primary there"
        )
    unknown = [member for member in members if not member.known and not member.vouched]
    if me.writes and unknown:
        which = ", ".join(f"{member.host} ({member.why})" for member in unknown)
        yield f"{me.host} is a primary, and it is unknown whether another member is one as well: {which}"


# -- what it may not have less of ----------------------------------------------------------------------


def grows(me: Member, settings: Mapping[str, Any]) -> bool:
    """Return whether a declared minimum setting of a standby is more than the running server has.

    Then a standby is deployed first: its primary may not have more at any moment.
    """
    now = (me.facts or {}).get("minimums") or {}
    return any(value > int(now.get(name, value)) for name, value in declared_minimums(settings).items())


def declared_minimums(settings: Mapping[str, Any]) -> dict[str, int]:
    """Return the declared minimum settings of a standby; other checks reject a value that is not a number."""
    found = {str(name).lower(): str(value) for name, value in settings.items()}
    return {name: int(found[name]) for name in STANDBY_MINIMUMS if found.get(name, "").isdigit()}


# -- what it means for one member --------------------------------------------------------------------


def settings(role: Role, tls: bool) -> dict[str, str]:
    """The stack's own settings for replication; a reload brings all of them."""
    result = {"idle_replication_slot_timeout": f"{_SLOT_DAYS}d"}
    if role.upstream is not None:
        result["primary_conninfo"] = conninfo(role.me, role.upstream, tls)
        result["primary_slot_name"] = role.me.slot
        if role.me.delay:
            result["recovery_min_apply_delay"] = f"{role.me.delay}s"
    elif role.synchronous:
        names = ", ".join(f'"{member.slot}"' for member in role.candidates)
        result["synchronous_standby_names"] = f"ANY {role.synchronous} ({names})"
    return result


def conninfo(me: Member, upstream: Member, tls: bool) -> str:
    """How a standby reaches the server that it follows: verified, and with no secret in it."""
    values = {
        "host": upstream.address,
        "port": upstream.port,
        "user": REPLICATOR,
        "application_name": me.slot,
        "passfile": _PASSFILE_INSIDE,
        "sslmode": "verify-full" if tls else "disable",
        **({"sslrootcert": _CA_INSIDE} if tls else {}),
        **_KEEPALIVES,
    }
    return " ".join(f"{name}={value}" for name, value in values.items())


def files(role: Role) -> list[File]:
    return [File(PASSFILE_PATH, 0o400, owner="postgres", secret=PASSFILE)] if role.standby else []


def password_of(passfile: str) -> str:
    """Return the password in the passfile of a standby; empty if there is none."""
    fields = re.split(r"(?<!\\)(?:\\\\)*:", passfile.rstrip("\n"), maxsplit=4)
    return re.sub(r"\\(.)", r"\1", fields[4]) if len(fields) == 5 else ""
