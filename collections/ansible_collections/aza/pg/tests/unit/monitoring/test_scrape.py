# SPDX-License-Identifier: Apache-2.0
"""What Prometheus is told to scrape, by the inventory."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from ansible_collections.aza.pg.plugins.module_utils.monitoring.scrape import reach, render, scrape


def host(**values: Any) -> dict[str, Any]:
    return {
        "postgres_cluster": "shop",
        "postgres_stack": "single",
        "postgres_exporter": True,
        "postgres_exporter_port": 9187,
        "postgres_exporter_publish_address": "10.0.0.5",
        "postgres_port": 5432,
        "postgres_publish_address": "10.0.0.5",
        "postgres_tls": True,
        **values,
    }


def test_one_target_for_each_exporter_with_the_labels_of_the_rules() -> None:
    pooled = host(
        postgres_stack="primary",
        postgres_pgbouncer=True,
        postgres_pgbouncer_exporter_port=9127,
        postgres_pgbouncer_exporter_publish_address="10.0.0.5",
    )
    found = scrape({"db1": pooled, "web1": {}})
    labels = {"cluster": "shop", "instance": "shop-primary", "stack": "primary", "host": "db1"}
    assert found.jobs == {"postgres": {"10.0.0.5:9187": labels}, "pgbouncer": {"10.0.0.5:9127": labels}}
    assert found.message == ()


@pytest.mark.parametrize(
    ("values", "jobs"),
    [
        ({"postgres_exporter": False}, []),
        ({"postgres_exporter": "no"}, []),
        # No pooler, whatever the default of a port says.
        (
            {
                "postgres_pgbouncer": False,
                "postgres_pgbouncer_exporter_port": 9127,
                "postgres_pgbouncer_exporter_publish_address": "10.0.0.5",
            },
            ["postgres"],
        ),
        ({"postgres_cluster": ""}, []),
    ],
)
def test_what_is_not_there_is_no_target(values: dict[str, Any], jobs: list[str]) -> None:
    assert list(scrape({"db1": host(**values)}).jobs) == jobs


@pytest.mark.parametrize(
    ("values", "published", "reached"),
    [
        ({"ansible_host": "db1.example.org"}, "10.0.0.5", "10.0.0.5"),
        ({"ansible_host": "db1.example.org"}, "0.0.0.0", "db1.example.org"),
        ({"ansible_host": "db1.example.org"}, "::", "db1.example.org"),
        ({}, "0.0.0.0", "db1"),
        ({"ansible_host": "db1.example.org"}, "127.0.0.1", ""),
        ({}, "::1", ""),
        ({"ansible_connection": "local"}, "127.0.0.1", "127.0.0.1"),
        ({"ansible_connection": "local"}, "0.0.0.0", "127.0.0.1"),
        ({}, "db1.internal", "db1.internal"),
    ],
)
def test_by_which_address_prometheus_reaches_it(values: dict[str, Any], published: str, reached: str) -> None:
    assert reach("db1", values, published) == reached


def test_what_only_its_host_reaches_is_said() -> None:
    found = scrape({"db1": host(postgres_exporter_publish_address="127.0.0.1")})
    (message,) = found.message
    assert not found.jobs
    assert message.startswith("db1: the postgres exporter of shop-single is published on 127.0.0.1")
    assert "postgres_exporter_publish_address" in message
    assert f"# Left out: {message}\n" in render(found)


def test_certificates_and_disks_are_asked_for() -> None:
    hosts = {
        "db1": host(ansible_host="h"),
        "db1-b": host(ansible_host="h", postgres_cluster="b", postgres_tls=False),
    }
    assert set(scrape(hosts).jobs) == {"postgres"}
    found = scrape(hosts, blackbox=True, node_port=9100)
    assert list(found.jobs["certificate"]) == ["10.0.0.5:5432"], "the other one has no TLS"
    assert found.jobs["node"] == {"h:9100": {"host": "db1"}}, "one host has one"


def test_the_file() -> None:
    found = scrape({"db1": host(postgres_exporter_publish_address="fd00::5")}, blackbox=True)
    text = render(found, "127.0.0.1:9115", "127.0.0.1:9093")
    document = yaml.safe_load(text)
    postgres, certificate = document["scrape_configs"]
    labels = {"cluster": "shop", "instance": "shop-single", "stack": "single", "host": "db1"}
    assert postgres == {
        "job_name": "postgres",
        "static_configs": [{"targets": ["[fd00::5]:9187"], "labels": labels}],
    }
    assert certificate["params"] == {"module": ["certificate"]}
    assert certificate["relabel_configs"][-1] == {
        "target_label": "__address__",
        "replacement": "127.0.0.1:9115",
    }
    assert document["rule_files"] == ["alerts.yml"]
    assert "alerting" in document
    assert "alerting" not in yaml.safe_load(render(found))
