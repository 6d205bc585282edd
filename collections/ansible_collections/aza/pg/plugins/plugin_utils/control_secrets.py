# SPDX-License-Identifier: Apache-2.0
"""Secrets on the control node: made once, readable by their owner alone, never printed.

They live in ``INVENTORY/secrets/CLUSTER/NAME``. Two runs that start at the same moment agree on one value,
because the file appears whole or not at all and the first one to make it wins.

A new value of a secret (``renew``) lies beside the old one as ``NAME+next`` until a deploy has brought it everywhere;
that deploy puts it into its place (``promote``). Whenever both are there, the next one is what has to be: a deploy
that was interrupted is simply run again, whichever of the two the server has.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets as random
import stat
import string
import urllib.parse
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from ansible import constants as C  # noqa: N812, the name that Ansible's own code uses
from ansible import context
from ansible_collections.aza.pg.plugins.module_utils.errors import AzaError
from ansible_collections.aza.pg.plugins.module_utils.objects.declared import unfit_sign

_ALPHABET = string.ascii_letters + string.digits
_LENGTH = 32  # 190 bits
# A sign that no file's name of a secret has otherwise.
_NEXT = "+next"
# Files in a cluster's directory, in addition to the directory of the roles. Other files belong to the user.
ADMINISTRATOR = "postgres_password"
_KNOWN = (ADMINISTRATOR,)
_PASSFILE = "pgpass"
# Before the names of roles' passwords, and of secrets that only a service of the stack has.
ROLES, SERVICES = "roles/", "services/"
SHORTEST = 12


def _is_read_as_inventory(root: Path) -> bool:
    """Whether Ansible reads the files below ``root`` as inventories: they lie in a directory that is a source."""
    patterns = C.config.get_config_value("INVENTORY_IGNORE_PATTERNS")
    if any(re.search(pattern, root.name) for pattern in patterns):
        return False
    sources = [Path(source) for source in context.CLIARGS.get("inventory") or ()]
    return not sources or any(source.is_dir() and root.is_relative_to(source.resolve()) for source in sources)


class SecretStore:
    """The secrets of one cluster. With ``dry`` nothing is written and a missing secret is a new random value."""

    def __init__(self, inventory_dir: str | None, cluster: str, dry: bool = False) -> None:
        if not inventory_dir:
            raise AzaError(
                "This inventory is not a directory on the control node, so its secrets cannot be stored. Use "
                "-i inventories/NAME, or give every password through Ansible Vault and set postgres_exporter: false.",
                reason="no_inventory_dir",
            )
        self.root = Path(inventory_dir).resolve() / "secrets"
        if _is_read_as_inventory(self.root):
            raise AzaError(
                f"{inventory_dir}: Ansible would read the secrets in this directory as hosts of the inventory, and "
                "print them. Add to the ansible.cfg in use: [inventory] ignore_patterns = ^secrets (the one in the "
                "repository of aza-pg has it). Or name the file of the hosts, not the directory: "
                "-i INVENTORY/hosts.yml.",
                reason="secrets_not_ignored",
            )
        self.directory = self.root / cluster
        self.dry = dry
        self.created: list[str] = []
        # Values that a check mode thinks of: the plan is the same as with those that a real run would make.
        self._predicted: dict[str, str] = {}

    def path(self, name: str) -> Path:
        """``roles/NAME`` and ``NAME``; a role's name may hold what a file's may not."""
        directory, slash, last = name.partition("/")
        return self.directory / directory / file_name(last) if slash else self.directory / file_name(name)

    def next_path(self, name: str) -> Path:
        return self.path(name).with_name(self.path(name).name + _NEXT)

    def get(self, name: str) -> str:
        """The secret of that name, the next one if there is one; made now if there is none."""
        if name in self._predicted:
            return self._predicted[name]
        # Another host of the cluster may put it into its place at this moment.
        with contextlib.suppress(FileNotFoundError):
            return self._read(self.next_path(name))
        path = self.path(name)
        if not path.exists():
            self.created.append(name)
            if self.dry:
                return self._predicted.setdefault(name, random_value())
            self._write_new(path, random_value())
        return self._read(path)

    def has(self, name: str) -> bool:
        return name in self._predicted or any(
            path.exists() for path in (self.next_path(name), self.path(name))
        )

    def previous(self, name: str) -> str:
        """Return the value that the next one is to replace; empty if there is no next one."""
        return (
            self._read(self.path(name)) if self.next_path(name).exists() and self.path(name).exists() else ""
        )

    def keep(self, name: str, value: str) -> None:
        """Write a value that comes from elsewhere, unless there is one."""
        if not self.dry:
            self._write_new(self.path(name), value)

    def renew(self, name: str) -> None:
        """Have a new value for it. One that was begun and is not everywhere yet goes on."""
        if self.dry:
            self._predicted[name] = random_value()
        elif not self.next_path(name).exists():
            self._write_new(self.next_path(name), random_value())

    def promote(self, names: Iterable[str]) -> list[str]:
        """These values are everywhere now. Returns the names of those that were new."""
        done = [name for name in names if self.next_path(name).exists()]
        for name in done if not self.dry else ():
            with contextlib.suppress(FileNotFoundError):  # another host of the cluster was first
                self.next_path(name).replace(self.path(name))
            _sync(self.path(name).parent)
        return done

    def names(self) -> dict[str, list[Path]]:
        """The secrets that are there, each with its files: the value, and the next one."""
        found: dict[str, list[Path]] = {}
        for prefix in ("", ROLES, SERVICES):
            for path in sorted((self.directory / prefix).glob("[!.]*")):
                if path.is_file() and (prefix or path.name.removesuffix(_NEXT) in _KNOWN):
                    name = urllib.parse.unquote(path.name.removesuffix(_NEXT))
                    found.setdefault(prefix + name, []).append(path)
        return found

    def remove(self, name: str) -> None:
        if not self.dry:
            self.path(name).unlink(missing_ok=True)
            self.next_path(name).unlink(missing_ok=True)

    def forget_pgpass(self) -> None:
        if not self.dry:
            self.path(_PASSFILE).unlink(missing_ok=True)

    def write_pgpass(self, users: Mapping[str, str]) -> Path:
        """Writes a passfile for libpq beside the secrets and returns its path. One file serves every member of the
        cluster and its poolers, so its lines name no host and no port."""
        text = "".join(
            f"*:*:*:{pgpass_escape(user)}:{pgpass_escape(value)}\n" for user, value in users.items()
        )
        path = self.path(_PASSFILE)
        if not self.dry and (not path.exists() or path.read_text(encoding="utf-8") != text):
            self._prepare(path)
            temporary = self._temporary(path, text)
            temporary.replace(path)
        return path

    def _prepare(self, path: Path) -> None:
        for directory in dict.fromkeys((self.root, self.directory, path.parent)):
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
        self._prepare(path)
        temporary = self._temporary(path, value + "\n")
        try:
            with contextlib.suppress(FileExistsError):  # another run was first: its value counts
                os.link(temporary, path)
            _sync(path.parent)
        finally:
            temporary.unlink()

    def _read(self, path: Path) -> str:
        try:
            if stat.S_IMODE(path.stat().st_mode) & 0o077:
                path.chmod(0o600)
            value = path.read_text(encoding="utf-8").rstrip("\r\n")
        except FileNotFoundError:
            raise
        except OSError as error:
            raise AzaError(
                f"The secret {path} cannot be read: {error.strerror}.", reason="unreadable_secret"
            ) from None
        check_secret(path.name, value, str(path))
        return value


def random_value() -> str:
    return "".join(random.choice(_ALPHABET) for _ in range(_LENGTH))


def _sync(directory: Path) -> None:
    """A name outlives a power cut only when its directory was written: a server may have the value already."""
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def file_name(name: str) -> str:
    """Any name as that of a file: ``a/b`` is ``a%2Fb``, and nothing is hidden or above.

    >>> file_name("..")
    '%2E.'
    """
    quoted = urllib.parse.quote(name, safe=" ").replace("~", "%7E")
    return f"%2E{quoted[1:]}" if quoted.startswith(".") else quoted


def check_secret(name: str, value: str, where: str) -> None:
    """Too short a password would be guessed, and would be found in every output that Ansible has to mask."""
    if len(value) < SHORTEST or unfit_sign(value):
        raise AzaError(
            f"{where}: {name} must be one line of at least {SHORTEST} characters, without control characters. "
            "Remove the file to have one generated.",
            reason="bad_secret",
        )


def pgpass_escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace(":", "\\:")


class InstanceSecrets:
    """Every secret of an instance. One that the inventory gives (Ansible Vault) wins, and is not written down in the
    clear; the others are kept in the store, which is opened when the first of them is asked for."""

    def __init__(self, password: str, roles: Iterable[object], open_store: Callable[[], SecretStore]) -> None:
        self.given = inventory_passwords(password, roles)
        self.kept: dict[str, str] = {}
        self._open_store = open_store
        self._store: SecretStore | None = None

    @property
    def store(self) -> SecretStore:
        if self._store is None:
            self._store = self._open_store()
        return self._store

    @property
    def created(self) -> tuple[str, ...]:
        """The names of those that were not kept before."""
        return tuple(self._store.created) if self._store else ()

    def has(self, name: str) -> bool:
        """Whether there is a value, without making one; without a place for secrets only the inventory gives some."""
        with contextlib.suppress(AzaError):
            return name in self.given or self.store.has(name)
        return False

    def previous(self, name: str) -> str:
        return "" if name in self.given else self.store.previous(name)

    def begin_to_write(self) -> None:
        """What was only read until now is kept from now on."""
        if self._store:
            self._store.dry = False

    def get(self, name: str) -> str:
        """Return the secret of that name.

        :raises ValueError: no value is made for a name that is not one of a secret.
        """
        role_of(name, "")
        if name in self.given:
            check_secret("the password", self.given[name], _variable(name))
            return self.given[name]
        self.kept[name] = self.store.get(name)
        return self.kept[name]

    def predict(self, names: Iterable[str]) -> None:
        """In check mode: these would have got a new value before."""
        for name in names if self.store.dry else ():
            self.store.renew(name)

    def settle(self, administrator: str, standby: bool = False) -> str:
        """Puts new values into their place, once each is where it belongs. Returns the passfile of psql. The primary of
        a cluster writes it: a standby knows only some of the values, and writes them if there is no file yet."""
        if not self.kept:
            return ""
        self.store.promote(self.kept)
        path = self.store.path(_PASSFILE)
        if standby and path.exists():
            return str(path)
        users = {role_of(name, administrator): value for name, value in self.kept.items()}
        return str(self.store.write_pgpass({role: value for role, value in users.items() if role}))


def role_of(name: str, administrator: str) -> str:
    """Return the role whose password the secret is; empty for a secret of a service.

    :raises ValueError: it is neither the password of a role nor a secret of a service.
    """
    if name == ADMINISTRATOR:
        return administrator
    if name.startswith(SERVICES) and name != SERVICES:
        return ""
    if name.startswith(ROLES) and name != ROLES:
        return name[len(ROLES) :]
    raise ValueError(f"the secret {name} is not the password of a role or a service")


def inventory_passwords(password: str, roles: Iterable[object]) -> dict[str, str]:
    """What the inventory itself gives: by the name that the store would keep it under."""
    given = {
        f"{ROLES}{item['name']}": str(item["password"])
        for item in roles
        if isinstance(item, Mapping) and item.get("name") and item.get("password")
    }
    return {**given, **({ADMINISTRATOR: password} if password else {})}


def _variable(name: str) -> str:
    return f"postgres_roles, role {name.removeprefix(ROLES)}" if name.startswith(ROLES) else name
