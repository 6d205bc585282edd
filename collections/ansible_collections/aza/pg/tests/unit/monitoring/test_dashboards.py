# SPDX-License-Identifier: Apache-2.0
"""Dashboards made of data: what a person needs is in each."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.aza.pg.plugins.module_utils.catalog.documents import read_yaml
from ansible_collections.aza.pg.plugins.module_utils.monitoring.dashboards import render

ROOT = Path(__file__).resolve().parents[7]
DATA: dict[str, Any] = read_yaml(ROOT / "docs/monitoring/dashboards.yml")


@pytest.fixture(params=DATA)
def made(request: pytest.FixtureRequest) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(render(request.param, DATA[request.param]))
    return document


def panels(made: dict[str, Any]) -> list[dict[str, Any]]:
    return [panel for panel in made["panels"] if panel["type"] != "row"]


def test_panels_are_side_by_side(made: dict[str, Any]) -> None:
    taken: dict[tuple[int, int], str] = {}
    for panel in made["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                assert taken.setdefault((x, y), panel["title"]) == panel["title"]
    assert len({panel["id"] for panel in made["panels"]}) == len(made["panels"])


def test_every_line_has_a_name_and_every_number_a_unit(made: dict[str, Any]) -> None:
    for panel in panels(made):
        legends = [target["legendFormat"] for target in panel["targets"]]
        assert len(set(legends)) == len(legends)
        if panel["type"] == "timeseries":
            assert all(legends), panel["title"]
            assert panel["fieldConfig"]["defaults"]["unit"] != "none", panel["title"]
            assert panel["options"]["legend"]["calcs"] == ["lastNotNull", "max"]


def test_variables_choose_what_is_shown(made: dict[str, Any]) -> None:
    source, *chosen = made["templating"]["list"]
    assert source["type"] == "datasource"
    names = [variable["name"] for variable in chosen]
    assert names in (["cluster"], ["cluster", "instance", "host"])
    # A standby is chosen by its host: the replicas of a cluster have one name.
    if len(names) == 3:
        assert chosen[2]["definition"] == (
            'label_values(up{job="postgres", cluster="$cluster", instance="$instance"}, host)'
        )
    for panel in panels(made):
        for target in panel["targets"]:
            assert "{@" not in target["expr"]
            assert "$cluster" in target["expr"] or "node_" in target["expr"], panel["title"]


def test_a_table_has_a_column_for_each_query() -> None:
    document = json.loads(render("fleet", DATA["fleet"]))
    (table,) = [panel for panel in document["panels"] if panel["type"] == "table"]
    renamed = table["transformations"][-1]["options"]["renameByName"]
    assert renamed["Value #A"] == "Server" and len(renamed) == len(table["targets"])
    assert {target["format"] for target in table["targets"]} == {"table"}
    (server,) = [item for item in table["fieldConfig"]["overrides"] if item["matcher"]["options"] == "Server"]
    (words,) = [item["value"] for item in server["properties"] if item["id"] == "mappings"]
    assert words[0]["options"]["0"] == {"text": "down", "color": "red"}
