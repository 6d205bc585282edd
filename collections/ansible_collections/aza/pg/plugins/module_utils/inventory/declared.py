# SPDX-License-Identifier: Apache-2.0
"""What one instance declares, read leniently: what is wrong by itself is said elsewhere. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from ansible_collections.aza.pg.plugins.module_utils.errors import did_you_mean
from ansible_collections.aza.pg.plugins.module_utils.yaml_values import text

# Many hosts make the same mistake, and looking for what was meant takes longer than finding it.
hint: Callable[[str, tuple[str, ...]], str] = lru_cache(maxsize=4096)(did_you_mean)
Path = tuple[str, ...]
Contradiction = tuple[Path, str]
Entry = tuple[Path, Mapping[str, Any]]


def entries(path: Path, value: Any, key: str = "name") -> list[Entry]:
    """The dictionaries of a list, and its bare names as such, each with its place."""
    found: list[Entry] = []
    for number, item in enumerate(value if isinstance(value, list) else []):
        entry = item if isinstance(item, dict) else {key: item}
        if text(entry.get(key)):
            found.append(((*path, str(number)), entry))
    return found


def names(path: Path, value: Any) -> list[tuple[Path, str]]:
    """The names in a list of names, each with its place."""
    return [(place, text(entry["name"])) for place, entry in entries(path, value)]


def written(path: Path) -> str:
    """``postgres_databases[0].owner``."""
    return path[0] + "".join(f"[{part}]" if part.isdigit() else f".{part}" for part in path[1:])


@dataclass
class Declared:
    """The objects of one kind, by name, present or absent; ``whole`` is False where an entry cannot be read."""

    kind: str
    variable: str
    present: dict[str, Entry] = field(default_factory=dict)
    absent: dict[str, Entry] = field(default_factory=dict)
    twice: list[Contradiction] = field(default_factory=list)
    whole: bool = True
    # What need not be declared.
    given: frozenset[str] = frozenset()

    @classmethod
    def read(cls, kind: str, path: Path, value: Any, given: frozenset[str] = frozenset()) -> Declared:
        result = cls(kind, written(path), given=given)
        found = entries(path, value)
        result.whole = isinstance(value, list) and len(found) == len(value)
        for place, entry in found:
            name = text(entry["name"])
            first = result.present.get(name) or result.absent.get(name)
            if first:
                result.twice.append(
                    (place, f"the {kind} '{name}' is declared twice, first in {written(first[0])}")
                )
            else:
                (result.absent if entry.get("state") == "absent" else result.present)[name] = (place, entry)
        return result

    def refer(self, path: Path, name: str) -> Iterator[Contradiction]:
        """What is wrong with naming that object: it is going away, or it is not declared."""
        if not name or name in self.present:
            return
        if name in self.absent:
            yield (
                path,
                f"the {self.kind} '{name}' is needed here, and {written(self.absent[name][0])} declares it absent",
            )
        elif name not in self.given and self.whole:
            meant = hint(name, (*self.present, *sorted(self.given)))
            yield path, f"the {self.kind} '{name}' is not declared in {self.variable}{meant}"
