# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import hashlib
import io
import json
import tarfile
from pathlib import Path
from typing import Any

from ansible_collections.aza.pg.plugins.module_utils.image.archive import add_docker_manifest


def _add(tar: tarfile.TarFile, name: str, document: Any) -> dict[str, Any]:
    data = json.dumps(document).encode()
    digest = hashlib.sha256(data).hexdigest()
    member = tarfile.TarInfo(name or f"blobs/sha256/{digest}")
    member.size = len(data)
    tar.addfile(member, io.BytesIO(data))
    return {"digest": f"sha256:{digest}"}


def _oci(path: Path, architectures: list[str]) -> None:
    with tarfile.open(path, "w") as tar:
        manifests = []
        for name in architectures:
            image = {"config": _add(tar, "", {"arch": name}), "layers": [_add(tar, "", f"layer of {name}")]}
            manifests.append({**_add(tar, "", image), "platform": {"architecture": name}})
        top = manifests[0] if len(manifests) == 1 else _add(tar, "", {"manifests": manifests})
        _add(tar, "index.json", {"manifests": [top]})


def _manifest(path: Path) -> tuple[list[dict[str, Any]], set[str]]:
    with tarfile.open(path) as tar:
        member = tar.extractfile("manifest.json")
        assert member
        return json.load(member), set(tar.getnames())


def test_one_architecture(tmp_path: Path) -> None:
    path = tmp_path / "image.tar"
    _oci(path, ["amd64"])
    add_docker_manifest(path, "aza-pg/postgres:18-standard")
    (entry,), names = _manifest(path)
    assert entry["RepoTags"] == ["aza-pg/postgres:18-standard"]
    assert {entry["Config"], *entry["Layers"]} <= names
    assert "index.json" in names


def test_several_architectures_and_an_attestation(tmp_path: Path) -> None:
    path = tmp_path / "image.tar"
    _oci(path, ["amd64", "arm64", "unknown"])
    add_docker_manifest(path, "x:1")
    entries, names = _manifest(path)
    assert [entry["RepoTags"] for entry in entries] == [["x:1"], []]
    assert {entry["Config"] for entry in entries} <= names


def test_same_archive_same_bytes(tmp_path: Path) -> None:
    first, second = tmp_path / "1.tar", tmp_path / "2.tar"
    for path in (first, second):
        _oci(path, ["amd64"])
        add_docker_manifest(path, "x:1")
    assert first.read_bytes() == second.read_bytes()
