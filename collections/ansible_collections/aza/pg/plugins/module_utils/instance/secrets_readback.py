# SPDX-License-Identifier: Apache-2.0
"""The secrets that a host holds in files, for a control node that has lost them; and how they travel back unread."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
from collections.abc import Mapping
from pathlib import Path

from ansible_collections.aza.pg.plugins.module_utils.errors import AzaError
from ansible_collections.aza.pg.plugins.module_utils.replication import topology as replication
from ansible_collections.aza.pg.plugins.module_utils.services import postgres_exporter as exporter
from ansible_collections.aza.pg.plugins.module_utils.services.pgbouncer import service as pgbouncer
from ansible_collections.aza.pg.plugins.module_utils.tls import certificate as tls

PASSWORD = "postgres_password"
CERTIFICATE, TRUST = "certificate", "trust"
_PASSWORD_PATH = "secrets/postgres_password"
_PATHS = (
    _PASSWORD_PATH,
    exporter.PASSWORD_PATH,
    pgbouncer.USERLIST,
    replication.PASSFILE_PATH,
    tls.PATH,
    tls.CA_PATH,
)
_USER = re.compile(r'"((?:[^"]|"")*)" "((?:[^"]|"")*)"')
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

    >>> secrets_of({"secrets/postgres_password": "a", "pgbouncer/userlist.txt": '"aza_health" "b""c"'})
    {'postgres_password': 'a', 'roles/aza_health': 'b"c'}
    """
    found = {}
    for path, name in ((_PASSWORD_PATH, PASSWORD), (exporter.PASSWORD_PATH, exporter.PASSWORD)):
        if files.get(path):
            found[name] = files[path].rstrip("\r\n")
    for user, password in _USER.findall(files.get(pgbouncer.USERLIST, "")):
        if f"roles/{user}" in pgbouncer.PASSWORDS:
            found[f"roles/{user}"] = password.replace('""', '"')
    passfile = files.get(replication.PASSFILE_PATH, "").rstrip("\n")
    fields = re.split(r"(?<!\\)(?:\\\\)*:", passfile, maxsplit=4)
    if len(fields) == 5:
        found[replication.PASSWORD] = re.sub(r"\\(.)", r"\1", fields[4])
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
