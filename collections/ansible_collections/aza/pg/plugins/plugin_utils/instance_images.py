# SPDX-License-Identifier: Apache-2.0
"""The images of a stack, as the inventory gives them and as an engine names them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible_collections.aza.pg.plugins.module_utils.errors import AzaError
from ansible_collections.aza.pg.plugins.plugin_utils.image_archive import config_digest

Record = dict[str, str]


def record(variable: str, given: Any) -> Record:
    """The record of a build, or a reference to an image in a registry (with its digest, to be pinned)."""
    if isinstance(given, dict):
        return {key: str(given.get(key) or "") for key in ("reference", "digest", "archive", "major")}
    reference, _, digest = str(given).partition("@")
    if not digest.startswith("sha256:"):
        raise AzaError(
            f"{variable}: '{given}' has no digest, and a tag can move. Write it as NAME:TAG@sha256:…; "
            "`docker buildx imagetools inspect NAME:TAG` shows the digest.",
            reason="image_not_pinned",
        )
    return {"reference": reference, "digest": digest, "archive": "", "major": ""}


def by_digest(image: Mapping[str, str]) -> str:
    name, colon, tag = image["reference"].rpartition(":")
    repository = name if colon and "/" not in tag else image["reference"]
    return f"{repository}@{image['digest']}"


def names(image: Mapping[str, str]) -> list[str]:
    """What an engine may call the image: by its name and digest, or by the digest of its configuration."""
    return [by_digest(image), *([config_digest(Path(image["archive"]))] if image["archive"] else [])]


def pinned(image: Mapping[str, str], engine: Mapping[str, Any]) -> str:
    """How this engine names the image, once it has it. Always the same, or a deploy would see a change."""
    return names(image)[0 if engine["containerd_store"] else -1]
