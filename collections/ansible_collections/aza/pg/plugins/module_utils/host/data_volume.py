# SPDX-License-Identifier: Apache-2.0
"""What the volume of an instance holds while no server answers: read from the files, without starting anything."""

from __future__ import annotations

import io
import re
import subprocess
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ansible_collections.aza.pg.plugins.module_utils.errors import AzaError
from ansible_collections.aza.pg.plugins.module_utils.host.docker import Docker
from ansible_collections.aza.pg.plugins.module_utils.model import paths
from ansible_collections.aza.pg.plugins.module_utils.server import positions

# Of a first start that was not finished, see the image's first-start.sh: what lies there is not data yet.
_INCOMPLETE, _WORK = ".aza-incomplete", re.compile(r"\.aza-init|\..+\.init")
# How deep below the volume's root a data directory may be: our image has MAJOR/docker, older ones data/ or the root
# itself, other distributions MAJOR/main or MAJOR/data.
_DEPTH = 3
# Where data is searched for if directories cannot be listed: every major version, whichever the image has.
_LAYOUTS = (*(paths.layout(major) for major in range(39, 9, -1)), ".", "data", "pgdata")
_ABSENT = ("could not find the file", "no such file or directory", "not a directory")


class UnreadableError(Exception):
    """The contents are unknown; the text says why."""


class _Directory:
    """The volume as a directory of this host, which root may read."""

    def __init__(self, root: Path) -> None:
        self.root = root
        try:
            next(root.iterdir(), None)
        except OSError as error:
            raise UnreadableError(f"{root} cannot be read ({error.strerror})") from None

    def read(self, path: str) -> bytes | None:
        try:
            return (self.root / path).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise UnreadableError(f"{error.filename} cannot be read ({error.strerror})") from None

    def data_directories(self) -> Iterator[str]:
        yield from self._below(self.root, 0)

    def _below(self, directory: Path, depth: int) -> Iterator[str]:
        try:
            names = {entry.name: entry for entry in directory.iterdir()}
            if "PG_VERSION" in names and "global" in names:
                yield str(directory.relative_to(self.root))
                return
            if depth < _DEPTH:
                for name in sorted(names):
                    entry = names[name]
                    if _WORK.fullmatch(name):
                        continue
                    if entry.is_symlink() and entry.readlink().is_absolute():
                        raise UnreadableError(f"{entry} points to a path that exists only in its container")
                    if entry.is_dir():
                        yield from self._below(entry, depth + 1)
        except OSError as error:
            raise UnreadableError(f"{error.filename} cannot be read ({error.strerror})") from None


class _Container:
    """The volume as the engine reads it through a container that mounts it, running or not."""

    def __init__(self, docker: Docker, container: str, mounted: str) -> None:
        self.docker, self.container, self.mounted = docker, container, mounted

    def read(self, path: str) -> bytes | None:
        place = f"{self.container}:{self.mounted}/{path}"
        try:
            done = subprocess.run(
                [self.docker.binary, "cp", place, "-"], capture_output=True, timeout=30, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise UnreadableError(f"{place} cannot be read ({error})") from None
        message = done.stderr.decode(errors="replace").strip()
        if done.returncode:
            if any(words in message.lower() for words in _ABSENT):
                return None
            raise UnreadableError(f"{place} cannot be read ({message})")
        try:
            with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
                member = next(iter(archive), None)
                content = archive.extractfile(member) if member else None
                return content.read() if content else b""
        except tarfile.TarError as error:
            raise UnreadableError(f"{place} cannot be read ({error})") from None

    def data_directories(self) -> Iterator[str]:
        for layout in _LAYOUTS:
            if self.read(f"{layout}/PG_VERSION") is not None:
                yield layout
                return


def observe(docker: Docker, volume: str, container: str) -> dict[str, Any]:
    """Return what the other members of a cluster must know of a server that does not answer.

    ``data``: whether it holds any. With data ``standby``: whether that is a standby's, None if it is unknown;
    ``version``: PostgreSQL's major version; and what ``positions.control`` says. ``unreadable``: why it is unknown;
    the volume is then taken for one with a primary's data.
    """
    known = docker.volume(volume)
    if known is None:
        return {"data": False, "standby": None}
    try:
        files = _open(docker, known, container)
        found = [path for path in files.data_directories() if files.read(f"{path}/{_INCOMPLETE}") is None]
        if not found:
            return {"data": False, "standby": None}
        standby = all(files.read(f"{path}/standby.signal") is not None for path in found)
        # After an upgrade two versions lie beside each other; the newer one counts.
        versions = {path: (files.read(f"{path}/PG_VERSION") or b"").decode().strip() for path in found}
        newest = max(found, key=lambda path: int(versions[path]) if versions[path].isdigit() else 0)
        return {
            "data": True,
            "standby": standby,
            "version": versions[newest],
            "directory": newest,
            **_position(files, newest),
        }
    except UnreadableError as error:
        return {"data": True, "standby": None, "unreadable": str(error)}


def _open(docker: Docker, volume: Mapping[str, Any], container: str) -> _Directory | _Container:
    try:
        return _Directory(_root(volume))
    except UnreadableError:
        mounted = _mounted(docker, str(volume["Name"]), container)
        if not mounted:
            raise
        return _Container(docker, container, mounted)


def _root(volume: Mapping[str, Any]) -> Path:
    """Where the volume's files are on this host, also while nothing uses it."""
    options = volume.get("Options") or {}
    if "device" not in options and volume.get("Driver") == "local":
        return Path(str(volume["Mountpoint"]))
    if "bind" in str(options.get("o", "")).split(","):
        return Path(str(options["device"]))
    raise UnreadableError(f"the volume {volume['Name']} is mounted only while a container uses it")


def _mounted(docker: Docker, volume: str, container: str) -> str:
    """Where the container mounts the volume, empty when there is no such container."""
    found = [item for item in docker.inspect(container) if item.get("Name") == f"/{container}"]
    mounts = [mount for item in found for mount in item.get("Mounts") or () if mount.get("Name") == volume]
    return next((str(mount["Destination"]) for mount in mounts), "")


def _position(files: _Directory | _Container, directory: str) -> Mapping[str, Any]:
    content = files.read(f"{directory}/global/pg_control")
    try:
        found = positions.control(content or b"")
        history = files.read(f"{directory}/pg_wal/{found['timeline']:08X}.history") or b""
        return {**found, "history": positions.history(history.decode(errors="replace"))}
    except (ValueError, IndexError):
        return {}


def refuse_primary(found: Mapping[str, Any], standby: bool, why: str) -> None:
    """Refuse to start a server that would write.

    ``found``: what ``look`` returned; ``standby``: whether an empty volume becomes a standby's; ``why``: why no primary
    may be started, empty when one may.

    :raises AzaError: the server would be a primary.
    """
    would_write = found["standby"] is not True if found["data"] else not standby
    if why and would_write:
        raise AzaError(f"The server was not started: {why}. Nothing was changed.", reason="cluster")
