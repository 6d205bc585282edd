# SPDX-License-Identifier: Apache-2.0
"""Lines of the server's own configuration files: what a first start writes is silent, what a user added is said."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.aza.pg.plugins.module_utils.model.observed import Observed
from ansible_collections.aza.pg.plugins.module_utils.objects import configuration
from ansible_collections.aza.pg.tests.unit.instance.test_plan import describe

DATA = "/var/lib/postgresql/18/docker"


def line(name: str, value: str = "1", **more: Any) -> dict[str, Any]:
    known = {"file": f"{DATA}/postgresql.conf", "line": 900, "applied": True, "last": False}
    return {"name": name, "value": value, **known, **more}


# As the image's first start leaves them.
STOCK = [
    line("listen_addresses", "*", line=2),
    line("dynamic_shared_memory_type", "posix", line=157),
    line("log_timezone", "Etc/UTC", line=647),
    line("autovacuum_worker_slots", "16", line=689),
    line("datestyle", "iso, mdy", line=783),
    line("lc_messages", "C.UTF-8", line=799),
    line("default_text_search_config", "pg_catalog.english", line=809),
]


def found(*lines: dict[str, Any], **given: Any) -> list[tuple[str, str]]:
    wanted = describe(**{"settings": {"work_mem": "8MB"}, "tls": False, **given})
    observed = Observed(server={"configuration_lines": [*STOCK, *lines]})
    assert configuration.KIND.undeclared
    return [(item.severity, item.what) for item in configuration.KIND.undeclared(wanted, observed)]


def test_what_a_first_start_writes_is_nobodys_edit() -> None:
    assert found() == []
    assert found(line("max_connections", "77"), initdb_args="-c max_connections=77 --set jit=on") == []
    assert found(line("jit", "on"), initdb_args="-c max_connections=77 --set jit=on") == []


@pytest.mark.parametrize(
    ("entry", "severity"),
    [
        (line("jit", "on"), "yellow"),
        (line("jit", "on", last=True), "yellow"),
        (line("jit", "on", file=f"{DATA}/extra.conf"), "yellow"),
        # It stands there a second time, or in another file.
        (line("log_timezone", "Europe/Berlin"), "yellow"),
        (line("timezone", "Europe/Berlin", last=True), "yellow"),
        (line("timezone", "Europe/Berlin", file="/etc/other.conf"), "yellow"),
        # The stack decides these, and a later line wins.
        (line("ssl", "on", last=True), "red"),
        (line("ssl", "on"), "yellow"),
        # One mistake in a file keeps all of its lines from being applied, for now.
        (line("ssl", "on", last=True, applied=False), "red"),
        (line("hba_file", "/x", last=True), "red"),
        (line("shared_preload_libraries", "x", last=True), "red"),
    ],
)
def test_what_somebody_added_is_said(entry: dict[str, Any], severity: str) -> None:
    assert found(entry) == [(severity, f"setting {entry['name']}")]


def test_a_declared_setting_has_a_finding_of_its_own() -> None:
    assert found(line("work_mem", "3MB", last=True)) == []


def test_another_value_of_a_line_that_is_always_the_same() -> None:
    observed = Observed(server={"configuration_lines": [line("listen_addresses", "127.0.0.1")]})
    assert configuration.KIND.undeclared
    (item,) = configuration.KIND.undeclared(describe(), observed)
    assert item.policy == "configuration" and "line 900" in item.message
