# SPDX-License-Identifier: Apache-2.0
"""What an engine without the containerd image store calls an image of ours: the digest of its configuration."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path
from typing import Any

from ansible_collections.aza.pg.plugins.module_utils.errors import AzaError


def config_digest(archive: Path) -> str:
    """Follow index → manifest → configuration in an OCI archive."""
    try:
        with tarfile.open(archive) as tar:
            document = _json(tar, "index.json")
            while "config" not in document:
                entry = next(
                    item
                    for item in document["manifests"]
                    if (item.get("platform") or {}).get("architecture") != "unknown"  # that is an attestation
                )
                document = _json(tar, f"blobs/{entry['digest'].replace(':', '/')}")
            return str(document["config"]["digest"])
    except (OSError, tarfile.TarError, KeyError, StopIteration, ValueError) as error:
        raise AzaError(
            f"The image archive {archive} cannot be read ({error}). Build it again: ansible-playbook build.yml",
            reason="bad_archive",
        ) from None


def _json(tar: tarfile.TarFile, name: str) -> dict[str, Any]:
    member = tar.extractfile(name)
    return dict(json.load(member)) if member else {}
