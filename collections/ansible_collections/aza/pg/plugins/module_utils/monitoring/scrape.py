# SPDX-License-Identifier: Apache-2.0
"""The scrape configuration of Prometheus for an inventory. Pure.

One target for each exporter, with the labels that alert rules and dashboards rely on. An exporter that only
its host can reach is not a target of a Prometheus on another host: it is reported instead.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.aza.pg.plugins.module_utils.services.registry import SERVICES
from ansible_collections.aza.pg.plugins.module_utils.yaml_dumper import dump
from ansible_collections.aza.pg.plugins.module_utils.yaml_values import text, truth

Values = Mapping[str, Any]
RULES = "alerts.yml"
BLACKBOX_MODULE = "certificate"


@dataclass(frozen=True)
class Job:
    """One kind of target. Its variables are ``PREFIX_port`` and ``PREFIX_publish_address``."""

    name: str
    prefix: str

    @property
    def address_variable(self) -> str:
        return f"{self.prefix}_publish_address"


# Not an exporter: the port whose certificate blackbox_exporter probes.
_SERVER = Job("certificate", "postgres")
# The variables of a host that targets depend on.
VARIABLES = (
    *("ansible_connection", "ansible_host", "postgres_cluster", "postgres_stack", "postgres_tls"),
    *(f"{item.prefix}{end}" for item in SERVICES for end in ("", "_port", "_publish_address")),
)


def _jobs(values: Values) -> list[Job]:
    """Return the exporters that a host has."""
    return [
        Job(item.metrics.job, item.prefix)
        for item in SERVICES
        if item.metrics and item.is_declared(values) and values.get(f"{item.prefix}_port")
    ]


@dataclass(frozen=True)
class Scrape:
    """``jobs``: by name, the targets by address, each with its labels. ``message``: what was left out, and why."""

    jobs: Mapping[str, Mapping[str, Mapping[str, str]]] = field(default_factory=dict)
    message: tuple[str, ...] = ()


def scrape(hosts: Mapping[str, Values], blackbox: bool = False, node_port: int = 0) -> Scrape:
    """``hosts``: the variables of each, with their defaults. ``blackbox``: whether there is a blackbox_exporter;
    ``node_port``: where each host has a node_exporter."""
    jobs: dict[str, dict[str, Mapping[str, str]]] = {
        item.metrics.job: {} for item in SERVICES if item.metrics
    }
    message = []
    for host, values in hosts.items():
        if not values.get("postgres_cluster"):
            continue
        labels = _labels(host, values)
        wanted = _jobs(values)
        if blackbox and truth(values.get("postgres_tls")):
            wanted.append(_SERVER)
        for job in wanted:
            address = reach(host, values, text(values.get(job.address_variable)))
            port = text(values[f"{job.prefix}_port"])
            if address:
                jobs.setdefault(job.name, {})[_target(address, port)] = labels
            else:
                message.append(_unreached(job, host, values, port))
        if node_port:
            node = _target(reach(host, values, "0.0.0.0"), str(node_port))
            jobs.setdefault("node", {}).setdefault(node, {"host": host})
    return Scrape({name: targets for name, targets in jobs.items() if targets}, tuple(message))


def _labels(host: str, values: Values) -> dict[str, str]:
    cluster, stack = text(values["postgres_cluster"]), text(values["postgres_stack"])
    return {"cluster": cluster, "instance": f"{cluster}-{stack}", "stack": stack, "host": host}


def reach(host: str, values: Values, published: str) -> str:
    """The address by which a Prometheus on the control node reaches what a host publishes; empty when it cannot."""
    local = text(values.get("ansible_connection")) == "local"
    try:
        address = ipaddress.ip_address(published)
    except ValueError:
        return published
    if address.is_unspecified:
        return "127.0.0.1" if local else text(values.get("ansible_host")) or host
    return published if local or not address.is_loopback else ""


def _target(address: str, port: str) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def _unreached(job: Job, host: str, values: Values, port: str) -> str:
    published = text(values.get(job.address_variable))
    what = "port" if job is _SERVER else f"{job.name} exporter"
    return (
        f"{host}: the {what} of {_labels(host, values)['instance']} is published on {published} and reached by its "
        f"host alone, so it is no target. Publish it where Prometheus reaches it ({job.address_variable}), or bring "
        f"{_target(published, port)} of the host to Prometheus by a tunnel and add that target by hand."
    )


def render(found: Scrape, blackbox: str = "", alertmanager: str = "") -> str:
    """prometheus.yml. ``blackbox``, ``alertmanager``: address and port of each, empty where there is none."""
    alerting = {"alertmanagers": [{"static_configs": [{"targets": [alertmanager]}]}]}
    document = {
        "global": {"scrape_interval": "15s", "evaluation_interval": "15s"},
        "rule_files": [RULES],
        **({"alerting": alerting} if alertmanager else {}),
        "scrape_configs": [
            {
                "job_name": name,
                **(_through(blackbox) if name == _SERVER.name else {}),
                "static_configs": [
                    {"targets": [target], "labels": dict(labels)} for target, labels in targets.items()
                ],
            }
            for name, targets in found.jobs.items()
        ],
    }
    return "\n".join([*_head(found.message), dump(document)])


def _through(blackbox: str) -> dict[str, Any]:
    """Asked seldom, because the server logs each time; the rules take the last answer of an hour."""
    return {
        "scrape_interval": "15m",
        "metrics_path": "/probe",
        "params": {"module": [BLACKBOX_MODULE]},
        "relabel_configs": [
            {"source_labels": ["__address__"], "target_label": "__param_target"},
            {"target_label": "__address__", "replacement": blackbox},
        ],
    }


def _head(message: Iterable[str]) -> Iterator[str]:
    yield "# Written by aza-pg (playbooks/monitoring.yml) from the inventory: edit that, and run it again."
    for line in message:
        yield f"# Left out: {line}"
