# SPDX-License-Identifier: Apache-2.0
"""Grafana's dashboards, made of docs/monitoring/dashboards.yml. Pure."""

from __future__ import annotations

import json
import string
from collections.abc import Iterator, Mapping
from typing import Any

# How wide and high a panel is that does not say so, of a width of 24.
_SIZES = {"stat": (4, 4), "name": (4, 4), "table": (24, 9), "timeseries": (8, 8)}
_SOURCE = {"type": "prometheus", "uid": "${datasource}"}
# The targets of this job have the labels, whether their server is up or not.
_TARGETS = 'up{job="postgres"%s}'
Given = Mapping[str, Any]


def render(name: str, dashboard: Given) -> str:
    many = len(dashboard["scope"]) == 1
    equal = "=~" if many else "="
    scope = ", ".join(f'{label}{equal}"${label}"' for label in dashboard["scope"])
    document = {
        "uid": f"aza-pg-{name}",
        "title": dashboard["title"],
        "tags": ["aza-pg", "postgresql"],
        "schemaVersion": 39,
        "editable": True,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "links": [
            {
                "type": "dashboards",
                "title": "aza-pg",
                "tags": ["aza-pg"],
                "asDropdown": True,
                "keepTime": True,
            }
        ],
        "templating": {"list": list(_variables(dashboard["scope"], many))},
        "panels": [{"id": number, **panel} for number, panel in enumerate(_panels(dashboard, scope), 1)],
    }
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def _variables(scope: list[str], many: bool) -> Iterator[dict[str, Any]]:
    yield {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus"}
    for number, label in enumerate(scope):
        chosen = "".join(f', {before}="${before}"' for before in scope[:number])
        query = f"label_values({_TARGETS % chosen}, {label})"
        yield {
            "name": label,
            "label": label.capitalize(),
            "type": "query",
            "datasource": _SOURCE,
            "definition": query,
            "query": {"query": query, "refId": label},
            "refresh": 2,
            "sort": 1,
            "multi": many,
            "includeAll": many,
            **({"allValue": ".*", "current": {"text": ["All"], "value": ["$__all"]}} if many else {}),
        }


def _panels(dashboard: Given, scope: str) -> Iterator[dict[str, Any]]:
    """Row after row, from left to right; what does not fit any more begins a new line."""
    y = 0
    for row in dashboard["rows"]:
        yield {
            "type": "row",
            "title": row["title"],
            "gridPos": {"x": 0, "y": y, "w": 24, "h": 1},
            "panels": [],
        }
        x, y, line = 0, y + 1, 0
        for panel in row["panels"]:
            wide, high = _SIZES[panel.get("kind", "timeseries")]
            wide = panel.get("width", wide)
            if x + wide > 24:
                x, y, line = 0, y + line, 0
            yield {**_panel(panel, scope), "gridPos": {"x": x, "y": y, "w": wide, "h": high}}
            x, line = x + wide, max(line, high)
        y += line


def _panel(panel: Given, scope: str) -> dict[str, Any]:
    kind = panel.get("kind", "timeseries")
    table = kind == "table"
    made: dict[str, Any] = {
        "type": "stat" if kind == "name" else kind,
        "title": panel["title"],
        "datasource": _SOURCE,
        "fieldConfig": {"defaults": _field(panel), "overrides": []},
        "targets": [
            {
                "refId": letter,
                "datasource": _SOURCE,
                "expr": scoped(query, scope),
                "legendFormat": legend,
                **({"instant": True, "range": False, "format": "table"} if table else {}),
            }
            for letter, (legend, query) in zip(string.ascii_uppercase, panel["queries"].items(), strict=False)
        ],
    }
    if panel.get("description"):
        made["description"] = panel["description"]
    if table:
        made |= _table(panel)
    elif kind == "timeseries":
        made["options"] = {
            "legend": {"displayMode": "table", "placement": "bottom", "calcs": ["lastNotNull", "max"]},
            "tooltip": {"mode": "multi", "sort": "desc"},
        }
        made["fieldConfig"]["defaults"]["custom"] = {
            "fillOpacity": 20 if panel.get("stacked") else 5,
            "stacking": {"mode": "normal" if panel.get("stacked") else "none"},
        }
    else:
        made["options"] = {
            "reduceOptions": {"calcs": ["lastNotNull"]},
            "textMode": "name" if kind == "name" else "value",
            "colorMode": "value" if kind == "name" else "background",
            "graphMode": "none",
        }
    return made


def scoped(query: str, scope: str) -> str:
    return query.replace("{@", "{" + scope)


def _field(panel: Given) -> dict[str, Any]:
    """Unit, thresholds and words of a panel's values, or of a table's column."""
    made: dict[str, Any] = {"unit": panel.get("unit", "none"), "min": 0}
    if "thresholds" in panel:
        yellow, red = panel["thresholds"]
        steps = [("green", None), ("yellow", yellow), ("red", red)]
        made["thresholds"] = {
            "mode": "absolute",
            "steps": [{"color": colour, "value": value} for colour, value in steps],
        }
    else:
        made["color"] = {"mode": "palette-classic"}
    if "words" in panel:
        options = {
            str(value): {"text": text, "color": colour} for value, (text, colour) in panel["words"].items()
        }
        made["mappings"] = [{"type": "value", "options": options}]
    return made


def _table(panel: Given) -> dict[str, Any]:
    """One line for each instance; Grafana names a query's column by its letter."""
    columns = [f"Value #{letter}" for letter in string.ascii_uppercase[: len(panel["queries"])]]
    overrides = []
    for name in panel["queries"]:
        field = _field(panel["columns"][name])
        properties = [{"id": key, "value": field[key]} for key in ("unit", "mappings") if key in field]
        if "mappings" in field:
            properties.append({"id": "custom.cellOptions", "value": {"type": "color-text"}})
        overrides.append({"matcher": {"id": "byName", "options": name}, "properties": properties})
    return {
        "fieldConfig": {"defaults": {}, "overrides": overrides},
        "transformations": [
            {"id": "merge", "options": {}},
            {
                "id": "organize",
                "options": {
                    "excludeByName": {"Time": True},
                    "renameByName": dict(zip(columns, panel["queries"], strict=True)),
                },
            },
        ],
    }
