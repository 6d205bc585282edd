# SPDX-License-Identifier: Apache-2.0
"""What lies in an instance's volume: data is never overlooked, in any layout and for any user."""

from __future__ import annotations

import io
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.aza.pg.plugins.module_utils.errors import AzaError
from ansible_collections.aza.pg.plugins.module_utils.host import data_volume
from ansible_collections.aza.pg.plugins.module_utils.host.docker import Docker
from ansible_collections.aza.pg.tests.unit.server.test_positions import control

CONTAINER, VOLUME = "shop-postgres", "shop-data"


class Engine(Docker):
    """Whose volume is a directory; ``mounted``: where its container mounts it, if there is one."""

    def __init__(self, root: Path | None, mounted: str = "", **more: Any) -> None:
        super().__init__()
        self.root, self.mounted, self.more = root, mounted, more

    def volume(self, name: str) -> dict[str, Any] | None:
        found = {"Name": name, "Driver": "local", "Mountpoint": str(self.root), "Options": None}
        return {**found, **self.more} if self.root else None

    def inspect(self, *names: str) -> list[dict[str, Any]]:
        mounts = [{"Name": VOLUME, "Destination": self.mounted}]
        return [{"Name": f"/{CONTAINER}", "Mounts": mounts}] if self.mounted else []


def look(root: Path | None, mounted: str = "", **more: Any) -> dict[str, Any]:
    return data_volume.observe(Engine(root, mounted, **more), VOLUME, CONTAINER)


def make(directory: Path, version: str = "18", standby: bool = False) -> Path:
    (directory / "global").mkdir(parents=True)
    (directory / "PG_VERSION").write_text(f"{version}\n")
    (directory / "global/pg_control").write_bytes(control(1))
    if standby:
        (directory / "standby.signal").touch()
    return directory


@pytest.mark.parametrize(
    ("layout", "version"),
    [
        ("18/docker", "18"),
        ("17/docker", "17"),
        ("19/docker", "19"),
        (".", "16"),
        ("data", "15"),
        ("data/17/docker", "17"),
        ("17/main", "17"),
        ("pgroot/data", "17"),
    ],
)
def test_data_of_any_version_and_layout_is_data(tmp_path: Path, layout: str, version: str) -> None:
    make(tmp_path / layout, version)
    found = look(tmp_path)
    assert (found["data"], found["standby"], found["version"]) == (True, False, version)
    assert (found["system_identifier"], found["timeline"], found["lsn"]) == ("7", 1, "0/3000028")


def test_no_volume_and_no_data(tmp_path: Path) -> None:
    assert look(None) == {"data": False, "standby": None}
    assert look(tmp_path)["data"] is False
    # Neither what a first start that was interrupted leaves, nor a tablespace, nor a file that merely has the name.
    make(tmp_path / "18/.docker.init/data")
    make(tmp_path / "data/.aza-init")
    (make(tmp_path / "17/docker") / ".aza-incomplete").touch()
    (tmp_path / "space/PG_18_202506291/16384").mkdir(parents=True)
    (tmp_path / "space/PG_18_202506291/16384/PG_VERSION").write_text("18\n")
    assert look(tmp_path)["data"] is False


def test_a_volume_that_is_mounted_only_while_it_is_used(tmp_path: Path) -> None:
    """Its mount point is an empty directory while the server is stopped."""
    bind = {"type": "none", "o": "rw,bind", "device": str(tmp_path / "disk")}
    (tmp_path / "empty").mkdir()
    make(tmp_path / "disk/18/docker")
    assert look(tmp_path / "empty", Options=bind)["lsn"] == "0/3000028"
    for more in (
        {"Options": {"type": "nfs", "o": "addr=10.0.0.1", "device": ":/pg"}},
        {"Driver": "other"},
        {"Options": {**bind, "device": str(tmp_path / "gone")}},
    ):
        found = look(tmp_path / "empty", **more)
        assert (found["data"], found["standby"]) == (True, None), more


def test_a_standby(tmp_path: Path) -> None:
    make(tmp_path / "18/docker", standby=True)
    assert look(tmp_path)["standby"] is True
    # Of two versions beside each other the older one may be a primary's.
    make(tmp_path / "17/docker", "17")
    found = look(tmp_path)
    assert (found["standby"], found["version"]) == (False, "18")


def test_data_behind_a_link_is_data(tmp_path: Path) -> None:
    make(tmp_path / "real")
    (tmp_path / "18").symlink_to("real")
    assert look(tmp_path)["data"] is True
    (tmp_path / "data").symlink_to("/mnt/data")
    assert look(tmp_path)["data"] is True and look(tmp_path)["standby"] is None


def test_data_whose_control_file_is_gone_is_data(tmp_path: Path) -> None:
    (make(tmp_path / "18/docker") / "global/pg_control").unlink()
    found = look(tmp_path)
    assert found["data"] is True and "timeline" not in found


def test_the_ancestors_are_read_from_the_history(tmp_path: Path) -> None:
    data = make(tmp_path / "18/docker")
    (data / "pg_wal").mkdir()
    (data / "pg_wal/00000001.history").write_text("3\t0/120\tx\n")
    assert look(tmp_path)["history"] == [(3, "0/120")]


@pytest.fixture
def through_the_engine(monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes | None]:
    """``docker cp`` of these files; None is an engine in trouble."""
    files: dict[str, bytes | None] = {}

    def run(words: list[str], **_: Any) -> subprocess.CompletedProcess[bytes]:
        place = words[2].partition(":")[2].replace("/./", "/")
        if place not in files:
            message = f"Error response from daemon: Could not find the file {place} in container x"
            return subprocess.CompletedProcess(words, 1, b"", message.encode())
        content = files[place]
        if content is None:
            return subprocess.CompletedProcess(words, 1, b"", b"it is broken")
        stream = io.BytesIO()
        with tarfile.open(fileobj=stream, mode="w") as archive:
            entry = tarfile.TarInfo(place.rpartition("/")[2])
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
        return subprocess.CompletedProcess(words, 0, stream.getvalue(), b"")

    monkeypatch.setattr(subprocess, "run", run)
    return files


@pytest.mark.parametrize("layout", ["18/docker", "17/docker", "data", "."])
def test_who_may_not_read_the_directory_asks_the_engine(
    tmp_path: Path, through_the_engine: dict[str, bytes | None], layout: str
) -> None:
    root = f"/var/lib/postgresql/{layout}".replace("/.", "")
    through_the_engine[f"{root}/PG_VERSION"] = b"18\n"
    through_the_engine[f"{root}/global/pg_control"] = control(1)
    gone = tmp_path / "closed"
    found = look(gone, "/var/lib/postgresql")
    assert (found["data"], found["standby"], found["lsn"]) == (True, False, "0/3000028")
    through_the_engine[f"{root}/standby.signal"] = b""
    assert look(gone, "/var/lib/postgresql")["standby"] is True
    through_the_engine.clear()
    assert look(gone, "/var/lib/postgresql")["data"] is False


def test_what_nobody_can_read_counts_as_a_primarys_data(
    tmp_path: Path, through_the_engine: dict[str, bytes | None]
) -> None:
    gone = tmp_path / "closed"
    alone = look(gone)
    assert (alone["data"], alone["standby"]) == (True, None) and "closed cannot be read" in alone[
        "unreadable"
    ]
    through_the_engine["/var/lib/postgresql/18/docker/PG_VERSION"] = None
    found = look(gone, "/var/lib/postgresql")
    assert (found["data"], found["standby"]) == (True, None) and "it is broken" in found["unreadable"]


@pytest.mark.parametrize(
    ("found", "standby", "refused"),
    [
        ({"data": True, "standby": False}, False, True),
        ({"data": True, "standby": None}, True, True),
        ({"data": True, "standby": True}, False, False),
        # An empty volume becomes what is wanted.
        ({"data": False, "standby": None}, False, True),
        ({"data": False, "standby": None}, True, False),
    ],
)
def test_a_server_that_would_write_is_not_started(
    found: dict[str, Any], standby: bool, refused: bool
) -> None:
    data_volume.refuse_primary(found, standby, "")
    if refused:
        with pytest.raises(AzaError, match="db2 cannot be reached") as raised:
            data_volume.refuse_primary(found, standby, "db2 cannot be reached")
        assert raised.value.reason == "cluster"
    else:
        data_volume.refuse_primary(found, standby, "db2 cannot be reached")
