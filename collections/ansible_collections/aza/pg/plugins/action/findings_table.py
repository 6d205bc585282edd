# SPDX-License-Identifier: Apache-2.0
"""One table for the fleet, worst first; red makes the run fail."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ansible import constants as C  # noqa: N812, the name that Ansible's own code uses
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display
from ansible_collections.aza.pg.plugins.module_utils.stack.findings import SEVERITY, finding

_WIDTH = 90


class ActionModule(ActionBase):
    _requires_connection = False
    _VALID_ARGS = frozenset(("findings",))

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result = super().run(tmp, task_vars)
        _, given = self.validate_argument_spec(argument_spec={"findings": {"type": "dict", "required": True}})
        rows = sorted(
            _rows(json.loads(json.dumps(given["findings"]))), key=lambda row: SEVERITY.index(row["state"])
        )
        colours = {"red": C.COLOR_ERROR, "yellow": C.COLOR_CHANGED, "green": C.COLOR_OK}
        for state, line in _table(rows):
            Display().display(line, color=colours.get(state))
        red = sum(row["state"] == "red" for row in rows)
        result |= {"changed": False, "red": red}
        if red:
            word = "finding is" if red == 1 else "findings are"
            result |= {"failed": True, "msg": f"{red} {word} red; see the table above.", "reason": "red"}
        return result


def _rows(findings: Mapping[str, Any]) -> Iterator[dict[str, str]]:
    for host, found in findings.items():
        for item in found or [finding("host", "red", "it could not be looked at")]:
            yield {"host": host, **item}


def _table(rows: Sequence[Mapping[str, str]]) -> Iterator[tuple[str, str]]:
    wide = {key: max([len(key), *(len(row[key]) for row in rows)]) for key in ("state", "host", "what")}
    yield "", ""
    head = {"state": "STATE", "host": "HOST", "what": "WHAT", "said": "FINDING"}
    for row in [head, *rows]:
        first = "  ".join(row[key].ljust(wide[key]) for key in wide)
        lines = textwrap.wrap(row["said"], _WIDTH, break_long_words=False, break_on_hyphens=False) or [""]
        for number, line in enumerate(lines):
            yield row["state"], f"{first if not number else ' ' * len(first)}  {line}"
    yield "", ""
