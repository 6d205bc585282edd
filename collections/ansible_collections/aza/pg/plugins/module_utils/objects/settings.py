# SPDX-License-Identifier: Apache-2.0
"""The server's settings: those of ``postgres_settings``, and those that a user set around it. Pure.

They are written to a file before the server reads it, so their changes stand among those of the files.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ansible_collections.aza.pg.plugins.module_utils.model.desired import Desired
from ansible_collections.aza.pg.plugins.module_utils.model.details import (
    FileDetail,
    ResetDetail,
    SettingDetail,
)
from ansible_collections.aza.pg.plugins.module_utils.model.observed import Observed
from ansible_collections.aza.pg.plugins.module_utils.model.service import File
from ansible_collections.aza.pg.plugins.module_utils.objects import startable
from ansible_collections.aza.pg.plugins.module_utils.objects.kind import Kind
from ansible_collections.aza.pg.plugins.module_utils.planning.change import Change
from ansible_collections.aza.pg.plugins.module_utils.planning.finding import Finding
from ansible_collections.aza.pg.plugins.module_utils.replication import standby
from ansible_collections.aza.pg.plugins.module_utils.server import settings as pg
from ansible_collections.aza.pg.plugins.module_utils.server.values import same_value, shown

# What the stack itself decides; read before the inventory's settings.
STACK_PATH = "postgres/conf.d/10-stack.conf"
TUNED_FILE = "/run/aza-pg/tuned.conf"
AUTOMATIC_FILE = "postgresql.auto.conf"


def changes(wanted: Desired, found: Observed) -> Iterator[Change]:
    """One change a setting, when a server is there to say what each one means."""
    file = found.files.get(pg.PATH)
    if file is None or found.server is None:
        return
    text, known = str(file.get("text", "")), found.server["settings"]
    written, automatic = pg.parse(text), found.server.get("automatic") or {}
    different = False
    for name in sorted({*written, *wanted.settings}):
        info = known.get(name) or {}
        one, two = written.get(name), wanted.settings.get(name)
        if one is not None and two is not None and same_value(info, one, two):
            continue
        different = True
        before, after = _values(info, one, two)
        yield Change(
            "setting",
            name,
            "change",
            # A user's ALTER SYSTEM keeps the file from having an effect, until it is reset.
            effect="reload" if name in automatic else _effect(info, two),
            before=before,
            after=after,
            awaits=standby.awaits(wanted, found, name),
            origin=wanted.origin("postgres_settings"),
            detail=SettingDetail(two),
        )
    if not different and text != pg.render(dict(sorted(written.items()))):
        yield Change(
            "file",
            pg.PATH,
            "change",
            effect="reload",
            why="only its text changed, no value",
            detail=FileDetail(pg.PATH),
        )
    for name, value in sorted(automatic.items()):
        info = known.get(name) or {}
        before, after = _values(info, value, wanted.settings.get(name))
        yield Change(
            "setting",
            name,
            "reset",
            effect=_effect(info, wanted.settings.get(name)),
            before=before,
            after=after,
            why="it was set by ALTER SYSTEM, which overrides the inventory",
            origin=wanted.origin("postgres_settings") if name in wanted.settings else "",
            edited=True,
            detail=ResetDetail(),
        )


def stack_changes(item: File, text: str, effect: str) -> Iterator[Change]:
    """One change for each of the stack's own settings; of a connection string only what becomes different."""
    before, after = pg.parse(text), pg.parse(item.text or "")
    names = [name for name in sorted({*before, *after}) if before.get(name) != after.get(name)]
    for name in names:
        old, new = before.get(name, "").split(), after.get(name, "").split()
        yield Change(
            "setting",
            name,
            "change",
            effect=effect,
            before=" ".join(word for word in old if word not in new) if name in before else "unset",
            after=" ".join(word for word in new if word not in old) if name in after else "unset",
            why="the stack sets it",
            origin=item.origin,
            detail=FileDetail(item.path),
        )
    if not names:
        why = "only its text changed, no value"
        yield Change("file", item.path, "change", effect=effect, why=why, detail=FileDetail(item.path))


def _effect(info: Mapping[str, Any], value: str | None) -> str:
    """What it takes until the server works with the value (``None``: that of the other files)."""
    after = _elsewhere(info) if value is None else value
    in_force, from_outside = info.get("raw"), info.get("source") == "command line"
    if info.get("context") != "postmaster" or from_outside or in_force is None:
        return "reload"
    return "reload" if same_value(info, str(in_force), after) else "restart"


def _values(info: Mapping[str, Any], before: str | None, after: str | None) -> tuple[str, str]:
    """Both as people read them; a value that is not the inventory's says where it comes from."""
    if before is not None and after is not None and same_value(info, before, after):
        return shown(info, before), ""
    other = shown(info, _elsewhere(info)) if info else "unset"
    old = other if before is None else shown(info, before)
    new = f"{other}{_source(info)}" if after is None else shown(info, after)
    return (f"{old}{_source(info)}" if old == new else old), new


def _elsewhere(info: Mapping[str, Any]) -> str:
    value = info.get("elsewhere")
    return str(info.get("default") or "") if value is None else str(value)


def _source(info: Mapping[str, Any]) -> str:
    file = info.get("elsewhere_file")
    if file is None:
        return " (default)" if info else ""
    return " (tuned)" if file == TUNED_FILE else ""


def _findings(wanted: Desired, found: Observed) -> Iterator[Finding]:
    """A declared value that another file of the server beats: no deploy edits what is in the data directory."""
    settings = (found.server or {})["settings"]
    written = pg.parse(str(found.files.get(pg.PATH, {}).get("text", "")))
    # What is not written yet is in the plan.
    for name in [name for name in wanted.settings if name in written]:
        file = (settings.get(name) or {}).get("last_file")
        if not file or file.endswith((f"/{pg.NAME_OF_FILE}", f"/{AUTOMATIC_FILE}")) or "/conf.d/" in file:
            continue
        yield Finding(
            "setting",
            "red",
            f"{name} of postgres_settings is not in force: {file} sets it after the inventory does",
            f"remove the line from {file} in the container",
        )


KIND = Kind("setting", problems=startable.problems, findings=_findings, on_standby=True)
