# SPDX-License-Identifier: Apache-2.0
"""pytest plugin of all Molecule scenarios: the instances as fixtures, and a diagnostics folder for each failure."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import pytest
import testinfra

from support.diagnostics import collect
from support.instances import Instance
from support.playbooks import ROOT, Run, run_playbook

SUMMARY = ROOT / f"diagnostics/failed-{os.environ['MOLECULE_SCENARIO_NAME']}.txt"
INVENTORY = Path(os.environ["AZA_INVENTORY"])


def _instance(host: Any) -> Instance:
    variables = host.ansible.get_variables()
    return Instance(host, variables["inventory_hostname"], variables)


@functools.cache
def all_instances() -> dict[str, Instance]:
    hosts = testinfra.get_hosts(["ansible://all"], ansible_inventory=str(INVENTORY))
    return {found.name: found for found in map(_instance, hosts)}


@pytest.fixture
def instance(host: Any) -> Instance:
    """The instance of the host that the test runs for (each test once a host)."""
    return _instance(host)


@pytest.fixture(scope="session")
def instances() -> dict[str, Instance]:
    """All instances by the name of their host, for what one run does to all of them."""
    return all_instances()


@pytest.fixture(scope="session")
def playbook() -> Callable[..., Run]:
    """``playbook("deploy-single.yml", "--check", extra={...})`` on the test hosts."""
    return functools.partial(run_playbook, inventory=INVENTORY)


_FIGURES: list[str] = []


@pytest.fixture(scope="session")
def figures() -> list[str]:
    """What was measured, one line each: told at the end of the run."""
    return _FIGURES


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for line in _FIGURES:
        terminalreporter.write_line(f"measured: {line}")
    failed = [*terminalreporter.getreports("failed"), *terminalreporter.getreports("error")]
    if failed:
        # Molecule destroys the hosts after this, in many lines; `make` shows it again below them.
        SUMMARY.parent.mkdir(exist_ok=True)
        with SUMMARY.open("a", encoding="utf-8") as stream:
            stream.writelines(f"{report.nodeid}\n{report.longreprtext[-3000:]}\n\n" for report in failed)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed:
        folder = ROOT / "diagnostics" / item.name.replace("/", "_")
        for machine in {found.machine for found in all_instances().values()}:
            collect(machine, folder)
        report.sections.append(("diagnostics", str(Path(folder).relative_to(ROOT))))
    return report
