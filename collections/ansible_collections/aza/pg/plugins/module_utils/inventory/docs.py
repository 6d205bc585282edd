# SPDX-License-Identifier: Apache-2.0
"""Writes ``docs/reference/settings.md`` from the roles' argument_specs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from ansible_collections.aza.pg.plugins.module_utils.inventory.specs import PREFIXES, Option, load_specs
from ansible_collections.aza.pg.plugins.module_utils.yaml_loader import SafeLoader

_MARKUP = re.compile(r"\b[COVIB]\(((?:[^()\\]|\\.)*)\)")
_REFERENCE = re.compile(r"\b[MPR]\(([^(),#]+)[^()]*\)")

_HEAD = """\
<!-- Generated from roles/*/meta/argument_specs.yml by `make docs`; edit those. -->
# Settings

Every variable that an inventory may hold. Where to write them: `inventories/NAME/group_vars/all/*.yml` for an
environment, `group_vars/GROUP.yml` for some hosts, `host_vars/HOST.yml` for one, `-e NAME=VALUE` for one run.

The same as a JSON Schema is in [inventory.schema.json](inventory.schema.json): an editor completes and checks by it as
you type. It needs this first line in a file (those of the local inventory have it), and has to know Ansible's tag for
what is encrypted (`yaml.customTags: ["!vault"]`):

```yaml
# yaml-language-server: $schema=../../../../docs/reference/inventory.schema.json
```

## What is checked before any host is touched

Every playbook begins with it, and tells all mistakes of all hosts at once, each with its file, line and key:

- a name that begins with {prefixes} and is not on this page; such a key
  within a variable (what was meant is suggested); a value of the wrong type or out of range; a template that cannot be
  resolved; a key that is given twice;
- a role that is not declared as an owner, a member, in `access`, in a rule or a map: declared are those of
  `postgres_roles`, the administrator, the stack's own, and PostgreSQL's own (`pg_monitor`). The same for databases in
  rules. Two entries with one name; an object that is absent and still needed; memberships in a circle;
- an extension or a library that is not in the image, and one whose library has to be preloaded first. Unless
  `postgres_image` is your own: then the server itself is asked;
- one port for two things on one machine; one cluster name for two instances of the same stack (replicas apart); half
  of a certificate; rules that can never match;
- a password or a key in plain text in a file. Leave a password out to have one made and kept in
  `inventories/NAME/secrets`, or encrypt yours: `ansible-vault encrypt_string --stdin-name postgres_password`. Who knows
  what he does says `postgres_allow_plain_passwords: true`.
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
    return ("instance", "image").index(name) if name in ("instance", "image") else 9, name


def _section(path: Path, options: list[Option]) -> Iterator[str]:
    entry: dict[str, Any] = yaml.load(path.read_text(encoding="utf-8"), Loader=SafeLoader)["argument_specs"][
        "main"
    ]
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
