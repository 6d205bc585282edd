# SPDX-License-Identifier: Apache-2.0
"""What was built last (``.cache/dist/images.json``): by it later steps find the images, and a build its own past."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible_collections.aza.pg.plugins.module_utils.errors import AzaError, did_you_mean

Record = dict[str, Any]


def path_of(dist_dir: Path) -> Path:
    """Return where the records stand."""
    return dist_dir / "images.json"


def read(dist_dir: Path) -> dict[str, Record]:
    """Return all records; none if nothing has been built. A damaged file counts as none: a build writes it again."""
    try:
        found = json.loads(path_of(dist_dir).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def find(dist_dir: Path, image: str, major: int = 0) -> Record:
    """Return the record of ``image``.

    :param major: the PostgreSQL major that a server's image must have; 0 for any.
    :raises AzaError: the image was not built, or is of another major.
    """
    records = read(dist_dir)
    if image in records:
        record = records[image]
        if major and record.get("major") not in (None, major):
            raise AzaError(
                f"image_major: the image '{image}' that was built last is of PostgreSQL {record['major']}, expected "
                f"{major}: run 'ansible-playbook build.yml -e image_major={major}'",
                reason="image_missing",
            )
        return record
    if records:
        raise AzaError(
            f"the image '{image}' has not been built{did_you_mean(image, records)}; "
            f"built are: {', '.join(sorted(records))}",
            reason="image_missing",
        )
    raise AzaError("no image has been built: run 'ansible-playbook build.yml'", reason="image_missing")


def store(dist_dir: Path, records: Mapping[str, Record]) -> None:
    """Add ``records`` to the file, atomically."""
    dist_dir.mkdir(parents=True, exist_ok=True)
    path = path_of(dist_dir)
    partial = path.with_suffix(".partial")
    partial.write_text(
        json.dumps({**read(dist_dir), **records}, indent=2, sort_keys=True) + "\n", encoding="utf-8"
    )
    partial.rename(path)
