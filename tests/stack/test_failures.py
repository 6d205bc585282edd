# SPDX-License-Identifier: Apache-2.0
"""What goes wrong is said as text, before anything changes where that is possible."""

from __future__ import annotations

import json
import shlex
import socket
import subprocess
import threading
from pathlib import Path

from .instance import Instance, docker


def words(text: str) -> str:
    return " ".join(text.split())


def test_a_port_that_something_else_holds(fresh: Instance) -> None:
    with socket.create_server(("127.0.0.1", fresh.variables["postgres_port"])):
        for arguments in (("--check",), ()):
            run = fresh.play("deploy-single", *arguments)
            assert run.code != 0
            assert "choose another postgres_port" in words(run.output)
            assert "Nothing was changed" in words(run.output)
    assert not fresh.directory.exists()


def test_what_was_never_deployed_is_one_red_finding(fresh: Instance) -> None:
    run = fresh.play("check")
    assert run.code != 0 and "it is not deployed on this host" in run.output
    assert run.recap["changed"] == 0
    assert not fresh.directory.exists()


def test_more_memory_than_there_is(fresh: Instance) -> None:
    fresh.declare(postgres_memory="60t", postgres_publish_address="127.9.9.9")
    run = fresh.play("deploy-single")
    assert run.code != 0 and "postgres_memory asks for" in words(run.output)


def test_the_inventory_is_checked_before_anything(fresh: Instance) -> None:
    fresh.declare(postgres_memroy="2g", postgres_port=99999, image_flavuor="full")
    run = fresh.play("deploy-single", "-e", "postgres_workload=webb")
    assert run.code != 0
    for message in (
        "The inventory has 4 mistakes",
        "postgres_memroy: unknown variable; did you mean 'postgres_memory'?",
        "postgres_port: 99999 is not between 1 and 65535",
        "image_flavuor: unknown variable; did you mean 'image_flavour'?",
        "command line: postgres_workload: 'webb' is not one of web, oltp, dw, mixed; did you mean 'web'?",
    ):
        assert message in words(run.output)
    assert "group_vars/all.yml:" in run.output
    assert not fresh.directory.exists()


def test_a_server_that_cannot_start_says_at_which_stage_and_why(fresh: Instance) -> None:
    """A library that the image does not have keeps it from starting. What the check says can be pasted."""
    fresh.declare(postgres_ready_timeout="40s")
    fresh.deploy()
    fresh.sql("alter system set shared_preload_libraries = 'nosuch'")
    docker("restart", "--time", "20", fresh.container)
    report = fresh.inventory.parent / "report.json"
    assert fresh.play("check", "-e", f"report_json={report}").code != 0
    (found,) = [
        item
        for item in json.loads(report.read_text())["fleet"][0]["findings"]
        if item["what"] == "ready" and item["state"] == "red"
    ]
    assert "'nosuch'" in found["message"]
    start = fresh.play("start")
    assert start.code != 0
    assert "did not reach the stage 'process'" in words(start.output)
    assert "cause: bad_preload" in words(start.output) and "postgresql.auto.conf" in words(start.output)
    subprocess.run(shlex.split("docker " + found["remedy"].partition(" docker ")[2]), check=True)
    assert fresh.play("start").code == 0
    assert "nosuch" not in fresh.sql("show shared_preload_libraries")


def test_two_runs_at_once_do_not_disturb_each_other(fresh: Instance) -> None:
    runs = []
    threads = [threading.Thread(target=lambda: runs.append(fresh.play("deploy-single"))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for run in runs:
        assert run.code == 0 or "Another run is changing" in words(run.output), run.output
    assert any(run.code == 0 for run in runs)
    assert fresh.deploy().recap["changed"] == 0


def test_a_container_of_that_name_that_is_not_ours(fresh: Instance) -> None:
    image = docker("image", "ls", "--quiet", "aza-pg/postgres").split()[0]
    docker("create", "--name", fresh.container, image, "true")
    run = fresh.play("deploy-single")
    assert run.code != 0 and "exists already and is not part of" in words(run.output), run.output


def test_a_tag_is_no_image(fresh: Instance) -> None:
    fresh.declare(postgres_image="aza-pg/postgres:18")
    run = fresh.play("deploy-single")
    assert run.code != 0 and "a tag can move" in words(run.output)
    assert not Path(fresh.directory).exists()
