# SPDX-License-Identifier: Apache-2.0
"""An OCI archive that every engine takes.

An engine with the containerd image store loads the OCI archive that buildx writes; one without it, which is what
Debian 13 has as it comes, wants Docker's own ``manifest.json`` beside the same blobs. With both in it, hosts of
either kind take the same file.
"""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def add_docker_manifest(archive: Path, reference: str) -> None:
    """Add ``manifest.json`` to the OCI archive. The same archive gets the same bytes: no time, no owner."""
    with tarfile.open(archive) as tar:
        images = list(_images(tar, _read(tar, "index.json")))
    # One name stands for one image there: of several architectures, the first.
    entries = [
        {
            "Config": _path(image["config"]),
            "RepoTags": [] if number else [reference],
            "Layers": [_path(layer) for layer in image["layers"]],
        }
        for number, image in enumerate(images)
    ]
    data = json.dumps(entries).encode()
    member = tarfile.TarInfo("manifest.json")
    member.size, member.mode = len(data), 0o644
    with tarfile.open(archive, "a") as tar:
        tar.addfile(member, io.BytesIO(data))


def _images(tar: tarfile.TarFile, document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if "config" in document:
        yield document
        return
    for entry in document["manifests"]:
        # Of unknown architecture: an attestation, which is no image.
        if (entry.get("platform") or {}).get("architecture") != "unknown":
            yield from _images(tar, _read(tar, _path(entry)))


def _path(descriptor: dict[str, Any]) -> str:
    return f"blobs/{descriptor['digest'].replace(':', '/')}"


def _read(tar: tarfile.TarFile, name: str) -> dict[str, Any]:
    member = tar.extractfile(name)
    return dict(json.load(member)) if member else {}
