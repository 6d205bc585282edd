# SPDX-License-Identifier: Apache-2.0
"""Read what ``docker buildx build --progress=rawjson`` says while it works, for a person and for an error message."""

from __future__ import annotations

import base64
import json
import re
from collections import deque
from collections.abc import Callable
from typing import Any

_NOISE = re.compile(r"--mount=\S+\s+|--chmod=\S+\s+|\s+\\?$")
_TELLING = ("exporting layers", "rewriting layers", "sending tarball")
_NOT_FOUND = re.compile(r"E: Version '(?P<version>[^']+)' for '(?P<name>[^':]+)(?::\w+)?' was not found")
_NO_PACKAGE = re.compile(r"E: Unable to locate package (?P<name>\S+)")
_GONE = re.compile(r"(?:E:|Err:).*?/(?P<name>[a-z0-9][a-z0-9+.-]+)_(?P<version>[^_/]+)_[a-z0-9]+\.deb.*404")


class BuildEvents:
    """The state of one build, fed line by line.

    :param step: called with the current step whenever it changes.
    :param detail: called with each line that the step prints.
    """

    def __init__(self, step: Callable[[str], None], detail: Callable[[str], None]) -> None:
        self._step, self._detail = step, detail
        self._names: dict[str, str] = {}
        self._logs: dict[str, deque[str]] = {}
        # What a step prints comes in pieces of any length: a line may be spread over several events.
        self._begun: dict[tuple[str, int], str] = {}
        self._failed: str | None = None
        self.cached = self.done = 0
        self.error = ""
        self.other: deque[str] = deque(maxlen=40)

    def feed(self, line: str) -> None:
        """Take one line of output; what is not an event is kept as text."""
        try:
            event = json.loads(line)
        except ValueError:
            event = None
        if not isinstance(event, dict):
            if line.strip():
                self.other.append(line)
            return
        for vertex in event.get("vertexes") or []:
            self._vertex(vertex)
        for status in event.get("statuses") or []:
            if not status.get("completed") and status.get("id", "").startswith(_TELLING):
                self._step(short(status["id"]))
        for log in event.get("logs") or []:
            stream = (log["vertex"], log.get("stream", 0))
            text = base64.b64decode(log.get("data") or "").decode(errors="replace")
            *whole, self._begun[stream] = (self._begun.get(stream, "") + text).split("\n")
            for printed in whole:
                self._print(log["vertex"], printed)

    def _print(self, vertex: str, printed: str) -> None:
        if printed.strip():
            self._logs.setdefault(vertex, deque(maxlen=200)).append(printed.rstrip())
            self._detail(printed.strip())

    def _finish(self) -> None:
        """Take what a step printed last without ending the line."""
        for (vertex, _), printed in self._begun.items():
            self._print(vertex, printed)
        self._begun.clear()

    def _vertex(self, vertex: dict[str, Any]) -> None:
        name = self._names.setdefault(vertex["digest"], vertex.get("name", ""))
        if vertex.get("error") and not self._failed:
            self._failed, self.error = vertex["digest"], vertex["error"]
        if vertex.get("completed"):
            self.done += 1
            self.cached += bool(vertex.get("cached"))
        elif vertex.get("started") and not name.startswith(
            ("[internal]", "[context ", "resolving provenance")
        ):
            self._step(short(name))

    @property
    def failed_step(self) -> str:
        """The step that ended the build."""
        return short(self._names.get(self._failed or "", "")) or "the build"

    def reasons(self, limit: int = 12) -> list[str]:
        """Return the last meaningful lines of the failed step."""
        self._finish()
        lines = list(self._logs.get(self._failed or "", ())) or list(self.other)
        for index, line in enumerate(lines):
            if line.startswith("aza-pg: "):
                return lines[index : index + limit]
        errors = [line for line in lines if line.startswith(("E: ", "Err:", "dpkg: error", "ERROR: "))]
        return (errors or lines)[-limit:] or [self.error]

    def not_served(self) -> list[str]:
        """Return the locked packages, as ``NAME (locked VERSION)``, that the archive did not have."""
        self._finish()
        found: dict[str, str] = {}
        for line in [text for lines in self._logs.values() for text in lines]:
            for pattern in (_NOT_FOUND, _GONE):
                if match := pattern.search(line):
                    found[match["name"]] = f"{match['name']} (locked {match['version'].replace('%3a', ':')})"
            if match := _NO_PACKAGE.search(line):
                found.setdefault(match["name"], match["name"])
        return [found[name] for name in sorted(found)]


def short(name: str) -> str:
    """Return a build step's name without mount options and other noise, cut to a line."""
    text = _NOISE.sub("", name).strip()
    text = re.sub(r"\s+", " ", text)
    return text if len(text) <= 90 else text[:89] + "…"
