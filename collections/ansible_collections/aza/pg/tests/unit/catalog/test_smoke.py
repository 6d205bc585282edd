# SPDX-License-Identifier: Apache-2.0
"""The plan of proofs: what is created, in which database, in which server."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ansible_collections.aza.pg.plugins.module_utils.catalog import solve
from ansible_collections.aza.pg.plugins.module_utils.catalog.smoke import SmokeServer, plan

if TYPE_CHECKING:
    from .conftest import Workbench


def planned(bench: Workbench) -> list[SmokeServer]:
    return plan(solve(bench.load(), "debian", "full"))


def test_what_is_required_is_created_first(bench: Workbench) -> None:
    bench.add("a-b", requires=["vector"], schema="store")
    (server,) = planned(bench)
    proof = {database.extension: database for database in server.databases}["a-b"]
    assert proof.database == "smoke_a_b"
    assert proof.fresh
    assert proof.prepare == (
        'create extension if not exists "vector";\n'
        "create schema if not exists store;\n"
        'create extension if not exists "a-b" schema store;\n'
    )


def test_an_entry_that_insists_on_a_database(bench: Workbench) -> None:
    bench.add("cron", database="postgres")
    (server,) = planned(bench)
    assert [(d.database, d.fresh) for d in server.databases if d.extension == "cron"] == [("postgres", False)]


def test_settings_and_workers(bench: Workbench) -> None:
    preload = {"library": "a", "workers": 5}
    steps = [{"sql": "select 1;", "expect": "1", "preload": True}]
    bench.add("a", preload=preload, smoke=steps, settings={"a.flag": True, "wal_level": "logical"})
    bench.add("idle", preload={"library": "idle", "workers": 9})
    bench.add("plug", output_plugins=["plug"])
    (server,) = planned(bench)
    assert server.preload == ["a"]
    assert server.settings == {
        "max_worker_processes": "21",
        "output_plugin_libraries": "pgoutput, test_decoding, plug",
        "a.flag": "on",
        "wal_level": "logical",
    }


def test_what_does_not_go_together_gets_a_server_of_its_own(bench: Workbench) -> None:
    steps = [{"sql": "select 1;", "expect": "1", "preload": True}]
    bench.add("a", preload={"library": "a"}, smoke=steps)
    bench.add("b", preload={"library": "b", "conflicts": ["a"]}, smoke=steps)
    bench.add("c", settings={"wal_level": "logical"})
    bench.add("d", settings={"wal_level": "minimal"})
    first, second = planned(bench)
    assert [d.extension for d in first.databases] == ["a", "c", "vector"]
    assert [d.extension for d in second.databases] == ["b", "d"]


def test_a_default_that_an_entry_cannot_live_with_stays_out_of_its_server(bench: Workbench) -> None:
    steps = [{"sql": "select 1;", "expect": "1", "preload": True}]
    bench.add("a", preload={"library": "a", "conflicts": ["shipped"]}, smoke=steps)
    bench.add("shipped", preload={"library": "shipped", "default": True})
    servers = planned(bench)
    assert [server.preload for server in servers] == [["a"], ["shipped"]]
