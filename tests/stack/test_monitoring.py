# SPDX-License-Identifier: Apache-2.0
"""Rules and dashboards use what the exporters really export; PgBouncer's exporter works without a secret."""

from __future__ import annotations

import json
import re
import secrets
import subprocess
import urllib.error
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.aza.pg.plugins.module_utils.stack import exporter, pgbouncer_exporter

from . import promql
from .instance import ROOT, docker, free_port
from .prometheus import program, promtool
from .watched import Watched, eventually, metrics

MONITORING = ROOT / "docs/monitoring"
# What prometheus.yml gives to each target.
TARGET = {"cluster", "instance", "stack", "host", "job"}
# Series that are there only while something is wrong.
RARE = {"pg_replication_slot_wal_status"}


@cache
def queries() -> dict[str, tuple[str, set[str]]]:
    """Every query of rules and dashboards by its place, with the labels of its legend."""
    found: dict[str, tuple[str, set[str]]] = {}
    for group in yaml.safe_load((MONITORING / "alerts.yml").read_text())["groups"]:
        for rule in group["rules"]:
            found[f"alert {rule['alert']}"] = (rule["expr"], set())
    for path in sorted(MONITORING.glob("*.json")):
        for panel in json.loads(path.read_text())["panels"]:
            for target in panel.get("targets", ()):
                legend = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
                query = target["expr"].replace("$__rate_interval", "5m")
                found[f"{path.stem}: {panel['title']} ({panel['id']}{target['refId']})"] = (query, legend)
    return found


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    made = Watched(f"azatest-{secrets.token_hex(3)}", tmp_path_factory.mktemp("watched"))
    try:
        made.start()
        streams = "select count(*) from pg_stat_replication where state = 'streaming'"
        eventually(lambda: made.psql("-c", streams).stdout == "1\n", "the standby to stream", 120)
        # A write, because of a standby that received nothing yet nothing is told, and a transaction that is open.
        through = ("-d", "host=pgbouncer port=6432 dbname=postgres", "-c")
        written = made.psql(*through, "create table t()")
        assert written.returncode == 0, written.stderr
        docker(
            "exec", "-d", f"{made.name}-primary-1", "psql", "-U", "postgres", *through, "select pg_sleep(600)"
        )
        yield made
    finally:
        made.remove()


@pytest.fixture(scope="module")
def yours(watched: Watched) -> Iterator[list[str]]:
    """What node_exporter and blackbox_exporter give."""
    node, blackbox = free_port(), free_port()
    running = [
        _run("prometheus-node-exporter", node),
        _run("prometheus-blackbox-exporter", blackbox, f"--config.file={MONITORING / 'blackbox.yml'}"),
    ]
    probe = f"http://127.0.0.1:{blackbox}/probe?module=certificate&target=127.0.0.1:{watched.port}"
    texts: list[str] = []

    def answered() -> bool:
        try:
            texts[:] = [metrics(f"http://127.0.0.1:{node}/metrics"), metrics(probe)]
        except (urllib.error.URLError, ConnectionError):
            return False
        return True

    try:
        eventually(answered, "node_exporter and blackbox_exporter")
        yield texts
    finally:
        for process in running:
            process.kill()
            process.wait()


def _run(name: str, port: int, *arguments: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [program(name), f"--web.listen-address=127.0.0.1:{port}", *arguments],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


@pytest.fixture(scope="module")
def exported(watched: Watched, yours: list[str]) -> promql.Series:
    assert exporter.scrape(watched.exporters["primary"]) == ""
    own: list[str] = []

    def streams() -> bool:
        own[:] = [
            metrics(f"http://127.0.0.1:{service.port}/metrics") for service in watched.exporters.values()
        ]
        return "pg_stat_wal_receiver_last_msg_receipt_time{" in own[1]

    eventually(streams, "the standby's exporter to tell that it streams")
    # Prometheus itself makes this one.
    return promql.series([*own, *yours, "up 1\n"])


def test_rules_and_dashboards_use_what_is_exported(exported: promql.Series) -> None:
    wrong = []
    for place, (query, legend) in queries().items():
        used = promql.selectors(query)
        assert used, place
        there: set[str] = set(TARGET)
        for selector in used:
            found = exported.get(selector.metric, [])
            labels = {label for series in found for label in series}
            there |= labels
            if not found:
                wrong.append(f"{place}: nobody exports {selector.metric}")
            elif strange := {name for name, *_ in selector.matchers} - labels - TARGET:
                wrong.append(f"{place}: {selector.metric} has no label {strange}")
            elif selector.metric not in RARE and not any(promql.matches(selector, one) for one in found):
                wrong.append(f"{place}: no {selector.metric} is like {selector.matchers}")
        if strange := (legend | promql.grouped(query)) - there:
            wrong.append(f"{place}: no series has the label {strange}")
    assert not wrong, "\n".join(wrong)


def test_prometheus_understands_every_query_of_the_dashboards(tmp_path: Path) -> None:
    rules = [
        {"record": f"query:{number}", "expr": query} for number, (query, _) in enumerate(queries().values())
    ]
    (tmp_path / "queries.yml").write_text(yaml.safe_dump({"groups": [{"name": "all", "rules": rules}]}))
    assert f"{len(rules)} rules found" in promtool("check", "rules", "queries.yml", cwd=tmp_path)


def test_the_certificate_is_seen(yours: list[str]) -> None:
    (probe,) = promql.series([yours[1]])["probe_success"]
    assert probe == {} and "\nprobe_success 1\n" in yours[1]


def test_each_exporter_tells_of_its_own(exported: promql.Series, watched: Watched) -> None:
    standby = metrics(f"http://127.0.0.1:{watched.exporters['standby'].port}/metrics")
    assert "\npg_replication_is_replica 1\n" in standby
    unwell = [
        series["collector"]
        for line in standby.splitlines()
        if line.startswith("pg_scrape_collector_success") and line.endswith(" 0")
        for series in promql.series([line])["pg_scrape_collector_success"]
    ]
    assert unwell == []
    containers = [service.container for service in watched.exporters.values()]

    def healthy() -> bool:
        states = docker("inspect", "--format", "{{.State.Health.Status}}", *containers)
        return set(states.splitlines()) == {"healthy"}

    eventually(healthy, "the exporters to be healthy")


def test_the_exporter_of_pgbouncer_has_no_secret_and_may_only_look(watched: Watched) -> None:
    service = watched.exporters["pooler"]
    assert pgbouncer_exporter.scrape(service) == ""
    (found,) = json.loads(docker("inspect", service.container))
    shown = json.dumps([found["Config"], found["Args"], found["HostConfig"]])
    assert "secret" not in shown and "PASS" not in shown
    assert not [mount for mount in found["Mounts"] if "secret" in mount["Destination"]]
    console = f"host=/run/pgbouncer port=6432 dbname=pgbouncer user={pgbouncer_exporter.USER}"
    assert watched.psql("-d", console, "-c", "show version").stdout.startswith("PgBouncer")
    assert "admin access needed" in watched.psql("-d", console, "-c", "shutdown").stderr
    # Nor does it get to a database.
    assert watched.psql(
        "-d", console.replace("=pgbouncer user", "=postgres user"), "-c", "select 1"
    ).returncode


def test_a_pgbouncer_that_is_gone_is_told(watched: Watched) -> None:
    docker("stop", "--time", "1", f"{watched.name}-pgbouncer")
    assert "does not reach PgBouncer (pgbouncer_up 0)" in pgbouncer_exporter.scrape(
        watched.exporters["pooler"]
    )
    docker("start", f"{watched.name}-pgbouncer")
    eventually(lambda: pgbouncer_exporter.scrape(watched.exporters["pooler"]) == "", "PgBouncer")


# -- the playbook ------------------------------------------------------------------------------------------------------

_HOSTS: dict[str, Any] = {
    "db1": {
        "ansible_host": "192.0.2.1",
        "postgres_cluster": "shop",
        "postgres_exporter_publish_address": "0.0.0.0",
    },
    "db2": {"ansible_host": "192.0.2.2", "postgres_cluster": "blog"},
    "web1": {"ansible_host": "192.0.2.3"},
}


def _play(*arguments: str) -> str:
    done = subprocess.run(
        ["ansible-playbook", "playbooks/monitoring.yml", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_files_are_made_of_an_inventory(tmp_path: Path) -> None:
    inventory, made = tmp_path / "hosts.yml", tmp_path / "prometheus"
    inventory.write_text(yaml.safe_dump({"all": {"hosts": _HOSTS}}))
    arguments = (
        *("-i", str(inventory), "-e", f"monitoring_dir={made}", "-e", "node_exporter_port=9100"),
        *("-e", "blackbox_exporter=127.0.0.1:9115", "-e", "alertmanager=127.0.0.1:9093"),
    )
    foretold = re.findall(r"changed=(\d+)", _play(*arguments, "--check"))
    assert not made.exists()
    said = _play(*arguments)
    assert re.findall(r"changed=(\d+)", said) == foretold == ["0", "3"]
    assert "db2: the postgres exporter of blog-single is published on 127.0.0.1" in said
    assert re.findall(r"changed=(\d+)", _play(*arguments)) == ["0", "0"]

    promtool("check", "config", str(made / "prometheus.yml"))
    jobs = {
        job["job_name"]: job
        for job in yaml.safe_load((made / "prometheus.yml").read_text())["scrape_configs"]
    }
    labels = {"cluster": "shop", "instance": "shop-single", "stack": "single", "host": "db1"}
    assert jobs["postgres"]["static_configs"] == [{"targets": ["192.0.2.1:9187"], "labels": labels}]
    assert {target["labels"]["host"] for target in jobs["node"]["static_configs"]} == {"db1", "db2"}
    assert (made / "alerts.yml").read_bytes() == (MONITORING / "alerts.yml").read_bytes()
