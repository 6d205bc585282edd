# SPDX-License-Identifier: Apache-2.0
"""Certificates: what a client of them sees, when they are renewed, and what is refused in a sentence."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.aza.pg.plugins.module_utils import objects
from ansible_collections.aza.pg.plugins.module_utils.errors import AzaError
from ansible_collections.aza.pg.plugins.module_utils.instance import files, findings
from ansible_collections.aza.pg.plugins.module_utils.model.desired import Desired
from ansible_collections.aza.pg.plugins.module_utils.model.observed import Observed
from ansible_collections.aza.pg.plugins.module_utils.planning.finding import Finding
from ansible_collections.aza.pg.plugins.module_utils.planning.plan import Plan
from ansible_collections.aza.pg.plugins.module_utils.tls import certificate as tls
from ansible_collections.aza.pg.plugins.plugin_utils.certificates import (
    Bundle,
    CertificateRequest,
    Certificates,
)
from ansible_collections.aza.pg.tests.unit import declarations
from cryptography.hazmat.primitives import serialization
from hypothesis import given
from hypothesis import strategies as st

NOW = datetime(2026, 11, 23, 12, tzinfo=timezone.utc)
NAMES = ("db1.example.org", "localhost", "127.0.0.1", "::1")
REQUEST = CertificateRequest("db1", NAMES)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "prod" / "secrets"


def control_node(root: Path, now: datetime = NOW, dry: bool = False) -> Certificates:
    return Certificates(root, "shop", now, lambda path: Path(path).read_text(), dry)


def modes(root: Path) -> dict[str, int]:
    return {str(path.relative_to(root)): path.stat().st_mode & 0o777 for path in root.rglob("*")}


# -- what is made ----------------------------------------------------------------------------------


def test_the_first_one_is_made_and_kept_private(root: Path) -> None:
    made = control_node(root).server(REQUEST)
    assert made.made
    found = modes(root)
    assert {found.pop(name) for name in ("ca", "shop", "shop/tls")} == {0o700}
    assert found.pop(".gitignore")
    assert found == dict.fromkeys(("ca/ca.crt", "ca/ca.key", "shop/tls/db1.pem"), 0o600)
    assert made.root == str(root / "ca" / "ca.crt")
    again = control_node(root).server(REQUEST)
    assert (again.pem, again.made, again.facts["why"]) == (made.pem, False, "")
    assert "PRIVATE" not in repr(made) + repr(made.facts)


@pytest.mark.parametrize("name", NAMES)
def test_a_client_that_verifies_accepts_it_under_its_names_only(
    root: Path, tmp_path: Path, name: str
) -> None:
    made = control_node(root, datetime.now(timezone.utc)).server(REQUEST)
    pem = tmp_path / "server.pem"
    pem.write_text(made.pem)
    assert _handshake(pem, made.root, name) == "TLSv1.3"
    with pytest.raises(ssl.SSLCertVerificationError, match="other"):
        _handshake(pem, made.root, "other.example.org")


def _handshake(pem: Path, authority: str, name: str) -> str | None:
    """In memory: one file is the server's chain and its key, as PostgreSQL takes it."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(pem)
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    sides = [
        ssl.create_default_context(cafile=authority).wrap_bio(to_client, to_server, server_hostname=name),
        server.wrap_bio(to_server, to_client, server_side=True),
    ]
    for _ in range(4):
        for side in sides:
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
    return sides[0].version()


def test_two_servers_have_one_authority_and_keys_of_their_own(root: Path) -> None:
    one = control_node(root).server(REQUEST)
    other = control_node(root).server(replace(REQUEST, host="db2"))
    assert one.pem.split("-----")[2] != other.pem.split("-----")[2]
    assert one.pem.rsplit("BEGIN", 1)[1] == other.pem.rsplit("BEGIN", 1)[1]


def test_without_writing_it_predicts_the_same_facts(root: Path) -> None:
    predicted = control_node(root, dry=True).server(REQUEST)
    assert not root.exists()
    made = control_node(root).server(REQUEST)
    for fact in ("expires", "names", "why", "own", "missing", "ca_expires"):
        assert predicted.facts[fact] == made.facts[fact], fact


# -- when it is renewed ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("days", "why"),
    [
        (0, ""),
        (366, ""),
        (367, "it expires in 29 days"),
        (396, "it expires in 0 days"),
        (398, "it has expired"),
    ],
)
def test_it_is_renewed_before_its_end(root: Path, days: int, why: str) -> None:
    first = control_node(root).server(REQUEST)
    later = control_node(root, NOW + timedelta(days=days)).server(REQUEST)
    assert later.facts["why"] == why
    assert later.made is bool(why)
    assert (later.pem != first.pem) is bool(why)
    assert (later.facts["expires"] > first.facts["expires"]) is bool(why)


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        (replace(REQUEST, names=(*NAMES, "shop.example.org")), "its names change: with shop.example.org"),
        (replace(REQUEST, names=NAMES[1:]), "its names change: without db1.example.org"),
        (replace(REQUEST, renew=True), "it was requested"),
    ],
)
def test_other_reasons(root: Path, changed: CertificateRequest, why: str) -> None:
    control_node(root).server(REQUEST)
    assert control_node(root).server(changed).facts["why"] == why
    assert not control_node(root).server(replace(changed, renew=False)).made


def test_another_authority(root: Path) -> None:
    control_node(root).server(REQUEST)
    (root / "ca").rename(root / "old")
    assert control_node(root).server(REQUEST).facts["why"] == "another authority signs now"


def test_what_was_kept_is_damaged(root: Path) -> None:
    control_node(root).server(REQUEST)
    (root / "shop/tls/db1.pem").write_text("x")
    assert control_node(root).server(REQUEST).facts["why"] == "the stored one is damaged"


def test_it_does_not_outlive_its_authority(root: Path) -> None:
    control_node(root).server(REQUEST)
    late = control_node(root, NOW + timedelta(days=tls.CA_DAYS - 100)).server(REQUEST)
    assert late.facts["expires"] == late.facts["ca_expires"]


# -- the operator's own ----------------------------------------------------------------------------


@pytest.fixture
def company(tmp_path: Path) -> dict[str, str]:
    """A certificate with its key that another user made, and the authority behind it."""
    other = tmp_path / "company" / "secrets"
    made = Certificates(other, "x", NOW, lambda path: "").server(
        CertificateRequest("db1", ("db1.example.org",))
    )
    key, mark, chain = made.pem.partition("-----BEGIN CERTIFICATE-----")
    paths = {"ca": str(other / "ca/ca.crt"), "ca_key": str(other / "ca/ca.key")}
    return {**paths, "key": key, "chain": mark + chain}


def test_an_authority_of_ones_own_signs(root: Path, company: dict[str, str]) -> None:
    request = replace(REQUEST, ca_certificate=company["ca"], ca_key=company["ca_key"])
    made = control_node(root).server(request)
    assert made.root == company["ca"]
    assert not (root / "ca").exists()
    as_text = replace(request, ca_certificate=Path(company["ca"]).read_text())
    again = control_node(root).server(as_text)
    assert (again.made, again.root) == (False, str(root / "shop/tls/ca.crt"))
    assert Path(again.root).read_text() == Path(company["ca"]).read_text()


def test_a_certificate_of_ones_own_is_used_as_it_is(root: Path, company: dict[str, str]) -> None:
    expected = ("db1.example.org", "shop.example.org")
    request = replace(REQUEST, certificate=company["chain"], key=company["key"], expected=expected)
    made = control_node(root).server(request)
    assert company["chain"] in made.pem and company["key"] in made.pem
    assert (made.made, made.facts["own"], made.facts["missing"]) == (False, True, ["shop.example.org"])
    assert not root.exists()


def _wrong(company: dict[str, str], root: Path) -> Iterator[tuple[CertificateRequest, str]]:
    own = replace(REQUEST, certificate=company["chain"], key=company["key"])
    other = control_node(root).server(REQUEST).pem.partition("-----BEGIN CERTIFICATE-----")[0]
    blocks = company["chain"].split("-----BEGIN CERTIFICATE-----")[1:]
    backwards = "".join(f"-----BEGIN CERTIFICATE-----{block}" for block in reversed(blocks))
    foreign = (root / "ca/ca.crt").read_text()
    key = serialization.load_pem_private_key(company["key"].encode(), None)
    locked = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"secret"),
    ).decode()
    yield replace(own, key=other), "postgres_tls_certificate: .* does not belong to postgres_tls_key"
    yield replace(own, certificate=backwards), "the server's own comes first"
    yield replace(own, certificate=f"-----BEGIN CERTIFICATE-----{blocks[0]}{foreign}"), "the chain is broken"
    yield (
        replace(own, certificate="-----BEGIN X-----"),
        "postgres_tls_certificate: there is no certificate in",
    )
    yield replace(own, key="-----BEGIN X-----"), "postgres_tls_key: there is no private key in PEM form"
    yield replace(own, key=locked), "locked with a passphrase"
    pair = replace(REQUEST, ca_certificate=company["ca"], ca_key=company["ca_key"])
    yield replace(pair, ca_key=other), "postgres_tls_ca_certificate: the key does not belong"
    yield replace(pair, ca_certificate=company["chain"], ca_key=company["key"]), "may not sign others"


def test_what_cannot_work_is_refused_in_a_sentence(root: Path, company: dict[str, str]) -> None:
    for request, message in _wrong(company, root):
        with pytest.raises(AzaError, match=message) as caught:
            control_node(root).server(request)
        assert caught.value.msg.endswith(".")
        assert "PRIVATE" not in caught.value.msg.replace("BEGIN PRIVATE KEY", "")


def test_what_has_expired_is_refused(root: Path, company: dict[str, str]) -> None:
    own = replace(REQUEST, certificate=company["chain"], key=company["key"])
    with pytest.raises(AzaError, match="it expired on 2027-12-25; give its successor"):
        control_node(root, NOW + timedelta(days=400)).server(own)
    pair = replace(REQUEST, ca_certificate=company["ca"], ca_key=company["ca_key"])
    with pytest.raises(AzaError, match="the authority expired"):
        control_node(root, NOW + timedelta(days=4000)).server(pair)


# -- names -----------------------------------------------------------------------------------------


def test_names_stand_there_once_and_in_one_spelling() -> None:
    given_now = [
        "DB1.Example.org.",
        "db1.example.org",
        "0:0:0:0:0:0:0:1",
        "0.0.0.0",
        "::",
        "10.0.0.1",
        "a b",
        "",
    ]
    assert tls.names(given_now) == ("db1.example.org", "10.0.0.1", "::1")


@given(st.lists(st.text(max_size=30), max_size=8))
def test_any_names_make_a_certificate_that_has_exactly_them(given_now: list[str]) -> None:
    wanted = tls.names([*given_now, "localhost"])
    assert tls.names(wanted) == wanted
    assert not tls.why_renew(0, 1e10, wanted, wanted, same_authority=True)


@pytest.mark.parametrize(
    ("certified", "name", "covered"),
    [
        (["db1.example.org"], "DB1.example.org", True),
        (["*.example.org"], "db1.example.org", True),
        (["*.example.org"], "a.db1.example.org", False),
        (["*.example.org"], "example.org", False),
        (["::1"], "0:0::1", True),
        (["10.0.0.1"], "10.0.0.2", False),
    ],
)
def test_which_names_a_certificate_covers(certified: list[str], name: str, covered: bool) -> None:
    assert tls.covers(certified, name) is covered


def test_what_is_no_certificate_has_no_facts() -> None:
    for content in (b"", b"x", b"-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----"):
        assert tls.read(content) == {}


# -- the plan and the findings ---------------------------------------------------------------------


@pytest.fixture(autouse=True)
def _no_kinds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(objects, "KINDS", ())


def describe(bundle: Bundle) -> Desired:
    return declarations.describe(tls=True, certificate=bundle.facts)


def there(bundle: Bundle, matches: bool, at: datetime = NOW, in_use: str = "") -> Observed:
    file: dict[str, Any] = {"type": "file", "mode": 0o400, "uid": 999, "gid": 999, "matches": matches}
    file["certificate"] = tls.read(bundle.pem.encode())
    return Observed(
        files={tls.PATH: file},
        containers={"postgres": {"state": "running"}},
        host={"uid": 0, "gid": 0, "time": at.timestamp()},
        certificate_in_use=in_use or file["certificate"]["fingerprint"],
    )


def lines(wanted: Desired, found: Observed) -> list[str]:
    changes = [change for item in wanted.files for change in files.changes(item, wanted, found)]
    return [change.line() for change in changes if change.kind == tls.KIND]


def test_the_plan_shows_until_when(root: Path) -> None:
    first = control_node(root).server(REQUEST)
    assert lines(describe(first), Observed()) == ["create certificate server  expires 2027-12-25"]
    assert lines(describe(first), there(first, matches=True)) == []
    later = control_node(root, NOW + timedelta(days=370)).server(REQUEST)
    assert lines(describe(later), there(first, matches=False)) == [
        "certificate server  expires 2027-12-25 → 2028-12-29  because it expires in 26 days  reload"
    ]
    assert lines(describe(first), there(first, matches=False)) == [
        "certificate server  expires 2027-12-25 → 2027-12-25  because the file on the host differs  reload"
    ]


def message(found: list[Finding]) -> list[str]:
    return [f"{item.state} {item.message}" for item in found]


def test_findings(root: Path) -> None:
    first = control_node(root).server(REQUEST)
    wanted = describe(first)
    assert message(list(tls.findings(wanted, there(first, True)))) == [
        "green valid until 2027-12-25 and in use"
    ]
    (soon,) = tls.findings(wanted, there(first, True, NOW + timedelta(days=380)))
    assert (soon.state, "it expires in 16 days" in soon.message) == ("yellow", True)
    (over,) = tls.findings(wanted, there(first, True, NOW + timedelta(days=400)))
    assert (over.state, "it has expired (2027-12-25)" in over.message) == ("red", True)
    (other,) = tls.findings(wanted, there(first, True, in_use="f" * 64))
    assert (other.state, "another certificate" in other.message) == ("red", True)
    incomplete = replace(wanted, certificate={**wanted.certificate, "missing": ["db.example.org"]})
    assert [item.state for item in tls.findings(incomplete, there(first, True))] == ["yellow", "green"]
    dying = replace(wanted, certificate={**wanted.certificate, "ca_expires": NOW.timestamp() + 86400})
    assert "authority" in next(tls.findings(dying, there(first, True))).message


def test_what_only_comes_to_its_end_is_not_red_drift(root: Path) -> None:
    first = control_node(root).server(REQUEST)
    later = control_node(root, NOW + timedelta(days=370)).server(REQUEST)
    wanted, found = describe(later), there(first, matches=False)
    item = next(item for item in wanted.files if item.path == tls.PATH)
    change = tls.change(item, wanted, found.files[tls.PATH], "reload")
    (drift,) = findings.drift(Plan((change,)))
    assert drift.state == "yellow"
    (red,) = findings.drift(Plan((tls.change(item, describe(first), found.files[tls.PATH], "reload"),)))
    assert red.state == "red"


def test_without_tls_there_is_no_key_on_the_host(root: Path) -> None:
    wanted = declarations.describe(tls=False)
    assert not [item for item in wanted.files if item.path.startswith(tls.DIRECTORY)]
    (own,) = [item for item in wanted.files if item.path.endswith("10-stack.conf")]
    assert own.text and "ssl = 'off'" in own.text


def test_a_certificate_in_words() -> None:
    facts = {"own": False, "expires": 1798243200.0, "ca_expires": 2110752000.0, "names": ("db1", "10.0.0.1")}
    assert tls.summary(facts) == (
        "certificate valid until 2026-12-26 for db1, 10.0.0.1; authority valid until 2036-11-20"
    )
    assert tls.summary({**facts, "own": True}).endswith("; your own")
    assert tls.summary({}) == "no TLS (postgres_tls is false)"


def test_another_authority_is_said_by_fingerprint_and_date(root: Path) -> None:
    one, two = (control_node(root / name).server(REQUEST).authority for name in ("a", "b"))
    message = tls.replaced(one, two)
    for text in (one, two):
        assert tls.read(text.encode())["fingerprint"][:12] in message
    assert "valid until 20" in message and "BEGIN" not in message and len(message) < 120
    assert "differs" in tls.replaced(one, one + two)
    assert tls.replaced("work_mem = 1", "work_mem = 2") == ""
