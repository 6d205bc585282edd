# SPDX-License-Identifier: Apache-2.0
"""One plan: the same lines from plan.yml, from the check with --diff and from the run itself; JSON beside them."""

from __future__ import annotations

import json
from pathlib import Path

from .instance import Instance

CHANGED = {
    "postgres_settings": {"autovacuum_naptime": "30s", "track_activity_query_size": "4kB"},
    "postgres_hba": [{"roles": ["postgres"], "addresses": ["10.0.0.0/8"]}],
}


def test_the_same_lines_everywhere(fresh: Instance, tmp_path: Path) -> None:
    fresh.declare(postgres_exporter=False)
    fresh.deploy()
    assert "nothing to do" in fresh.play("plan").output
    fresh.declare(**CHANGED)

    written = tmp_path / "plan.json"
    planned = fresh.play("plan", "-e", f"plan_json={written}")
    assert planned.code == 0, planned.output
    origin = f"({fresh.inventory}/group_vars/all.yml:"
    assert [line.partition(origin)[0] for line in planned.plan] == [
        "  add hba rule 2  hostssl all postgres 10.0.0.0/8 scram-sha-256  reload  ",
        "  setting autovacuum_naptime  1min → 30s  reload  ",
        "  setting track_activity_query_size  1kB → 4kB  restart  ",
    ]
    assert planned.plan[1].endswith(": postgres_settings)")
    last = "0 sql, 1 reload, 0 restarts; nothing is lost; 1 waits"
    plan = json.loads(written.read_text())["here"]
    assert (plan["instance"], plan["summary"]) == (f"{fresh.cluster}-single", last)
    assert [change["text"] for change in plan["changes"]] == [
        "add hba rule 2  hostssl all postgres 10.0.0.0/8 scram-sha-256",
        "setting autovacuum_naptime  1min → 30s",
    ]
    assert plan["held"][0]["waits_for"] == "postgres_allow_restart: true"

    predicted, real = fresh.deploy("--check", "--diff"), fresh.deploy("--diff")
    for run in (planned, predicted, real):
        assert last in run.output
        assert run.plan[: len(planned.plan)] == planned.plan
    assert (
        "setting track_activity_query_size  1kB → 4kB  (pending: postgres_allow_restart: true)" in real.output
    )
    assert fresh.sql("show autovacuum_naptime") == "30s"
    assert fresh.sql("show track_activity_query_size") == "1kB"


def test_a_mistake_is_found_before_anything_is_there(fresh: Instance) -> None:
    """Also by a first deploy: what it would have made is not there."""
    fresh.declare(postgres_exporter=False, postgres_settings={"work_memm": "1MB"})
    refused = fresh.play("deploy-single")
    assert refused.code != 0
    assert "there is no setting 'work_memm'; did you mean 'work_mem'?" in refused.output
    assert not fresh.directory.exists()
