# SPDX-License-Identifier: Apache-2.0
"""Rules and dashboards use what the exporters really export; PgBouncer's exporter works without a secret."""

from __future__ import annotations

import json
import re
import secrets
import urllib.error
import urllib.parse
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.aza.pg.plugins.module_utils.monitoring import scrape as scraping
from ansible_collections.aza.pg.plugins.module_utils.services import postgres_exporter as exporter
from ansible_collections.aza.pg.plugins.module_utils.services.pgbouncer import files as pgbouncer

from . import promql
from .instance import ROOT, docker, free_port, play
from .prometheus import promtool, running
from .watched import POOLER, Watched, eventually, metrics

MONITORING = ROOT / "docs/monitoring"
FILES = ROOT / "playbooks/files"
POOLER_UP = exporter.Watched("PgBouncer", "pgbouncer_up")
# What prometheus.yml gives to each target.
TARGET = {"cluster", "instance", "stack", "host", "job"}
# Series that are there only while something is wrong.
RARE = {"pg_replication_slot_wal_status"}


@cache
def queries() -> dict[str, tuple[str, set[str]]]:
    """Every query of rules and dashboards by its place, with the labels of its legend."""
    found: dict[str, tuple[str, set[str]]] = {}
    for group in yaml.safe_load((FILES / "alerts.yml").read_text())["groups"]:
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
        through = ("-d", "host=pgbouncer port=6432 dbname=postgres password=x", "-c")
        written = made.psql(*through, "create table t()")
        assert written.returncode == 0, written.stderr
        docker(
            "exec", "-d", f"{made.name}-primary-1", "psql", "-U", "postgres", *through, "select pg_sleep(600)"
        )
        yield made
    finally:
        made.remove()


@dataclass(frozen=True)
class Yours:
    """What is the user's to run: node_exporter and blackbox_exporter, by their ports."""

    node: int
    blackbox: int

    def metrics(self, server: int) -> list[str]:
        probe = f"http://127.0.0.1:{self.blackbox}/probe?module=certificate&target=127.0.0.1:{server}"
        return [metrics(f"http://127.0.0.1:{self.node}/metrics"), metrics(probe)]


@pytest.fixture(scope="module")
def yours(watched: Watched) -> Iterator[Yours]:
    made = Yours(free_port(), free_port())
    modules = f"--config.file={FILES / 'blackbox.yml'}"
    with (
        running("prometheus-node-exporter", made.node),
        running("prometheus-blackbox-exporter", made.blackbox, modules),
    ):
        eventually(lambda: answers(made.metrics, watched.port), "node_exporter and blackbox_exporter")
        yield made


def answers(function: Callable[..., Any], *arguments: Any) -> Any:
    try:
        return function(*arguments)
    except (urllib.error.URLError, ConnectionError):
        return None


@pytest.fixture(scope="module")
def exported(watched: Watched, yours: Yours) -> promql.Series:
    assert exporter.scrape(watched.exporters["primary"]) == ""
    own: list[str] = []

    def streams() -> bool:
        own[:] = [
            metrics(f"http://127.0.0.1:{service.port}/metrics") for service in watched.exporters.values()
        ]
        return (
            "\npg_stat_replication_pg_wal_lsn_diff{" in own[0]
            and "\npg_stat_wal_receiver_last_msg_receipt_time{" in own[1]
        )

    eventually(streams, "both exporters to tell of the replication")
    # Prometheus itself makes this one.
    return promql.series([*own, *yours.metrics(watched.port), "up 1\n"])


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


def test_the_certificate_is_seen(watched: Watched, yours: Yours) -> None:
    assert "\nprobe_success 1\n" in yours.metrics(watched.port)[1]


class Prometheus:
    """The real one, with what is made of an inventory of these two hosts, in a hurry."""

    def __init__(self, watched: Watched, yours: Yours, directory: Path) -> None:
        self.port, self.directory = free_port(), directory
        common = {
            "ansible_connection": "local",
            "postgres_cluster": "shop",
            "postgres_publish_address": "127.0.0.1",
        }
        ports = {name: service.port for name, service in watched.exporters.items()}
        hosts = {
            "db1": common
            | {"postgres_stack": "primary", "postgres_tls": True, "postgres_port": watched.port}
            | {"postgres_pgbouncer": True}
            | _published("postgres_exporter", ports["primary"])
            | _published("postgres_pgbouncer_exporter", ports["pooler"]),
            "db2": common | {"postgres_stack": "replica"} | _published("postgres_exporter", ports["standby"]),
        }
        found = scraping.scrape(hosts, blackbox=True, node_port=yours.node)
        text = re.sub("15[sm]", "1s", scraping.render(found, f"127.0.0.1:{yours.blackbox}"))
        (directory / "prometheus.yml").write_text(text)
        (directory / "alerts.yml").write_text((FILES / "alerts.yml").read_text())

    def api(self, path: str, **parameters: str) -> Any:
        url = f"http://127.0.0.1:{self.port}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        return json.loads(metrics(url))["data"]

    def ask(self, query: str) -> list[Any]:
        found: list[Any] = self.api("query", query=query)["result"]
        return found


def _published(prefix: str, port: int) -> dict[str, Any]:
    return {f"{prefix}_port": port, f"{prefix}_publish_address": "127.0.0.1"}


@pytest.fixture(scope="module")
def prometheus(
    watched: Watched, yours: Yours, exported: promql.Series, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Prometheus]:
    made = Prometheus(watched, yours, tmp_path_factory.mktemp("prometheus"))
    files = (
        f"--config.file={made.directory}/prometheus.yml",
        f"--storage.tsdb.path={made.directory}/data",
    )
    with running("prometheus", made.port, *files):
        # Five targets, each of them scraped some times: a rate needs more than one.
        some = "count(sum_over_time(up[1m]) >= 4) == 5"
        eventually(lambda: answers(made.ask, some), "Prometheus to scrape every target")
        yield made


def test_every_query_has_an_answer(prometheus: Prometheus) -> None:
    """Also what only PromQL knows: which series meet each other."""
    silent = []
    for place, (query, _) in queries().items():
        if place.startswith("alert "):
            continue
        found = []
        for host, instance in (("db1", "shop-primary"), ("db2", "shop-replica")):
            chosen = query.replace("$cluster", "shop").replace("$instance", instance).replace("$host", host)
            found += prometheus.ask(chosen)
        # What is above 0 is there only when it is.
        if not found and not query.endswith("> 0"):
            silent.append(place)
    assert silent == []


def test_only_what_is_wrong_is_an_alert(prometheus: Prometheus) -> None:
    groups = prometheus.api("rules")["groups"]
    found = [rule for group in groups for rule in group["rules"]]
    assert {rule["name"]: rule["lastError"] for rule in found if rule.get("lastError")} == {}
    raised = {rule["name"] for rule in found if rule["state"] != "inactive"}
    # The disk is this machine's own.
    assert raised - {"DiskNearlyFull", "DiskFullInADay"} == {
        "ReplicationSlotInactive",
        "CertificateExpiresSoon",
    }


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
    assert exporter.scrape(service, POOLER_UP) == ""
    (found,) = json.loads(docker("inspect", service.container))
    shown = json.dumps([found["Config"], found["Args"], found["HostConfig"]])
    assert "secret" not in shown and "PASS" not in shown
    assert not [mount for mount in found["Mounts"] if "secret" in mount["Destination"]]
    name = f"port=6432 user={pgbouncer.STATS_USER}"
    console = f"host=/var/run/pgbouncer dbname=pgbouncer {name}"
    assert watched.psql("-d", console, "-c", "show version", user=POOLER).stdout.startswith("PgBouncer")
    assert "admin access needed" in watched.psql("-d", console, "-c", "shutdown", user=POOLER).stderr
    # No one else reaches the socket, and by no password is a user this user.
    assert "Permission denied" in watched.psql("-d", console, "-c", "show version").stderr
    for database in ("pgbouncer", "postgres"):
        through = f"host=pgbouncer dbname={database} password='md5{'0' * 32}' {name}"
        assert "authentication failed" in watched.psql("-d", through, "-c", "show version").stderr


def test_a_pgbouncer_that_is_gone_is_told(watched: Watched) -> None:
    docker("stop", "--time", "1", f"{watched.name}-pgbouncer")
    assert "does not reach PgBouncer (pgbouncer_up 0)" in exporter.scrape(
        watched.exporters["pooler"], POOLER_UP
    )
    docker("start", f"{watched.name}-pgbouncer")
    eventually(lambda: exporter.scrape(watched.exporters["pooler"], POOLER_UP) == "", "PgBouncer")


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
    run = play("playbooks/monitoring.yml", *arguments)
    assert run.code == 0, run.output
    return run.output


def test_the_files_are_made_of_an_inventory(tmp_path: Path) -> None:
    inventory, made = tmp_path / "hosts.yml", tmp_path / "prometheus"
    inventory.write_text(yaml.safe_dump({"all": {"hosts": _HOSTS}}))
    arguments = (
        *("-i", str(inventory), "-e", f"monitoring_dir={made}", "-e", "node_exporter_port=9100"),
        *("-e", "blackbox_exporter=127.0.0.1:9115", "-e", "alertmanager=127.0.0.1:9093"),
    )
    predicted = re.findall(r"changed=(\d+)", _play(*arguments, "--check"))
    assert not made.exists()
    message = _play(*arguments)
    assert re.findall(r"changed=(\d+)", message) == predicted == ["0", "3"]
    assert "db2: the postgres exporter of blog-single is published on 127.0.0.1" in message
    assert re.findall(r"changed=(\d+)", _play(*arguments)) == ["0", "0"]

    promtool("check", "config", str(made / "prometheus.yml"))
    jobs = {
        job["job_name"]: job
        for job in yaml.safe_load((made / "prometheus.yml").read_text())["scrape_configs"]
    }
    labels = {"cluster": "shop", "instance": "shop-single", "stack": "single", "host": "db1"}
    assert jobs["postgres"]["static_configs"] == [{"targets": ["192.0.2.1:9187"], "labels": labels}]
    assert {target["labels"]["host"] for target in jobs["node"]["static_configs"]} == {"db1", "db2"}
    assert (made / "alerts.yml").read_bytes() == (FILES / "alerts.yml").read_bytes()
