# SPDX-License-Identifier: Apache-2.0
"""What people do to a server behind the inventory's back, drawn at random, each with what a check has to say of it.

Pure: the same seed gives the same edits. ``DECLARED`` is the inventory that they are done to.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

DECLARED: dict[str, Any] = {
    "roles": [
        {"name": "team", "login": False},
        {"name": "shop"},
        {"name": "app", "member_of": ["team"], "connection_limit": 20},
        {"name": "reader", "settings": {"statement_timeout": "30s"}},
        {"name": "spare_a"},
        {"name": "spare_b", "createdb": True},
        {"name": "spare_c", "comment": "kept for later"},
    ],
    "databases": [
        {
            "name": "shop",
            "owner": "shop",
            "connection_limit": 50,
            "settings": {"work_mem": "12MB"},
            "extensions": ["hstore", "citext"],
            "schemas": ["api", {"name": "audit", "owner": "app"}],
            "access": {"read_write": ["app"], "read_only": ["reader"]},
        },
        {"name": "stock", "owner": "app", "comment": "what is in the house"},
    ],
    "hba": [{"type": "host", "databases": ["shop"], "roles": ["shop", "app"], "addresses": ["10.0.0.0/8"]}],
}
SETTINGS = {
    "work_mem": "8MB",
    "log_min_duration_statement": "500ms",
    # Without these there are no logical slots and no prepared transactions.
    "wal_level": "logical",
    "max_prepared_transactions": "5",
}


@dataclass(frozen=True)
class Edit:
    """``touches``: what two edits of one round must not both do. ``sql``: database and statement, in order.
    ``file``: what is done to which file, and how. ``engine``: what the engine is told. ``state`` and ``words``: a
    finding of this severity that has all of these words must be there. ``absent``: what a repair has to declare, since
    nothing undeclared is removed on its own. ``undo``: what a user has to type, where nothing can be declared.
    """

    touches: str
    state: str
    words: tuple[str, ...]
    sql: tuple[tuple[str, str], ...] = ()
    file: tuple[str, str, str] | None = None
    engine: str = ""
    absent: tuple[str, str] | None = None
    undo: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        done = "; ".join(f"{database}: {statement}" for database, statement in self.sql)
        return done or self.engine or " ".join(self.file or ())


@dataclass
class Draw:
    """The dice, and a number for names that nothing else has."""

    dice: random.Random
    number: int = field(default=0)

    def one(self, *of: Any) -> Any:
        return self.dice.choice(of)

    def name(self, prefix: str) -> str:
        self.number += 1
        return f"{prefix}_{self.number}"


def _alter_system(draw: Draw) -> Edit:
    name, value = draw.one(
        ("work_mem", "64MB"),
        ("log_min_duration_statement", "0"),
        ("maintenance_work_mem", "99MB"),
        ("autovacuum_naptime", "3min"),
        ("statement_timeout", "1h"),
        ("random_page_cost", "7.5"),
        ("max_connections", "321"),
    )
    return Edit(f"setting {name}", "red", (name,), (("postgres", f"alter system set {name} = '{value}'"),))


def _stray_role(draw: Draw) -> Edit:
    name = draw.name("stray")
    options, state = draw.one(
        ("superuser login", "red"), ("login", "yellow"), ("nologin createrole", "yellow")
    )
    sql = (("postgres", f"create role {name} {options}"),)
    return Edit(f"role {name}", state, (f"role {name}",), sql, absent=("roles", name))


def _drop_role(draw: Draw) -> Edit:
    name = draw.one("spare_a", "spare_b", "spare_c")
    return Edit(f"role {name}", "red", (f"create role {name}",), (("postgres", f"drop role {name}"),))


def _alter_role(draw: Draw) -> Edit:
    name = draw.one("shop", "app", "reader", "team", "spare_a", "spare_b", "spare_c")
    change = draw.one(
        "superuser",
        "createrole",
        "replication",
        "bypassrls",
        "connection limit 3",
        "valid until '2031-01-01'",
        "set work_mem = '1MB'",
        "password 'somebody else knows it'" if name != "team" else "login",
    )
    return Edit(f"role {name}", "red", (f"role {name}",), (("postgres", f"alter role {name} {change}"),))


def _administrator(draw: Draw) -> Edit:
    sql = (("postgres", "alter role postgres password 'somebody was here'"),)
    return Edit("role postgres", "red", ("password", "role postgres"), sql)


def _membership(draw: Draw) -> Edit:
    if draw.one(True, False):
        return Edit("team app", "red", ("membership", "app", "team"), (("postgres", "revoke team from app"),))
    group, member = draw.one("team", "pg_read_all_data", "pg_write_all_data"), draw.one("reader", "shop")
    sql = (("postgres", f"grant {group} to {member}"),)
    return Edit(f"{group} {member}", "red", ("membership", group, member), sql)


def _alter_database(draw: Draw) -> Edit:
    name = draw.one("shop", "stock")
    statement = draw.one(
        f"alter database {name} owner to postgres",
        f"alter database {name} connection limit 2",
        f"alter database {name} set work_mem = '2MB'",
        f"comment on database {name} is 'mine now'",
    )
    return Edit(f"database {name}", "red", (f"database {name}",), (("postgres", statement),))


def _stray_database(draw: Draw) -> Edit:
    name = draw.name("stray")
    sql = (("postgres", f"create database {name}"),)
    return Edit(f"database {name}", "yellow", (f"database {name}",), sql, absent=("databases", name))


def _drop_extension(draw: Draw) -> Edit:
    name = draw.one("hstore", "citext")
    sql = (("shop", f"drop extension {name}"),)
    return Edit(f"extension {name}", "red", (f"create extension shop.{name}",), sql)


def _stray_extension(draw: Draw) -> Edit:
    name = draw.one("pg_trgm", "fuzzystrmatch", "intarray", "tablefunc", "cube", "ltree")
    sql = (("shop", f"create extension {name}"),)
    return Edit(f"extension {name}", "yellow", (f"extension shop.{name}",), sql, absent=("extensions", name))


def _stray_schema(draw: Draw) -> Edit:
    name = draw.name("stray")
    sql = (("shop", f"create schema {name}"),)
    return Edit(f"schema {name}", "yellow", (f"schema shop.{name}",), sql, absent=("schemas", name))


def _schema(draw: Draw) -> Edit:
    name = draw.one("api", "audit")
    statement = draw.one(f"drop schema {name}", f"alter schema {name} owner to team")
    return Edit(f"schema {name}", "red", (f"schema shop.{name}",), (("shop", statement),))


def _grant(draw: Draw) -> Edit:
    role, statement = draw.one(
        ("app", "revoke usage on schema api from app"),
        ("reader", "revoke connect on database shop from reader"),
        ("reader", "grant create on schema public to reader"),
        ("reader", "alter default privileges for role shop grant delete on tables to reader"),
    )
    # Not beside an edit of the schema that it is about.
    return Edit(
        f"schema {'api' if 'api' in statement else role}",
        "red",
        ("access", f"shop.{role}"),
        (("shop", statement),),
    )


def _hba(draw: Draw) -> Edit:
    how, text = draw.one(
        ("append", "host all all 0.0.0.0/0 trust\n"),
        ("append", "# a word of somebody\n"),
        ("cut", "10.0.0.0/8"),
        ("remove", ""),
    )
    words = next((word for word in ("trust", "10.0.0.0/8") if word in text), "hba")
    return Edit("pg_hba.conf", "red", ("hba", words), file=(how, "postgres/pg_hba.conf", text))


def _file(draw: Draw) -> Edit:
    how, path, text = draw.one(
        ("append", "compose.yml", "# edited\n"),
        ("cut", "compose.yml", "mem_limit"),
        ("remove", "compose.yml", ""),
        ("append", "postgres/pg_ident.conf", "aza  nobody  postgres\n"),
        ("append", "postgres/conf.d/50-inventory.conf", "deadlock_timeout = '9s'\n"),
        ("write", "postgres/conf.d/99-mine.conf", "work_mem = '1MB'\n"),
    )
    words = next((word for word in ("deadlock_timeout", "nobody") if word in text), path)
    return Edit(path, "red", (words,), file=(how, path, text))


def _mode(draw: Draw) -> Edit:
    path, mode = draw.one(
        ("secrets", "755"),
        ("secrets/postgres_password", "644"),
        ("compose.yml", "666"),
        ("postgres/pg_ident.conf", "600"),
        ("postgres/conf.d", "777"),
    )
    return Edit(path, "red", ("set rights of", path), file=("mode", path, mode))


def _container(draw: Draw) -> Edit:
    which = draw.one("container", "exporter")
    command, words = draw.one(
        ("update --memory 700m --memory-swap 1400m", "memory limit is 700 MB"),
        ("update --memory-reservation 100m", "memory reservation"),
        ("update --cpu-shares 512", "processor shares is 512"),
        ("update --restart no", "restart policy is no"),
        ("update --pids-limit 900", "process limit is 900"),
        ("network connect bridge", "networks is"),
    )
    # compose.yml is written when the server's container is replaced, so that an edit of it is no change of its own.
    touches = "compose.yml" if which == "container" else which
    return Edit(touches, "red", (f"recreate container {{{which}}}", words), engine=f"{command} {{{which}}}")


# -- what no one can declare -----------------------------------------------------------------------


def _predefined(draw: Draw) -> Edit:
    group, member, state = draw.one(
        ("postgres", "pg_read_all_stats", "red"),
        ("pg_execute_server_program", "pg_monitor", "red"),
        ("pg_read_all_data", "pg_signal_backend", "yellow"),
    )
    words = ("membership", f"{member} in {group}")
    undo = (("postgres", f"revoke {group} from {member}"),)
    return Edit(f"role {member}", state, words, (("postgres", f"grant {group} to {member}"),), undo=undo)


def _session_settings(draw: Draw) -> Edit:
    target, what = draw.one(
        ("all", "role ALL"),
        ("reader in database shop", "role reader in database shop"),
        ("all in database postgres", "role ALL in database postgres"),
    )
    sql = (("postgres", f"alter role {target} set effective_cache_size = '3GB'"),)
    undo = (("postgres", f"alter role {target} reset effective_cache_size"),)
    return Edit(
        f"settings {target}", "yellow", (f"settings of {what}", "effective_cache_size"), sql, undo=undo
    )


def _parameter(draw: Draw) -> Edit:
    privilege, name, state = draw.one(
        ("set", "log_statement", "yellow"),
        ("alter system", "archive_command", "red"),
        ("set", "session_preload_libraries", "red"),
    )
    sql = (("postgres", f"grant {privilege} on parameter {name} to public"),)
    undo = (("postgres", f"revoke all on parameter {name} from public"),)
    return Edit(f"parameter {name}", state, (f"privileges on parameter {name}",), sql, undo=undo)


def _tablespace(draw: Draw) -> Edit:
    name = draw.name("space")
    sql = (
        ("postgres", "set allow_in_place_tablespaces = on"),
        ("postgres", f"create tablespace {name} location ''"),
    )
    undo = (("postgres", f"drop tablespace {name}"),)
    return Edit(f"tablespace {name}", "yellow", (f"tablespace {name}",), sql, undo=undo)


def _subscription(draw: Draw) -> Edit:
    name = draw.name("subscription")
    option, state = draw.one(("", "yellow"), (", run_as_owner = true", "red"))
    made = (
        f"create subscription {name} connection 'host=nowhere' publication p with (connect = false{option})"
    )
    undo = (
        ("stock", f"alter subscription {name} set (slot_name = none)"),
        ("stock", f"drop subscription {name}"),
    )
    return Edit(f"subscription {name}", state, (f"subscription {name}",), (("stock", made),), undo=undo)


def _publication(draw: Draw) -> Edit:
    name = draw.name("publication")
    sql = (("stock", f"create publication {name} for all tables"),)
    undo = (("stock", f"drop publication {name}"),)
    return Edit(f"publication {name}", "yellow", (f"publication stock.{name}",), sql, undo=undo)


def _event_trigger(draw: Draw) -> Edit:
    name = draw.name("watch")
    sql = (
        ("stock", f"create function {name}() returns event_trigger language plpgsql as 'begin end'"),
        ("stock", f"create event trigger {name} on ddl_command_end execute function {name}()"),
    )
    undo = (("stock", f"drop event trigger {name}"), ("stock", f"drop function {name}()"))
    return Edit(f"event trigger {name}", "yellow", (f"event trigger stock.{name}",), sql, undo=undo)


def _foreign_server(draw: Draw) -> Edit:
    name = draw.name("elsewhere")
    sql = (
        ("stock", f"create foreign data wrapper {name}"),
        ("stock", f"create server {name} foreign data wrapper {name}"),
    )
    undo = (("stock", f"drop foreign data wrapper {name} cascade"),)
    return Edit(f"foreign server {name}", "yellow", (f"foreign server stock.{name}",), sql, undo=undo)


def _language(draw: Draw) -> Edit:
    if draw.one(True, False):
        mark = "update pg_language set lanpltrusted = {} where lanname = 'c'"
        undo = (("stock", mark.format("false")),)
        return Edit("language c", "red", ("language stock.c",), (("stock", mark.format("true")),), undo=undo)
    name = draw.name("pl")
    sql = (("stock", f"create language {name} handler plpgsql_call_handler"),)
    undo = (("stock", f"drop language {name}"),)
    return Edit(f"language {name}", "yellow", (f"language stock.{name}",), sql, undo=undo)


def _function(draw: Draw) -> Edit:
    name = draw.name("f")
    options, state = draw.one(
        ("security definer", "red"), ("security definer set search_path = pg_catalog", "yellow")
    )
    sql = (("stock", f"create function {name}() returns int language sql {options} return 1"),)
    undo = (("stock", f"drop function {name}()"),)
    return Edit(f"function {name}", state, (f"function stock.public.{name}()",), sql, undo=undo)


def _large_object(draw: Draw) -> Edit:
    name = 4700 + int(draw.name("x").partition("_")[2])
    sql = (
        ("stock", f"select lo_create({name})"),
        ("stock", f"grant select on large object {name} to public"),
    )
    undo = (("stock", f"select lo_unlink({name})"),)
    return Edit(f"large object {name}", "yellow", (f"large object stock.{name}",), sql, undo=undo)


def _logical_slot(draw: Draw) -> Edit:
    name = draw.name("slot")
    sql = (("stock", f"select pg_create_logical_replication_slot('{name}', 'pgoutput')"),)
    undo = (("stock", f"select pg_drop_replication_slot('{name}')"),)
    # A prepared transaction keeps a logical slot from being made: they do not meet.
    return Edit("transactions", "yellow", (f"slot {name}", "logical, of stock"), sql, undo=undo)


def _prepared(draw: Draw) -> Edit:
    name = draw.name("prepared")
    sql = (("postgres", f"begin; select pg_current_xact_id(); prepare transaction '{name}'"),)
    undo = (("postgres", f"rollback prepared '{name}'"),)
    return Edit("transactions", "yellow", (f"prepared transaction {name}",), sql, undo=undo)


def _template(draw: Draw) -> Edit:
    name = draw.one("shop", "stock")
    sql = (("postgres", f"alter database {name} is_template true"),)
    return Edit(f"database {name}", "red", (f"database {name}", "a template"), sql)


def _configuration(draw: Draw) -> Edit:
    name, value = draw.one(("jit_above_cost", "7"), ("cursor_tuple_fraction", "0.2"), ("geqo_threshold", "9"))
    file = "$PGDATA/postgresql.conf"
    sql = (("postgres", f"copy (select '{name} = {value}') to program 'cat >>{file}'"),)
    undo = (("postgres", f"copy (select 1) to program 'cat >/dev/null; sed -i /^{name}/d {file}'"),)
    return Edit(
        f"configuration {name}", "yellow", (f"setting {name}", "postgresql.conf line"), sql, undo=undo
    )


# Of what no one can declare, a deploy repairs nothing.
UNMANAGED: tuple[Callable[[Draw], Edit], ...] = (
    _predefined,
    _session_settings,
    _parameter,
    _tablespace,
    _subscription,
    _publication,
    _event_trigger,
    _foreign_server,
    _language,
    _function,
    _large_object,
    _logical_slot,
    _prepared,
    _configuration,
)

EDITS: tuple[Callable[[Draw], Edit], ...] = (
    _alter_system,
    _stray_role,
    _drop_role,
    _alter_role,
    _administrator,
    _membership,
    _alter_database,
    _stray_database,
    _drop_extension,
    _stray_extension,
    _stray_schema,
    _schema,
    _grant,
    _hba,
    _file,
    _mode,
    _container,
    _template,
    *UNMANAGED,
)


def rounds(
    seed: int, number: int = 10, size: int = 10, kinds: tuple[Callable[[Draw], Edit], ...] = EDITS
) -> Iterator[list[Edit]]:
    """``number`` rounds of ``size`` edits that do not meet. Every kind of edit is drawn before one comes again."""
    draw = Draw(random.Random(seed))
    left: list[Callable[[Draw], Edit]] = []
    for _ in range(number):
        done: dict[str, Edit] = {}
        while len(done) < size:
            if not left:
                left = draw.dice.sample(kinds, len(kinds))
            edit = left.pop()(draw)
            done.setdefault(edit.touches, edit)
        yield list(done.values())


def repair(declared: dict[str, Any], edits: list[Edit]) -> dict[str, Any]:
    """The declaration that also takes away what no one declared."""
    gone = [edit.absent for edit in edits if edit.absent]

    def absent(key: str) -> list[dict[str, str]]:
        return [{"name": name, "state": "absent"} for kind, name in gone if kind == key]

    shop, *others = declared["databases"]
    inside = {key: [*shop[key], *absent(key)] for key in ("extensions", "schemas")}
    return {
        **declared,
        "roles": [*declared["roles"], *absent("roles")],
        "databases": [{**shop, **inside}, *others, *absent("databases")],
    }
