# SPDX-License-Identifier: Apache-2.0
"""Where a variable was written: file and line, found in the YAML and INI files of an inventory.

And what only the files can tell: a key given twice (YAML keeps the last without a word), a secret in plain text, a
number that is written in another way than it is read (0640 is 416).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import yaml
from ansible_collections.aza.pg.plugins.module_utils.yaml_loader import SafeLoader

_VARS_FILES = (".yml", ".yaml", ".json", "")
COMMAND_LINE = "command line"

# ("group", "all") or ("host", "db1")
Scope = tuple[str, str]
# Below the scope: ("postgres_settings", "work_mem") → "group_vars/all.yml:7"
Positions = dict[tuple[str, ...], str]
# A user's tree of aliases to aliases is not followed to its end.
_MOST_PLACES = 200_000
_DEEPEST = 30
_SECRET = re.compile(r"password$|_key$")
_ENCRYPTED = ("!vault", "!vault-encrypted")
_MERGE = "tag:yaml.org,2002:merge"
_TEMPLATE = re.compile(r"\{[{%]")
_NUMBERS = tuple(f"tag:yaml.org,2002:{kind}" for kind in ("int", "float", "timestamp"))


@dataclass(frozen=True)
class Remark:
    """Something about one place of a file. ``first``: where the same key stood before."""

    scope: Scope
    path: tuple[str, ...]
    place: str
    first: str = ""


@dataclass(frozen=True)
class Turned(Remark):
    """What YAML reads as a number or a time that has another text than the one that is ``written``."""

    written: str = ""
    read: str = ""


@dataclass
class Sources:
    """All places of all variables, by scope, in order of precedence."""

    found: dict[Scope, list[Positions]] = field(default_factory=dict)
    twice: list[Remark] = field(default_factory=list)
    # Values that look like secrets and are readable in the file. The values themselves are not kept.
    plain: list[Remark] = field(default_factory=list)
    turned: list[Turned] = field(default_factory=list)

    def add(self, scope: Scope, positions: Positions) -> None:
        self.found.setdefault(scope, []).append(positions)

    def read_mapping(self, scope: Scope, node: yaml.MappingNode, path: Path) -> None:
        reader = _Reader(self, scope, _relative(path))
        reader.read(node)
        self.add(scope, reader.found)

    def note_secret(self, scope: Scope, path: tuple[str, ...], value: str, place: str) -> None:
        """Empty is none, a template comes from elsewhere, and a key is mostly given as the name of its file."""
        name = path[-1]
        if not _SECRET.search(name) or not value.strip() or _TEMPLATE.search(value):
            return
        if name.endswith("_key") and "PRIVATE KEY" not in value:
            return
        self.plain.append(Remark(scope, path, place))

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
                    sources.read_mapping((kind, name), node, path)
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
        node: yaml.Node | None = yaml.compose(path.read_text(encoding="utf-8"), Loader=SafeLoader)
    except (yaml.YAMLError, OSError, UnicodeError, RecursionError):
        return None  # Ansible itself says what is wrong with it
    return node


class _Reader:
    """Goes through one tree: places, and what there is to remark."""

    def __init__(self, sources: Sources, scope: Scope, file: str) -> None:
        self.sources, self.scope, self.file = sources, scope, file
        self.found: Positions = {}
        self.left = _MOST_PLACES

    def read(self, node: yaml.Node, above: tuple[str, ...] = (), depth: int = 0) -> None:
        self.left -= 1
        if depth > _DEEPEST or self.left < 0:
            return
        if isinstance(node, yaml.MappingNode):
            self._mapping(node, above, depth + 1)
        elif isinstance(node, yaml.SequenceNode):
            for number, item in enumerate(node.value):
                here = (*above, str(number))
                self.found[here] = self._place(item)
                self.read(item, here, depth + 1)
        elif node.tag in _NUMBERS:
            self._number(node, above)
        elif node.tag not in _ENCRYPTED:
            self.sources.note_secret(self.scope, above, node.value, self._place(node))

    def _number(self, node: yaml.Node, above: tuple[str, ...]) -> None:
        try:
            read = str(yaml.constructor.SafeConstructor().construct_object(node))
        except (ValueError, OverflowError):
            return  # Ansible itself says what is wrong with it
        place = self._place(node)
        self.sources.note_secret(self.scope, above, node.value, place)
        if read != node.value:
            self.sources.turned.append(Turned(self.scope, above, place, written=node.value, read=read))

    def _mapping(self, node: yaml.MappingNode, above: tuple[str, ...], depth: int) -> None:
        # What is merged in first: the mapping's own keys win.
        for key, value in node.value:
            if key.tag == _MERGE:
                for part in value.value if isinstance(value, yaml.SequenceNode) else [value]:
                    if isinstance(part, yaml.MappingNode):
                        self.read(part, above, depth)
        own: dict[str, str] = {}
        for key, value in node.value:
            if key.tag != _MERGE and isinstance(key, yaml.ScalarNode):
                here, place = (*above, key.value), self._place(key)
                if key.value in own:
                    self.sources.twice.append(Remark(self.scope, here, place, own[key.value]))
                self.found[here] = own[key.value] = place
                self.read(value, here, depth)

    def _place(self, node: yaml.Node) -> str:
        return f"{self.file}:{node.start_mark.line + 1}"


def _inventory_file(path: Path, sources: Sources) -> None:
    node = _compose(path) if path.suffix in (".yml", ".yaml", ".json") else None
    if isinstance(node, yaml.MappingNode):
        for name, group in node.value:
            _group(str(name.value), group, path, sources)
    elif path.suffix in (".ini", ".cfg", ""):
        _ini(path, sources)


def _group(name: str, node: yaml.Node, path: Path, sources: Sources, depth: int = 0) -> None:
    for key, part in _mapping(node).items():
        if key == "vars" and isinstance(part, yaml.MappingNode):
            sources.read_mapping(("group", name), part, path)
        elif key == "hosts":
            for host, variables in _mapping(part).items():
                if isinstance(variables, yaml.MappingNode):
                    sources.read_mapping(("host", host), variables, path)
        elif key == "children" and depth < _DEEPEST:
            for child, inside in _mapping(part).items():
                _group(child, inside, path, sources, depth + 1)


def _mapping(node: yaml.Node) -> Mapping[str, yaml.Node]:
    return {str(key.value): value for key, value in node.value} if isinstance(node, yaml.MappingNode) else {}


def _ini(path: Path, sources: Sources) -> None:
    section = "ungrouped"
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeError):
        return
    for number, line in enumerate(lines, 1):
        place = f"{_relative(path)}:{number}"
        if head := re.match(r"\s*\[([^\]]+)\]", line):
            section = head.group(1)
        elif section.endswith(":vars"):
            if pair := re.match(r"\s*(\w+)\s*=(.*)", line):
                sources.add(("group", section[:-5]), {(pair.group(1),): place})
                sources.note_secret(("group", section[:-5]), (pair.group(1),), pair.group(2), place)
        elif host := re.match(r"\s*([^\s#;]+)\s+(.*)", line):
            for name, value in re.findall(r"(\w+)=(\S*)", host.group(2)):
                sources.add(("host", host.group(1)), {(name,): place})
                sources.note_secret(("host", host.group(1)), (name,), value, place)


def _relative(path: Path) -> str:
    try:
        return str(path.resolve().relative_to(Path.cwd()))
    except ValueError:
        return str(path)
