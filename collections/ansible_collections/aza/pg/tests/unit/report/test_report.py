# SPDX-License-Identifier: Apache-2.0
"""The reports from what the hosts returned: counted, ordered, escaped, whole."""

from __future__ import annotations

import re
import stat
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.aza.pg.plugins.action import findings_table
from ansible_collections.aza.pg.plugins.module_utils.errors import AzaError
from ansible_collections.aza.pg.plugins.module_utils.plain import plain
from ansible_collections.aza.pg.plugins.module_utils.planning.finding import SEVERITIES
from ansible_collections.aza.pg.plugins.module_utils.report import page as html
from ansible_collections.aza.pg.plugins.module_utils.report import text
from ansible_collections.aza.pg.plugins.module_utils.report.fleet import Fleet, instance
from hypothesis import given
from hypothesis import strategies as st

NASTY = "<script src=//evil.example/x.js>alert(1)</script>\"'&\x1b[2J\u202e"


def message(what: str, state: str, words: str, remedy: str = "") -> dict[str, str]:
    return {"what": what, "state": state, "message": words, "remedy": remedy}


def fleet() -> Fleet:
    put_right = "deploy to restore it"
    sick = {
        "version": "18.6 (Debian 18.6-1)",
        "findings": [
            message("ready", "green", "passed every stage"),
            message("drift", "red", "setting work_mem  64MB → 16MB", put_right),
            message("drift", "red", "create role shop", put_right),
            message("waiting", "yellow", NASTY, "deploy with postgres_allow_restart: true"),
        ],
        "plan": {"changes": [{}], "held": [], "summary": "1 sql, 1 reload, 0 restarts; nothing is lost"},
    }
    well = {
        "version": "18.6",
        "findings": [message("ready", "green", "passed"), message("drift", "green", "as declared")],
    }
    results = [
        instance("db2", "crm-single", well),
        instance("db1", "shop-single", sick),
        instance("db3", "x-single", {}),
    ]
    return Fleet.of(results, "2026-11-23 00:30:00 UTC", "inventories/prod")


def test_worst_first_and_counted() -> None:
    found = fleet()
    assert [one.host for one in found.instances] == ["db1", "db3", "db2"]
    assert found.state == "red"
    assert found.summary() == "3 instances: 2 red, 0 yellow, 1 green; findings: 3 red, 1 yellow, 3 green"
    assert [item.state for item in found.instances[0].findings] == ["red", "red", "yellow", "green"]
    assert (
        Fleet.of([]).summary() == "0 instances: 0 red, 0 yellow, 0 green; findings: 0 red, 0 yellow, 0 green"
    )


def test_a_host_that_left_nothing_is_red() -> None:
    (found,) = [one for one in fleet().instances if one.host == "db3"]
    assert [(item.state, item.message) for item in found.findings] == [
        ("red", "it was not checked: the run ended before")
    ]


def test_text_is_what_a_person_reads() -> None:
    lines = [line for _, line in text.lines(fleet(), every=False)]
    assert lines[:5] == [
        "shop-single on db1, PostgreSQL 18.6: 2 red, 1 yellow, 1 green",
        "  red     drift    setting work_mem  64MB → 16MB",
        "  red     drift    create role shop",
        "                   → deploy to restore it",
        f"  yellow  waiting  {plain(NASTY)}",
    ]
    assert "  green   ready, drift" in lines
    assert lines[-1] == f"fleet: {fleet().summary()}"
    every = [line for _, line in text.lines(fleet())]
    assert "  green   ready    passed every stage" in every


def test_json_has_everything_and_its_format() -> None:
    found = fleet().to_dict()
    assert found["format"] == 1
    assert found["instances"] == {"total": 3, "red": 2, "yellow": 0, "green": 1}
    assert found["fleet"][0]["findings"][0]["remedy"] == "deploy to restore it"
    assert found["fleet"][0]["plan"]["summary"].endswith("nothing is lost")
    assert found["at"] == "2026-11-23 00:30:00 UTC"


class Tags(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: set[str] = set()
        self.addresses: set[str] = set()
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)
        self.addresses |= {str(value) for key, value in attrs if key in ("href", "src", "srcset", "action")}
        if tag not in ("meta", "link"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_html_is_whole_escaped_and_fetches_nothing() -> None:
    page = html.render(fleet())
    tags = Tags(page)
    assert not tags.open
    assert not tags.seen & {"script", "img", "iframe", "object", "form", "base"}
    assert all(address.startswith(("#", "data:")) for address in tags.addresses)
    assert not re.search(r"url\(|@import|https?:", page.partition("</style>")[0])
    assert "default-src 'none'" in page
    assert "\x1b" not in page
    assert "\u202e" not in page
    assert plain(NASTY) in unescape(page)
    assert page.count("deploy to restore it") == 1


words = st.text(max_size=30)
some_findings = st.lists(
    st.fixed_dictionaries(
        {"what": words, "state": st.sampled_from(SEVERITIES), "message": words, "remedy": words}
    ),
    max_size=5,
)


@given(st.lists(st.tuples(words, words, some_findings), max_size=4))
def test_any_names_and_words_give_a_whole_page(given_now: list[tuple[str, str, Any]]) -> None:
    found = Fleet.of(instance(host, name, {"findings": message}) for host, name, message in given_now)
    tags = Tags(html.render(found))
    assert not tags.open
    assert "script" not in tags.seen
    assert sum(found.counts.values()) == sum(len(message) or 1 for *_, message in given_now)
    assert all("\n" not in line and "\x1b" not in line for _, line in text.lines(found))


def test_a_report_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    path = findings_table.write("report_html", str(tmp_path / "r.html"), "one")
    findings_table.write("report_html", str(path), "two")
    assert path.read_text() == "two"
    assert [item.name for item in tmp_path.iterdir()] == ["r.html"]
    assert stat.S_IMODE(path.stat().st_mode) & 0o022 == 0
    with pytest.raises(AzaError, match=r"report_html: .* cannot be written: No such file"):
        findings_table.write("report_html", str(tmp_path / "none" / "r.html"), "x")
    (tmp_path / "folder").mkdir()
    with pytest.raises(AzaError, match="report_json"):
        findings_table.write("report_json", str(tmp_path / "folder"), "x")
    assert sorted(item.name for item in tmp_path.iterdir()) == ["folder", "r.html"]


def test_only_hosts_with_a_cluster_are_judged() -> None:
    known: dict[str, dict[str, Any]] = {
        "db1": {
            "postgres_cluster": "shop",
            "instance_result": {"findings": [message("ready", "green", "x")]},
        },
        "db2": {"postgres_cluster": "shop", "postgres_stack": "replica"},
        "other": {},
    }
    found = {one.host: one for one in findings_table.instances(list(known), known)}
    assert {host: (one.name, one.state) for host, one in found.items()} == {
        "db1": ("shop-single", "green"),
        "db2": ("shop-replica", "red"),
    }


def test_why_a_host_was_not_looked_at() -> None:
    """A host that failed before its instance was judged says why, and is not only one without a result."""
    known: dict[str, dict[str, Any]] = {
        "db1": {
            "postgres_cluster": "shop",
            "instance_host": {"msg": "no such container", "unreachable": True},
        },
        "db2": {"postgres_cluster": "crm"},
    }
    found = {item.host: item.findings[0].message for item in findings_table.instances(list(known), known)}
    assert found == {
        "db1": "it could not be checked: no such container",
        "db2": "it was not checked: the run ended before",
    }
