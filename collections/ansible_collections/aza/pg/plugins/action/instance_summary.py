# SPDX-License-Identifier: Apache-2.0
"""The connection block: what a person needs after a deploy, and nothing that must stay secret."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase
from ansible.utils.display import Display
from ansible_collections.aza.pg.plugins.module_utils.plain import plain

# The values that people ask for first; all of them are in docs/reference/tuning.md.
_HEADLINES = (
    "shared_buffers",
    "effective_cache_size",
    "work_mem",
    "maintenance_work_mem",
    "max_connections",
    "max_wal_size",
    "max_parallel_workers",
    "random_page_cost",
)


class ActionModule(ActionBase):
    _requires_connection = False
    _VALID_ARGS = frozenset(("result", "instance"))

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result = super().run(tmp, task_vars)
        _, given = self.validate_argument_spec(
            argument_spec={
                "result": {"type": "dict", "required": True},
                "instance": {"type": "str", "required": True},
            }
        )
        deployed = json.loads(json.dumps(given["result"]))
        host = str((task_vars or {}).get("inventory_hostname", ""))
        lines = list(map(plain, _lines(deployed, str(given["instance"]), host)))
        if not self._task.check_mode:
            Display().display("\n" + "\n".join(f"  {line}".rstrip() for line in lines) + "\n")
        return {**result, "changed": False, "lines": lines}


def _lines(deployed: Mapping[str, Any], instance: str, host: str) -> Iterator[str]:
    where = deployed["connection"]
    took = f", first write after {deployed['ready_seconds']:.1f} s" if deployed["ready_seconds"] else ""
    yield f"PostgreSQL {deployed['version'].split(' ')[0]}, {instance} on {host}, is ready{took}."
    yield ""
    yield f"host      {where['host']}"
    yield f"port      {where['port']}"
    if where["pool"]:
        yield f"pool      {where['pool']}, for every role but administrators"
    yield f"database  {where['database']}"
    yield f"user      {where['user']}"
    yield f"password  {'in ' + _near(where['password_file']) if where['password_file'] else 'in Ansible Vault'}"
    yield f"connect   {connect_line(where)}"
    yield ""
    yield from _tuning(deployed["tuning"])
    if deployed["held"]:
        yield ""
        yield "Some changes were not applied. They are pending:"
        for change in deployed["held"]:
            yield f"  {change['text']}  (pending: {change['waits_for']})"
    yield ""
    yield "Next      ansible-playbook check.yml     check for drift and failures"
    yield "          ansible-playbook stop.yml      stop it and keep the data"
    yield "          docs/runbooks/                 settings, extensions, start and stop"


def _tuning(tuning: Mapping[str, Any]) -> Iterator[str]:
    if not tuning["values"]:
        yield "Not tuned (postgres_autotune: false): PostgreSQL uses its built-in defaults."
        return
    budget = f"{tuning['budget_mb']} MB of it are budgeted"
    yield f"Tuned to {tuning['memory_mb']} MB of memory ({budget}) and {tuning['cpus']} processors:"
    own = tuning["own"]
    found = {value["name"]: value for value in tuning["values"] if value["name"] not in own}
    for name in _HEADLINES:
        if name in found:
            yield f"  {name:<22}{found[name]['value']:<9}{found[name]['rule']}"
    more = len(found) - sum(name in found for name in _HEADLINES)
    yield f"  and {more} more. Your own values override them: postgres_settings in the inventory."
    replaced = [f"{value['name']} {own[value['name']]}" for value in tuning["values"] if value["name"] in own]
    if replaced:
        yield f"  Not tuned, because postgres_settings has them: {', '.join(replaced)}"


def connect_line(where: Mapping[str, Any]) -> str:
    """What works as it is pasted on the control node, or on the host when only the host reaches the port."""
    psql = where["psql"] if where["local"] else shutil.which("psql")
    loopback = where["host"].startswith("127.") or where["host"] == "::1"
    reachable = where["local"] or not loopback
    if reachable and psql and where["passfile"]:
        parts = {
            "host": where["host"],
            "port": where["port"],
            "dbname": where["database"],
            "user": where["user"],
            "passfile": where["passfile"],
        }
        if where["sslrootcert"]:
            parts["sslmode"] = "verify-full" if where["verifiable"] else "require"
        if where["sslrootcert"] and where["verifiable"]:
            parts["sslrootcert"] = where["sslrootcert"]
        return f"psql {_word(' '.join(f'{key}={_quoted(str(value))}' for key, value in parts.items()))}"
    on_host = "" if where["local"] else "on the host:  "
    # A name with an equals sign would be taken for a connection string.
    database = f"dbname={_quoted(where['database'])}" if "=" in where["database"] else where["database"]
    who = f"-U {shlex.quote(where['user'])} -d {shlex.quote(database)}"
    if where["psql"]:
        return f"{on_host}psql -h {shlex.quote(where['socket'])} {who}"
    return f"{on_host}docker exec -it {where['container']} psql {who}"


def _word(text: str) -> str:
    """One word for a shell."""
    # An interactive shell expands ! between double quotes, and nothing there keeps it from that.
    return shlex.quote(text) if "!" in text else '"' + _SPECIAL.sub(r"\\\g<0>", text) + '"'


# Between double quotes: what a shell expands, and a backslash before it.
_SPECIAL = re.compile(r'["$`]|\\(?=[\\"$`])')


def _quoted(value: str) -> str:
    """For a connection string: quoted when it holds anything but the plain."""
    plain = value.replace("\\", "\\\\").replace("'", "\\'")
    return value if value and all(c.isalnum() or c in "./_-:" for c in value) else f"'{plain}'"


def _near(path: str) -> str:
    try:
        return str(Path(path).relative_to(Path.cwd()))
    except ValueError:
        return path
