# SPDX-License-Identifier: Apache-2.0
"""The edge to one member of a cluster: what it says about replication, and the row that proves that it arrives.

Reading takes a member of pg_monitor; only the row on the primary needs the administrator.
"""

from __future__ import annotations

import os
import re
import time
from typing import Any

from ansible_collections.aza.pg.plugins.module_utils.model.names import STANDBY_MINIMUMS
from ansible_collections.aza.pg.plugins.module_utils.server import connection as server
from ansible_collections.aza.pg.plugins.module_utils.server import own_schema

_POLL_SECONDS = 0.05

# Settings in the facts in addition to the minimums of a standby. ``pg_settings`` has plain numbers, each with its unit.
_SETTINGS = (
    "max_slot_wal_keep_size",
    "recovery_min_apply_delay",
    "synchronous_commit",
    "synchronous_standby_names",
)

# ``here``: up to where this server has WAL to give; a standby gives what it has received.
_FACTS = """
with here as (
    select case when pg_is_in_recovery() then greatest(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn())
                else pg_current_wal_lsn() end as lsn,
           case when pg_is_in_recovery() then pg_last_wal_replay_lsn() else pg_current_wal_lsn() end as reached
), senders as (
    select r.application_name, s.slot_name, r.client_addr, r.state, r.sync_state,
        r.sent_lsn, r.write_lsn, r.flush_lsn, r.replay_lsn,
        here.lsn - r.replay_lsn as lag_bytes, here.lsn - r.flush_lsn as receive_lag_bytes,
        extract(epoch from r.replay_lag) as lag_seconds, t.ssl as tls, t.version as tls_version
    from here, pg_stat_replication r
    left join pg_stat_ssl t using (pid) left join pg_replication_slots s on s.active_pid = r.pid
), slots as (
    select slot_name as name, slot_type as type, temporary, active, wal_status, safe_wal_size as safe_bytes,
        invalidation_reason, here.lsn - restart_lsn as retained_bytes
    from here, pg_replication_slots
), receiver as (
    select status, slot_name, sender_host, sender_port, received_tli as timeline, conninfo from pg_stat_wal_receiver
), settings as (
    select name, case vartype when 'integer' then to_json(setting::bigint * case unit
            when 'MB' then case when setting = '-1' then 1 else 1048576 end else 1 end)
        when 'real' then to_json(setting::float8) else to_json(setting) end as value
    from pg_settings where name = any(%(settings)s)
)
select json_build_object(
    'version', current_setting('server_version'),
    'in_recovery', pg_is_in_recovery(),
    'system_identifier', (select system_identifier::text from pg_control_system()),
    'timeline', case when pg_is_in_recovery()
        then coalesce((select timeline from receiver), (select timeline_id from pg_control_checkpoint()))
        else ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::int end,
    'lsn', here.reached,
    'receive_lsn', pg_last_wal_receive_lsn(),
    'replay_lsn', pg_last_wal_replay_lsn(),
    'replay_bytes', case when pg_is_in_recovery() then here.lsn - here.reached end,
    'replay_seconds', case when pg_is_in_recovery() then case when here.lsn = here.reached then 0
        else extract(epoch from clock_timestamp() - pg_last_xact_replay_timestamp()) end end,
    'replay_paused', case when pg_is_in_recovery() then pg_is_wal_replay_paused() end,
    'senders', (select coalesce(json_agg(senders order by application_name), '[]') from senders),
    'receiver', (select to_json(receiver) from receiver),
    'slots', (select coalesce(json_agg(slots order by name), '[]') from slots),
    'settings', (select json_object_agg(name, value) from settings)
) from here
"""

_TRUST = f"select {own_schema.OBSERVE}, {own_schema.SENTINEL_OBSERVE}"
# No one can change the table between its examination and the row: a trigger needs a stronger lock.
_HOLD = f"lock table {own_schema.SENTINEL} in row exclusive mode"
_MAKE_SCHEMA = f"""
create schema {own_schema.SCHEMA};
comment on schema {own_schema.SCHEMA} is 'aza-pg: what its checks write';
"""
# One row for ever: a second one cannot be.
_MAKE_TABLE = f"""
create table {own_schema.SENTINEL} (
    one boolean primary key default true check (one), token text not null, at timestamptz not null, lsn pg_lsn not null
);
comment on table {own_schema.SENTINEL} is
    'aza-pg: the row that a check writes on the primary and looks for on each replica';
grant usage on schema {own_schema.SCHEMA} to pg_monitor;
grant select on {own_schema.SENTINEL} to pg_monitor;
"""
_WRITE = """
insert into aza_pg.sentinel as s (token, at, lsn) values (%s, clock_timestamp(), pg_current_wal_insert_lsn())
on conflict (one) do update set token = excluded.token, at = excluded.at, lsn = excluded.lsn
returning extract(epoch from s.at)::float8, s.lsn::text
"""
_READ = "select extract(epoch from clock_timestamp() - at)::float8 from aza_pg.sentinel where token = %s"


def observe(
    socket_dir: str, user: str, token: str = "", timeout: float = 5, delay: float = 0, data_path: str = ""
) -> tuple[dict[str, Any], bool]:
    """The facts of the member behind the socket, and whether the sentinel's table had to be made.

    The row comes first: what a standby says afterwards is not older than it.
    """
    try:
        with server.connect(socket_dir, user, application_name="aza-pg check") as connection:
            # A standby may be promoted meanwhile; it is reported as it was at the beginning.
            standby = connection.execute("select pg_is_in_recovery()").fetchone()[0]
            sentinel, made = None, False
            if token and standby:
                sentinel = _wait(connection, token, timeout, delay)
            elif token:
                sentinel, made = _write(connection, token)
            facts = dict(
                connection.execute(_FACTS, {"settings": [*STANDBY_MINIMUMS, *_SETTINGS]}).fetchone()[0]
            )
    except server.database_errors() as error:
        raise server.ServerError(" ".join(str(error).split())) from None
    settings = facts["settings"] or {}
    if "recovery_min_apply_delay" in settings:
        settings["recovery_min_apply_delay"] /= 1000  # from PostgreSQL's milliseconds
    if facts["receiver"]:
        facts["receiver"]["conninfo"] = without_password(facts["receiver"]["conninfo"] or "")
    return {**facts, "settings": settings, "sentinel": sentinel, "disk_free": disk_free(data_path)}, made


def _write(connection: Any, token: str) -> tuple[dict[str, Any], bool]:
    try:
        with connection.transaction():
            schema, table = connection.execute(_TRUST).fetchone()
            if table and not own_schema.distrust_table(table):
                connection.execute(_HOLD)
                schema, table = connection.execute(_TRUST).fetchone()
            if untrusted := own_schema.distrust(schema) or own_schema.distrust_table(table):
                return {"written": False, "untrusted": untrusted}, False
            if not schema:
                connection.execute(_MAKE_SCHEMA)
            if not table:
                connection.execute(_MAKE_TABLE)
            at, position = connection.execute(_WRITE, (token,)).fetchone()
    except server.database_errors() as error:
        return {"written": False, "error": " ".join(str(error).split())}, False
    return {"written": True, "at": at, "lsn": position}, not table


def _wait(connection: Any, token: str, timeout: float, delay: float) -> dict[str, Any]:
    """Look until the row is here. ``age``: seconds since it was written, by the clocks of both hosts; unknown where the
    row was here at the first look, because its arrival was not observed."""
    if delay:
        return {"seen": False, "skipped": f"it is delayed by {delay:g} s on purpose"}
    start, first = time.monotonic(), True
    while True:
        # A view in the place of the table would run its owner's code, and one that is missing an error in the log.
        schema, table = connection.execute(_TRUST).fetchone()
        trusted = table and not (own_schema.distrust(schema) or own_schema.distrust_table(table))
        row = connection.execute(_READ, (token,)).fetchone() if trusted else None
        waited = time.monotonic() - start
        if row:
            return {"seen": True, "age": None if first else row[0], "seconds": round(waited, 3)}
        first = False
        paused = connection.execute("select pg_is_in_recovery() and pg_is_wal_replay_paused()").fetchone()[0]
        if waited >= timeout or paused:
            return {"seen": False, "seconds": round(waited, 3), "until": time.time()}
        time.sleep(_POLL_SECONDS)


def without_password(conninfo: str) -> str:
    """PostgreSQL shows asterisks for it; nothing at all is better still.

    >>> without_password("user=replicator password=******** host=db1 sslpassword='a b'")
    'user=replicator host=db1'
    """
    return re.sub(r"\s*\b(ssl)?password\s*=\s*('(\\.|[^'\\])*'|\S*)", "", conninfo).strip()


def disk_free(path: str) -> int | None:
    """What an ordinary process may still write there; None where the path is not visible."""
    try:
        found = os.statvfs(path) if path else None
    except OSError:
        return None
    return found.f_bavail * found.f_frsize if found else None
