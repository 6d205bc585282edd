# SPDX-License-Identifier: Apache-2.0
"""The report of a wide cluster in a browser: every table is readable without scrolling sideways."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.aza.pg.plugins.module_utils.report import page
from ansible_collections.aza.pg.tests.unit.report.test_clusters import POOLS, broken, fleet

from . import browser


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    shape, message = broken()
    long = "postgres-production-frankfurt-availability-zone-b.database.internal.example.org"
    shape["members"] = {long if name == "db2" else name: entry for name, entry in shape["members"].items()}
    for entry in shape["members"].values():
        entry["upstream"] = long if entry.get("upstream") == "db2" else entry.get("upstream", "")
    message[long] = message.pop("db2")
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(page.render(fleet(shape, message, POOLS)), encoding="utf-8")
    return path


@pytest.mark.parametrize("width", [1280, 400])
def test_nothing_is_wider_than_the_window(written: Path, width: int) -> None:
    assert browser.overflow(written, width) <= 0
    script = (
        "<script>document.title = [...document.querySelectorAll('table, td, .card')]"
        ".filter(item => item.scrollWidth > item.clientWidth + 1 && getComputedStyle(item).overflowX != 'visible')"
        ".length</script>"
    )
    text = written.read_text(encoding="utf-8")
    policy = text[text.index('<meta http-equiv="Content-Security-Policy"') :].partition(">")[0] + ">"
    copy = written.with_name(f"hidden-{width}.html")
    copy.write_text(text.replace(policy, "").replace("</body>", f"{script}</body>"), encoding="utf-8")
    dom = browser.look(copy, "--dump-dom", width=width)
    assert dom.partition("<title>")[2].partition("</title>")[0] == "0", "something is cut off or scrolls"
