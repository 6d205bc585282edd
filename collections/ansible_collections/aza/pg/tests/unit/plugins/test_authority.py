# SPDX-License-Identifier: Apache-2.0
"""An authority is replaced while all members stay able to verify each other; and what is read back from hosts."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.aza.pg.plugins.module_utils.errors import AzaError
from ansible_collections.aza.pg.plugins.module_utils.instance import ownership_record as record
from ansible_collections.aza.pg.plugins.module_utils.instance import secrets_readback as readback
from ansible_collections.aza.pg.plugins.module_utils.model.claim import Claim
from ansible_collections.aza.pg.plugins.module_utils.replication import topology as replication
from ansible_collections.aza.pg.plugins.module_utils.services import postgres_exporter as exporter
from ansible_collections.aza.pg.plugins.module_utils.services.pgbouncer import files as pgbouncer
from ansible_collections.aza.pg.plugins.module_utils.tls import certificate as tls
from ansible_collections.aza.pg.plugins.plugin_utils.authority import (
    ALONE,
    BEGUN,
    SWITCHED,
    Recovered,
    Rotation,
)
from ansible_collections.aza.pg.plugins.plugin_utils.certificates import (
    Bundle,
    CertificateRequest,
    Certificates,
)
from ansible_collections.aza.pg.plugins.plugin_utils.control_secrets import pgpass_escape
from ansible_collections.aza.pg.tests.unit.instance.test_plan import EMPTY, describe
from hypothesis import given
from hypothesis import strategies as st

NOW = datetime(2026, 11, 23, 12, tzinfo=timezone.utc)
REQUEST = CertificateRequest("db1", ("db1.example.org",))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "prod" / "secrets"


def server(root: Path, request: CertificateRequest = REQUEST) -> Bundle:
    return Certificates(root, "shop", NOW, lambda path: Path(path).read_text()).server(request)


def issuer(bundle: Bundle) -> str:
    return str(tls.authority(bundle.pem.encode())["root"])


def trusted(bundle: Bundle) -> list[str]:
    return list(tls.fingerprints(bundle.authority.encode()))


@pytest.mark.parametrize("lost", [False, True], ids=["with the old key", "without the old key"])
def test_at_every_stage_each_certificate_is_trusted(root: Path, lost: bool) -> None:
    first = server(root)
    if lost:
        (root / "ca/ca.key").unlink()
        assert server(root).pem == first.pem
        with pytest.raises(AzaError) as caught:
            server(root, replace(REQUEST, renew=True))
        assert caught.value.reason == "no_authority_key"
    rotation = Rotation(root, NOW)
    assert (rotation.stage, rotation.next_fingerprint) == (ALONE, "")
    rotation.begin(dry=True)
    assert rotation.stage == ALONE
    rotation.begin()
    begun = server(root)
    assert (rotation.stage, begun.pem) == (BEGUN, first.pem)
    assert trusted(begun) == [issuer(first), rotation.next_fingerprint]
    rotation.begin()
    assert server(root).authority == begun.authority, "a second time changes nothing"

    rotation.switch()
    switched = server(root)
    assert (rotation.stage, switched.made) == (SWITCHED, True)
    assert issuer(switched) == rotation.next_fingerprint != issuer(first)
    assert set(trusted(switched)) == {issuer(first), issuer(switched)}
    with pytest.raises(AzaError) as caught:
        rotation.begin()
    assert caught.value.reason == "rotation_under_way"
    rotation.switch()
    rotation.finish()
    after = server(root)
    assert (rotation.stage, after.pem, trusted(after)) == (ALONE, switched.pem, [issuer(switched)])
    assert {path.stat().st_mode & 0o777 for path in (root / "ca").iterdir()} == {0o600}
    assert sorted(path.name for path in (root / "ca").iterdir()) == ["ca.crt", "ca.key"]


def test_one_that_has_expired_is_replaced_like_a_lost_one(root: Path) -> None:
    late = NOW + timedelta(days=tls.CA_DAYS + 1)
    first = server(root)
    node = Certificates(root, "shop", late, lambda path: "")
    with pytest.raises(AzaError) as caught:
        node.server(REQUEST)
    assert caught.value.reason == "no_authority_key"
    rotation = Rotation(root, late)
    rotation.begin()
    rotation.switch()
    made = node.server(REQUEST)
    assert issuer(made) == rotation.next_fingerprint != issuer(first)


def test_a_step_that_was_cut_off_goes_on(root: Path) -> None:
    server(root)
    rotation = Rotation(root, NOW)
    rotation.begin()
    # The certificate was written and its key was not: it is trusted, and another one is begun.
    (root / "ca/next.key").unlink()
    assert rotation.stage == SWITCHED and server(root).made is False
    rotation.finish()
    rotation.begin()
    assert rotation.stage == BEGUN


def test_there_is_none_to_replace(root: Path) -> None:
    with pytest.raises(AzaError) as caught:
        Rotation(root, NOW).begin()
    assert caught.value.reason == "no_authority"


def test_of_two_own_authorities_the_key_says_which_one_signs(tmp_path: Path, root: Path) -> None:
    pairs = []
    for name in ("one", "two"):
        server(tmp_path / name / "secrets")
        pairs.append(tmp_path / name / "secrets/ca")
    both = tmp_path / "both.crt"
    both.write_text("".join((pair / "ca.crt").read_text() for pair in pairs))
    for pair in pairs:
        made = server(root, replace(REQUEST, ca_certificate=str(both), ca_key=str(pair / "ca.key")))
        assert issuer(made) == tls.fingerprints((pair / "ca.crt").read_bytes())[0]
        assert len(trusted(made)) == 2


# -- on the hosts ----------------------------------------------------------------------------------


def member(root: str, trusts: str, **claim: Any) -> list[str]:
    wanted = replace(
        describe(), certificate={"root": root, "replace": claim.pop("replace", False)}, claim=Claim(**claim)
    )
    files: dict[str, dict[str, Any]] = {
        tls.PATH: {"type": "file", "authority": {"root": "old", "ours": True}},
        tls.CA_PATH: {"type": "file", "text": trusts},
    }
    return list(tls.problems(wanted, replace(EMPTY, files=files)))


def test_a_member_refuses_an_authority_that_is_not_trusted_yet(root: Path) -> None:
    first = server(root)
    there = issuer(first)
    assert member("old", "") == []
    assert member(there, first.authority) == []
    assert member(there, "") != []
    assert member(there, "", take_over=True) == [] == member(there, "", replace=True)


def test_what_a_member_trusts_is_read_without_a_library(root: Path, tmp_path: Path) -> None:
    (tmp_path / "postgres/tls").mkdir(parents=True)
    made = server(root)
    Rotation(root, NOW).begin()
    both = server(root)
    (tmp_path / tls.CA_PATH).write_text(both.authority)
    assert record.trusts(tmp_path) == trusted(both) != trusted(made)
    assert record.trusts(tmp_path / "nowhere") == []


# -- what is read back -----------------------------------------------------------------------------

_PASSWORDS = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=12, max_size=40)


@given(st.lists(_PASSWORDS, min_size=5, max_size=5))
def test_secrets_come_back_as_they_were(given_now: list[str]) -> None:
    password, monitor, auth, health, replicator = given_now
    users = dict(zip((pgbouncer.AUTH, pgbouncer.HEALTH), (auth, health)))
    files = {
        "secrets/postgres_password": password,
        exporter.PASSWORD_PATH: monitor,
        pgbouncer.USERLIST: pgbouncer.userlist(users) + '"stats" "md5"\n',
        replication.PASSFILE_PATH: f"*:*:*:{replication.REPLICATOR}:{pgpass_escape(replicator)}\n",
        tls.PATH: "PEM",
    }
    expected = dict(
        zip(("postgres_password", exporter.PASSWORD, *pgbouncer.PASSWORDS, replication.PASSWORD), given_now)
    )
    found = readback.secrets_of(files)
    assert found == {**expected, readback.CERTIFICATE: "PEM"}
    sealed = readback.seal(found, "key")
    assert readback.unseal(sealed, "key") == found and password not in sealed


def test_an_answer_that_was_changed_is_refused() -> None:
    sealed = readback.seal({"a": "b"}, "key")
    for wrong, key in ((sealed, "other"), (sealed[:-4] + "AAA=", "key")):
        with pytest.raises(ValueError, match="changed"):
            readback.unseal(wrong, key)


def test_certificates_come_back_and_nothing_is_replaced(root: Path, tmp_path: Path) -> None:
    made = server(root)
    other = tmp_path / "clone/secrets"
    there = Recovered(other, "shop", made.pem, "")
    assert there.keep("db1", dry=True) and not other.exists()
    assert there.keep("db1", dry=False) == ["shop/tls/db1.pem", "ca/ca.crt"] and there.lacks_key
    assert server(other).pem == made.pem
    assert there.keep("db1", dry=False) == []
    own = Recovered(other, "own", "", "")
    assert own.keep("db2", dry=False) == [] and not own.lacks_key
