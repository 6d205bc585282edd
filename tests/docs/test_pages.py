# SPDX-License-Identifier: Apache-2.0
"""What the pages name exists: other pages, headings, playbooks, targets of make."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from . import markdown
from .markdown import ROOT

PAGES = {str(page.relative_to(ROOT)): page for page in markdown.pages()}


@pytest.mark.parametrize("name", PAGES)
def test_links_lead_somewhere(name: str) -> None:
    page = PAGES[name]
    broken = []
    for link in markdown.links(page):
        if re.match(r"[a-z]+:", link):
            continue  # another site: nothing here may depend on its answer
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        wrong_anchor = anchor and target.suffix == ".md" and anchor not in markdown.anchors(target)
        if not target.exists() or not target.is_relative_to(ROOT) or wrong_anchor:
            broken.append(link)
    assert not broken


@pytest.mark.parametrize("name", PAGES)
def test_commands_exist(name: str) -> None:
    page = PAGES[name]
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z][a-z-]*):", makefile, re.MULTILINE))
    assert markdown.make_targets(page) <= targets
    assert [play for play in markdown.playbooks(page) if not (ROOT / play).is_file()] == []


def test_index_names_every_page() -> None:
    index = ROOT / "docs/README.md"
    named = {(index.parent / link).resolve() for link in markdown.links(index)}
    there = {page for page in PAGES.values() if page.is_relative_to(ROOT / "docs") and page != index}
    assert there <= named


def test_every_variable_that_a_page_sets_is_known() -> None:
    """Blocks of YAML and shell that set a postgres_ or image_ variable that no role has would teach a mistake."""
    specs = "\n".join(
        path.read_text(encoding="utf-8") for path in ROOT.glob("roles/*/meta/argument_specs.yml")
    )
    known = set(re.findall(r"^ +((?:postgres|image|docker_engine)_\w+):", specs, re.MULTILINE))
    for page in PAGES.values():
        # The examples of extending.md add variables of their own.
        if page.is_relative_to(ROOT / "docs/reference") or page.name == "extending.md":
            continue
        text = "\n".join(block.text for block in markdown.blocks(page) if block.language in ("bash", "yaml"))
        used = set(re.findall(r"\b((?:postgres|image|docker_engine)_\w+)\s*[:=]", text))
        assert used <= known, f"{page.relative_to(ROOT)}: {used - known}"


def test_steps_and_expectations_are_read(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "# T\n```bash\necho a\n```\n\n```text\na … c\n```\n```yaml\nx: 1\n```\n```text\nno\n```\n"
    )
    (step,) = markdown.steps(page)
    assert (step.commands.text, step.expected) == ("echo a\n", ("a … c",))
    assert not markdown.differences(("a … c",), "z\nab c\n")
    assert markdown.differences(("c", "a"), "a\nc\n") == "a"
