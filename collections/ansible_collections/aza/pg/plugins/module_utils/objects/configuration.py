# SPDX-License-Identifier: Apache-2.0
"""What the server's own configuration files set beside the inventory: a finding, because no deploy edits them. Pure.

``postgresql.conf`` lies among the data, and so may files that it includes. Whatever stands there after the inventory's
directory wins over the inventory, and what stands before it wins over the tuned values.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from ansible_collections.aza.pg.plugins.module_utils.model.desired import Desired
from ansible_collections.aza.pg.plugins.module_utils.model.observed import Observed
from ansible_collections.aza.pg.plugins.module_utils.objects.kind import Kind, Undeclared
from ansible_collections.aza.pg.plugins.module_utils.objects.settings import STACK_PATH
from ansible_collections.aza.pg.plugins.module_utils.server import settings as pg

POLICY = "configuration"
# The files of the image, of the stack and of ALTER SYSTEM have changes of their own.
_LINES = """(
select coalesce(pg_catalog.json_agg(pg_catalog.json_build_object('name', pg_catalog.lower(f.name), 'value', f.setting,
    'file', f.sourcefile, 'line', f.sourceline, 'applied', f.applied, 'last', f.seqno > coalesce(o.seqno, 0))
    order by f.seqno), '[]')
from pg_catalog.pg_file_settings f
cross join (select pg_catalog.max(seqno) as seqno from pg_catalog.pg_file_settings
    where sourcefile like '/etc/aza-pg/conf.d/%') o
where f.name is not null and f.sourcefile <> '/run/aza-pg/tuned.conf' and f.sourcefile not like '/etc/aza-pg/%'
    and f.sourcefile not like '%/postgresql.auto.conf')"""
# What initdb and the image write at the first start, and its value where that is always the same.
_FIRST_START: Mapping[str, str] = {
    "listen_addresses": "*",
    "dynamic_shared_memory_type": "posix",
    **dict.fromkeys(
        (
            *("max_connections", "shared_buffers", "max_wal_size", "min_wal_size", "autovacuum_worker_slots"),
            *("log_timezone", "timezone", "datestyle", "default_text_search_config", "log_file_mode"),
            *("lc_messages", "lc_monetary", "lc_numeric", "lc_time", "password_encryption"),
        ),
        "",
    ),
}
_OPTION = re.compile(r"(?:-c|--set)[ =]*([A-Za-z_][\w.]*)=")


def _undeclared(wanted: Desired, found: Observed) -> Iterator[Undeclared]:
    of_stack = {
        **pg.OWNED,
        **pg.parse(next((f.text or "" for f in wanted.files if f.path == STACK_PATH), "")),
    }
    of_initdb = {name.lower() for name in _OPTION.findall(_initdb_arguments(wanted))}
    seen: set[str] = set()
    for line in found.answers.get("configuration_lines") or ():
        name = str(line["name"])
        is_first_start = _is_first_start(line) and name not in seen
        seen.add(name)
        # A declared setting that such a line beats is a finding of its own.
        if is_first_start or name in wanted.settings or (name in of_initdb and not line["last"]):
            continue
        beats = name in of_stack and line["last"]
        message = f"{line['file']} line {line['line']} sets it to '{line['value']}'"
        if beats:
            message += ", and the stack sets it"
        elif not line["applied"]:
            message += ", which is not in force"
        yield Undeclared(
            POLICY,
            "red" if beats else "yellow",
            f"setting {name}",
            message,
            f"remove the line from {line['file']} in the container"
            + ("" if name in of_stack else ", or declare the setting in postgres_settings"),
        )


def _is_first_start(line: Mapping[str, Any]) -> bool:
    value = _FIRST_START.get(str(line["name"]))
    is_own = str(line["file"]).endswith("/postgresql.conf") and not line["last"]
    return is_own and value is not None and value in ("", line["value"])


def _initdb_arguments(wanted: Desired) -> str:
    return wanted.server.expected.get("environment POSTGRES_INITDB_ARGS", "")


KIND = Kind(
    "configuration",
    server={"configuration_lines": _LINES},
    fresh=lambda _: {"configuration_lines": []},
    undeclared=_undeclared,
    on_standby=True,
)
