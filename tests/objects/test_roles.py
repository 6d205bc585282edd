# SPDX-License-Identifier: Apache-2.0
"""What a table cannot say about roles: sessions, other programs' passwords, a run that was interrupted."""

from __future__ import annotations

from dataclasses import replace

import psycopg
import pytest
from ansible_collections.aza.pg.plugins.module_utils.errors import AzaError
from ansible_collections.aza.pg.plugins.module_utils.instance import apply as applying
from ansible_collections.aza.pg.plugins.module_utils.instance import plan as planning
from ansible_collections.aza.pg.plugins.module_utils.instance.context import Context
from ansible_collections.aza.pg.plugins.module_utils.instance.observe import observe
from ansible_collections.aza.pg.plugins.module_utils.model.desired import Desired
from ansible_collections.aza.pg.plugins.module_utils.planning.plan import Plan
from ansible_collections.aza.pg.plugins.module_utils.server import connection as server
from ansible_collections.aza.pg.plugins.module_utils.server import scram
from ansible_collections.aza.pg.plugins.module_utils.server.predefined import predefined

from .harness import Server


def plan(pg: Server, wanted: Desired) -> Plan:
    return planning.plan(wanted, observe(wanted, pg.docker, pg.secrets))


def major(pg: Server) -> int:
    return int(pg.ask("show server_version_num")) // 10000


def test_the_predefined_roles_are_those_of_the_server(pg: Server) -> None:
    found = pg.ask("select rolname from pg_roles where rolname ~ '^pg_' order by 1").split()
    assert found == list(predefined(major(pg)))


def test_the_first_plan_is_that_of_a_server_that_was_just_made(pg: Server) -> None:
    """Whether the plan is made before the first start or after it, it says the same about roles."""
    wanted = pg.describe(
        {"roles": ["a", {"name": "postgres", "comment": "me"}, {"name": "b", "member_of": ["a"]}]}
    )
    found = observe(wanted, pg.docker, pg.secrets)
    not_there = replace(found, server=None, volume=False)
    made, expected = (
        [
            change.text()
            for change in planning.plan(wanted, state).changes
            if change.kind in ("role", "membership")
        ]
        for state in (found, not_there)
    )
    assert made == expected and len(made) == 4
    assert set((found.server or {})["roles"]) == {"postgres", *predefined(major(pg))}


def test_who_is_connected_as_a_removed_role_is_disconnected(pg: Server) -> None:
    pg.execute("create role gone login superuser password 'a password of gone';")
    with psycopg.connect(
        host="127.0.0.1", port=pg.port, user="gone", password="a password of gone", dbname="postgres"
    ) as session:
        pg.converge(pg.describe({"roles": [{"name": "gone", "state": "absent"}]}))
        with pytest.raises(psycopg.OperationalError):
            session.execute("select 1")


def test_a_password_that_the_server_refuses_is_not_in_the_message(pg: Server) -> None:
    pg.execute("create role shop login;")
    with server.connect(pg.baseline.socket_dir, "postgres") as connection:
        connection.execute("set default_transaction_read_only = on")
        with pytest.raises(server.ServerError) as caught:
            server.set_password(connection, "shop", "a password of shop")
    assert "read-only" in str(caught.value) and "SCRAM" not in str(caught.value)


@pytest.mark.parametrize(
    "password",
    ["plain-and-long", "ünïcödé pass word", "\u00aa\u2168\u00ad soft", "a" * 300, "'\"\\ $$ %s {}"],
)
def test_the_server_takes_every_verifier_of_ours(pg: Server, password: str) -> None:
    pg.execute("create role shop login;")
    with server.connect(pg.baseline.socket_dir, "postgres") as connection:
        server.set_password(connection, "shop", password)
    with psycopg.connect(
        host="127.0.0.1", port=pg.port, user="shop", password=password, dbname="postgres"
    ) as session:
        assert session.execute("select current_user").fetchone() == ("shop",)
    kept = pg.ask("select rolpassword from pg_authid where rolname = 'shop'")
    assert scram.matches(password, kept) and not scram.matches(f"{password}x", kept)


def test_a_run_that_is_cut_off_anywhere_is_continued(pg: Server) -> None:
    pg.execute(
        "create role old; create role shop createdb; create role readers; grant readers to shop;"
        "create database shop owner old;"
    )
    pg.execute("create table t (id int); alter table t owner to old;", "shop")
    declared = [
        {"name": "old", "state": "absent", "reassign_to": "shop"},
        {"name": "shop", "settings": {"work_mem": "8MB"}, "comment": "x"},
        {"name": "web", "member_of": ["shop", "pg_monitor"], "valid_until": "2030-01-01"},
    ]
    wanted = pg.describe({"roles": declared})
    pg.keep_passwords(wanted, {})
    first = [change.text() for change in plan(pg, wanted).changes]
    for left in range(len(first), 0, -1):
        now = plan(pg, wanted)
        assert len(now.changes) == left
        applying.apply(Plan(now.changes[:1]), Context(wanted, pg.docker, pg.secrets))
    assert not plan(pg, wanted)
    assert pg.ask("select tableowner from pg_tables where tablename = 't'", "shop") == "shop"


def test_a_failure_names_the_change_and_what_was_done(pg: Server) -> None:
    declared = [{"name": "a", "login": False}, {"name": "b", "login": False}]
    wanted = pg.describe({"roles": declared})
    changes = plan(pg, wanted).changes
    # A user else makes the second role after the plan was made.
    pg.ask("create role b")
    with pytest.raises(AzaError) as caught:
        applying.apply(Plan(changes), Context(wanted, pg.docker, pg.secrets))
    assert "create role b" in caught.value.msg
    assert caught.value.details["done"] == ["create role a  nologin"]
    assert pg.ask("select rolname from pg_roles where rolname = 'a'") == "a"
