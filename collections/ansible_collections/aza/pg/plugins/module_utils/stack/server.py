# SPDX-License-Identifier: Apache-2.0
"""The edge to PostgreSQL: one connection over the instance's Unix socket, as its administrator, by peer.

No password is involved, so none can leak. Whatever the server holds is observed here in one query.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from ansible_collections.aza.pg.plugins.module_utils.errors import AzaError
from ansible_collections.aza.pg.plugins.module_utils.stack import scram
from ansible_collections.aza.pg.plugins.module_utils.stack import settings as pg

# A removal that was cut off leaves a database behind that nobody can connect to (its limit is then -2).
_REACHABLE = "select datname from pg_database where datallowconn and datconnlimit <> -2"
_VERIFIERS = "select rolname, rolpassword from pg_authid where rolname = any(%s)"
# How many databases are looked into at once: a few are enough, and a server has only so many connections.
_AT_ONCE = 4

# Linux keeps a socket's path in 108 bytes, the last of them a zero.
SOCKET_PATH_MAX = 107

# A setting that no file names any more keeps its mark ``pending_restart``, although nothing waits for one.
# ``elsewhere``: what the other files say of a setting, which is what holds once ours no longer names it.
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
    select distinct on (name) name, sourcefile from entries order by name, seqno desc
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
            'value', current_setting(s.name), 'raw', s.setting, 'unit', s.unit, 'vartype', s.vartype,
            'enumvals', s.enumvals, 'context', s.context, 'source', s.source, 'file', s.sourcefile,
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
    statement_seconds: int = 15,
    application_name: str = "aza-pg",
) -> Any:
    """``statement_seconds``: a server that hangs must not hang the toolkit; 0 for what may take its time."""
    require_psycopg()
    try:
        return driver().connect(
            host=socket_dir,
            port=5432,
            user=user,
            dbname=database,
            connect_timeout=timeout,
            autocommit=True,
            application_name=application_name,
            # Our questions are small and their plans large: compiling them would take longer than answering.
            options=f"-c statement_timeout={statement_seconds}s -c lock_timeout=5s -c jit=off",
            # libpq must not look into the user's home.
            passfile="/nonexistent",
            sslmode="disable",
        )
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


def observe(socket_dir: str, user: str, asked: Question) -> dict[str, Any]:
    """Everything of the server that a plan compares: one query, and one more in each database."""
    try:
        with connect(socket_dir, user) as connection:
            names = {"names": [name.lower() for name in asked.settings], "ours": pg.NAME_OF_FILE}
            found = dict(connection.execute(_OBSERVE, names).fetchone()[0])
            found.update(_ask(connection, asked.server))
            verifiers = dict(connection.execute(_VERIFIERS, (list(asked.passwords),)).fetchall())
            there = {row[0] for row in connection.execute(_REACHABLE).fetchall()}
        found["settings"] = found["settings"] or {}
        # Comparing costs a millisecond a password, outside of Python's lock: on all processors, and meanwhile the
        # databases are asked.
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            matches = pool.map(
                scram.matches, [asked.passwords[role] for role in verifiers], verifiers.values()
            )
            found["inside"] = _look_inside(
                socket_dir, user, asked, sorted(there.intersection(asked.databases))
            )
            found["password_matches"] = dict(zip(verifiers, matches))
    except database_errors() as error:
        raise ServerError(" ".join(str(error).split())) from None
    return found


def _look_inside(
    socket_dir: str, user: str, asked: Question, databases: Iterable[str]
) -> dict[str, dict[str, Any]]:
    def look(database: str) -> tuple[str, dict[str, Any]]:
        with connect(socket_dir, user, database) as connection:
            return database, _ask(connection, asked.inside)

    if not asked.inside:
        return {}
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return dict(pool.map(look, databases))


def _ask(connection: Any, expressions: Mapping[str, str]) -> dict[str, Any]:
    """One query for all expressions. No parameters, so that a percent sign is only that."""
    if not expressions:
        return {}
    row = connection.execute("select " + ", ".join(expressions.values())).fetchone()
    return dict(zip(expressions, row))


# What must not keep a verifier: logs, statistics, and the error that a refused one makes.
_QUIET = {
    "log_statement": "none",
    "log_min_duration_statement": "-1",
    "log_min_duration_sample": "-1",
    "log_transaction_sample_rate": "0",
    "log_error_verbosity": "terse",
    "pgaudit.log": "none",
    "pg_stat_statements.track_utility": "off",
    "pg_stat_monitor.pgsm_track_utility": "off",
}
# The verifier comes as a parameter and is put into the statement by the server: pg_stat_activity shows this text.
_SET_PASSWORD = """do $$ begin
    execute format('alter role %I password %L', current_setting('aza.role'), current_setting('aza.verifier'));
end $$"""


def set_password(connection: Any, role: str, password: str) -> None:
    """Only the verifier is sent, and nothing on the server shows even that."""
    values = {**_QUIET, "aza.role": role, "aza.verifier": scram.make(password)}
    try:
        with connection.transaction():
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
