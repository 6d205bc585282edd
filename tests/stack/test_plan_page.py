# SPDX-License-Identifier: Apache-2.0
"""The plan and the report of docs/how-it-works/plan.md are what the code says of the example that stands there."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from ansible_collections.aza.pg.plugins.module_utils.model.desired import Desired
from ansible_collections.aza.pg.plugins.module_utils.report import text
from ansible_collections.aza.pg.plugins.module_utils.report.fleet import Fleet, instance
from ansible_collections.aza.pg.plugins.modules import instance_apply

from docs import markdown
from objects.harness import Server

PAGE = markdown.ROOT / "docs/how-it-works/plan.md"


@pytest.fixture(scope="module")
def running() -> Iterator[Server]:
    with Server() as made:
        yield made


def describe(running: Server, declared: dict[str, Any]) -> Desired:
    given = {name.removeprefix("postgres_"): value for name, value in declared.items()}
    wanted = running.describe(
        {key: value for key, value in given.items() if key != "settings"},
        given["settings"],
        origins={name: f"group_vars/shop.yml: {name}" for name in declared},
    )
    running.keep_passwords(wanted, {})
    return wanted


def test_the_example_is_what_the_code_says(running: Server) -> None:
    blocks = markdown.blocks(PAGE)
    before, after = (yaml.safe_load(block.text) for block in blocks if block.language == "yaml")
    (edits,) = (block.text for block in blocks if block.language == "sql")
    _, plan, report = (block.text.splitlines() for block in blocks if block.language == "text")

    running.converge(describe(running, before))
    running.execute("create table orders (id bigint)", "shop_old")
    wanted = describe(running, after)
    assert running.run(wanted, check=True)["lines"] == plan

    running.converge(wanted)
    running.execute(edits)
    module: Any = SimpleNamespace(
        params={
            "state": "present",
            "secrets": running.secrets,
            "allow": [],
            "tuned": [],
            "host": {},
            "mark": "",
            "delay": 0,
        },
        check_mode=False,
    )
    checked = json.loads(json.dumps(instance_apply.run_check(module, wanted, running.docker)))
    message = [line for _, line in text.lines(Fleet.of([instance("db1", "shop-single", checked)]))]
    # The harness names the image that was built last by its id.
    assert [re.sub(r"sha256:\w+", "aza-pg/postgres:18-standard@sha256:…", line) for line in message] == report
