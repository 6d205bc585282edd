# SPDX-License-Identifier: Apache-2.0
"""The secrets that a host holds in files, for a control node that has lost them; and how they travel back unread."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping
from pathlib import Path

from ansible_collections.aza.pg.plugins.module_utils.errors import AzaError
from ansible_collections.aza.pg.plugins.module_utils.services.registry import SERVICES
from ansible_collections.aza.pg.plugins.module_utils.tls import certificate as tls

CERTIFICATE, TRUST = "certificate", "trust"
_PATHS = (*(path for service in SERVICES for path in service.secret_paths), tls.PATH, tls.CA_PATH)
_BLOCK = 32


def read(directory: Path) -> dict[str, str]:
    """Return path → text of those that are there.

    :raises AzaError: only root, or who deployed the instance, may read them.
    """
    found = {}
    for path in _PATHS:
        try:
            found[path] = (directory / path).read_text(encoding="utf-8")
        except (FileNotFoundError, NotADirectoryError):
            continue
        except PermissionError:
            raise AzaError(
                f"This user may not read {directory / path}. Read the secrets back as root (ansible_become: true), or "
                "as the user that deployed the instance.",
                reason="not_permitted",
            ) from None
    return found


def secrets_of(files: Mapping[str, str]) -> dict[str, str]:
    """Return the secrets by the names that a control node keeps them under; ``certificate`` and ``trust`` are PEM.

    >>> secrets_of({"secrets/postgres_password": "a"})
    {'postgres_password': 'a'}
    """
    found: dict[str, str] = {}
    for service in SERVICES:
        found |= service.read_back(files)
    for path, name in ((tls.PATH, CERTIFICATE), (tls.CA_PATH, TRUST)):
        if files.get(path):
            found[name] = files[path]
    return found


def seal(values: Mapping[str, str], key: str) -> str:
    """Encrypt for one answer: with many v's Ansible prints what a module answers. ``key`` is used once."""
    text = json.dumps(values).encode()
    hidden = _with_stream(text, key)
    return base64.b64encode(_tag(hidden, key) + hidden).decode()


def unseal(sealed: str, key: str) -> dict[str, str]:
    """:raises ValueError: it was sealed with another key, or changed."""
    content = base64.b64decode(sealed)
    tag, hidden = content[:_BLOCK], content[_BLOCK:]
    if not hmac.compare_digest(tag, _tag(hidden, key)):
        raise ValueError("the answer was changed")
    return {str(name): str(value) for name, value in json.loads(_with_stream(hidden, key)).items()}


def _tag(hidden: bytes, key: str) -> bytes:
    return hmac.new(f"tag {key}".encode(), hidden, hashlib.sha256).digest()


def _with_stream(text: bytes, key: str) -> bytes:
    count = -(-len(text) // _BLOCK)
    stream = b"".join(
        hmac.new(f"stream {key}".encode(), number.to_bytes(8, "big"), hashlib.sha256).digest()
        for number in range(count)
    )
    return bytes(one ^ other for one, other in zip(text, stream))
