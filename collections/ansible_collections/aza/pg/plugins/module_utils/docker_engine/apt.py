# SPDX-License-Identifier: Apache-2.0
"""What the machine's own apt configuration says, and the two files that open a newer suite for the engine alone.

No package host is named anywhere: the newer suite is taken from where the machine takes its own. Pure text in,
text out.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

# What `apt-get indextargets --format` is asked for; parsed by `parse_targets`.
TARGET_FORMAT = "$(ORIGIN)|$(CODENAME)|$(COMPONENT)|$(REPO_URI)|$(SOURCESENTRY)"


@dataclass(frozen=True)
class Target:
    """One package list that apt is configured for. ``entry``: the file that configures it."""

    origin: str
    codename: str
    component: str
    uri: str
    entry: str


def parse_targets(text: str) -> list[Target]:
    """The lines of `apt-get indextargets --format TARGET_FORMAT`."""
    rows = (line.rpartition(":")[0].split("|") for line in text.splitlines())
    return [Target(*row) for row in rows if len(row) == 5]


def find_target(targets: Iterable[Target], codename: str) -> Target | None:
    """Where a suite's main component comes from; the distribution's own archive before anybody else's of that name."""
    found = [target for target in targets if target.codename == codename and target.component == "main"]
    return min(found, key=lambda target: target.origin != "Debian", default=None)


def signed_by(entry_text: str, target: Target) -> str:
    """The keys that the configuration names for a target: a path, an embedded key block, or "" (apt's own keys)."""
    for stanza in _stanzas(entry_text):
        uris = [uri.rstrip("/") for uri in stanza.get("uris", "").split()]
        if target.uri.rstrip("/") in uris and target.codename in stanza.get("suites", "").split():
            return stanza.get("signed-by", "")
    for (
        line
    ) in entry_text.splitlines():  # the one-line form: deb [signed-by=PATH arch=…] URI SUITE COMPONENT…
        words = line.replace("[", " [ ").replace("]", " ] ").split()
        if words[:1] == ["deb"] and target.uri.rstrip("/") in [word.rstrip("/") for word in words]:
            for word in words:
                if word.startswith("signed-by="):
                    return word.partition("=")[2]
    return ""


def _stanzas(text: str) -> list[dict[str, str]]:
    """The deb822 stanzas of a .sources file; a folded value keeps its lines."""
    result: list[dict[str, str]] = [{}]
    field = ""
    for line in text.splitlines():
        if line.startswith("#"):
            continue
        if not line.strip():
            result.append({})
        elif line[0] in " \t" and field in result[-1]:
            result[-1][field] += "\n" + line
        elif ":" in line:
            field, value = (part.strip() for part in line.split(":", 1))
            field = field.lower()
            result[-1][field] = value
    return [stanza for stanza in result if stanza]


def render_source(target: Target, suite: str, keys: str, check_valid_until: bool = True) -> str:
    """A .sources file for ``suite`` beside the target's own."""
    lines = [
        f"# The engine that {target.codename} lacks, from {suite}. Written by aza-pg (role docker_engine).",
        "Types: deb",
        f"URIs: {target.uri}",
        f"Suites: {suite}",
        "Components: main",
    ]
    if keys:
        lines.append(f"Signed-By: {keys}" if not keys.startswith("\n") else f"Signed-By:{keys}")
    if not check_valid_until:
        lines.append("Check-Valid-Until: no")
    return "\n".join(lines) + "\n"


def render_pins(suite: str, packages: Iterable[str], own_source: bool) -> str:
    """Preferences: the engine's packages follow the newer suite, as normal updates; nothing else ever comes from it.

    ``own_source`` is false where the machine had the suite configured already: what else comes from it is its own
    matter then.
    """
    engine = f"Package: {' '.join(packages)}\nPin: release n={suite}\nPin-Priority: 500\n"
    rest = f"Package: *\nPin: release n={suite}\nPin-Priority: 1\n"
    header = "# Written by aza-pg (role docker_engine).\n"
    return header + (f"{rest}\n{engine}" if own_source else engine)
