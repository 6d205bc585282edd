# SPDX-License-Identifier: Apache-2.0
"""Everything by which the owner of a database could make another user's session run the owner's code."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ansible_collections.aza.pg.plugins.module_utils.instance import server_objects
from ansible_collections.aza.pg.plugins.module_utils.objects import extensions, loss, privileges
from ansible_collections.aza.pg.plugins.module_utils.server import connection as server

# What every trap calls. A sequence keeps the count when the transaction is rolled back.
_ALARM = """
create schema if not exists evil authorization shop;
set role shop;
create sequence evil.fired;
create function evil.sprung() returns bool language plpgsql set search_path = pg_catalog as $trap$ begin
    if current_user <> 'shop' then
        perform nextval('evil.fired');
        begin
            alter role shop superuser;
        exception when others then
            null;
        end;
    end if;
    return true;
end $trap$;
"""
FIRED = "select is_called from evil.fired"

# The same functions as PostgreSQL's own, for a search path that has them first.
_SAME = """
do $make$
declare
    f record;
begin
    for f in select p.proname, pg_get_function_identity_arguments(p.oid) as arguments,
            case when p.proretset then 'setof ' else '' end || format_type(p.prorettype, null) as result
        from pg_proc p
        where p.pronamespace = 'pg_catalog'::regnamespace and p.prokind = 'f' and p.proname = any(NAMES)
        and not exists (select from unnest(p.proargtypes::oid[] || p.prorettype) t
            where t in ('internal'::regtype, 'cstring'::regtype))
    loop
        begin
            execute format('create function evil.%I(%s) returns %s language plpgsql as %L', f.proname,
                regexp_replace(f.arguments, '\\mOUT [^,]+(, )?', '', 'g'), f.result,
                format('begin perform evil.sprung(); return%s; end', case when f.result !~ '^setof' then ' null' end));
        exception when others then
            null;
        end;
    end loop;
end $make$;
"""
_TYPES = ("name", "text", "oid", "int4", "int8", "json", "bool", '"char"', "regclass", "name[]", "text[]",
          "oid[]", "aclitem[]", "timestamptz", "interval", "pg_lsn", "anyelement")  # fmt: skip
_PAIRS = (("text", "name"), ("text", "oid"), ("name", "name"), ("name", "text"), ("oid", "name"), ("oid", "text"),
          ('"char"', "oid"), ("text", "regclass"), ("text[]", "text"), ("text", "json"))  # fmt: skip
# Better matches than PostgreSQL's own, which the default search path finds although they come last.
_OTHER = """
do $make$ begin
    execute format('create function SCHEMA.%I(ARGUMENTS) returns text language plpgsql as %L', 'NAME',
        'begin perform evil.sprung(); return null; end');
exception when others then
    null;
end $make$;
"""
_MORE = """
create view evil.pg_namespace as select n.*, evil.sprung() from pg_catalog.pg_namespace n;
create view evil.pg_extension as select e.*, evil.sprung() from pg_catalog.pg_extension e;
create view evil.pg_depend as select d.*, evil.sprung() from pg_catalog.pg_depend d;
create type evil.kind as (a int);
create function evil.to_text(evil.kind) returns text language plpgsql as
    'begin perform evil.sprung(); return null; end';
create cast (evil.kind as text) with function evil.to_text(evil.kind) as implicit;
create function evil.step(text, text) returns text language plpgsql as
    'begin perform evil.sprung(); return null; end';
drop function evil.json_agg(text), public.json_agg(name);
create aggregate evil.json_agg(text) (sfunc = evil.step, stype = text);
create aggregate public.json_agg(name) (sfunc = evil.step2, stype = text);
create table public.orders (id int, note text);
insert into public.orders values (1, 'x');
create function public.bump() returns trigger language plpgsql as
    'begin perform evil.sprung(); return new; end';
create trigger bump before insert or update or delete on public.orders for each row execute function public.bump();
create function public.indexed(text) returns text language plpgsql immutable as
    'begin perform evil.sprung(); return $1; end';
create index on public.orders (public.indexed(note));
alter table public.orders enable row level security;
alter table public.orders force row level security;
create policy p on public.orders using (evil.sprung());
alter default privileges in schema public grant select on tables to public;
create schema old;
create table old.things as select 1 as id;
create view old.seen as select *, evil.sprung() from old.things;
"""
_SETTINGS = (
    "search_path = evil, public, pg_catalog",
    "role = shop",
    "local_preload_libraries = nosuch",
    "transaction_timeout = '1ms'",
    "statement_timeout = '1ms'",
    "idle_session_timeout = '1ms'",
    "idle_in_transaction_session_timeout = '1ms'",
    "default_transaction_read_only = on",
    "default_transaction_isolation = serializable",
    "quote_all_identifiers = on",
    "transform_null_equals = on",
    "standard_conforming_strings = off",
    "exit_on_error = on",
    "default_tablespace = pg_default",
    "client_encoding = latin1",
    "default_table_access_method = heap",
    "bytea_output = escape",
    "datestyle = 'SQL, DMY'",
    "client_min_messages = debug5",
)


def names() -> set[str]:
    """Whatever is called like a function in the toolkit's queries."""
    modules = (server, privileges, extensions)
    texts = [text for module in modules for text in vars(module).values() if isinstance(text, str)]
    queries = [
        *server_objects.SERVER.values(),
        *server_objects.INSIDE.values(),
        loss.DATABASE,
        loss.within([("shop", "schema", "old")]),
    ]
    queries += texts
    return {name for query in queries for name in re.findall(r"\b([a-z_0-9]+)\(", query)} - {
        "exists",
        "coalesce",
    }


def statements(schemas: tuple[str, ...]) -> Iterator[str]:
    """To be executed by a superuser, in the database of ``shop`` or another one in which it may create objects."""
    yield _ALARM
    chosen = sorted(names())
    if "evil" in schemas:
        yield _SAME.replace("NAMES", "array[" + ", ".join(f"'{name}'" for name in chosen) + "]")
    for schema in schemas:
        for name in chosen:
            for arguments in [*_TYPES, *(", ".join(pair) for pair in _PAIRS)]:
                yield (_OTHER.replace("SCHEMA", schema).replace("NAME", name).replace("ARGUMENTS", arguments))
        for number, (left, right) in enumerate([*_PAIRS, ("oid", "oid"), ('"char"', '"char"')]):
            yield (
                f"create function {schema}.op{number}({left}, {right}) returns bool language plpgsql as "
                "'begin perform evil.sprung(); return true; end'"
            )
            for operator in ("=", "<>", "~", "!~", "||", "<", ">", "-", "+"):
                if operator != "||":
                    yield (
                        f"create operator {schema}.{operator} (function = {schema}.op{number}, leftarg = {left}, "
                        f"rightarg = {right})"
                    )


def in_their_own_database() -> Iterator[str]:
    yield from statements(("evil", "public"))
    yield (
        "create function evil.step2(text, name) returns text language plpgsql as "
        "'begin perform evil.sprung(); return null; end'"
    )
    yield _MORE
    yield from (f"alter database shop set {setting}" for setting in _SETTINGS)
