# SPDX-License-Identifier: Apache-2.0
"""The tables of cases: what is there, what is declared, what the plan says, what is there afterwards.

One file of ``tables/`` is one kind of object. A test carries each case out on a server, and the reference page of the
kind is made from the same file.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import yaml

TABLES = Path(__file__).parent / "tables"


@dataclass(frozen=True)
class Case:
    """``before`` is SQL that the administrator runs first, by database, in this order. ``declared`` holds what stands
    in the inventory without ``postgres_``. ``passwords`` are those that the control node keeps for roles; a role
    without one here gets one made. ``parameters`` are further variables of the stack, or fields of ``Parameters``.

    ``deployed`` is what was deployed at first, as ``parameters``, and ``days_ago`` how long ago that was;
    ``commands`` is what a user typed since then, as root, in the folder of the inventory. The instance is called
    shop-single there and in every line, and lies in /opt/aza-pg; its free ports are 9188 and 9189.

    ``plan`` and ``held`` are the plan's lines in their order, without the place of the declaration, or ``refused`` is
    in the error message. ``findings``: of a check then, in addition to changes. ``after``: {sql, database, expect},
    the answer as psql -At prints it; or {command, expect}.
    """

    title: str
    declared: Mapping[str, Any]
    before: Mapping[str, str] = field(default_factory=dict)
    passwords: Mapping[str, str] = field(default_factory=dict)
    parameters: Mapping[str, Any] = field(default_factory=dict)
    deployed: Mapping[str, Any] = field(default_factory=dict)
    days_ago: int = 0
    commands: str = ""
    allow: tuple[str, ...] = ()
    plan: tuple[str, ...] = ()
    held: tuple[str, ...] = ()
    findings: tuple[str, ...] | None = None
    after: tuple[Mapping[str, str], ...] = ()
    refused: str = ""

    @classmethod
    def read(cls, given: Mapping[str, Any]) -> Case:
        unknown = set(given) - {item.name for item in fields(cls)}
        if unknown:
            raise ValueError(f"{given.get('title')}: a case has no {', '.join(sorted(unknown))}")
        lists = {key: tuple(given.get(key) or ()) for key in ("allow", "plan", "held", "after")}
        if "findings" in given:
            lists["findings"] = tuple(given["findings"])
        before = given.get("before") or {}
        if isinstance(before, str):
            before = {"postgres": before}
        return cls(**{**given, **lists, "declared": given.get("declared") or {}, "before": before})

    def spoken(self, words: Mapping[str, str]) -> Case:
        """The case with the names of a real instance in place of those of the page."""
        text = json.dumps(asdict(self), ensure_ascii=False, default=str)
        # All at once: a name may have another word in it.
        given = json.loads(re.sub("|".join(map(re.escape, words)), lambda found: words[found[0]], text))
        # Not given is another thing than nothing there.
        return Case.read({key: value for key, value in given.items() if value is not None})


@dataclass(frozen=True)
class Table:
    """A kind of object: the title of its page, what has to be known about it, and the cases."""

    name: str
    title: str
    about: str
    cases: tuple[Case, ...]


def load(path: Path) -> Table:
    document = yaml.safe_load(path.read_text(encoding="utf-8"))
    cases = tuple(Case.read(item) for item in document["cases"])
    titles = [case.title for case in cases]
    twice = {title for title in titles if titles.count(title) > 1}
    if twice:
        raise ValueError(f"{path.name}: these titles stand there twice: {', '.join(sorted(twice))}")
    return Table(path.stem, document["title"], document["about"], cases)


def alike(expected: str, message: str) -> bool:
    """Whether both are the same, ``…`` standing for anything (a version that the image decides on, a date)."""
    return bool(re.fullmatch(".*".join(map(re.escape, expected.split("…"))), message))


def paths() -> list[Path]:
    return sorted(TABLES.glob("*.yml"))


# -- the reference page ----------------------------------------------------------------------------


def page(table: Table) -> str:
    """``docs/reference/objects/NAME.md``."""
    parts = [
        f"<!-- Generated from tests/objects/tables/{table.name}.yml by `make docs`; edit that. -->\n# {table.title}\n",
        table.about.strip() + "\n",
        "Every example below is a test: it is carried out on a server, the plan has exactly these lines, and a second\n"
        "plan is empty.\n",
    ]
    parts += [_section(case) for case in table.cases]
    return "\n".join(parts)


def _section(case: Case) -> str:
    lines = [f"## {case.title[0].upper()}{case.title[1:]}", ""]
    if case.deployed:
        when = f" {case.days_ago} days ago" if case.days_ago else ""
        lines += [f"Deployed{when}:", "", "```yaml", *_inventory(case.deployed), "```", ""]
    if case.before:
        lines += ["Then:" if case.deployed else "There is:", "", "```sql"]
        for database, statements in case.before.items():
            if len(case.before) > 1 or database != "postgres":
                lines.append(f"-- in {database}")
            lines += statements.strip().splitlines()
        lines += ["```", ""]
    if case.commands:
        lines += ["Somebody types:", "", "```sh", *case.commands.strip().splitlines(), "```", ""]
    lines += ["Declared:", "", "```yaml", *_inventory({**case.parameters, **case.declared}), "```", ""]
    if case.refused:
        lines += [f"Refused, and nothing is changed: “… {case.refused} …”", ""]
        return "\n".join(lines)
    lines += ["The plan:", "", "```text", *(case.plan or ("nothing to do",))]
    for effect in ("restart", "recreate"):
        if effect in case.allow:
            lines.append(f"(allowed: postgres_allow_{effect})")
    lines += [f"waits: {line}" for line in case.held]
    if case.findings:
        lines += ["```", "", "A check says:", "", "```text", *case.findings]
    return "\n".join([*lines, "```", ""])


def _inventory(given: Mapping[str, Any]) -> list[str]:
    """As it stands in an inventory. Flow style inside an entry, because that is how people write one line."""
    lines: list[str] = []
    for key, value in given.items():
        name = f"postgres_{key}"
        if isinstance(value, list) and value:
            lines.append(f"{name}:")
            lines += [f"  - {_flow(item)}" for item in value]
        elif isinstance(value, dict) and value:
            lines.append(f"{name}:")
            lines += [f"  {_flow(inner)}: {_flow(item)}" for inner, item in value.items()]
        else:
            lines.append(f"{name}: {_flow(value)}")
    return lines or ["# nothing"]


def _flow(value: Any) -> str:
    text = yaml.safe_dump(value, default_flow_style=True, width=10**6, sort_keys=False, allow_unicode=True)
    return re.sub(r"\n(\.\.\.)?\n?$", "", text).strip()
