# SPDX-License-Identifier: Apache-2.0
"""Certificates, made and kept on the control node: an authority for each environment, a certificate for each server.

``INVENTORY/secrets/ca/{ca.crt,ca.key}`` and ``INVENTORY/secrets/CLUSTER/tls/HOST.pem`` (key and chain), all 0600.
A user's own authority or certificate is given by variables; then nothing is written.
"""

from __future__ import annotations

import contextlib
import os
import secrets as random
import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from ansible_collections.aza.pg.plugins.module_utils.errors import AzaError
from ansible_collections.aza.pg.plugins.module_utils.tls import certificate as tls
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_MARGIN = timedelta(hours=1)  # clocks differ


@dataclass(frozen=True)
class CertificateRequest:
    """What the inventory says; ``certificate`` and its kind are a path or the PEM text itself."""

    host: str
    names: tuple[str, ...]
    # The names by which clients are expected; a certificate of one's own that lacks one gets a warning.
    expected: tuple[str, ...] = ()
    certificate: str = ""
    key: str = ""
    ca_certificate: str = ""
    ca_key: str = ""
    renew: bool = False


@dataclass(frozen=True)
class Bundle:
    """``pem``: the private key and the chain. ``facts`` go to the plan; ``root`` is what a client verifies with."""

    pem: str = field(repr=False)
    facts: dict[str, Any]
    root: str
    made: bool = False
    # The root certificate (PEM) that the chain leads to; empty where it is not in the operator's file.
    authority: str = ""
    # Whether the environment had no authority until now.
    new_authority: bool = False


@dataclass(frozen=True)
class Authority:
    certificate: x509.Certificate
    # None: it is lost, and nothing can be signed.
    key: CertificateIssuerPrivateKeyTypes | None = field(repr=False)
    path: str = ""
    # What it is verified by, where that is more than itself.
    chain: str = ""
    new: bool = False


class Certificates:
    """``root``: ``INVENTORY/secrets``. ``open_file`` reads a file of the operator's. ``dry``: nothing is written."""

    def __init__(
        self, root: Path, cluster: str, now: datetime, open_file: Callable[[str], str], dry: bool = False
    ) -> None:
        self.root = root
        self.directory = root / cluster / "tls"
        self.now = now
        self.open_file = open_file
        self.dry = dry

    def server(self, request: CertificateRequest) -> Bundle:
        """The server's certificate: the operator's own, the one that is kept, or a new one."""
        if request.certificate:
            return self._own(request)
        authority = self._authority(request)
        path = self.directory / f"{request.host}.pem"
        kept = private(path) if path.exists() else ""
        why = self._why_renew(kept, request, authority) if kept else ""
        if kept and not why:
            return self._bundle(kept, authority, request)
        pem = self._issue(request, authority)
        if not self.dry:
            self._prepare()
            temporary = path.with_name(f".{path.name}.{random.token_hex(4)}")
            write_new(temporary, pem)
            temporary.replace(path)
        return self._bundle(pem, authority, request, why=why, made=True)

    def _prepare(self) -> None:
        prepare(self.root, self.directory.parent, self.directory)

    # -- the environment's own -----------------------------------------------------------------------

    def _authority(self, request: CertificateRequest) -> Authority:
        if request.ca_certificate:
            return self._given_authority(request)
        folder = self.root / "ca"
        if not (folder / "ca.key").exists() and not (folder / "ca.crt").exists():
            made, key_pem = new_authority(self.root, self.now)
            if self.dry:
                signs = load_key("", key_pem)
                return Authority(made, signs, str(folder / "ca.crt"), new=True)
            self._keep(folder, as_pem(made), key_pem)
        try:
            chain = private(folder / "ca.crt")
            # Read back from a host (secrets.yml -e fetch=true) it has no key; what it has signed is good all the same.
            key = (
                load_key(str(folder / "ca.key"), private(folder / "ca.key"))
                if (folder / "ca.key").exists()
                else None
            )
        except OSError as error:
            raise AzaError(
                f"{folder}: {error.filename} cannot be read ({error.strerror}). Bring it back from where it is kept, "
                "or read it back from the hosts: ansible-playbook secrets.yml -e fetch=true.",
                reason="bad_certificate",
            ) from None
        certificates = load(str(folder / "ca.crt"), chain)
        found = Authority(signer(certificates, key) or certificates[0], key, str(folder / "ca.crt"), chain)
        if found.certificate.not_valid_after_utc <= self.now:
            # It signs nothing any more, and stays trusted until another one does: it can be replaced like a lost one.
            return replace(found, key=None)
        return self._checked(found, str(folder))

    def _keep(self, folder: Path, certificate: str, key: str) -> None:
        """Both files appear at once: two runs that start at the same moment agree on one authority."""
        self._prepare()
        temporary = self.root / f".ca.{random.token_hex(4)}"
        temporary.mkdir(mode=0o700)
        try:
            write_new(temporary / "ca.crt", certificate)
            write_new(temporary / "ca.key", key)
            with contextlib.suppress(OSError):  # another run was first: its authority counts
                temporary.rename(folder)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)

    def _issue(self, request: CertificateRequest, authority: Authority) -> str:
        if authority.key is None:
            folder = Path(authority.path).parent
            raise AzaError(
                f"{request.host} needs a new certificate, and the authority in {folder} cannot sign it: ca.key is "
                "missing, or ca.crt has expired. Restore the key from your backup, or begin a new authority: "
                "docs/runbooks/rotate-the-authority.md.",
                reason="no_authority_key",
            )
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, request.host[:64])])
        issuer = authority.certificate
        start = self.now - _MARGIN
        end = min(start + timedelta(days=tls.DAYS), issuer.not_valid_after_utc)
        authority_key = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key())
        certificate = (
            x509.CertificateBuilder(issuer.subject, subject, key.public_key(), x509.random_serial_number())
            .not_valid_before(start)
            .not_valid_after(end)
            .add_extension(x509.SubjectAlternativeName(_general_names(request.names)), critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(authority_key, critical=False)
            .sign(authority.key, hashes.SHA256())
        )
        return _key_pem(key) + as_pem(certificate) + as_pem(issuer)

    def _why_renew(self, kept: str, request: CertificateRequest, authority: Authority) -> str:
        try:
            first = load(request.host, kept)[0]
            matches = load_key(request.host, kept).public_key() == first.public_key()
        except AzaError:
            return "the stored one is damaged"
        if not matches:
            return "the stored one is damaged"
        why = tls.why_renew(
            self.now.timestamp(),
            first.not_valid_after_utc.timestamp(),
            _names(first),
            request.names,
            _signed_by(first, authority.certificate),
        )
        return why or ("it was requested" if request.renew else "")

    def _bundle(
        self, pem: str, authority: Authority, request: CertificateRequest, why: str = "", made: bool = False
    ) -> Bundle:
        facts = tls.read(pem.encode()) | {
            "why": why,
            "own": False,
            "missing": [],
            "ca_expires": authority.certificate.not_valid_after_utc.timestamp(),
            "root": tls.authority(pem.encode()).get("root", ""),
            "names": list(request.names),
        }
        return Bundle(pem, facts, authority.path, made, _trusted(authority), authority.new)

    # -- the operator's own --------------------------------------------------------------------------

    def _read(self, variable: str, given: str) -> str:
        return given if "-----BEGIN" in given else self.open_file(given)

    def _given_authority(self, request: CertificateRequest) -> Authority:
        variable = "postgres_tls_ca_certificate"
        chain = self._read(variable, request.ca_certificate)
        key = load_key("postgres_tls_ca_key", self._read("postgres_tls_ca_key", request.ca_key))
        path = "" if "-----BEGIN" in request.ca_certificate else request.ca_certificate
        if not path:
            # A client verifies with a file; it is public.
            path = str(self.directory / "ca.crt")
            if not self.dry and (not Path(path).exists() or Path(path).read_text() != chain):
                self._prepare()
                temporary = self.directory / f".ca.{random.token_hex(4)}"
                write_new(temporary, chain)
                temporary.replace(path)
        certificates = load(variable, chain)
        # With two authorities in the file, one of them on its way, the key says which one signs.
        found = Authority(signer(certificates, key) or certificates[0], key, path, chain)
        return self._checked(found, variable)

    def _checked(self, authority: Authority, where: str) -> Authority:
        certificate = authority.certificate
        try:
            may_sign = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
        except x509.ExtensionNotFound:
            may_sign = False
        problem = ""
        if authority.key is not None and authority.key.public_key() != certificate.public_key():
            problem = "the key does not belong to the certificate; set a matching pair"
        elif not may_sign:
            problem = (
                "this certificate may not sign others; give that of an authority (basicConstraints CA:TRUE)"
            )
        elif certificate.not_valid_after_utc <= self.now:
            problem = f"the authority expired on {_date(certificate)}; get a new one"
        if problem:
            raise AzaError(f"{where}: {problem}.", reason="bad_certificate")
        return authority

    def _own(self, request: CertificateRequest) -> Bundle:
        variable = "postgres_tls_certificate"
        text = self._read(variable, request.certificate)
        chain = load(variable, text)
        key = load_key("postgres_tls_key", self._read("postgres_tls_key", request.key))
        first = chain[0]
        problem = ""
        if key.public_key() != first.public_key():
            problem = (
                "the first certificate does not belong to postgres_tls_key; the server's own comes first"
            )
        elif not all(_signed_by(one, two) for one, two in zip(chain, chain[1:])):
            problem = "the chain is broken; each certificate must be signed by the one after it"
        elif first.not_valid_after_utc <= self.now:
            problem = f"it expired on {_date(first)}; give its successor"
        elif first.not_valid_before_utc > self.now + _MARGIN:
            problem = f"it is valid only from {tls.date(first.not_valid_before_utc.timestamp())} on"
        if problem:
            raise AzaError(f"{variable}: {problem}.", reason="bad_certificate")
        pem = _key_pem(key) + "".join(map(as_pem, chain))
        has = _names(first)
        facts = tls.read(pem.encode()) | {
            "why": "it was requested" if request.renew else "",
            "own": True,
            "missing": [name for name in request.expected if not tls.covers(has, name)],
            "ca_expires": None,
            "root": tls.authority(pem.encode()).get("root", ""),
            "names": list(has),
        }
        own_root = len(chain) > 1 and chain[-1].issuer == chain[-1].subject
        return Bundle(
            pem,
            facts,
            # A certificate of a public authority is verified with what the client's system trusts.
            request.certificate if own_root and "-----BEGIN" not in request.certificate else "system",
            authority=as_pem(chain[-1]) if chain[-1].issuer == chain[-1].subject else "",
        )


def prepare(root: Path, *folders: Path) -> None:
    """Create these directories, readable by their owner only."""
    for folder in (root, *folders):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        folder.chmod(0o700)
    # Also where the inventory is not the checkout's own: no key is committed by accident.
    ignore = root / ".gitignore"
    if not ignore.exists():
        ignore.write_text("*\n")


def new_authority(root: Path, now: datetime) -> tuple[x509.Certificate, str]:
    """Return a certificate and its key, as PEM. ``root``: ``INVENTORY/secrets``."""
    key = ec.generate_private_key(ec.SECP256R1())
    common = f"{tls.AUTHORITY_NAME}{root.parent.name}"[:64]
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])
    start = now - _MARGIN
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + timedelta(days=tls.CA_DAYS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return certificate, _key_pem(key)


def signer(
    trusted: Iterable[x509.Certificate], key: CertificateIssuerPrivateKeyTypes | None
) -> x509.Certificate | None:
    """Return the one that the key belongs to."""
    return next((item for item in trusted if key and item.public_key() == key.public_key()), None)


def _trusted(authority: Authority) -> str:
    """The certificates up to a root; empty where the root is not among them."""
    chain = load("", authority.chain) if authority.chain else [authority.certificate]
    return "".join(map(as_pem, chain)) if any(item.issuer == item.subject for item in chain) else ""


def _date(certificate: x509.Certificate) -> str:
    return tls.date(certificate.not_valid_after_utc.timestamp())


def _usage(signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _general_names(names: Iterable[str]) -> list[x509.GeneralName]:
    return [
        x509.IPAddress(ip_address(name)) if tls.is_address(name) else x509.DNSName(name) for name in names
    ]


def _names(certificate: x509.Certificate) -> Sequence[str]:
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    addresses = [str(item) for item in found.get_values_for_type(x509.IPAddress)]
    return [*found.get_values_for_type(x509.DNSName), *addresses]


def _signed_by(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def load(where: str, text: str) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(text.encode())
    except ValueError:
        raise AzaError(
            f"{where}: there is no certificate in PEM form (-----BEGIN CERTIFICATE-----).",
            reason="bad_certificate",
        ) from None


def load_key(where: str, text: str) -> CertificateIssuerPrivateKeyTypes:
    try:
        found = serialization.load_pem_private_key(text.encode(), None)
    except TypeError:
        raise AzaError(
            f"{where}: the key is locked with a passphrase, which a server that starts by itself cannot ask for; "
            "give it without (in Ansible Vault).",
            reason="bad_certificate",
        ) from None
    except ValueError:
        raise AzaError(
            f"{where}: there is no private key in PEM form (-----BEGIN PRIVATE KEY-----).",
            reason="bad_certificate",
        ) from None
    return found  # type: ignore[return-value]


def as_pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def _key_pem(key: CertificateIssuerPrivateKeyTypes) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode()


def private(path: Path) -> str:
    """Return the text of a file, after making it readable only for its owner."""
    if path.stat().st_mode & 0o077:
        path.chmod(0o600)
    return path.read_text(encoding="utf-8")


def write_new(path: Path, text: str) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())


def now() -> datetime:
    return datetime.now(timezone.utc).replace(microsecond=0)
