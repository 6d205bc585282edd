# SPDX-License-Identifier: Apache-2.0
"""What was found on all hosts: printed, written as reports, and judged. Red makes the run fail."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from ansible import constants as C  # noqa: N812, the name that Ansible's own code uses
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display
from ansible_collections.aza.pg.plugins.module_utils.checks.cluster import NOT_ASKED
from ansible_collections.aza.pg.plugins.module_utils.errors import AzaError
from ansible_collections.aza.pg.plugins.module_utils.report import clusters, text
from ansible_collections.aza.pg.plugins.module_utils.report import page as html
from ansible_collections.aza.pg.plugins.module_utils.report.fleet import Fleet, Instance, instance
from ansible_collections.aza.pg.plugins.plugin_utils import cluster as inventory

_OPTIONS = {
    "report_html": {"type": "str", "default": ""},
    "report_json": {"type": "str", "default": ""},
    "clusters": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {
            "name": {"type": "str", "required": True},
            "members": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {
                    "host": {"type": "str", "required": True},
                    "role": {"type": "str", "required": True, "choices": ["primary", "replica"]},
                    "slot": {"type": "str", "default": ""},
                    "upstream": {"type": "str", "default": ""},
                    "delay": {"type": "float", "default": 0},
                },
            },
            "synchronous": {"type": "int", "default": 0},
            "lag_bytes": {"type": "int", "default": 67108864},
            "lag_seconds": {"type": "float", "default": 30},
            "sentinel_seconds": {"type": "float", "default": 5},
            "tls": {"type": "bool", "default": True},
        },
    },
}


class ActionModule(ActionBase):
    _requires_connection = False
    _VALID_ARGS = frozenset(("clusters", "report_html", "report_json"))

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result = super().run(tmp, task_vars)
        _, given = self.validate_argument_spec(argument_spec=_OPTIONS)
        known = task_vars or {}
        asked = known["ansible_play_hosts_all"]
        declared = given["clusters"] or inventory.declared(known["hostvars"])
        found = [
            cluster(entry, asked, known["hostvars"])
            for entry in declared
            if any(member["host"] in asked for member in entry["members"])
        ]
        fleet = Fleet.of(
            instances(asked, known["hostvars"], found),
            datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M:%S UTC"),
            ", ".join(_near(str(source)) for source in known.get("ansible_inventory_sources") or ()),
            found,
        )
        colours = {"red": C.COLOR_ERROR, "yellow": C.COLOR_CHANGED, "green": C.COLOR_OK}
        display = Display()
        display.display("")
        for state, line in text.lines(fleet, every=len(fleet.instances) == 1 or display.verbosity > 0):
            display.display(line, color=colours.get(state))
        display.display("")
        result |= {"changed": False, "red": fleet.counts["red"], "summary": fleet.summary()}
        try:
            for name, content in (
                ("report_html", html.render(fleet)),
                ("report_json", json.dumps(fleet.to_dict(), indent=2, ensure_ascii=False) + "\n"),
            ):
                if given[name]:
                    display.display(f"{name}: {_near(str(write(name, given[name], content)))}")
        except AzaError as error:
            return {**result, "failed": True, "msg": error.msg, "reason": error.reason}
        if fleet.counts["red"]:
            word = "finding is" if fleet.counts["red"] == 1 else "findings are"
            message = f"{fleet.counts['red']} {word} red; see above."
            result |= {"failed": True, "msg": message, "reason": "red"}
        return result


def cluster(
    given: Mapping[str, Any], asked: Sequence[str], hostvars: Mapping[str, Mapping[str, Any]]
) -> clusters.Cluster:
    """From the argument, and from what the checks left with each member."""
    entries = {item["host"]: {key: item[key] for key in item if key != "host"} for item in given["members"]}

    def results(proof: str) -> dict[str, Any]:
        """As a check of the whole instance left it, or the module by itself."""
        left = {host: hostvars[host] for host in entries if host in asked}
        found = {
            host: _bare((known.get("instance_result") or {}).get(proof) or known.get(f"{proof}_result"))
            for host, known in left.items()
        }
        return {host: message or _unseen(left[host]) for host, message in found.items()}

    left_out = {host: {"error": NOT_ASKED} for host in entries if host not in asked}
    return clusters.cluster(
        {**given, "members": entries},
        {**left_out, **results("replication")},
        results("pgbouncer"),
    )


def instances(
    hosts: list[str], hostvars: Mapping[str, Mapping[str, Any]], found: Sequence[clusters.Cluster] = ()
) -> Iterator[Instance]:
    for host in hosts:
        known = hostvars[host]
        if known.get("postgres_cluster"):
            name = f"{known['postgres_cluster']}-{known.get('postgres_stack', 'single')}"
            mine = next((one for one in found if str(host) in (one.of_member or {})), None)
            result = _bare(known.get("instance_result"))
            error = str(_unseen(known).get("error", ""))
            if error and not result.get("findings"):
                result["findings"] = [
                    {"what": "host", "state": "red", "message": error, "remedy": "start the host"}
                ]
            yield instance(str(host), name, result, mine)


def _unseen(known: Mapping[str, Any]) -> dict[str, Any]:
    """Why gathering the facts of the host failed, where it did."""
    message = (known.get("instance_host") or {}).get("msg")
    return {"error": f"it could not be checked: {message}"} if message else {}


def _bare(result: Any) -> dict[str, Any]:
    """Without Ansible's tags."""
    return dict(json.loads(json.dumps(result or {})))


def write(variable: str, given: str, content: str) -> Path:
    """Whole or not at all: who reads it at this moment sees the old report or the new one."""
    path = Path(given).expanduser().absolute()
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o644)
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as stream:
                stream.write(content)
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise AzaError(
            f"{variable}: {path} cannot be written: {error.strerror}. Name a file in a directory that exists and that "
            "you may write to.",
            reason="report_not_written",
        ) from None
    return path


def _near(path: str) -> str:
    try:
        return str(Path(path).relative_to(Path.cwd()))
    except ValueError:
        return path
