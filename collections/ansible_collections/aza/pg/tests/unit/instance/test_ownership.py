# SPDX-License-Identifier: Apache-2.0
"""Which control node may change an instance, and what its host records. Pure, but for the files on both sides."""

from __future__ import annotations

import json
import stat
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ansible import constants as C  # noqa: N812
from ansible_collections.aza.pg.plugins.module_utils.errors import AzaError
from ansible_collections.aza.pg.plugins.module_utils.instance import ownership, verbs
from ansible_collections.aza.pg.plugins.module_utils.instance import ownership_record as record
from ansible_collections.aza.pg.plugins.module_utils.instance import plan as planning
from ansible_collections.aza.pg.plugins.module_utils.model.claim import Claim
from ansible_collections.aza.pg.plugins.module_utils.model.desired import Desired
from ansible_collections.aza.pg.plugins.module_utils.model.observed import Observed
from ansible_collections.aza.pg.plugins.module_utils.model.service import File
from ansible_collections.aza.pg.plugins.module_utils.services import postgres_exporter as exporter
from ansible_collections.aza.pg.plugins.module_utils.services.pgbouncer import files as pgbouncer
from ansible_collections.aza.pg.plugins.module_utils.tls import certificate as tls
from ansible_collections.aza.pg.plugins.plugin_utils import handed_secrets
from ansible_collections.aza.pg.plugins.plugin_utils.control_secrets import InstanceSecrets, SecretStore
from ansible_collections.aza.pg.plugins.plugin_utils.environment import FILE, Environment
from ansible_collections.aza.pg.tests.unit.instance.test_plan import EMPTY, describe

MINE, THEIRS = "a" * 32, "b" * 32
PASSWORD = "secrets/postgres_password"
OURS = {"root": "fingerprint", "ours": True}


def wanted(**claim: Any) -> Desired:
    given = {"environment": MINE, "name": "prod", "secrets": "/x/secrets", "asks": True, **claim}
    base = describe()
    files = (
        *base.files,
        File(exporter.PASSWORD_PATH, 0o400, secret=exporter.PASSWORD),
        File(pgbouncer.USERLIST, 0o400, secret=pgbouncer.SECRET),
    )
    return replace(base, files=files, claim=Claim(**given))


def found(owner: str = "", matches: bool | None = True, **more: Any) -> Observed:
    files = {PASSWORD: {"type": "file", "matches": matches}, **more.pop("files", {})}
    recorded = {"environment": owner, "from": "me@here:/prod", "file": True} if owner else {}
    return replace(EMPTY, volume=True, files=files, owner=recorded, **more)


def reason(what: Desired, there: Observed) -> str:
    try:
        ownership.refuse(what, there)
    except AzaError as error:
        assert "Nothing was changed" in error.msg and f"take_over={what.cluster}" in error.msg
        return error.reason
    return ""


EXPORTER_FILE = {exporter.PASSWORD_PATH: {"type": "file", "matches": False}}
POOL_PASSWORD = f"roles/{pgbouncer.AUTH}"
NEW = {"environment": "c" * 32, "fresh": True}


@pytest.mark.parametrize(
    ("claim", "there", "expected"),
    [
        ({}, EMPTY, ""),
        (NEW, EMPTY, ""),
        ({}, found(MINE), ""),
        # Rotated, or spoilt on the host: whose it is does not change with that.
        ({}, found(MINE, matches=False), ""),
        ({}, found(THEIRS), ownership.FOREIGN),
        ({}, found(THEIRS, matches=False), ownership.FOREIGN),
        ({"take_over": True}, found(THEIRS, matches=False), ""),
        # A fresh clone.
        ({**NEW, "made": ("postgres_password",)}, found(THEIRS, matches=False), ownership.MISSING),
        # The secrets without the identity: an older copy, or all of them are given by the inventory.
        (NEW, found(THEIRS), ""),
        ({"environment": ""}, found(THEIRS), ""),
        ({"environment": ""}, found(THEIRS, matches=False), ownership.MISSING),
        # Deployed before there were records.
        ({}, found(), ""),
        (NEW, found(), ""),
        ({}, found(matches=False), ownership.FOREIGN),
        (NEW, found(matches=False), ownership.MISSING),
        ({}, found(matches=None), ownership.FOREIGN),
        ({}, found(files=EXPORTER_FILE), ownership.FOREIGN),
        ({}, replace(EMPTY, volume=True), ownership.FOREIGN),
        ({}, replace(EMPTY, containers={"postgres": {"project": "aza-pg-shop-single"}}), ownership.FOREIGN),
        # A container that merely has the name is another refusal.
        ({}, replace(EMPTY, containers={"postgres": {"project": "other"}}), ""),
        # The label of a volume whose record lies in another postgres_base_dir.
        ({}, replace(EMPTY, volume=True, owner={"environment": THEIRS, "file": False}), ownership.FOREIGN),
        ({}, replace(EMPTY, volume=True, owner={"environment": MINE, "file": False}), ""),
        # Who does not say who he is (the tests' own harness) is not asked.
        ({"asks": False}, found(THEIRS), ""),
    ],
)
def test_who_may_change_it(claim: dict[str, Any], there: Observed, expected: str) -> None:
    assert reason(wanted(**claim), there) == expected


@pytest.mark.parametrize(
    ("made", "there", "lacks"),
    [
        (("postgres_password",), found(MINE), ["postgres_password"]),
        (("roles/web",), found(MINE), []),
        (("roles/web",), found(MINE, server={"roles": {"web": {"has_password": False}}}), []),
        (("roles/web",), found(MINE, server={"roles": {"web": {"has_password": True}}}), ["roles/web"]),
        (("postgres_password",), replace(EMPTY, volume=True), []),
        ((exporter.PASSWORD,), found(MINE, files=EXPORTER_FILE), [exporter.PASSWORD]),
        # Without its file on the host the role is in no one's use.
        (
            (exporter.PASSWORD,),
            found(MINE, server={"roles": {exporter.MONITOR: {"has_password": True}}}),
            [],
        ),
        (
            (POOL_PASSWORD,),
            found(MINE, files={pgbouncer.USERLIST: {"type": "file", "matches": False}}),
            [POOL_PASSWORD],
        ),
    ],
)
def test_what_is_missing_on_the_control_node(
    made: tuple[str, ...], there: Observed, lacks: list[str]
) -> None:
    what = wanted(made=made)
    assert ownership.lacking(what, there) == lacks
    assert reason(what, replace(there, owner={"environment": MINE, "file": True})) == (
        ownership.MISSING if lacks else ""
    )


def test_an_authority_that_is_missing_or_another_one() -> None:
    server = {tls.PATH: {"type": "file", "authority": OURS}}
    assert reason(wanted(new_authority=True), found(MINE, files=server)) == ownership.MISSING
    assert reason(wanted(authorities=("another",)), found(files=server)) == ownership.FOREIGN
    assert reason(wanted(authorities=("fingerprint",)), found(files=server)) == ""
    own = {tls.PATH: {"type": "file", "authority": {**OURS, "ours": False}}}
    assert reason(wanted(new_authority=True), found(MINE, files=own)) == ""


def recording(what: Desired, there: Observed) -> list[tuple[str, str]]:
    return [(change.action, change.name) for change in ownership.changes(what, there)]


def test_what_is_recorded() -> None:
    assert recording(wanted(), EMPTY) == [("record", "prod")]
    assert recording(wanted(), found(MINE)) == []
    assert recording(wanted(), found()) == [("record", "prod")]
    label = replace(EMPTY, volume=True, owner={"environment": MINE, "file": False})
    assert recording(wanted(), label) == [("record", "prod")]
    assert recording(wanted(take_over=True), found(THEIRS)) == [("take over into", "prod")]
    assert recording(wanted(environment=""), found()) == []
    # The control node keeps the identity that the host has recorded.
    assert recording(wanted(**NEW), found(THEIRS)) == []
    assert ownership.restored(wanted(**NEW), found(THEIRS)) == THEIRS
    assert ownership.restored(wanted(), found(THEIRS)) == ""
    assert planning.PARTS[0].kinds == (ownership.KIND,), "before anything else is done"


def test_the_record_stays_as_long_as_there_is_data() -> None:
    what = wanted()

    def kinds(there: Observed, remove_data: bool) -> list[str]:
        return [change.kind for change in verbs.absent(what, there, remove_data).changes]

    assert ownership.KIND not in kinds(found(MINE), remove_data=False)
    assert kinds(found(MINE), remove_data=True)[-2:] == ["volume", ownership.KIND]
    assert kinds(replace(found(MINE), volume=False), remove_data=False)[-1] == ownership.KIND


def test_claims_travel() -> None:
    what = wanted(made=("roles/web",), authorities=("x",))
    assert Desired.from_dict(json.loads(json.dumps(what.to_dict()))) == what


def test_a_record_that_says_nothing_is_none(tmp_path: Path) -> None:
    directory = tmp_path / "shop-single"
    labels = {record.LABEL: THEIRS}
    assert record.read(directory) == {}
    assert record.read(directory, labels) == {"environment": THEIRS, "file": False}
    for text in ("", "[]", "{"):
        record.path_of(directory).write_text(text)
        assert record.read(directory) == {}
    record.path_of(directory).write_text(record.text(MINE, "me@here", 7))
    expected = {"environment": MINE, "from": "me@here", "since": 7, "file": True}
    assert record.read(directory, labels) == expected


@pytest.fixture
def ignoring(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(C.config, "get_config_value", lambda name: ["^secrets$"])


@pytest.mark.usefixtures("ignoring")
def test_the_identity_is_made_once_and_private(tmp_path: Path) -> None:
    dry = Environment(str(tmp_path), dry=True)
    assert (dry.fresh, len(dry.identity), list(tmp_path.iterdir())) == (True, 32, [])
    made = Environment(str(tmp_path), dry=False)
    path = tmp_path / "secrets" / FILE
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    again = Environment(str(tmp_path), dry=True)
    assert (again.fresh, again.identity) == (False, made.identity)
    again.keep("another one, which is late")
    assert Environment(str(tmp_path), dry=True).identity == made.identity


@pytest.mark.usefixtures("ignoring")
def test_copies_of_older_secrets_agree(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name / "secrets/ca").mkdir(parents=True)
        (tmp_path / name / "secrets/ca/ca.crt").write_text("certificate")
    one, two = (Environment(str(tmp_path / name), dry=False) for name in ("one", "two"))
    assert one.identity == two.identity


def test_an_inventory_without_a_directory_has_none() -> None:
    nowhere = Environment(None, dry=True)
    assert (nowhere.identity, nowhere.fresh, nowhere.claim().asks) == ("", False, True)


def test_a_new_member_is_refused_where_the_others_are_not_ours(tmp_path: Path, ignoring: None) -> None:
    def member(look: dict[str, Any]) -> dict[str, Any]:
        return {"postgres_cluster": "shop", "postgres_stack": "replica", "instance_host": look}

    environment = Environment(str(tmp_path), dry=False)
    hosts = {"db1": member({"environment": {"environment": THEIRS}}), "db2": member({"environment": {}})}
    with pytest.raises(AzaError) as caught:
        environment.refuse_foreign_members({"hostvars": hosts}, "shop", "db2")
    assert caught.value.reason == ownership.FOREIGN
    environment.refuse_foreign_members({"hostvars": hosts}, "shop", "db1")
    environment.refuse_foreign_members({"hostvars": hosts}, "other", "db2")


def test_a_rotation_that_goes_on_is_no_other_environment(tmp_path: Path, ignoring: None) -> None:
    store = SecretStore(str(tmp_path), "shop")
    old = store.get("postgres_password")
    assert store.previous("postgres_password") == ""
    store.renew("postgres_password")
    secrets = InstanceSecrets("", [], lambda: store)
    handed = handed_secrets.values([], describe(), secrets, None)
    assert handed["previous/postgres_password"] == old != handed["postgres_password"]
    rotating = {PASSWORD: {"type": "file", "matches": False, "was_ours": True}}
    assert reason(wanted(), found(files=rotating)) == ""
