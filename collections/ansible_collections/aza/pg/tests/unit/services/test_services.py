# SPDX-License-Identifier: Apache-2.0
"""What is observed of several containers and their images, and what a check says of the exporter."""

from __future__ import annotations

import http.server
import socket
import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import yaml
from ansible_collections.aza.pg.plugins.module_utils.instance import observe as observing
from ansible_collections.aza.pg.plugins.module_utils.instance.describe import skeleton
from ansible_collections.aza.pg.plugins.module_utils.model.desired import Desired
from ansible_collections.aza.pg.plugins.module_utils.model.observed import Observed
from ansible_collections.aza.pg.plugins.module_utils.model.service import ContainerSpec
from ansible_collections.aza.pg.plugins.module_utils.services import postgres_exporter as exporter
from ansible_collections.aza.pg.plugins.module_utils.services import registry
from ansible_collections.aza.pg.plugins.module_utils.tls import handshake
from ansible_collections.aza.pg.tests.unit.declarations import describe

EXPORTER, STATS = registry.service("exporter"), registry.service("pgbouncer-exporter")
DIGEST = "sha256:" + "a" * 64
CONFIG = "sha256:" + "c" * 64
RUNS = {"state": "running", "exit_code": 0, "restarts": 0}


def instance(**pinned: str) -> Desired:
    wanted = skeleton("shop", "single", "", {"uid": 0, "home": "/root"})
    services = [replace(item, image={"pinned": pinned.get(item.name, "")}) for item in wanted.services]
    return replace(wanted, services=tuple(services))


@pytest.mark.parametrize(
    ("pinned", "image"),
    [
        # The containerd store knows an image by its digest, the classic one what was loaded by its configuration.
        (f"aza-pg/exporter@{DIGEST}", {"Id": DIGEST, "RepoDigests": [f"aza-pg/exporter@{DIGEST}"]}),
        (CONFIG, {"Id": CONFIG, "RepoDigests": []}),
        # The classic store, pulled from a registry whose default name it leaves out.
        (f"docker.io/me/exporter@{DIGEST}", {"Id": CONFIG, "RepoDigests": [f"me/exporter@{DIGEST}"]}),
    ],
)
def test_each_service_finds_its_own_image(pinned: str, image: dict[str, Any]) -> None:
    other = {"Id": "sha256:" + "d" * 64, "RepoDigests": None}
    wanted = instance(exporter=pinned, postgres="x@sha256:" + "e" * 64)
    assert observing._images(wanted, [other, image]) == {EXPORTER.name: image["Id"]}


def test_when_a_container_started() -> None:
    assert observing._seconds("2026-11-23T12:00:00.500000001Z") == pytest.approx(1795435200.5)
    assert observing._seconds("2026-11-23T12:00:00Z") == 1795435200
    assert observing._seconds("0001-01-01T00:00:00Z") == 0


@pytest.mark.parametrize(
    ("container", "scrape", "message"),
    [
        (None, None, []),
        (RUNS, None, []),
        (RUNS, "", ["green its metrics say that the server is up"]),
        (RUNS, "it does not reach the server (pg_up 0)", ["red it does not reach the server"]),
        ({**RUNS, "state": "exited", "exit_code": 1}, None, ["red it is exited (exit code 1)"]),
        ({**RUNS, "restarts": 3}, "", ["green its metrics", "yellow it restarted 3 times"]),
    ],
)
def test_findings(container: Any, scrape: str | None, message: list[str]) -> None:
    found = Observed(
        containers={EXPORTER.name: container} if container else {},
        probes={} if scrape is None else {EXPORTER.name: scrape},
    )
    there = [f"{item.state} {item.message}" for item in EXPORTER.findings(instance(), found)]
    assert len(there) == len(message)
    assert all(one.startswith(other) for one, other in zip(there, message, strict=True))


def test_the_exporter_of_pgbouncer_has_no_secret_and_may_only_look() -> None:
    wanted = describe(pgbouncer=True, exporter=True, pgbouncer_exporter_port=9128)
    spec = wanted.service(STATS.name)
    assert spec and spec.container == "aza-pg-shop-single-pgbouncer-exporter" and not spec.has_clients
    compose = next(item.text or "" for item in wanted.files if item.path == "compose.yml")
    found = yaml.safe_load(compose)["services"][STATS.name]
    assert (found["user"], found["read_only"], found["cap_drop"]) == ("6432:6432", True, ["ALL"])
    assert found["ports"] == ["127.0.0.1:9128:9127"]
    assert found["volumes"] == ["./run-pgbouncer:/var/run/pgbouncer:ro"]
    assert "/dev/tcp/127.0.0.1/9127" in found["healthcheck"]["test"][-1]
    assert "secrets" not in found and "password" not in str(found).lower()


@pytest.mark.parametrize(
    ("state", "message", "expected"),
    [
        ("running", "", "green its metrics say that PgBouncer is up (port 9128)"),
        ("running", "it does not reach PgBouncer", "red it does not reach PgBouncer"),
        ("exited", None, "red it is exited (exit code 0)"),
    ],
)
def test_findings_of_the_exporter_of_pgbouncer(state: str, message: str | None, expected: str) -> None:
    wanted = describe(pgbouncer=True, exporter=True, pgbouncer_exporter_port=9128)
    probes = {} if message is None else {STATS.name: message}
    found = Observed(containers={STATS.name: {**RUNS, "state": state}}, probes=probes)
    (finding,) = STATS.findings(wanted, found)
    assert f"{finding.state} {finding.message}" == expected
    assert list(STATS.findings(describe(), found)) == []


def test_each_exporter_has_a_metric_that_says_so() -> None:
    pgbouncer = exporter.Watched("PgBouncer", "pgbouncer_up")
    assert exporter.judge(200, "pgbouncer_up 1\n", pgbouncer) == ""
    assert "does not reach PgBouncer (pgbouncer_up 0)" in exporter.judge(
        200, "pg_up 1\npgbouncer_up 0\n", pgbouncer
    )
    assert "nothing about pgbouncer_up" in exporter.judge(200, "pg_up 1\n", pgbouncer)


@pytest.fixture
def metrics() -> Iterator[ContainerSpec]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"pg_up 1\n")

        def log_message(self, *_: Any) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield ContainerSpec(EXPORTER.name, "c", {}, publish_address="0.0.0.0", port=server.server_port)
        server.shutdown()


def test_a_scrape_over_the_published_port(metrics: ContainerSpec) -> None:
    assert exporter.scrape(metrics) == ""


def _unused() -> ContainerSpec:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return ContainerSpec(EXPORTER.name, "c", {}, port=probe.getsockname()[1])


def test_where_nobody_answers() -> None:
    assert "gives no metrics" in exporter.scrape(_unused())
    assert handshake.fingerprint(_unused()) == ""


def test_a_server_without_tls_shows_no_certificate() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            client, _ = server.accept()
            with client:
                client.recv(8)
                client.sendall(b"N")

        threading.Thread(target=answer, daemon=True).start()
        assert handshake.fingerprint(ContainerSpec("postgres", "c", {}, port=server.getsockname()[1])) == ""
