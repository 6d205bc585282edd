#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""How long it takes to inspect a large server, to plan, and to deploy when nothing has changed.

Not a test: it takes minutes and its numbers depend on the machine. It makes a server with many databases, roles and
extensions by one deploy, and prints a table of the medians.

  tests/bench/observe.py [--databases 50] [--roles 500] [--extensions 40] [--tables 200] [--rounds 5]
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "collections"), str(ROOT / "tests")]

from ansible_collections.aza.pg.plugins.module_utils.instance import observe as observing  # noqa: E402
from ansible_collections.aza.pg.plugins.module_utils.instance import plan as planning  # noqa: E402
from ansible_collections.aza.pg.plugins.module_utils.instance import server_objects  # noqa: E402
from ansible_collections.aza.pg.plugins.module_utils.model.desired import Desired  # noqa: E402
from ansible_collections.aza.pg.plugins.module_utils.server import connection as server  # noqa: E402

from objects.harness import Server  # noqa: E402

# These write into schemas of their own, live in one database only, or need a library that is not preloaded.
_UNSUITED = (
    "pg_cron",
    "plpgsql",
    "timescaledb",
    "pg_squeeze",
    "set_user",
    "pgaudit",
    "pg_qualstats",
    "pg_stat_kcache",
)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name, number in (
        ("databases", 50),
        ("roles", 500),
        ("extensions", 40),
        ("tables", 200),
        ("rounds", 5),
    ):
        parser.add_argument(f"--{name}", type=int, default=number)
    given = parser.parse_args()
    with Server() as pg:
        print(f"preparing {given.databases} databases with {given.extensions} extensions each …", flush=True)
        wanted = prepare(pg, given)
        print(table(given, measure(pg, wanted, given.rounds)))


def prepare(pg: Server, given: argparse.Namespace) -> Desired:
    """The extensions and tables are in a template, so that the databases are copied and not made one by one."""
    suited = (
        f"select name from pg_available_extensions where name not in {_UNSUITED} and name !~ 'wait_sampling'"
    )
    pg.execute("create database bench;")
    chosen: list[str] = []
    with pg.connect("bench") as connection:
        for (name,) in connection.execute(f"{suited} order by name").fetchall():
            if len(chosen) < given.extensions:
                try:
                    connection.execute(f'create extension "{name}"')
                    chosen.append(name)
                except server.database_errors():
                    continue
        for number in range(given.tables):
            connection.execute(f"create table public.t{number} (id serial primary key, note text)")
    wanted = pg.describe(
        {
            "roles": [{"name": f"role{number}"} for number in range(given.roles)],
            "databases": [
                {"name": "bench", "extensions": chosen},
                *(
                    {
                        "name": f"db{number}",
                        "owner": f"role{number % given.roles}",
                        "template": "bench",
                        "comment": f"database {number}",
                        "settings": {"work_mem": "8MB"},
                        "schemas": ["api"],
                        "extensions": chosen,
                        "access": {
                            "read_write": [f"role{(number + 1) % given.roles}"],
                            "read_only": [f"role{(number + 2) % given.roles}"],
                        },
                    }
                    for number in range(given.databases - 1)
                ),
            ],
        }
    )
    pg.keep_passwords(wanted, {})
    pg.converge(wanted)
    return wanted


def measure(pg: Server, wanted: Desired, rounds: int) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}

    def timed(name: str, work: Callable[..., Any], *arguments: Any) -> Any:
        begin = time.monotonic()
        result = work(*arguments)
        found.setdefault(name, []).append(time.monotonic() - begin)
        return result

    for _ in range(rounds):
        asked = server.Question((), {}, observing.databases(wanted), *server_objects.questions(wanted))
        timed("observe the server", server.observe, wanted.socket_dir, "postgres", asked)
        everything = "observe, with the host and the passwords"
        seen = timed(everything, observing.observe, wanted, pg.docker, pg.secrets)
        plan = timed("plan", planning.plan, wanted, seen)
        assert not plan.changes, plan.lines()
        timed("a deploy that changes nothing, on the host", pg.run, wanted)
    return found


def table(given: argparse.Namespace, found: dict[str, list[float]]) -> str:
    head = (
        f"{given.databases} databases with {given.extensions} extensions and {given.tables} tables each, {given.roles} "
        f"roles; median of {given.rounds}"
    )
    rows = [
        f"| {name} | {statistics.median(times):.2f} s | {max(times):.2f} s |" for name, times in found.items()
    ]
    return "\n".join([head, "", "| | median | slowest |", "| --- | ---: | ---: |", *rows])


if __name__ == "__main__":
    main()
