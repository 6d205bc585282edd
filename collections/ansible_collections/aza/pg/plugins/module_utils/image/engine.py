# SPDX-License-Identifier: Apache-2.0
"""The container engine that builds and keeps the images, through its own command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ansible_collections.aza.pg.plugins.module_utils.errors import AzaError
from ansible_collections.aza.pg.plugins.module_utils.image.process import output


def require() -> bool:
    """Make sure that an engine with buildx answers; return whether it uses the containerd image store."""
    code, text, errors = output(["docker", "info", "--format", "{{json .}}"], timeout=60)
    info: dict[str, Any] = {}
    if code == 0:
        info = json.loads(text)
    if code or info.get("ServerErrors"):
        problem = "; ".join(info.get("ServerErrors") or []) or errors.strip()
        raise AzaError(
            f"no Docker Engine is reachable ({problem}): start one, give this account access to it (group "
            "docker), or let "
            "the role docker_engine install it as root",
            reason="engine_missing",
        )
    if output(["docker", "buildx", "version"])[0]:
        raise AzaError(
            "Docker has no buildx here (Debian: package docker-buildx): images are built with it",
            reason="buildx_missing",
        )
    return any("io.containerd.snapshotter" in str(entry) for entry in info.get("DriverStatus") or [])


def host_architecture() -> str:
    """Return the Debian name of the engine's architecture."""
    _, text, _ = output(["docker", "version", "--format", "{{.Server.Arch}}"])
    return text.strip() or "amd64"


def image_id(reference: str) -> str | None:
    """Return the id of the image, or None when the engine does not have it."""
    code, text, _ = output(["docker", "image", "inspect", "--format", "{{.Id}}", reference])
    return text.strip() if code == 0 else None


def unpacked_bytes(reference: str) -> int:
    """Return what an image takes on disk; 0 when it is for other architectures than the engine's."""
    code, text, _ = output(["docker", "history", "--human=false", "--format", "{{.Size}}", reference])
    return sum(map(int, text.split())) if code == 0 else 0


def load(archive: Path) -> None:
    """Put the image of an archive into the engine's store."""
    code, _, errors = output(["docker", "load", "--quiet", "--input", str(archive)], timeout=1800)
    if code:
        raise AzaError(f"the Docker Engine cannot load {archive}: {errors.strip()}", reason="load_failed")
