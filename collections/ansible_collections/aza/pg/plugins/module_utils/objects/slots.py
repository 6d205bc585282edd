# SPDX-License-Identifier: Apache-2.0
"""Replication slots: a physical one for each member that follows this server, which may itself be a standby. Logical
ones belong to applications: a check names them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.aza.pg.plugins.module_utils.model.desired import Desired
from ansible_collections.aza.pg.plugins.module_utils.model.observed import Observed
from ansible_collections.aza.pg.plugins.module_utils.objects.kind import Facts, Kind, Undeclared
from ansible_collections.aza.pg.plugins.module_utils.planning.change import Change, Detail

NAME = "slot"
# What a slot keeps is counted from what this server itself has: written, or on a standby replayed.
_OBSERVE = """(
    select coalesce(json_object_agg(s.slot_name, json_build_object(
        'active', s.active, 'wal_status', s.wal_status, 'database', s.database, 'plugin', s.plugin,
        'retained', pg_wal_lsn_diff(
            case when pg_is_in_recovery() then pg_last_wal_replay_lsn() else pg_current_wal_lsn() end,
            s.restart_lsn))), '{{}}')
    from pg_replication_slots s where s.slot_type = '{kind}' and not s.temporary and not s.synced)"""


def _wanted(wanted: Desired) -> list[str]:
    return list(wanted.objects.get("slots") or ())


def _plan(wanted: Desired, found: Observed) -> Iterator[Change]:
    there = found.answers["slots"]
    for name in _wanted(wanted):
        if name not in there:
            yield Change(NAME, name, "create", effect="sql", why="a replica streams from this server")
        elif there[name]["wal_status"] == "lost" and not there[name]["active"]:
            yield Change(
                NAME,
                name,
                "recreate",
                effect="sql",
                why="the server invalidated it: it keeps no WAL, and no standby can use it",
            )
    # No one declares that there is none: the name of what may be lost is the declaration.
    losses = wanted.objects.get("allow_loss") or ()
    logical = found.answers.get("logical_slots") or {}
    there = {**there, **logical}
    for name in sorted(set(there) - set(_wanted(wanted)) | set(logical)):
        if f"{NAME} {name}" in losses:
            yield Change(
                NAME,
                name,
                "drop",
                effect="data",
                why="no member uses it",
                risk=f"its consumer misses changes of {there[name]['database']}"
                if name in logical
                else "the standby that used it may have to be copied again",
                awaits="the end of its use" if there[name]["active"] else "",
                detail=SlotDetail(there[name].get("database") or "postgres"),
            )


@dataclass(frozen=True)
class SlotDetail(Detail):
    """``database``: where a slot that is dropped has to be dropped."""

    database: str


def _apply(context: Any, change: Change) -> None:
    name = (change.name,)
    if change.action != "create":
        # A logical slot can only be dropped in its own database.
        database = change.detail_as(SlotDetail).database if change.action == "drop" else "postgres"
        context.sql(database).execute("select pg_drop_replication_slot(%s)", name)
    if change.action != "drop":
        # Reserved at once: what the member has not yet received stays.
        context.sql().execute("select pg_create_physical_replication_slot(%s, true)", name)


def _simulate(_: Desired, server: Facts, change: Change) -> Facts:
    physical, logical = (
        {name: slot for name, slot in (server.get(key) or {}).items() if name != change.name}
        for key in ("slots", "logical_slots")
    )
    if change.action != "drop":
        physical[change.name] = {
            "active": False,
            "wal_status": "reserved",
            "database": None,
            "plugin": None,
            "retained": 0,
        }
    return {**server, "slots": physical, "logical_slots": logical}


def _problems(wanted: Desired, found: Observed) -> Iterator[str]:
    logical = found.answers.get("logical_slots") or {}
    for name in sorted(set(_wanted(wanted)).intersection(logical)):
        yield (
            f"slot {name}: a member of the cluster needs a slot of this name, and there is a logical one of the "
            f"database {logical[name]['database']}; drop that, or give the member another name"
        )


def _undeclared(wanted: Desired, found: Observed) -> Iterator[Undeclared]:
    physical: Mapping[str, Any] = found.answers["slots"]
    logical: Mapping[str, Any] = found.answers.get("logical_slots") or {}
    for name in sorted(set(physical) - set(_wanted(wanted)) | set(logical)):
        now = logical.get(name) or physical[name]
        state = "in use" if now["active"] else "not in use"
        kept = f"keeps {int(now['retained'] or 0) // 2**20} MB of WAL"
        remedy = (
            f'drop it with postgres_allow_loss: ["{NAME} {name}"]' if not now["active"] else "see who uses it"
        )
        whose = (
            f"logical, of {now['database']} by {now['plugin']}" if name in logical else "no member uses it"
        )
        yield Undeclared("slots", "yellow", f"{NAME} {name}", f"{state}, {kept}; {whose}", remedy)


KIND = Kind(
    NAME,
    _plan,
    apply=_apply,
    simulate=_simulate,
    server={
        "slots": _OBSERVE.format(kind="physical"),
        "logical_slots": _OBSERVE.format(kind="logical"),
    },
    fresh=lambda _: {"slots": {}, "logical_slots": {}},
    problems=_problems,
    undeclared=_undeclared,
    on_standby=True,
)
