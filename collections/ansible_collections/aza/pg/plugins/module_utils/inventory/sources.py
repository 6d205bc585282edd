# SPDX-License-Identifier: Apache-2.0
"""Where a variable was written: file and line, found in the YAML and INI files of an inventory."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import yaml

_LOADER: type = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_VARS_FILES = (".yml", ".yaml", ".json", "")
COMMAND_LINE = "command line"

# ("group", "all") or ("host", "db1")
Scope = tuple[str, str]
# Below the scope: ("postgres_settings", "work_mem") → "group_vars/all.yml:7"
Positions = dict[tuple[str, ...], str]


@dataclass
class Sources:
    """All places of all variables, by scope. ``files``: those that were read, in order of precedence."""

    found: dict[Scope, list[Positions]] = field(default_factory=dict)

    def add(self, scope: Scope, positions: Positions) -> None:
        self.found.setdefault(scope, []).append(positions)

    def find(self, path: Sequence[str], host: str, groups: Sequence[str], extra: Iterable[str] = ()) -> str:
        """The place that wins for this host: command line, host, its groups, all. Empty when it is nowhere."""
        if path[0] in set(extra):
            return COMMAND_LINE
        scopes = [("host", host), *(("group", group) for group in reversed(groups)), ("group", "all")]
        for depth in range(len(path), 0, -1):
            for scope in scopes:
                for positions in reversed(self.found.get(scope, [])):
                    if tuple(path[:depth]) in positions:
                        return positions[tuple(path[:depth])]
        return ""


def read(inventories: Iterable[Path], beside_playbook: Path | None = None) -> Sources:
    """Read inventory files and the group_vars and host_vars beside them, then those beside the playbook."""
    sources = Sources()
    directories = []
    for inventory in inventories:
        directories.append(inventory if inventory.is_dir() else inventory.parent)
        for path in sorted(inventory.iterdir()) if inventory.is_dir() else [inventory]:
            if path.is_file() and not path.name.startswith("."):
                _inventory_file(path, sources)
    for directory in [*directories, *([beside_playbook] if beside_playbook else [])]:
        for kind in ("group", "host"):
            for name, path in _variable_files(directory / f"{kind}_vars"):
                node = _compose(path)
                if isinstance(node, yaml.MappingNode):
                    sources.add((kind, name), _positions(node, path))
    return sources


def _variable_files(directory: Path) -> Iterator[tuple[str, Path]]:
    if not directory.is_dir():
        return
    for entry in sorted(directory.iterdir()):
        if entry.is_dir():
            files = (path for path in sorted(entry.rglob("*")) if path.is_file())
            yield from ((entry.name, path) for path in files if path.suffix in _VARS_FILES)
        elif entry.suffix in _VARS_FILES:
            yield entry.stem if entry.suffix else entry.name, entry


def _compose(path: Path) -> yaml.Node | None:
    """The tree with its marks. Tags (!vault) are only names here: nothing is built from them."""
    try:
        node: yaml.Node | None = yaml.compose(path.read_text(encoding="utf-8"), Loader=_LOADER)
    except (yaml.YAMLError, OSError, UnicodeDecodeError):
        return None  # Ansible itself says what is wrong with it
    return node


def _positions(node: yaml.MappingNode, path: Path, above: tuple[str, ...] = ()) -> Positions:
    found: Positions = {}
    for key, value in node.value:
        here = (*above, str(key.value))
        found[here] = f"{_relative(path)}:{key.start_mark.line + 1}"
        if isinstance(value, yaml.MappingNode):
            found.update(_positions(value, path, here))
        elif isinstance(value, yaml.SequenceNode):
            for number, item in enumerate(value.value):
                found[(*here, str(number))] = f"{_relative(path)}:{item.start_mark.line + 1}"
                if isinstance(item, yaml.MappingNode):
                    found.update(_positions(item, path, (*here, str(number))))
    return found


def _inventory_file(path: Path, sources: Sources) -> None:
    node = _compose(path) if path.suffix in (".yml", ".yaml", ".json") else None
    if isinstance(node, yaml.MappingNode):
        for name, group in node.value:
            _group(str(name.value), group, path, sources)
    elif path.suffix in (".ini", ".cfg", ""):
        _ini(path, sources)


def _group(name: str, node: yaml.Node, path: Path, sources: Sources) -> None:
    for key, part in _mapping(node).items():
        if key == "vars" and isinstance(part, yaml.MappingNode):
            sources.add(("group", name), _positions(part, path))
        elif key == "hosts":
            for host, variables in _mapping(part).items():
                if isinstance(variables, yaml.MappingNode):
                    sources.add(("host", host), _positions(variables, path))
        elif key == "children":
            for child, inside in _mapping(part).items():
                _group(child, inside, path, sources)


def _mapping(node: yaml.Node) -> Mapping[str, yaml.Node]:
    return {str(key.value): value for key, value in node.value} if isinstance(node, yaml.MappingNode) else {}


def _ini(path: Path, sources: Sources) -> None:
    section = "ungrouped"
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return
    for number, line in enumerate(lines, 1):
        place = f"{_relative(path)}:{number}"
        if head := re.match(r"\s*\[([^\]]+)\]", line):
            section = head.group(1)
        elif section.endswith(":vars"):
            if pair := re.match(r"\s*(\w+)\s*=", line):
                sources.add(("group", section[:-5]), {(pair.group(1),): place})
        elif host := re.match(r"\s*([^\s#;]+)\s+(.*)", line):
            for name in re.findall(r"(\w+)=", host.group(2)):
                sources.add(("host", host.group(1)), {(name,): place})


def _relative(path: Path) -> str:
    try:
        return str(path.resolve().relative_to(Path.cwd()))
    except ValueError:
        return str(path)
