# SPDX-License-Identifier: Apache-2.0
"""Huge pages, on this machine's own kernel. One instance, in the order in which the tests stand here.

Nothing runs beside it: whatever other server starts meanwhile might take the pages that are meant for this one.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.aza.pg.plugins.module_utils.host import huge_pages

from stack.instance import ROOT, Instance

PERMITTED = huge_pages.of_host()["permitted"]
# Without write access to /proc/sys (a container) nothing can replace the kernel. The other tests here still run.
needs_permission = pytest.mark.skipif(not PERMITTED, reason=f"this user cannot write {huge_pages.KERNEL}")
READ_ONLY = (
    "unshare",
    "--mount",
    "sh",
    "-c",
    'mount --bind -o ro "$0" "$0" && exec "$@"',
    str(huge_pages.KERNEL),
)


def kernel() -> int:
    return int(huge_pages.KERNEL.read_text())


def reserved(instance: Instance) -> int:
    seen = huge_pages.of_host()
    return huge_pages.parse(seen["text"], seen["kernel"]).of(f"{instance.cluster}-single")


@pytest.fixture(scope="module")
def before() -> Iterator[int]:
    """How many pages the machine had. It has them again when the tests are done, however they end."""
    number, text = kernel(), huge_pages.of_host()["text"]
    yield number
    if PERMITTED:
        huge_pages.ask_kernel(number)
        huge_pages.PATH.unlink(missing_ok=True)
        if text:
            huge_pages.PATH.write_text(text)


@pytest.fixture(scope="module")
def instance(before: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    made = Instance(tmp_path_factory.mktemp("inventories"))
    yield made
    made.remove()


def test_who_may_not_reserve_memory_is_told_and_nothing_is_done(instance: Instance, before: int) -> None:
    instance.declare(postgres_huge_pages=True)
    play = ("ansible-playbook", "-i", str(instance.inventory), "playbooks/deploy_single.yml")
    run = subprocess.run(
        (*(READ_ONLY if PERMITTED else ()), *play), cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert "postgres_huge_pages is true and this user may not reserve memory of the host" in run.stdout
    assert (run.returncode, kernel(), reserved(instance)) == (2, before, 0)
    assert not instance.directory.exists()


@needs_permission
def test_a_new_server_has_them_from_its_first_start(instance: Instance, before: int) -> None:
    instance.declare(postgres_huge_pages=True)
    predicted = instance.deploy("--check", "--diff")
    assert kernel() == before and not reserved(instance)
    real = instance.deploy()
    assert predicted.plan == real.plan
    assert instance.sql("show huge_pages_status") == "on"
    needed = int(instance.sql("show shared_memory_size_in_huge_pages"))
    assert needed <= reserved(instance) <= needed * 1.2
    assert kernel() == before + reserved(instance)
    assert instance.deploy().recap["changed"] == 0


@needs_permission
def test_a_check_says_that_it_has_them(instance: Instance, tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    instance.play("check", "-e", f"report_json={report}")
    (message,) = [
        f for f in json.loads(report.read_text())["fleet"][0]["findings"] if f["what"] == "huge pages"
    ]
    assert message["state"] == "green"


@needs_permission
def test_pages_that_somebody_took_come_back(instance: Instance, before: int) -> None:
    pages = reserved(instance)
    huge_pages.ask_kernel(before)
    plan = instance.deploy().plan
    assert len(plan) == 1
    assert f"because the host has {before} of {before + pages}" in plan[0]
    assert kernel() == before + pages
    assert instance.deploy().recap["changed"] == 0


@needs_permission
def test_more_memory_takes_more_and_less_gives_back(instance: Instance, before: int) -> None:
    small = reserved(instance)
    instance.declare(postgres_memory="1g", postgres_allow_recreate=True)
    instance.deploy()
    assert instance.sql("show huge_pages_status") == "on"
    assert kernel() == before + reserved(instance) > before + small * 1.5
    instance.declare(postgres_memory="512m")
    predicted = instance.deploy("--check", "--diff")
    assert predicted.plan == instance.deploy().plan
    assert any("give back huge pages" in line for line in predicted.plan)
    assert instance.sql("show huge_pages_status") == "on"
    assert (reserved(instance), kernel()) == (small, before + small)
    assert instance.deploy().recap["changed"] == 0


@needs_permission
def test_less_that_a_restart_brings_is_given_back_after_it(instance: Instance, before: int) -> None:
    had = reserved(instance)
    instance.declare(postgres_settings={"shared_buffers": "64MB"}, postgres_allow_recreate=False)
    assert not [line for line in instance.deploy().plan if "huge pages" in line]
    assert reserved(instance) == had
    instance.declare(postgres_allow_restart=True)
    predicted = instance.deploy("--check", "--diff")
    assert predicted.plan == instance.deploy().plan
    assert any("give back huge pages" in line for line in predicted.plan)
    assert instance.sql("show huge_pages_status") == "on"
    assert kernel() == before + reserved(instance) < before + had
    assert instance.deploy().recap["changed"] == 0
    instance.declare(postgres_settings={}, postgres_allow_restart=False)


@needs_permission
def test_without_them_nothing_is_kept_and_nobody_is_disconnected(instance: Instance, before: int) -> None:
    started = instance.sql("select pg_postmaster_start_time()")
    instance.declare(postgres_huge_pages=False)
    instance.deploy()
    assert (reserved(instance), kernel()) == (0, before)
    assert instance.deploy().recap["changed"] == 0
    assert instance.sql("select pg_postmaster_start_time()") == started


@needs_permission
def test_a_server_that_runs_takes_them_when_it_may_be_restarted(instance: Instance, before: int) -> None:
    instance.play("stop")
    instance.play("start")
    assert instance.sql("show huge_pages_status") == "off"
    instance.declare(postgres_huge_pages=True)
    run = instance.deploy()
    assert "waits for postgres_allow_restart: true" in run.output
    assert reserved(instance)
    assert instance.sql("show huge_pages_status") == "off"
    instance.declare(postgres_allow_restart=True)
    instance.deploy()
    assert instance.sql("show huge_pages_status") == "on"
    assert instance.deploy().recap["changed"] == 0


@needs_permission
def test_a_removal_gives_them_back(instance: Instance, before: int) -> None:
    run = instance.play(
        "remove", "-e", f"confirm={instance.cluster}", "-e", f"remove_data={instance.cluster}"
    )
    assert run.code == 0, run.output
    assert (reserved(instance), kernel()) == (0, before)
    assert huge_pages.PATH.exists() is bool(huge_pages.of_host()["text"])
