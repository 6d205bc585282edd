# SPDX-License-Identifier: Apache-2.0
"""The edge to PostgreSQL: one connection over the instance's Unix socket, as its administrator, by peer.

No password is involved, so none can leak. Whatever the server holds is observed here in one query.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cache
from typing import Any, cast

from ansible_collections.aza.pg.plugins.module_utils.errors import AzaError
from ansible_collections.aza.pg.plugins.module_utils.model.facts import ServerFacts
from ansible_collections.aza.pg.plugins.module_utils.server import pinned, scram
from ansible_collections.aza.pg.plugins.module_utils.server import settings as pg

# An interrupted removal leaves a database that accepts no connections (its limit is then -2).
_DATABASES = "select datname, datallowconn and datconnlimit <> -2 from pg_database"
_TAKES_NONE = "it takes no connections"
_VERIFIERS = "select rolname, rolpassword from pg_authid where rolname = any(%s)"
# Connections that are left, those that are reserved for superusers among them.
_FREE = """
select current_setting('max_connections')::int - count(*) from pg_stat_activity
where backend_type = 'client backend'
"""
# How many databases are looked into at once where connections are plentiful; otherwise one after the other, because
# three reserved connections must suffice for all administrators of a full server.
_AT_ONCE = 4
_PLENTY = 20
# What a full server says. It may take a moment until one of the reserved connections is free again.
_FULL = ("too many clients already", "remaining connection slots are reserved")
_FULL_SECONDS: float = 10

# Linux keeps a socket's path in 108 bytes, the last of them a zero.
SOCKET_PATH_MAX = 107

# A setting that no file names any more keeps its mark ``pending_restart``, although nothing waits for one.
# ``elsewhere``: what the other files say of a setting, which is what holds once ours no longer names it.
# ``client``: what this session was started with says nothing about the server, whose files do.
_OBSERVE = """
with entries as materialized (
    select lower(name) as name, setting, sourcefile, seqno, error from pg_file_settings
), automatic as (
    select distinct on (name) name, setting from entries where sourcefile like '%%/postgresql.auto.conf'
    order by name, seqno desc
), elsewhere as (
    select distinct on (name) name, setting, sourcefile from entries
    where sourcefile not like '%%/postgresql.auto.conf' and sourcefile not like '%%/' || %(ours)s
    order by name, seqno desc
), last as (
    select distinct on (name) name, setting, sourcefile from entries order by name, seqno desc
), asked as (
    select unnest(%(names)s::text[]) as name union select name from automatic
    union select lower(split_part(unnest(setconfig), '=', 1)) from pg_db_role_setting
)
select json_build_object(
    'version', current_setting('server_version'),
    'in_recovery', pg_is_in_recovery(),
    'started', extract(epoch from pg_postmaster_start_time()),
    'config_loaded', extract(epoch from pg_conf_load_time()),
    'settings', (select json_object_agg(lower(s.name), json_build_object(
            'value', case s.source when 'client' then coalesce(l.setting, s.boot_val) else current_setting(s.name) end,
            'raw', case s.source when 'client' then coalesce(l.setting, s.boot_val) else s.setting end,
            'unit', s.unit, 'vartype', s.vartype, 'enumvals', s.enumvals, 'context', s.context, 'source', s.source,
            'file', case s.source when 'client' then l.sourcefile else s.sourcefile end,
            'pending_restart', s.pending_restart, 'default', s.boot_val,
            'elsewhere', e.setting, 'elsewhere_file', e.sourcefile, 'last_file', l.sourcefile))
        from pg_settings s left join elsewhere e on e.name = lower(s.name) left join last l on l.name = lower(s.name)
        where lower(s.name) in (select name from asked)),
    'automatic', (select coalesce(json_object_agg(name, setting), '{}') from automatic),
    'pending_restart', (select coalesce(json_agg(name order by name), '[]') from pg_settings
        where pending_restart and lower(name) not in (select name from automatic)
        and (source = 'configuration file' or lower(name) in (select name from entries))),
    'config_errors', (select coalesce(json_agg(format('%%s: %%s', coalesce(name, sourcefile), error)), '[]')
        from entries where error is not null and error <> 'setting could not be applied'),
    'hba_errors', case when pg_stat_file(current_setting('hba_file'), true) is null then '[]' else
        (select coalesce(json_agg(format('line %%s: %%s', line_number, error)), '[]')
        from pg_hba_file_rules where error is not null) end,
    'preloaded', current_setting('shared_preload_libraries')
)
"""


@cache
def driver() -> Any:
    """psycopg, None where this Python has none. Loaded when it is needed: the control node plans without it."""
    try:
        import psycopg
    except ImportError:
        return None
    return psycopg


def psycopg_version() -> str:
    return str(driver().__version__) if driver() else ""


def require_psycopg() -> None:
    if not driver():
        raise AzaError(
            "The Python of this host has no psycopg, which the toolkit speaks to PostgreSQL with. Install the "
            "distribution's package (python3-psycopg on Debian and Ubuntu 24.04 or newer), or point "
            "ansible_python_interpreter to a Python that has it.",
            reason="no_psycopg",
        )


class ServerError(Exception):
    """The server did not answer; the text is its own."""


def database_errors() -> tuple[type[Exception], ...]:
    return (ServerError, driver().Error) if driver() else (ServerError,)


def failures() -> tuple[type[Exception], ...]:
    """These, and what may go wrong around them."""
    return (AzaError, OSError, *database_errors())


def connect(
    socket_dir: str,
    user: str,
    database: str = "postgres",
    timeout: int = 3,
    statement_seconds: float = 15,
    application_name: str = "aza-pg",
    changes: bool = False,
    full_seconds: float = _FULL_SECONDS,
) -> Any:
    """A session with pinned settings (``pinned.py``). ``statement_seconds``: a server that hangs must not hang the
    toolkit. ``changes``: for DDL, of which the event triggers of extensions may have to know.

    A full server is tried again for ``full_seconds``.

    :raises ServerError: when there is no connection.
    :raises AzaError: without psycopg, or when an event trigger would run what a user has written.
    """
    require_psycopg()

    def attempt(superuser: bool) -> Any:
        return driver().connect(
            host=socket_dir,
            port=5432,
            user=user,
            dbname=database,
            connect_timeout=timeout,
            autocommit=True,
            application_name=application_name,
            client_encoding="utf8",
            options=pinned.options(superuser=superuser, changes=changes, statement_seconds=statement_seconds),
            # libpq must not look into the user's home.
            passfile="/nonexistent",
            sslmode="disable",
        )

    deadline, superuser = time.monotonic() + full_seconds, True
    while True:
        try:
            connection = attempt(superuser)
            break
        except driver().Error as error:
            message = " ".join(str(error).split())
            if superuser and pinned.is_refused(message):
                superuser = False
            elif any(words in message for words in _FULL) and time.monotonic() < deadline:
                time.sleep(0.2)
            else:
                raise ServerError(message) from None
    if changes:
        try:
            _switch_event_triggers_on(connection, database)
        except BaseException:
            connection.close()
            raise
    return connection


_EVENT_TRIGGERS = """
select e.evtname, p.oid::regprocedure::text, r.rolname, r.rolsuper
from pg_event_trigger e join pg_proc p on p.oid = e.evtfoid join pg_roles r on r.oid = p.proowner
where e.evtenabled <> 'D' order by 1
"""


def _switch_event_triggers_on(connection: Any, database: str) -> None:
    """Extensions such as TimescaleDB and pgAudit need theirs. A function that a user may replace must not run here."""
    try:
        found = connection.execute(_EVENT_TRIGGERS).fetchall()
        for trigger, function, owner, is_superuser in found:
            if not is_superuser:
                raise AzaError(
                    f"the event trigger {trigger} of database {database} calls {function} of role {owner}, which is "
                    "not a superuser, so its code would run with the administrator's rights. Give the function to a "
                    "superuser, or drop the event trigger.",
                    reason="event_trigger_of_a_user",
                )
        if found:
            connection.execute("set event_triggers = on")
    except driver().Error as error:
        raise ServerError(" ".join(str(error).split())) from None


@dataclass(frozen=True)
class Question:
    """What to ask a server. ``server`` and ``inside``: key → SQL, a scalar expression that gives JSON, asked once or
    in each of ``databases``. ``passwords``: role → what it should be; only compared, here."""

    settings: Iterable[str] = ()
    passwords: Mapping[str, str] = field(default_factory=dict)
    databases: Iterable[str] = ()
    server: Mapping[str, str] = field(default_factory=dict)
    inside: Mapping[str, str] = field(default_factory=dict)


def observe(socket_dir: str, user: str, asked: Question) -> ServerFacts:
    """Everything of the server that a plan compares: one query, and one more in each database. ``unseen``: database →
    why it could not be inspected; the others are inspected anyway."""
    try:
        with connect(socket_dir, user) as connection:
            names = {"names": [name.lower() for name in asked.settings], "ours": pg.NAME_OF_FILE}
            found = dict(connection.execute(_OBSERVE, names).fetchone()[0])
            found.update(_ask(connection, asked.server))
            verifiers = dict(connection.execute(_VERIFIERS, (list(asked.passwords),)).fetchall())
            there = dict(connection.execute(_DATABASES).fetchall())
            free = connection.execute(_FREE).fetchone()[0]
        found["settings"] = found["settings"] or {}
        # Comparing costs a millisecond a password, outside of Python's lock: on all processors, and meanwhile the
        # databases are asked.
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            matches = pool.map(
                scram.matches, [asked.passwords[role] for role in verifiers], verifiers.values()
            )
            databases = sorted(there.keys() & set(asked.databases))
            at_once = _AT_ONCE if free >= _PLENTY else 1
            reachable = [name for name in databases if there[name]]
            found["inside"], found["unseen"] = _observe_inside(socket_dir, user, asked, reachable, at_once)
            found["unseen"] |= {name: _TAKES_NONE for name in databases if not there[name]}
            found["password_matches"] = dict(zip(verifiers, matches))
    except database_errors() as error:
        raise ServerError(" ".join(str(error).split())) from None
    return cast(ServerFacts, found)


def _observe_inside(
    socket_dir: str, user: str, asked: Question, databases: Iterable[str], at_once: int
) -> tuple[dict[str, dict[str, Any]], dict[str, str]]:
    """The answers of each database, and why others have none."""
    # A name whose bytes are not text in UTF-8 is an answer that cannot be read.
    unreadable: tuple[type[Exception], ...] = (*database_errors(), UnicodeError)

    def observe_database(database: str) -> tuple[str, dict[str, Any] | str]:
        try:
            with connect(socket_dir, user, database) as connection:
                return database, _ask(connection, asked.inside)
        except unreadable as error:
            return database, " ".join(str(error).split())

    if not asked.inside:
        return {}, {}
    with ThreadPoolExecutor(at_once) as pool:
        answers = list(pool.map(observe_database, databases))
    return (
        {name: answer for name, answer in answers if not isinstance(answer, str)},
        {name: answer for name, answer in answers if isinstance(answer, str)},
    )


def _ask(connection: Any, expressions: Mapping[str, str]) -> dict[str, Any]:
    """One query for all expressions. No parameters, so that a percent sign is only that."""
    if not expressions:
        return {}
    row = connection.execute("select " + ", ".join(expressions.values())).fetchone()
    return dict(zip(expressions, row))


# What must not keep a verifier: the server's log, to which no message below PANIC then goes, whatever writes it
# (statements, durations, plans of auto_explain, pgAudit, contexts of errors), and extensions that keep statements.
_QUIET = {
    "log_min_messages": "panic",
    "log_min_error_statement": "panic",
    "pgaudit.log": "none",
    "pgaudit.role": "",
    "auto_explain.log_min_duration": "-1",
    "pg_stat_statements.track": "none",
    "pg_stat_statements.track_utility": "off",
    "pg_stat_monitor.pgsm_track": "none",
    "pg_stat_monitor.pgsm_track_utility": "off",
    "pg_qualstats.enabled": "off",
    "pg_show_plans.enable": "off",
    "plpgsql_check.tracer": "off",
    "plpgsql_check.profiler": "off",
}
# Only those that this server knows: a library refuses a name under its prefix that is not its own.
_BE_QUIET = """
select count(set_config(s.name, q.value, true)) from unnest(%s::text[], %s::text[]) q(name, value)
join pg_settings s on s.name = q.name
"""
# The verifier comes as a parameter and is put into the statement by the server: pg_stat_activity shows this text.
_SET_PASSWORD = """do $$ begin
    execute format('alter role %I password %L', current_setting('aza.role'), current_setting('aza.verifier'));
end $$"""


def set_password(connection: Any, role: str, password: str) -> None:
    """Only the verifier is sent, and nothing on the server shows even that."""
    values = {"aza.role": role, "aza.verifier": scram.make(password)}
    try:
        with connection.transaction():
            connection.execute(_BE_QUIET, (list(_QUIET), list(_QUIET.values())))
            for name, value in values.items():
                connection.execute("select set_config(%s, %s, true)", (name, value))
            connection.execute(_SET_PASSWORD)
    except driver().Error as error:
        # Its text holds the statement as well; the first line is enough.
        raise ServerError(str(error.diag.message_primary or "the connection was lost")) from None


def missing_extension_files(connection: Any) -> list[str]:
    """Extensions that this database uses and the image does not carry (any more)."""
    query = """
        select e.extname from pg_extension e left join pg_available_extensions a on a.name = e.extname
        where a.name is null order by 1"""
    return [str(row[0]) for row in connection.execute(query).fetchall()]


def extensions(connection: Any) -> list[str]:
    return [
        str(row[0]) for row in connection.execute("select extname from pg_extension order by 1").fetchall()
    ]


def follows(connection: Any) -> bool:
    """Whether a standby receives what its upstream writes."""
    row = connection.execute("select status from pg_stat_wal_receiver").fetchone()
    return bool(row) and row[0] == "streaming"


def first_write(connection: Any) -> None:
    """A transaction that must get an id and write, and that leaves nothing behind."""
    with connection.transaction():
        connection.execute(
            "create temporary table aza_first_write on commit drop as select pg_current_xact_id()"
        )


Server = Mapping[str, Any]
