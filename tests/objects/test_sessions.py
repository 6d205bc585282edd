# SPDX-License-Identifier: Apache-2.0
"""The sessions of the toolkit: they run nothing of a user, need few connections, and leave no secret in a log."""

from __future__ import annotations

import secrets
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest
from ansible_collections.aza.pg.plugins.module_utils.checks import member
from ansible_collections.aza.pg.plugins.module_utils.errors import AzaError
from ansible_collections.aza.pg.plugins.module_utils.instance import deploy_lock as lock
from ansible_collections.aza.pg.plugins.module_utils.instance import readiness as ready
from ansible_collections.aza.pg.plugins.module_utils.model.desired import Desired
from ansible_collections.aza.pg.plugins.module_utils.server import connection as server
from ansible_collections.aza.pg.plugins.module_utils.services import postgres_exporter as exporter
from ansible_collections.aza.pg.plugins.modules import instance_apply

from stack.containers import eventually

from . import traps
from .harness import Server

SHOP = {"name": "shop", "owner": "shop"}


def check(pg: Server, wanted: Desired) -> dict[str, Any]:
    """As check.yml does on a host."""
    module: Any = SimpleNamespace(
        params={
            "phase": "check",
            "state": "present",
            "secrets": pg.secrets,
            "allow": [],
            "host": {},
            "tuned": [],
            "mark": secrets.token_hex(4),
            "delay": 0,
        },
        check_mode=False,
    )
    return instance_apply.run_check(module, wanted, pg.docker)


def bad(result: dict[str, Any]) -> list[dict[str, str]]:
    return [item for item in result["findings"] if item["state"] != "green"]


def test_nothing_of_a_users_runs_with_more_rights_than_the_users(pg: Server) -> None:
    """Traps under every name that the toolkit calls, and every setting by which an owner can lead others to them."""
    roles = [{"name": "shop"}, {"name": "app"}]
    small = pg.describe({"roles": roles, "databases": [SHOP]})
    pg.keep_passwords(small, {})
    pg.converge(small)
    pg.execute("grant create on database postgres to shop; grant create on schema public to shop;")
    with pg.connect() as connection:
        for statement in traps.statements(("public",)):
            connection.execute(statement)
    with pg.connect("shop") as connection:
        for statement in traps.in_their_own_database():
            connection.execute(statement)
    declared = {
        "roles": roles,
        "databases": [
            {
                **SHOP,
                "comment": "a shop",
                "schemas": [
                    {"name": "ext", "owner": "postgres"},
                    {"name": "api", "comment": "x"},
                    {"name": "old", "state": "absent"},
                ],
                "extensions": [{"name": "hstore", "schema": "ext"}],
                "access": {"read_write": ["app"], "read_only": []},
            }
        ],
        "allow_loss": ["schema shop.old"],
    }
    wanted = pg.describe(
        declared, exporter=True, exporter_port=int(pg.words["9188"]), settings={"work_mem": "5MB"}
    )
    pg.keep_passwords(wanted, {})
    pg.converge(wanted)
    assert pg.findings(wanted)
    assert check(pg, wanted)["findings"]
    assert member.observe(pg.baseline.socket_dir, "postgres", secrets.token_hex(4))[0]["sentinel"]["written"]
    assert ready.probe(replace(wanted, database="shop"), pg.docker).ready
    service = wanted.service(exporter.PostgresExporter.name)
    assert service
    eventually(lambda: not exporter.scrape(service), "the exporter to reach the server", 30)
    with server.connect(pg.baseline.socket_dir, "postgres", "shop") as connection:
        assert connection.execute("select has_table_privilege('app', 'public.orders', 'update')").fetchone()[
            0
        ]
        assert connection.execute(traps.FIRED).fetchone() == (False,)
    with server.connect(pg.baseline.socket_dir, "postgres") as connection:
        assert connection.execute(traps.FIRED).fetchone() == (False,)
        assert connection.execute("select rolsuper from pg_roles where rolname = 'shop'").fetchone() == (
            False,
        )
    # The traps are real: who is not careful steps into them.
    pg.execute(
        "alter database shop reset all; alter database shop set search_path = evil, public, pg_catalog"
    )
    with pg.connect("shop") as connection:
        connection.execute("select pg_get_userbyid(10::oid)")
        assert connection.execute(traps.FIRED).fetchone() == (True,)
    pg.execute("alter database shop reset all; alter role shop nosuperuser")


def test_an_event_trigger_runs_only_what_a_superuser_has_written(pg: Server) -> None:
    """Extensions need theirs when objects change; the function of a user would run with the administrator's rights."""
    declared = {"roles": [{"name": "shop", "passwordless": True}], "databases": [SHOP]}
    pg.converge(pg.describe(declared))
    pg.execute(
        """
        create table public.seen (tag text);
        create function public.note() returns event_trigger language plpgsql as
            $$ begin insert into public.seen values (tg_tag); end $$;
        create event trigger noted on ddl_command_end execute function public.note();
        create event trigger login on login execute function public.note();
        """,
        "shop",
    )
    with_schema = {**declared, "databases": [{**SHOP, "schemas": ["api"]}]}
    pg.converge(pg.describe(with_schema))
    assert pg.ask("select distinct tag from public.seen where tag <> 'LOGIN'", "shop") == "CREATE SCHEMA"
    pg.execute("alter function public.note() owner to shop; truncate public.seen", "shop")
    more = pg.describe({**declared, "databases": [{**SHOP, "schemas": ["api", "more"]}]})
    assert pg.run(more, check=True)["lines"], "looking is possible all the same"
    with pytest.raises(AzaError) as caught:
        pg.run(more)
    assert caught.value.reason == "event_trigger_of_a_user"
    with server.connect(pg.baseline.socket_dir, "postgres", "shop") as connection:
        assert connection.execute("select count(*) from public.seen").fetchone() == (0,)


def test_the_script_of_an_extension_finds_nothing_of_a_users(pg: Server) -> None:
    declared = {"roles": [{"name": "shop", "passwordless": True}], "databases": [SHOP]}
    pg.converge(pg.describe(declared))
    pg.execute(
        "set role shop; create function public.lower(name) returns text language sql as 'select $1::text'",
        "shop",
    )
    wanted = pg.describe({**declared, "databases": [{**SHOP, "extensions": ["hstore"]}]})
    with pytest.raises(AzaError) as caught:
        pg.run(wanted)
    assert caught.value.reason == "shadowed" and "lower(name) of role shop" in caught.value.msg
    pg.execute("drop function public.lower(name)", "shop")
    pg.converge(wanted)
    assert (
        pg.ask("select extnamespace::regnamespace from pg_extension where extname = 'hstore'", "shop")
        == "public"
    )


@pytest.mark.parametrize(
    "damage",
    [
        "alter database shop allow_connections false",
        "update pg_database set dattablespace = 99999 where datname = 'shop'",
    ],
)
def test_a_database_that_cannot_be_looked_into_is_one_finding(pg: Server, damage: str) -> None:
    declared: dict[str, Any] = {
        "roles": [{"name": "shop", "passwordless": True}],
        "databases": [SHOP, {"name": "other", "owner": "shop"}],
    }
    pg.converge(pg.describe(declared))
    undone = pg.ask("select dattablespace from pg_database where datname = 'shop'")
    pg.execute(damage)
    try:
        more = [{**item, "comment": "x", "schemas": ["api"]} for item in declared["databases"]]
        wanted = pg.describe({**declared, "databases": more})
        result = pg.run(wanted)
        assert [item["name"] for item in result["plan"]["held"]] == ["shop"]
        assert pg.ask("select nspname from pg_namespace where nspname = 'api'", "other") == "api"
        assert not pg.run(wanted)["plan"]["changes"]
        assert [item["what"] for item in bad(check(pg, wanted)) if "shop" in item["message"]] == ["waiting"]
    finally:
        pg.execute(
            f"update pg_database set datallowconn = true, dattablespace = {undone} where datname = 'shop'"
        )


def test_a_full_server_is_looked_at_and_changed_with_the_connections_that_are_reserved(pg: Server) -> None:
    names = [f"db{number}" for number in range(6)]
    declared: dict[str, Any] = {
        "roles": [{"name": "shop"}],
        "databases": [{"name": name, "owner": "shop", "schemas": ["api"]} for name in names],
    }
    first = pg.describe({"roles": declared["roles"]}, settings={"max_connections": "12"})
    pg.keep_passwords(first, {})
    pg.converge(first, ("restart",))
    sessions: list[Any] = []
    try:
        with pytest.raises(psycopg.OperationalError):
            while True:
                sessions.append(
                    psycopg.connect(
                        host="127.0.0.1",
                        port=pg.port,
                        user="shop",
                        password=pg.secrets["roles/shop"],
                        dbname="postgres",
                    )
                )
        # A user else administers it as well.
        with pg.connect():
            wanted = pg.describe(declared, settings={"max_connections": "12"})
            pg.converge(wanted)
            assert "server" not in {item["what"] for item in bad(check(pg, wanted))}
            lacking = [{**item, "schemas": [*item["schemas"], "more"]} for item in declared["databases"]]
            pg.converge(pg.describe({**declared, "databases": lacking}, settings={"max_connections": "12"}))
    finally:
        for session in sessions:
            session.close()
    pg.reset()


def test_a_login_cannot_keep_a_deploy_from_the_lock(pg: Server) -> None:
    pg.execute("create role thief login")
    wanted = pg.describe(
        {"roles": [{"name": "thief", "passwordless": True}, {"name": "new", "passwordless": True}]}
    )
    pg.execute("alter role thief password 'a password of thief'")
    thieves = [
        psycopg.connect(
            host="127.0.0.1",
            port=pg.port,
            user="thief",
            password="a password of thief",
            dbname="postgres",
            autocommit=True,
        )
        for _ in range(2)
    ]
    thieves[0].execute("select pg_advisory_lock(%s)", (lock.KEY,))
    thieves[1].pgconn.send_query(f"select pg_advisory_lock({lock.KEY})".encode())
    pg.converge(wanted)
    with pytest.raises(psycopg.OperationalError):
        thieves[0].execute("select 1")


def test_a_password_is_in_no_log_and_no_statistics(pg: Server) -> None:
    """Whatever logs statements, durations, plans or parameters is on; the session that sets a password is not shown."""
    pg.execute("create role shop login")
    with server.connect(pg.baseline.socket_dir, "postgres") as connection:
        connection.execute("load 'auto_explain'")
        for setting, value in {
            "log_statement": "all",
            "log_min_duration_statement": "0",
            "log_duration": "on",
            "log_parameter_max_length": "-1",
            "log_parameter_max_length_on_error": "-1",
            "log_error_verbosity": "verbose",
            "debug_print_plan": "on",
            "debug_print_parse": "on",
            "auto_explain.log_min_duration": "0",
            "auto_explain.log_nested_statements": "on",
            "auto_explain.log_level": "warning",
            "auto_explain.log_verbose": "on",
        }.items():
            connection.execute("select set_config(%s, %s, false)", (setting, value))
        mark = secrets.token_hex(8)
        connection.execute("select %s", (mark,))
        server.set_password(connection, "shop", "a password of shop")
        connection.execute("set default_transaction_read_only = on")
        with pytest.raises(server.ServerError):
            server.set_password(connection, "shop", "another password of shop")
    log = "\n".join(pg.docker.logs(pg.baseline.container, 20000))
    assert mark in log, "the log shows what is not secret"
    assert "SCRAM-SHA-256$" not in log.partition(mark)[2]


def test_what_lies_under_the_toolkits_name_is_not_trusted(pg: Server) -> None:
    """A table of the right name with a trigger, or a view, of a user who may create schemas."""
    assert member.observe(pg.baseline.socket_dir, "postgres", "first")[0]["sentinel"]["written"]
    for damage in (
        "create trigger t before insert on aza_pg.sentinel execute function public.f()",
        "alter table aza_pg.sentinel add check (public.g(token)) not valid",
        "alter table aza_pg.sentinel alter token set default public.g('x')::text",
        "create rule r as on update to aza_pg.sentinel do also select public.g('x')",
        "grant trigger on aza_pg.sentinel to shop",
        "grant create on schema aza_pg to shop",
        "alter table aza_pg.sentinel owner to shop",
        "alter schema aza_pg owner to shop",
        "create index on aza_pg.sentinel ((public.g(token)))",
        "drop table aza_pg.sentinel; set role shop; create view aza_pg.sentinel as select public.g('x')",
    ):
        pg.execute(
            """
            drop schema if exists aza_pg cascade; drop role if exists shop; create role shop;
            create or replace function public.f() returns trigger language plpgsql as
                $$ begin raise exception 'a trap'; end $$;
            create or replace function public.g(text) returns bool language plpgsql immutable as
                $$ begin
                    if pg_catalog.current_setting('application_name') = 'aza-pg check' then
                        raise exception 'a trap';
                    end if;
                    return true;
                end $$;
            """
        )
        assert member.observe(pg.baseline.socket_dir, "postgres", "again")[0]["sentinel"]["written"]
        if "set role" in damage:
            pg.execute("grant create, usage on schema aza_pg to shop")
        pg.execute(damage)
        message = member.observe(pg.baseline.socket_dir, "postgres", "more")[0]["sentinel"]
        assert not message["written"] and message["untrusted"], damage
    pg.execute("drop schema aza_pg cascade; drop function public.f(), public.g(text); drop role shop")


def test_the_database_of_the_administrators_belongs_to_a_superuser(pg: Server) -> None:
    roles = [{"name": "shop", "passwordless": True}]
    with pytest.raises(AzaError) as caught:
        pg.run(pg.describe({"roles": roles, "databases": [{"name": "postgres", "owner": "shop"}]}))
    assert caught.value.reason == "preflight"
    wanted = pg.describe({"roles": roles})
    pg.converge(wanted)
    pg.execute("alter database postgres owner to shop")
    assert "database postgres" in {item["what"] for item in bad(check(pg, wanted))}
    pg.execute("alter database postgres owner to postgres")


def test_nothing_waits_for_a_replica_that_is_not_there(pg: Server) -> None:
    """As on a primary that is deployed before its replicas, with commits that wait for them."""
    wanted = pg.describe(
        {"roles": [{"name": "shop", "passwordless": True}], "databases": [SHOP]},
        settings={"synchronous_standby_names": "nobody"},
    )
    try:
        pg.converge(wanted)
        assert member.observe(pg.baseline.socket_dir, "postgres", "x")[0]["sentinel"]["written"]
    finally:
        pg.settle(pg.baseline)


def test_a_statement_that_waits_has_an_end_and_a_reason(pg: Server) -> None:
    declared = {"roles": [{"name": "shop", "passwordless": True}], "databases": [SHOP]}
    pg.converge(pg.describe(declared))
    pg.execute("create schema old; create table old.t (id int)", "shop")
    wanted = pg.describe(
        {
            **declared,
            "databases": [{**SHOP, "schemas": [{"name": "old", "state": "absent"}]}],
            "allow_loss": ["schema shop.old"],
        }
    )
    with pg.connect("shop") as other, other.transaction():
        other.execute("set local search_path = old; select from old.t")
        holder = other.info.backend_pid
        with pytest.raises(AzaError) as caught:
            pg.run(wanted)
    assert caught.value.reason == "lock_timeout"
    assert f"held by process {holder} of role postgres" in caught.value.msg
    pg.converge(wanted)
