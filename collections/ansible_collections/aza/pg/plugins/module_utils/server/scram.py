# SPDX-License-Identifier: Apache-2.0
"""SCRAM-SHA-256 verifiers: is this the password that the server knows? Make one without sending a password.

The server never sees the clear text, so neither its log nor pg_stat_activity can show it.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
import stringprep
import unicodedata

_FORM = re.compile(r"^SCRAM-SHA-256\$(\d+):([^$]+)\$([^:]+):(.+)$")
ITERATIONS = 4096


def _saslprep(password: str) -> str:
    """RFC 4013 as PostgreSQL does it: what cannot be prepared is used as it is."""
    if password.isascii():
        return password  # nothing is mapped, and what is forbidden is used as it is
    mapped = "".join(
        " " if stringprep.in_table_c12(c) else c for c in password if not stringprep.in_table_b1(c)
    )
    prepared = unicodedata.normalize("NFKC", mapped)
    tables = (
        stringprep.in_table_c12,
        stringprep.in_table_c21_c22,
        stringprep.in_table_c3,
        stringprep.in_table_c4,
        stringprep.in_table_c5,
        stringprep.in_table_c6,
        stringprep.in_table_c7,
        stringprep.in_table_c8,
        stringprep.in_table_c9,
        stringprep.in_table_a1,
    )
    if not prepared or any(table(c) for c in prepared for table in tables):
        return password
    if any(stringprep.in_table_d1(c) for c in prepared):
        mixed = any(stringprep.in_table_d2(c) for c in prepared)
        if mixed or not (stringprep.in_table_d1(prepared[0]) and stringprep.in_table_d1(prepared[-1])):
            return password
    return prepared


def _keys(password: str, salt: bytes, iterations: int) -> tuple[bytes, bytes]:
    salted = hashlib.pbkdf2_hmac("sha256", _saslprep(password).encode(), salt, iterations)
    client = hmac.new(salted, b"Client Key", "sha256").digest()
    server = hmac.new(salted, b"Server Key", "sha256").digest()
    return hashlib.sha256(client).digest(), server


def matches(password: str, verifier: str | None) -> bool:
    """Whether ``verifier`` (``pg_authid.rolpassword``) was made from ``password``."""
    found = _FORM.match(verifier or "")
    if not found:
        return False
    iterations, salt, stored, server = found.groups()
    try:
        stored_key, server_key = _keys(password, base64.b64decode(salt), int(iterations))
        return hmac.compare_digest(base64.b64decode(stored), stored_key) and hmac.compare_digest(
            base64.b64decode(server), server_key
        )
    except ValueError:
        return False


def make(password: str, salt: bytes | None = None) -> str:
    salt = salt or secrets.token_bytes(16)
    stored, server = _keys(password, salt, ITERATIONS)
    text = [base64.b64encode(part).decode() for part in (salt, stored, server)]
    return f"SCRAM-SHA-256${ITERATIONS}:{text[0]}${text[1]}:{text[2]}"
