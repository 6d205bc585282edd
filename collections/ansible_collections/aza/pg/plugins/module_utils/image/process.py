# SPDX-License-Identifier: Apache-2.0
"""Run programs: short ones for their output, long ones with a log and a sign of life."""

from __future__ import annotations

import os
import selectors
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from ansible_collections.aza.pg.plugins.module_utils.errors import AzaError


def output(
    argv: Sequence[str], *, env: Mapping[str, str] | None = None, timeout: float = 120
) -> tuple[int, str, str]:
    """Run a short command in the C locale; return exit code, stdout and stderr. 127: there is no such program."""
    try:
        done = subprocess.run(
            argv,
            env={**os.environ, "LC_ALL": "C", **(env or {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout,
            check=False,
        )
    except FileNotFoundError:
        return 127, "", f"{argv[0]}: command not found"
    except subprocess.TimeoutExpired:
        return 124, "", f"{argv[0]}: no answer within {timeout:.0f} s"
    return done.returncode, done.stdout, done.stderr


class Progress:
    """Tell a person what a long step does: at once when it changes, and again after every silence.

    :param say: prints one line.
    :param silence: seconds after which the current step is reported again, with its duration.
    """

    def __init__(
        self, say: Callable[[str], None], silence: float = 15.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._say, self._silence, self._clock = say, silence, clock
        self._text = self._detail = ""
        self._since = self._reported = clock()

    def step(self, text: str) -> None:
        """A new step begins, or the same goes on."""
        if text != self._text:
            self._text, self._detail, self._since = text, "", self._clock()
            self._tell(text)

    def detail(self, text: str) -> None:
        """Set the current detail, reported only after a silence."""
        self._detail = text if len(text) <= 70 else text[:69] + "…"

    def tick(self) -> None:
        """Called at least every second while something runs."""
        if self._text and self._clock() - self._reported >= self._silence:
            elapsed = f"{self._clock() - self._since:.0f} s"
            self._tell(" · ".join(part for part in (self._text, elapsed, self._detail) if part))

    def _tell(self, line: str) -> None:
        self._reported = self._clock()
        self._say(line)


def stream(
    argv: Sequence[str],
    log: Path,
    *,
    line: Callable[[str], None],
    tick: Callable[[], None],
    env: Mapping[str, str] | None = None,
) -> int:
    """Run a long command; each line of its output goes to ``line`` and to the file ``log``; return the exit code."""
    log.parent.mkdir(parents=True, exist_ok=True)
    try:
        process = subprocess.Popen(
            argv,
            env={**os.environ, "LC_ALL": "C", **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
    except FileNotFoundError as error:
        raise AzaError(f"{argv[0]} is not installed on this machine", reason="program_missing") from error
    assert process.stdout is not None
    pipe, rest = process.stdout, b""
    with process, log.open("wb") as file, selectors.DefaultSelector() as selector:
        selector.register(pipe, selectors.EVENT_READ)
        while True:
            if selector.select(timeout=1.0):
                data = os.read(pipe.fileno(), 1 << 16)
                if not data:
                    break
                file.write(data)
                file.flush()
                *lines, rest = (rest + data).split(b"\n")
                for text in lines:
                    line(text.decode(errors="replace").rstrip("\r"))
            tick()
        if rest:
            line(rest.decode(errors="replace"))
    return process.returncode
