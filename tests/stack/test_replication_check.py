# SPDX-License-Identifier: Apache-2.0
"""A primary and a replica of the image, well and then harmed in the ways that happen; each is said as text."""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.aza.pg.plugins.module_utils.checks import member
from ansible_collections.aza.pg.plugins.module_utils.checks.cluster import Declared
from ansible_collections.aza.pg.plugins.module_utils.checks.replication import judge
from ansible_collections.aza.pg.plugins.module_utils.planning.finding import Finding
from ansible_collections.aza.pg.plugins.module_utils.server.connection import ServerError

from . import browser, instance
from .containers import Network, eventually
from .instance import docker

PASSWORD = "CANARY-" + secrets.token_hex(8)
DECLARED = Declared.of(
    {
        "name": "shop",
        "members": {
            "db1": {"role": "primary"},
            "db2": {"role": "replica", "slot": "shop_db2", "upstream": "db1"},
        },
    }
)
_FIRST_START = f"""
create role replicator login replication password '{PASSWORD}';
create role watcher login in role pg_monitor;
alter system set ssl = on;
alter system set ssl_cert_file = '/tls.pem';
alter system set ssl_key_file = '/tls.pem';
alter system set max_slot_wal_keep_size = '1GB';
"""
_HBA = "#!/bin/sh\necho 'hostssl replication replicator all scram-sha-256' >>$PGDATA/pg_hba.conf\n"


@pytest.fixture(scope="module")
def net() -> Iterator[Network]:
    with Network() as made:
        primary, first = made.full("db1"), "/docker-entrypoint-initdb.d"
        pem = made.certificate("db1")
        made.run(
            "db1",
            "postgres",
            environment={"POSTGRES_PASSWORD": PASSWORD},
            mounts={
                pem: "/tls.pem",
                made.file("db1", "1.sql", _FIRST_START): f"{first}/1.sql",
                made.file("db1", "2.sh", _HBA, 0o555): f"{first}/2.sh",
            },
        )
        made.run(
            "db2",
            "postgres",
            environment={
                "POSTGRES_ROLE": "replica",
                "POSTGRES_PRIMARY_HOST": primary,
                "POSTGRES_REPLICATION_PASSWORD": PASSWORD,
                "POSTGRES_REPLICATION_SLOT": "shop_db2",
                "PGSSLMODE": "verify-full",
                "PGSSLROOTCERT": "/ca.crt",
            },
            # What the primary was told is in the copy: a certificate is expected there as well.
            mounts={made.certificate("db2"): "/tls.pem", made.root_certificate: "/ca.crt"},
        )
        made.ready("db1")
        made.ready("db2")
        yield made


class Checked:
    """What the modules would return for both members, in one task, and what is said of it."""

    def __init__(self, net: Network, timeout: float = 5, declared: Declared = DECLARED, **users: str) -> None:
        token = secrets.token_hex(8)

        def look(name: str) -> Any:
            try:
                facts, _ = member.observe(
                    str(net.socket(name)),
                    users.get(name, "postgres"),
                    token,
                    timeout,
                    data_path=str(net.directory),
                )
                return {**facts, "image": "sha256:same"}
            except ServerError as error:
                return str(error)

        with ThreadPoolExecutor() as pool:
            self.facts = dict(zip(declared.members, pool.map(look, declared.members)))
        self.findings = judge(declared, self.facts)

    @property
    def bad(self) -> list[tuple[str, Finding]]:
        every = [(name, item) for name, items in self.findings.items() for item in items]
        return [(name, item) for name, item in every if item.state != "green"]

    def tells(self, name: str, what: str, state: str, message: str) -> bool:
        return any(
            (item.what, item.state) == (what, state) and message in item.message
            for item in self.findings[name]
        )


def well(net: Network, **users: Any) -> Checked:
    """What was seen once nothing was wrong any more."""

    def look() -> Checked | None:
        found = Checked(net, **users)
        return None if found.bad else found

    found: Checked = eventually(look, "the cluster to be well")
    return found


def test_all_is_well_and_a_monitor_may_look(net: Network) -> None:
    Checked(net)  # makes the table
    found = well(net, db2="watcher")
    message = {
        f"{name} {item.what}": item.message for name, items in found.findings.items() for item in items
    }
    assert message["db2 streaming"] == "from db1"
    assert message["db2 tls"] == "streams under TLSv1.3"
    assert message["db2 sentinel"].startswith("a row written on db1 ")
    assert PASSWORD not in repr(found.facts)
    # Nothing is asked in a way that the server complains about.
    assert "ERROR" not in net.log("db2")


_PLAY = """
- hosts: all
  gather_facts: false
  tasks:
    - name: Ask the members
      aza.pg.replication_check:
        socket_dir: "{{ socket }}"
        sentinel: "{{ token }}"
        data_path: /tmp
        image: sha256:same
      register: replication_result
    - name: Judge them
      aza.pg.findings_table:
        clusters: "{{ clusters }}"
        report_html: "{{ report }}.html"
        report_json: "{{ report }}.json"
      run_once: true
"""


def play(net: Network, folder: Path, *arguments: str) -> tuple[int, str, dict[str, Any]]:
    """The modules as a check calls them: status, output and the JSON report."""
    members = [{"host": name, **asdict(one)} for name, one in DECLARED.members.items()]
    hosts = {
        name: {"socket": str(net.socket(name)), "postgres_stack": one.role}
        for name, one in DECLARED.members.items()
    }
    shared = {
        "ansible_connection": "local",
        "ansible_python_interpreter": "{{ ansible_playbook_python }}",
        "postgres_cluster": "shop",
        "token": secrets.token_hex(8),
        "report": str(folder / "report"),
        "clusters": [{"name": "shop", "members": members}],
    }
    (folder / "hosts.yml").write_text(yaml.safe_dump({"all": {"hosts": hosts, "vars": shared}}))
    (folder / "play.yml").write_text(_PLAY)
    run = instance.play("-i", str(folder / "hosts.yml"), str(folder / "play.yml"), *arguments)
    return run.code, run.output, json.loads((folder / "report.json").read_text())


def test_a_playbook_prints_judges_and_draws_it(net: Network, tmp_path: Path) -> None:
    code, output, report = play(net, tmp_path)
    assert code == 0, output
    assert "changed=0" in output
    (line,) = [line for line in output.splitlines() if line.startswith("  db2 ")]
    assert line.split()[:3] == ["db2", "replica", "1"]
    assert line.endswith("async  shop_db2 on db1  green")
    assert report["clusters"][0]["members"][1]["upstream"] == "db1"

    page = tmp_path / "report.html"
    assert browser.requests(page) == set()
    assert "shop_db2" in browser.look(page, "--dump-dom")
    assert [browser.overflow(page, width) for width in (1200, 360)] == [0, 0]
    picture = browser.screenshot(page, tmp_path / "page.png")
    without = tmp_path / "without.html"
    without.write_text(re.sub(r"<svg.*?</svg>", "", page.read_text(), flags=re.DOTALL))
    assert len(picture) > len(browser.screenshot(without, tmp_path / "without.png")) + 2000, (
        "no picture is drawn"
    )

    code, output, report = play(net, tmp_path, "--check")
    assert code == 0, output
    message = {item["what"] for one in report["fleet"] for item in one["findings"]}
    assert "sentinel" not in message, "check mode writes no row and waits for none"


def test_a_member_at_a_time(net: Network) -> None:
    """With too few forks the replica has gone before the row is written; that is not taken for a fault of it."""
    looked = {
        name: member.observe(str(net.socket(name)), "postgres", "one after the other", 0.2)[0]
        for name in ("db2", "db1")
    }
    message = [item for item in judge(DECLARED, looked)["db2"] if item.what == "sentinel"]
    assert [(item.state, "forks" in item.remedy) for item in message] == [("yellow", True)]


def test_one_row_for_ever_and_the_monitor_cannot_write(net: Network) -> None:
    found = Checked(net, 0.2, db1="watcher")
    assert found.tells("db1", "sentinel", "red", "permission denied")
    assert net.sql("db1", "select count(*) from aza_pg.sentinel") == "1"


def test_parameters_and_image_and_declared_delay(net: Network) -> None:
    delayed = {**DECLARED.members, "db2": replace(DECLARED.members["db2"], delay=600)}
    found = Checked(net, declared=replace(DECLARED, members=delayed, synchronous=1))
    assert found.tells("db2", "delay", "yellow", "delays its replay by 0 s, declared is 10 min")
    assert found.tells("", "synchronous", "red", "no commit waits, declared are 1")


def test_synchronous_replication_blocks_and_the_check_does_not(net: Network) -> None:
    net.sql("db1", "alter system set synchronous_standby_names = 'ANY 1 (gone)'")
    net.sql("db1", "select pg_reload_conf()")
    eventually(lambda: net.sql("db1", "show synchronous_standby_names") != "", "the setting")
    found = Checked(net, declared=replace(DECLARED, synchronous=1))
    assert found.tells("", "synchronous", "red", "writes block now: each commit waits for 1 of gone")
    assert found.tells("db2", "sentinel", "green", "a row written on")
    net.sql("db1", "alter system reset synchronous_standby_names")
    net.sql("db1", "select pg_reload_conf()")


def test_paused_replay(net: Network) -> None:
    net.sql("db2", "select pg_wal_replay_pause()")
    eventually(lambda: net.sql("db2", "select pg_get_wal_replay_pause_state()") == "paused", "the pause")
    net.sql("db1", "create table much as select generate_series(1, 100000) as n")
    found = Checked(net)
    assert found.tells("db2", "lag", "red", "its replay is paused")
    assert not [item for item in found.findings["db2"] if item.what == "sentinel"]
    net.sql("db2", "select pg_wal_replay_resume()")
    well(net)


def test_behind_in_bytes(net: Network) -> None:
    """It receives and cannot replay: a query there stands in its way."""
    net.sql("db2", "alter system set max_standby_streaming_delay = -1")
    net.sql("db2", "select pg_reload_conf()")
    docker(
        "exec",
        "--detach",
        net.full("db2"),
        *("psql", "-U", "postgres", "-c", "select count(*), pg_sleep(60) from much"),
    )
    busy = "select count(*) from pg_stat_activity where query ~ 'from [m]uch'"
    eventually(lambda: net.sql("db2", busy) == "1", "the query")
    net.sql("db1", "drop table much")
    net.sql("db1", "create table more as select generate_series(1, 100000) as n")
    few = replace(DECLARED, lag_bytes=2**20)
    eventually(lambda: Checked(net, 0.2, few).tells("db2", "lag", "red", "MB, "), "the replica to be behind")
    net.sql("db2", "select pg_terminate_backend(pid) from pg_stat_activity where query ~ 'from [m]uch'")
    well(net)


def test_a_stopped_replica_and_then_without_its_slot(net: Network) -> None:
    docker("stop", "--time", "20", net.full("db2"))
    unused = "select not active from pg_replication_slots"
    eventually(lambda: net.sql("db1", unused) == "t", "the slot to be free")
    found = Checked(net)
    assert found.tells("db2", "server", "red", "No such file or directory")
    assert found.tells("db2", "slot", "red", "slot shop_db2 on db1 is not in use; it keeps")
    assert found.tells("", "primary", "green", "db1 is the only primary")

    net.sql("db1", "select pg_drop_replication_slot('shop_db2')")
    docker("start", net.full("db2"))
    eventually(lambda: not isinstance(Checked(net, 0.1).facts["db2"], str), "the replica to be back")
    found = Checked(net, 0.2)
    assert found.tells("db2", "slot", "red", "db1 has no slot shop_db2")
    assert found.tells("db2", "streaming", "red", "from db1")
    net.sql("db1", "select pg_create_physical_replication_slot('shop_db2', true)")
    well(net)


def test_a_promoted_replica_makes_two_primaries(net: Network) -> None:
    net.sql("db2", "select pg_promote()")
    found = Checked(net)
    assert found.tells("", "primary", "red", "db1 and db2 are primaries at the same time")
    assert found.tells("db2", "role", "yellow", "it was promoted")

    # The old one goes: what is left is a cluster with one primary, that of the promotion.
    docker("stop", "--time", "20", net.full("db1"))
    found = Checked(net)
    assert found.tells("", "primary", "green", "db2 is the only primary")
    assert found.tells("db1", "server", "red", "")


def test_without_any_server_everything_is_said(net: Network, tmp_path: Path) -> None:
    docker("stop", "--time", "20", net.full("db2"))
    found = Checked(net)
    assert found.tells("", "primary", "red", "no member accepts writes: db1 and db2 could not be checked")

    code, output, report = play(net, tmp_path)
    assert code != 0
    assert "unreachable=1" not in output, "the hosts are there, their servers are not"
    assert report["clusters"][0]["state"] == "red"
    assert "no member accepts writes: db1 and db2 could not be checked" in " ".join(output.split())
