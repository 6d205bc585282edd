# SPDX-License-Identifier: Apache-2.0
"""Writes ``docs/reference/settings.md`` from the roles' argument_specs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from ansible_collections.aza.pg.plugins.module_utils.inventory.specs import PREFIXES, Option, load_specs

_MARKUP = re.compile(r"\b[COVIB]\(((?:[^()\\]|\\.)*)\)")
_REFERENCE = re.compile(r"\b[MPR]\(([^(),#]+)[^()]*\)")

_HEAD = """\
<!-- Generated from roles/*/meta/argument_specs.yml by `make docs`; edit those. -->
# Settings

Every variable that an inventory may hold. Where to write them: `inventories/NAME/group_vars/all/*.yml` for an
environment, `group_vars/GROUP.yml` for some hosts, `host_vars/HOST.yml` for one, `-e NAME=VALUE` for one run.

A name that begins with {prefixes} and is not on this page,
a value of the wrong type and a value out of range are found before any host is touched, all at once, each with its file
and line.
"""


def render_settings_page(roles: Path) -> str:
    """``roles``: the directory of all roles; each that declares variables of ours is a section."""
    prefixes = ", ".join(f"`{prefix}`" for prefix in PREFIXES)
    sections = [_HEAD.format(prefixes=prefixes)]
    for path in sorted(roles.glob("*/meta/argument_specs.yml"), key=_order):
        options = [
            option for option in load_specs([roles]).values() if option.role == path.parent.parent.name
        ]
        if options:
            sections.append("\n".join(_section(path, options)) + "\n")
    return "\n".join(sections)


def _order(path: Path) -> tuple[int, str]:
    """What people change first comes first."""
    name = path.parent.parent.name
    return ("stack", "image").index(name) if name in ("stack", "image") else 9, name


def _section(path: Path, options: list[Option]) -> Iterator[str]:
    entry: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))["argument_specs"]["main"]
    yield f"## {_text(entry['short_description'])}"
    yield ""
    described = entry.get("description") or []
    yield from map(_text, [described] if isinstance(described, str) else described)
    yield ""
    yield "| Variable | Type | Default | Meaning |"
    yield "|---|---|---|---|"
    for option in options:
        yield from _rows(option, option.name)


def _rows(option: Option, name: str) -> Iterator[str]:
    kind = f"list of {option.elements}" if option.type == "list" and option.elements else option.type
    if option.type == "list" and option.entry.bare:
        kind = f"list of {option.entry.bare} or dict"
    if option.choices:
        kind = " or ".join(f"`{choice}`" for choice in option.choices)
        kind = f"list of {kind}" if option.type == "list" else kind
    meaning = " ".join(_text(part) for part in option.description)
    yield f"| `{name}` | {kind} | {_default(option)} | {meaning} |".replace("\n", " ")
    for key, inner in option.options.items():
        yield from _rows(inner, f"{name}{'[]' if option.type == 'list' else ''}.{key}")


def _default(option: Option) -> str:
    if option.required:
        return "**required**"
    if option.default is None or option.default in ("", [], {}):
        return "–"
    if isinstance(option.default, bool):
        return f"`{str(option.default).lower()}`"
    value = ", ".join(map(str, option.default)) if isinstance(option.default, list) else option.default
    return f"`{value}`"


def plain_text(given: str) -> str:
    """Ansible's markup as Markdown."""
    return _REFERENCE.sub(r"`\1`", _MARKUP.sub(r"`\1`", given)).strip()


def _text(given: str) -> str:
    """The same, safe inside a table."""
    return plain_text(given).replace("|", "\\|")
