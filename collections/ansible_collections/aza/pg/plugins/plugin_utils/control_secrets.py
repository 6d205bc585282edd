# SPDX-License-Identifier: Apache-2.0
"""Secrets on the control node: made once, readable by their owner alone, never printed.

They live in ``INVENTORY/secrets/CLUSTER/NAME``. Two runs that start at the same moment agree on one value,
because the file appears whole or not at all and the first one to make it wins.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets as random
import stat
import string
from collections.abc import Mapping
from pathlib import Path

from ansible import constants as C  # noqa: N812, the name that Ansible's own code uses
from ansible_collections.aza.pg.plugins.module_utils.errors import AzaError

_ALPHABET = string.ascii_letters + string.digits
_LENGTH = 32  # 190 bits
SHORTEST = 12


class SecretStore:
    """The secrets of one cluster. With ``dry`` nothing is written and a missing secret is a new random value."""

    def __init__(self, inventory_dir: str | None, cluster: str, dry: bool = False) -> None:
        if not inventory_dir:
            raise AzaError(
                "This inventory is no directory on the control node, so there is no place for its secrets. Use "
                "-i inventories/NAME, or give postgres_password through Ansible Vault.",
                reason="no_inventory_dir",
            )
        if not any(
            re.search(pattern, "secrets")
            for pattern in C.config.get_config_value("INVENTORY_IGNORE_PATTERNS")
        ):
            raise AzaError(
                "Ansible would read the secrets as hosts of the inventory, and print them. Add to the ansible.cfg in "
                "use: [inventory] ignore_patterns = ^secrets$ (the one in this repository has it).",
                reason="secrets_not_ignored",
            )
        self.root = Path(inventory_dir).resolve() / "secrets"
        self.directory = self.root / cluster
        self.dry = dry
        self.created: list[str] = []

    def path(self, name: str) -> Path:
        return self.directory / name

    def get(self, name: str) -> str:
        """The secret of that name; made now if there is none."""
        path = self.path(name)
        if not path.exists():
            self.created.append(name)
            value = "".join(random.choice(_ALPHABET) for _ in range(_LENGTH))
            if self.dry:
                return value
            self._prepare()
            self._write_new(path, value)
        return self._read(path)

    def write_pgpass(self, lines: Mapping[str, str]) -> Path:
        """A passfile for libpq beside the secret. ``lines``: ``host:port:database:user`` → password."""
        text = "".join(f"{where}:{pgpass_escape(value)}\n" for where, value in lines.items())
        path = self.path("pgpass")
        if not self.dry and (not path.exists() or path.read_text(encoding="utf-8") != text):
            temporary = self._temporary(path, text)
            temporary.replace(path)
        return path

    def _prepare(self) -> None:
        for directory in (self.root, self.directory):
            directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            directory.chmod(0o700)
        # Also where the inventory is not the checkout's own: no secret is committed by accident.
        ignore = self.root / ".gitignore"
        if not ignore.exists():
            ignore.write_text("*\n")

    def _temporary(self, path: Path, text: str) -> Path:
        temporary = path.with_name(f".{path.name}.{random.token_hex(6)}")
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        return temporary

    def _write_new(self, path: Path, value: str) -> None:
        temporary = self._temporary(path, value + "\n")
        try:
            with contextlib.suppress(FileExistsError):  # another run was first: its value counts
                os.link(temporary, path)
        finally:
            temporary.unlink()

    def _read(self, path: Path) -> str:
        try:
            if stat.S_IMODE(path.stat().st_mode) & 0o077:
                path.chmod(0o600)
            value = path.read_text(encoding="utf-8").rstrip("\r\n")
        except OSError as error:
            raise AzaError(
                f"The secret {path} cannot be read: {error.strerror}.", reason="unreadable_secret"
            ) from None
        check_secret(path.name, value, str(path))
        return value


def check_secret(name: str, value: str, where: str) -> None:
    """Too short a password would be guessed, and would be found in every output that Ansible has to mask."""
    if len(value) < SHORTEST or "\n" in value or "\0" in value:
        raise AzaError(
            f"{where}: {name} must be one line of at least {SHORTEST} characters. Remove the file to have one made.",
            reason="bad_secret",
        )


def pgpass_escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace(":", "\\:")
