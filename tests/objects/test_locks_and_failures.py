# SPDX-License-Identifier: Apache-2.0
"""Two runs at once, a run that was killed, and a statement that the server refuses."""

from __future__ import annotations

import pytest
from ansible_collections.aza.pg.plugins.module_utils.errors import AzaError
from ansible_collections.aza.pg.plugins.module_utils.instance import deploy_lock as lock
from ansible_collections.aza.pg.plugins.module_utils.instance import readiness as ready
from ansible_collections.aza.pg.plugins.module_utils.server import connection as server

from .harness import Server

DECLARED = {"roles": [{"name": "shop", "passwordless": True}]}


def test_who_holds_the_server_is_named_and_nothing_is_done(pg: Server) -> None:
    wanted = pg.describe(DECLARED)
    holder = server.connect(wanted.socket_dir, "postgres", application_name=f"{lock.NAME}anna@desk")
    holder.execute("select pg_advisory_lock(%s)", (lock.KEY,))
    with pytest.raises(AzaError, match=r"\(anna@desk, process \d+, for \d+ s\)") as caught:
        pg.run(wanted)
    assert caught.value.reason == "locked"
    assert pg.ask("select count(*) from pg_roles where rolname = 'shop'") == "0"
    # Looking needs no lock, and a killed process holds none.
    assert pg.run(wanted, check=True)["lines"]
    pg.execute(
        "select pg_terminate_backend(pid) from pg_stat_activity where application_name like '%anna@desk'"
    )
    pg.converge(wanted)
    assert pg.ask("select count(*) from pg_locks where locktype = 'advisory'") == "0"


def test_a_run_says_in_the_server_who_it_is_and_lets_go(pg: Server) -> None:
    wanted = pg.describe()
    with lock.held(wanted, "anna@desk"):
        names = pg.ask(
            "select application_name from pg_stat_activity where application_name like 'aza-pg lock%'"
        )
        assert names == f"{lock.NAME}anna@desk"
    with pytest.raises(RuntimeError), lock.held(wanted, "anna@desk"):
        raise RuntimeError
    with lock.held(wanted, "otto@desk"):
        pass


def test_a_statement_that_fails_is_named_with_the_servers_words(pg: Server) -> None:
    pg.execute("create type public.hstore as (a int)")
    declared = {**DECLARED, "databases": [{"name": "postgres", "extensions": ["hstore"]}]}
    with pytest.raises(AzaError) as caught:
        pg.run(pg.describe(declared))
    assert "stopped at “create extension postgres.hstore" in caught.value.msg
    assert 'type "hstore" already exists' in caught.value.msg
    assert "the same command continues" in caught.value.msg
    done, left = caught.value.details["done"], caught.value.details["not_done"]
    assert any(line.startswith("create role shop") for line in done)
    assert left[0].startswith("create extension postgres.hstore")
    pg.execute("drop type public.hstore")
    pg.converge(pg.describe(declared))
    assert pg.ask("select extname from pg_extension where extname = 'hstore'") == "hstore"


def test_the_call_that_changed_something_looks_again_once_the_server_is_ready(pg: Server) -> None:
    wanted = pg.describe(DECLARED, settings={"work_mem": "7MB"})
    settled = pg.run(wanted, settle=30)["settled"]
    assert settled["ready"] and settled["after"]["plan"]["changes"] == []
    assert pg.ask("show work_mem") == "7MB"
    assert "settled" not in pg.run(wanted, settle=30), "nothing was changed"


def test_what_a_second_look_finds_to_do_is_left_to_the_next_call(
    pg: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = pg.describe(DECLARED)
    # A user is faster than the look that follows the change.
    monkeypatch.setattr(ready, "wait", lambda *_: _dropped(pg))
    settled = pg.run(wanted, settle=30)["settled"]
    assert settled["ready"] and not settled["after"]
    monkeypatch.undo()
    assert pg.run(wanted)["lines"]


def _dropped(pg: Server) -> ready.Readiness:
    pg.execute("drop role shop")
    return ready.Readiness("")
