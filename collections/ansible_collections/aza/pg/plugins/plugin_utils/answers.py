# SPDX-License-Identifier: Apache-2.0
"""What a host that did not run a module says instead, as text. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_LONGEST = 300


def silent(answer: Mapping[str, Any]) -> bool:
    """Return whether nothing came back at all: the connection ended before anything ran."""
    return "module_stderr" in answer and bool(answer.get("rc")) and not str(answer["module_stdout"]).strip()


def complaint(answer: Mapping[str, Any]) -> str:
    """Return why a module gave no result.

    Of an answer that is none of a module, Ansible says only that it is not a JSON; what the host printed tells more.
    """
    if "module_stdout" not in answer:
        return str(answer.get("msg") or "the host did not answer")
    for stream in ("module_stderr", "module_stdout"):
        lines = [line.strip() for line in str(answer.get(stream, "")).splitlines() if line.strip()]
        if lines:
            return f"the host did not run the module: {lines[-1][:_LONGEST]}"
    return "the host did not run the module and returned no output"
