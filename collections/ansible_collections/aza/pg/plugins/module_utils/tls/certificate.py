# SPDX-License-Identifier: Apache-2.0
"""The server's certificate: which names it needs, when it is renewed, what a plan and a check say of it. Pure.

Certificates are made on the control node (``plugin_utils/certificates.py``). On the host key and chain are one file,
so that it is replaced as a whole and a reload never meets a key without its certificate.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import ipaddress
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timezone
from typing import Any

from ansible_collections.aza.pg.plugins.module_utils.model.desired import Desired
from ansible_collections.aza.pg.plugins.module_utils.model.details import FileDetail
from ansible_collections.aza.pg.plugins.module_utils.model.observed import Observed
from ansible_collections.aza.pg.plugins.module_utils.model.service import File
from ansible_collections.aza.pg.plugins.module_utils.planning.change import Change
from ansible_collections.aza.pg.plugins.module_utils.planning.finding import Finding

DIRECTORY = "postgres/tls"
PATH = f"{DIRECTORY}/server.pem"
# What other servers are verified with; public.
CA_PATH = f"{DIRECTORY}/ca.crt"
# The name of key and chain among the secrets.
SECRET = "tls/server"
KIND = "certificate"
# What the name of an environment's own authority begins with.
AUTHORITY_NAME = "aza-pg "
# The authority's life, a certificate's (what clients accept at most), and from when on it is renewed.
CA_DAYS, DAYS, RENEW_DAYS = 3650, 397, 30
_DAY = 86400
_INSIDE = "/etc/aza-pg/tls/server.pem"
_NAME = re.compile(
    r"(?=.{1,253}$)(\*\.)?[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*"
)
_CERTIFICATE = re.compile(rb"-----BEGIN CERTIFICATE-----(.*?)-----END CERTIFICATE-----", re.DOTALL)


# -- names -----------------------------------------------------------------------------------------


def names(given: Iterable[str]) -> tuple[str, ...]:
    """What can stand in a certificate, once each, in one spelling; what stands for every address cannot."""
    found = [name for text in given if (name := spelling(text))]
    return tuple(sorted(dict.fromkeys(found), key=lambda name: (is_address(name), name)))


def spelling(text: str) -> str:
    """``DB1.Example.org`` → ``db1.example.org``, ``0:0::1`` → ``::1``; empty for what is not a name and no address."""
    try:
        address = ipaddress.ip_address(text.strip("[]"))
        return "" if address.is_unspecified else str(address)
    except ValueError:
        name = text.lower().rstrip(".")
        return name if _NAME.fullmatch(name) else ""


def is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def is_loopback(name: str) -> bool:
    return name == "localhost" or (is_address(name) and ipaddress.ip_address(name).is_loopback)


def covers(certified: Iterable[str], name: str) -> bool:
    """Whether a client that verifies the name is content: a star stands for one label."""
    wanted = spelling(name)
    parent = "*." + wanted.partition(".")[2]
    return any(item in (wanted, parent) for item in map(spelling, certified))


# -- time ------------------------------------------------------------------------------------------


def date(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%d")


def summary(facts: Mapping[str, Any]) -> str:
    """Return expiry and names, for people. ``facts``: of ``Desired``'s certificate; none without TLS."""
    if not facts:
        return "no TLS (postgres_tls is false)"
    root = "your own" if facts["own"] else f"authority valid until {date(facts['ca_expires'])}"
    return f"certificate valid until {date(facts['expires'])} for {', '.join(facts['names'])}; {root}"


def why_renew(
    now: float, expires: float, certified: Iterable[str], wanted: Iterable[str], same_authority: bool
) -> str:
    """Return why our certificate must be renewed; empty if it is valid."""
    has, needs = set(certified), set(wanted)
    if not same_authority:
        return "another authority signs now"
    if has != needs:
        come = [f"with {name}" for name in sorted(needs - has)]
        return "its names change: " + ", ".join(come + [f"without {name}" for name in sorted(has - needs)])
    return expiry(now, expires)


def expiry(now: float, expires: float) -> str:
    """``it expires in 12 days``; empty while there is time."""
    left = expires - now
    if left <= 0:
        return "it has expired"
    days = int(left // _DAY)
    return "" if days >= RENEW_DAYS else f"it expires in {days} day{'' if days == 1 else 's'}"


def read(content: bytes) -> dict[str, Any]:
    """Fingerprint and expiry of the first certificate in a file; empty when there is none. The standard library can
    tell neither from a file, so the few fields before it are walked over here."""
    found = _CERTIFICATE.search(content)
    if not found:
        return {}
    try:
        der = base64.b64decode(b"".join(found.group(1).split()), validate=True)
        return {"fingerprint": fingerprint(der), "expires": _not_after(der)}
    except (binascii.Error, ValueError, IndexError):
        return {}


def authority(content: bytes) -> dict[str, Any]:
    """Fingerprint (``root``) of the last certificate in a file, and whether an environment's authority is its issuer
    (``ours``); empty when there is none."""
    found = _CERTIFICATE.findall(content)
    try:
        der = base64.b64decode(b"".join(found[-1].split()), validate=True)
        rest = _element(_element(der)[1])[1]
        for _ in ("version", "serial number", "algorithm"):
            rest = _after(rest)
        return {"root": fingerprint(der), "ours": AUTHORITY_NAME.encode() in _element(rest)[1]}
    except (binascii.Error, ValueError, IndexError):
        return {}


def fingerprints(content: bytes) -> tuple[str, ...]:
    """Of all certificates in a text that is known to be good."""
    return tuple(
        fingerprint(base64.b64decode(b"".join(item.split()))) for item in _CERTIFICATE.findall(content)
    )


def fingerprint(der: bytes) -> str:
    return hashlib.sha256(der).hexdigest()


def _not_after(der: bytes) -> float:
    rest = _element(_element(der)[1])[1]  # tbsCertificate
    for _ in ("version", "serial number", "algorithm", "issuer"):
        rest = _after(rest)
    kind, text = _element(_after(_element(rest)[1]))
    form = "%y%m%d%H%M%SZ" if kind == 0x17 else "%Y%m%d%H%M%SZ"
    return datetime.strptime(text.decode("ascii"), form).replace(tzinfo=timezone.utc).timestamp()


def _element(data: bytes) -> tuple[int, bytes]:
    """Tag and value of the DER element that ``data`` begins with."""
    start, length = _header(data)
    return data[0], data[start : start + length]


def _after(data: bytes) -> bytes:
    start, length = _header(data)
    return data[start + length :]


def _header(data: bytes) -> tuple[int, int]:
    size = data[1]
    if size < 0x80:
        return 2, size
    count = size & 0x7F
    return 2 + count, int.from_bytes(data[2 : 2 + count], "big")


# -- what is on the host ---------------------------------------------------------------------------


def settings(tls: bool, ask_clients: bool = False) -> dict[str, str]:
    """The stack's own settings. Key and chain are in one file, and PostgreSQL takes it for both.

    ``ask_clients``: whether a rule wants a certificate of the client; the same authority has to have signed it.
    """
    if not tls:
        return {"ssl": "off"}
    return {
        "ssl": "on",
        "ssl_cert_file": _INSIDE,
        "ssl_key_file": _INSIDE,
        "ssl_min_protocol_version": "TLSv1.2",
        **({"ssl_ca_file": _INSIDE} if ask_clients else {}),
    }


def files(tls: bool, origin: str = "", ca: str = "") -> list[File]:
    """``ca``: the certificates that others are verified with, as text; empty where the system's are what counts."""
    if not tls:
        return []
    return [
        File(DIRECTORY, 0o755),
        File(PATH, 0o400, owner="postgres", secret=SECRET, effect="reload", origin=origin),
        *([File(CA_PATH, 0o644, text=ca, kind=KIND, origin=origin)] if ca else []),
    ]


def replaced(before: str, after: str) -> str:
    """Return what a file of certificates says of its first one before and after; nothing of another file."""
    one, two = read(before.encode()), read(after.encode())
    if not (one or two):
        return ""
    if one.get("fingerprint") == two.get("fingerprint"):
        return "the chain after the first certificate differs"
    return f"another certificate: {_validity(one)} → {_validity(two)}"


def _validity(facts: Mapping[str, Any]) -> str:
    return f"{facts['fingerprint'][:12]}, valid until {date(facts['expires'])}" if facts else "none"


def change(item: File, wanted: Desired, is_now: Mapping[str, Any] | None, effect: str) -> Change:
    """``certificate server  expires 2026-12-20 → 2028-01-21  because it expires in 20 days``."""
    there, facts = (is_now or {}).get("certificate") or {}, wanted.certificate
    after = f"expires {date(facts['expires'])}" if facts else ""
    before = f"expires {date(there['expires'])}" if there else ""
    why = str(facts.get("why", ""))
    if is_now is not None and not why:
        why = "the file on the host differs"
    return Change(
        KIND,
        "server" if item.path == PATH else item.reader,
        "create" if is_now is None else "change",
        effect=effect,
        before=before,
        after=after.removeprefix("expires ") if before else after,
        why=why if is_now is not None else "",
        origin=item.origin,
        reader=item.other_reader,
        # A certificate that expires soon is not drift yet.
        severity="yellow" if why.startswith("it expires in") else "",
        detail=FileDetail(item.path),
    )


def problems(wanted: Desired, found: Observed) -> Iterator[str]:
    """A certificate of an authority that the members of the cluster do not trust yet: replicas could not reconnect."""
    trusted, there = found.files.get(CA_PATH), found.files.get(PATH) or {}
    new, now = str(wanted.certificate.get("root", "")), str((there.get("authority") or {}).get("root", ""))
    if not trusted or not new or not now or new == now or wanted.claim.take_over:
        return
    expires = float((there.get("certificate") or {}).get("expires") or 0)
    if expires and expires <= float(found.host.get("time") or 0):
        return  # no client accepts the old one either
    if wanted.certificate.get("replace") or new in fingerprints(str(trusted.get("text", "")).encode()):
        return
    yield (
        "the server's certificate would come from another authority, which the members of the cluster do not trust "
        "yet, so that replicas could not reconnect; rotate the authority in two steps "
        "(docs/runbooks/rotate-the-authority.md), or accept that until every member is deployed: -e authority=replace"
    )


def findings(wanted: Desired, found: Observed) -> Iterator[Finding]:
    """What a check says of the certificate that is on the host and of the one that clients are shown."""
    there, facts = (found.files.get(PATH) or {}).get("certificate") or {}, wanted.certificate
    if not facts or not there:
        return
    remedy = (
        "set postgres_tls_certificate to the new certificate and deploy"
        if facts.get("own")
        else "ansible-playbook playbooks/certificates.yml -e renew=true"
    )
    now, until = float(found.host["time"]), date(there["expires"])
    ends = expiry(now, there["expires"])
    if ends:
        state = "red" if there["expires"] <= now else "yellow"
        yield Finding(
            KIND, state, f"{ends} ({until}); clients that verify it cannot connect afterwards", remedy
        )
    ca = facts.get("ca_expires")
    if ca and expiry(now, ca):
        message = f"the authority that signs it: {expiry(now, ca)} ({date(ca)})"
        yield Finding(KIND, "yellow", message, "docs/runbooks/rotate-the-authority.md says how")
    in_use = found.certificate_in_use
    if in_use and in_use != there["fingerprint"]:
        message = "the server presents another certificate than the one in its file"
        yield Finding(KIND, "red", message, "deploy to reload it; its log says why it rejected the file")
    missing = facts.get("missing") or ()
    if missing:
        message = f"clients that verify it cannot use {', '.join(missing)}: your certificate does not name it"
        yield Finding(KIND, "yellow", message, "have it issued for these names as well")
    if not ends and (not in_use or in_use == there["fingerprint"]):
        yield Finding(KIND, "green", f"valid until {until}{' and in use' if in_use else ''}")
