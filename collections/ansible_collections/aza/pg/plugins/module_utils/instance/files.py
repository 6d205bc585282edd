# SPDX-License-Identifier: Apache-2.0
"""The part of an instance that is files, directories and secrets, and the settings in them."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import replace

from ansible_collections.aza.pg.plugins.module_utils.errors import AzaError
from ansible_collections.aza.pg.plugins.module_utils.host.docker import subnets
from ansible_collections.aza.pg.plugins.module_utils.host.files import write_atomic
from ansible_collections.aza.pg.plugins.module_utils.instance.context import Context
from ansible_collections.aza.pg.plugins.module_utils.instance.part import Part, later
from ansible_collections.aza.pg.plugins.module_utils.model.desired import Desired
from ansible_collections.aza.pg.plugins.module_utils.model.details import (
    FileDetail,
    ResetDetail,
    SettingDetail,
    path_of,
)
from ansible_collections.aza.pg.plugins.module_utils.model.observed import FileFacts, Observed
from ansible_collections.aza.pg.plugins.module_utils.model.service import File
from ansible_collections.aza.pg.plugins.module_utils.objects import hba, settings
from ansible_collections.aza.pg.plugins.module_utils.planning import differences
from ansible_collections.aza.pg.plugins.module_utils.planning.change import Change
from ansible_collections.aza.pg.plugins.module_utils.server import settings as pg
from ansible_collections.aza.pg.plugins.module_utils.services import containers, registry
from ansible_collections.aza.pg.plugins.module_utils.tls import certificate as tls


class Files(Part):
    kinds = ("directory", "file", "secret", tls.KIND)

    def plan(self, wanted: Desired, found: Observed, planned: Sequence[Change]) -> Iterator[Change]:
        for item in wanted.files:
            if item.path == pg.PATH and item.path in found.files and found.server is not None:
                continue  # its settings are changes of their own
            if item.path == containers.COMPOSE and containers.replaces(wanted, found):
                continue  # written when the container is replaced, not while that waits for a permission
            if item.per_network:
                continue  # written when the network exists
            yield from changes(item, wanted, found)
        leftovers = {item.path: item for item in wanted.leftovers}
        for path, state in found.files.items():
            if state.get("foreign") and not (path in leftovers and leftovers[path].is_directory):
                yield _removal(path, path in leftovers, found)

    def apply(self, context: Context, change: Change) -> None:
        path = context.directory / (path_of(change) or "")
        if change.action == "remove":
            if change.kind == "directory":
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
            return
        item = context.file(change.detail_as(FileDetail).path)
        if change.action.startswith("set rights"):
            os.chown(path, *owner(context, item), follow_symlinks=False)
            path.chmod(item.mode)
        elif item.is_directory:
            path.mkdir(parents=True, exist_ok=True)
            os.chown(path, *owner(context, item))
            path.chmod(item.mode)
        else:
            write(context, item)

    def simulate(self, wanted: Desired, found: Observed, change: Change) -> Observed:
        path = path_of(change) or ""
        files = dict(found.files)
        if change.action == "remove":
            gone = [name for name in files if not path or name == path or name.startswith(f"{path}/")]
            return replace(found, files={name: files[name] for name in files if name not in gone})
        item = wanted.file(path)
        files[path] = written(item, wanted, found, keep=change.action.startswith("set rights"))
        return replace(found, files=files)


class Rules(Part):
    """The lines of pg_hba.conf and pg_ident.conf, which ``Files`` plans.

    The whole file is written with the first change of a line: no state between two changes was ever declared.
    """

    kinds = (hba.RULE, hba.IDENT_LINE)

    def plan(self, wanted: Desired, found: Observed, planned: Sequence[Change]) -> Iterator[Change]:
        return iter(())

    def apply(self, context: Context, change: Change) -> None:
        write(context, context.file(change.detail_as(FileDetail).path))

    def simulate(self, wanted: Desired, found: Observed, change: Change) -> Observed:
        item = wanted.file(change.detail_as(FileDetail).path)
        return replace(found, files={**found.files, item.path: written(item, wanted, found)})


class Settings(Part):
    """Each setting of the inventory, and what ALTER SYSTEM has set: held settings stay as they are in the file."""

    kinds = ("setting",)

    def plan(self, wanted: Desired, found: Observed, planned: Sequence[Change]) -> Iterator[Change]:
        yield from settings.changes(wanted, found)

    def apply(self, context: Context, change: Change) -> None:
        if isinstance(change.detail, ResetDetail):
            from psycopg import sql

            context.sql().execute(sql.SQL("alter system reset {}").format(sql.Identifier(change.name)))
            return
        if isinstance(change.detail, FileDetail):
            write(context, context.file(change.detail.path))
            return
        path = context.directory / pg.PATH
        text = _with(path.read_text(encoding="utf-8"), change)
        item = context.file(pg.PATH)
        write_atomic(path, text.encode(), item.mode, owner(context, item))

    def simulate(self, wanted: Desired, found: Observed, change: Change) -> Observed:
        files = dict(found.files)
        if isinstance(change.detail, ResetDetail):
            automatic = {
                name: text for name, text in found.answers["automatic"].items() if name != change.name
            }
            return found.with_server({**found.answers, "automatic": automatic})
        if isinstance(change.detail, FileDetail):
            item = wanted.file(change.detail.path)
            files[item.path] = written(item, wanted, found)
        else:
            text = _with(files[pg.PATH]["text"], change)
            files[pg.PATH] = {
                **files[pg.PATH],
                "text": text,
                "sha256": _sha(text),
                "modified": later(found),
            }
        return replace(found, files=files)


def _with(text: str, change: Change) -> str:
    """Return the file of settings with one of them changed."""
    values, value = pg.parse(text), change.detail_as(SettingDetail).value
    if value is None:
        values.pop(change.name, None)
    else:
        values[change.name] = value
    return pg.render(dict(sorted(values.items())))


def _removal(path: str, left: bool, found: Observed) -> Change:
    """``left``: whether it belonged to a part that the instance no longer has."""
    return Change(
        "secret" if left else "file",
        path,
        "remove",
        effect="none" if left or not found.running else "reload",
        why="nothing uses it"
        if left
        else "it is in the directory of the server's settings, and the inventory does not declare it",
        detail=FileDetail(path),
    )


def changes(item: File, wanted: Desired, found: Observed) -> Iterator[Change]:
    """Plan one declared file or directory."""
    kind = item.kind or ("directory" if item.is_directory else "secret" if item.secret else "file")
    name, detail = item.path or wanted.directory, FileDetail(item.path)
    is_now = found.files.get(item.path)
    runs = found.containers.get(item.reader, {}).get("state") == "running"
    effect = item.effect if runs else "none"
    text = text_of(item, found.subnets)
    if item.secret == tls.SECRET and (is_now is None or is_now.get("matches") is False):
        yield tls.change(item, wanted, is_now, effect)
        return
    if is_now is None:
        yield Change(
            kind,
            name,
            "create",
            effect=effect,
            after=f"{item.mode:04o}",
            origin=item.origin,
            reader=item.other_reader,
            detail=detail,
        )
        return
    if is_now["type"] != ("directory" if item.is_directory else "file"):
        expected = "a directory" if item.is_directory else "a file"
        raise AzaError(
            f"{wanted.directory}/{item.path} is not {expected}: something else was put there. Move it away.",
            reason="foreign_file",
        )
    if (item.secret and is_now["matches"] is False) or (text is not None and is_now["sha256"] != _sha(text)):
        before = str(is_now.get("text", ""))
        if item.path in hba.KIND_OF_PATH:
            yield from hba.changes(item, before, effect, wanted)
        elif item.path == settings.STACK_PATH:
            yield from settings.stack_changes(item, before, effect)
        else:
            yield Change(
                kind,
                name,
                "change",
                effect=effect,
                why="" if item.secret else _difference(before, text or ""),
                origin=item.origin,
                reader=item.other_reader,
                detail=detail,
            )
        return
    host = (found.host.get("uid"), found.host.get("gid"))
    before, after = (
        _rights(is_now["mode"], is_now["uid"], is_now["gid"]),
        _rights(item.mode, *wanted.owner(item, host)),
    )
    if before != after:
        yield Change(kind, name, "set rights of", before=before, after=after, detail=detail)


def _difference(before: str, after: str) -> str:
    return tls.replaced(before, after) or differences.of(before, after) or "its text changed"


def _rights(mode: int, uid: object, gid: object) -> str:
    return f"{mode:04o} {uid}:{gid}"


def _sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def text_of(item: File, addresses: Sequence[str]) -> str | None:
    """Return the text of a file on a host whose container network has these addresses."""
    return registry.service(item.reader).text(item, addresses) if item.per_network else item.text


def owner(context: Context, item: File) -> tuple[int, int]:
    return context.wanted.owner(item, (os.geteuid(), os.getegid()))


def write(context: Context, item: File) -> None:
    """Write a declared file whole."""
    content = context.secrets[item.secret] if item.secret else _text_here(context, item)
    write_atomic(context.directory / item.path, content.encode(), item.mode, owner(context, item))


def _text_here(context: Context, item: File) -> str:
    network = context.wanted.network
    there = subnets(network, context.docker.inspect(network)) if item.per_network else ()
    return text_of(item, there) or ""


def written(item: File, wanted: Desired, found: Observed, keep: bool = False) -> FileFacts:
    """Return the facts of a file that was written just now. ``keep``: only its rights are new."""
    uid, gid = wanted.owner(item, (found.host["uid"], found.host["gid"]))
    facts: FileFacts = {"mode": item.mode, "uid": uid, "gid": gid}
    if keep:
        return {**found.files[item.path], **facts}
    facts["type"] = "directory" if item.is_directory else "file"
    facts["modified"] = later(found)
    text = text_of(item, found.subnets)
    if item.secret:
        facts["matches"] = True
    elif text is not None:
        facts["text"], facts["sha256"] = text, _sha(text)
    return facts
