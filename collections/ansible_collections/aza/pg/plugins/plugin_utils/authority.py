# SPDX-License-Identifier: Apache-2.0
"""The environment's authority under way: read back from hosts, and replaced by another one in two steps.

``secrets/ca/ca.crt`` holds all authorities that are trusted. The one that signs is that of ``ca.key``. While another
one is on its way, its key is ``next.key``; a rename makes it the one that signs, so that no moment is half done.
"""

from __future__ import annotations

import secrets as random
from datetime import datetime
from pathlib import Path

from ansible_collections.aza.pg.plugins.module_utils.errors import AzaError
from ansible_collections.aza.pg.plugins.module_utils.tls import certificate as tls
from ansible_collections.aza.pg.plugins.plugin_utils import certificates
from cryptography import x509

BEGUN, SWITCHED, ALONE = "begun", "switched", "alone"


class Rotation:
    """``root``: ``INVENTORY/secrets``."""

    def __init__(self, root: Path, now: datetime) -> None:
        self.folder = root / "ca"
        self.root = root
        self.now = now
        self.trust, self.key, self.next_key = (
            self.folder / name for name in ("ca.crt", "ca.key", "next.key")
        )

    @property
    def stage(self) -> str:
        if self.next_key.exists():
            return BEGUN
        return SWITCHED if len(self._trusted()) > 1 else ALONE

    @property
    def expired(self) -> bool:
        """Whether no certificate is valid any more that the old one has signed."""
        trusted = self._trusted()
        return bool(trusted) and trusted[0].not_valid_after_utc <= self.now

    @property
    def next_fingerprint(self) -> str:
        """Of the authority that is to sign; empty while none was begun."""
        if self.stage == ALONE:
            return ""
        key = self.next_key if self.next_key.exists() else self.key
        return tls.fingerprints(certificates.as_pem(self._of(key)).encode())[0]

    def begin(self, dry: bool = False) -> None:
        """Have another authority, which is trusted and does not sign yet.

        :raises AzaError: the environment has none that could be replaced, or is on its way already.
        """
        if not self.trust.exists():
            raise AzaError(
                f"{self.folder} has no ca.crt, so there is no authority to replace. A deploy creates the first one. If "
                "the hosts have one, read it back: ansible-playbook secrets.yml -e fetch=true. Nothing was changed.",
                reason="no_authority",
            )
        if self.stage == SWITCHED:
            raise AzaError(
                f"{self.trust} still holds the previous authority. Finish that rotation first: "
                "ansible-playbook playbooks/certificates.yml -e authority=finish. Nothing was changed.",
                reason="rotation_under_way",
            )
        if not self.next_key.exists() and not dry:
            made, key = certificates.new_authority(self.root, self.now)
            # The key last: with it the rotation has begun.
            self._write(self.trust, "".join(map(certificates.as_pem, [*self._trusted(), made])))
            self._write(self.next_key, key)

    def switch(self) -> None:
        """The new authority signs, and both are trusted."""
        if self.stage == BEGUN:
            self._of(self.next_key)
            self.next_key.replace(self.key)

    def finish(self) -> None:
        """Only the one that signs is trusted."""
        if self.stage == SWITCHED:
            self._write(self.trust, certificates.as_pem(self._of(self.key)))

    def _trusted(self) -> list[x509.Certificate]:
        return (
            certificates.load(str(self.trust), certificates.private(self.trust))
            if self.trust.exists()
            else []
        )

    def _of(self, key: Path) -> x509.Certificate:
        found = certificates.signer(
            self._trusted(), certificates.load_key(str(key), certificates.private(key))
        )
        if found is None:
            raise AzaError(
                f"{self.trust}: it holds no certificate that belongs to {key.name}. Bring both back from where they "
                "are kept.",
                reason="bad_certificate",
            )
        return found

    def _write(self, path: Path, text: str) -> None:
        temporary = path.with_name(f".{path.name}.{random.token_hex(4)}")
        certificates.write_new(temporary, text)
        temporary.replace(path)


class Recovered:
    """What a host has of certificates. ``pem``: the server's key and chain; ``trust``: what it verifies others with."""

    def __init__(self, root: Path, cluster: str, pem: str, trust: str) -> None:
        self.root, self.leaf, self.folder = root, root / cluster / "tls", root / "ca"
        chain = certificates.load("server.pem", pem) if pem else []
        # Of the operator's own certificates nothing is kept.
        self.ours = bool(chain) and bool(tls.authority(pem.encode()).get("ours"))
        self.pem = pem if self.ours else ""
        self.trust = (trust or certificates.as_pem(chain[-1])) if self.ours else ""

    @property
    def lacks_key(self) -> bool:
        return self.ours and not (self.folder / "ca.key").exists()

    def keep(self, host: str, dry: bool) -> list[str]:
        """Write what is not there. Returns the names."""
        texts = {self.leaf / f"{host}.pem": self.pem, self.folder / "ca.crt": self.trust}
        missing = {path: text for path, text in texts.items() if text and not path.exists()}
        for path, text in missing.items() if not dry else ():
            certificates.prepare(self.root, path.parent)
            temporary = path.with_name(f".{path.name}.{random.token_hex(4)}")
            certificates.write_new(temporary, text)
            temporary.replace(path)
        return [str(path.relative_to(self.root)) for path in missing]
