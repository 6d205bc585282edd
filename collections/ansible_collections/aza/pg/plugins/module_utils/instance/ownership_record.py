# SPDX-License-Identifier: Apache-2.0
"""The environment that an instance belongs to, as it is recorded on the host. Light to load.

The record is a file beside the instance's directory, so that it stays when ``remove.yml`` keeps the data. The volume
carries the identity as a label too, for a deploy that looks for the file in another ``postgres_base_dir``.
"""

from __future__ import annotations

import hashlib
import json
import re
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible_collections.aza.pg.plugins.module_utils.errors import AzaError

LABEL = "io.aza-pg.environment"


def path_of(directory: Path) -> Path:
    return directory.with_name(f".{directory.name}.environment")


def read(directory: Path, labels: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Return ``environment``, ``from``, ``since`` and whether they are of the ``file``; empty if nothing is recorded.

    ``labels``: of the volume, which count where there is no file.

    :raises AzaError: another user's record cannot be read.
    """
    path = path_of(directory)
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return {**found, "file": True}
    except PermissionError:
        raise AzaError(
            f"This user may not read {path}: the instance was deployed by another user. Deploy as that user.",
            reason="foreign_instance",
            path=str(path),
        ) from None
    except (FileNotFoundError, NotADirectoryError, ValueError, TypeError):
        label = (labels or {}).get(LABEL, "")
        return {"environment": label, "file": False} if label else {}


def trusts(directory: Path) -> list[str]:
    """Return the fingerprints of the authorities by which a member of a cluster verifies the others."""
    try:
        content = (directory / "postgres/tls/ca.crt").read_text(encoding="ascii")
        found = re.findall("(-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----)", content, re.DOTALL)
        return [hashlib.sha256(ssl.PEM_cert_to_DER_cert(item)).hexdigest() for item in found]
    except (OSError, ValueError):
        return []


def text(environment: str, origin: str, moment: int) -> str:
    return json.dumps({"environment": environment, "from": origin, "since": moment}, indent=1) + "\n"
