# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import pytest
import yaml
from ansible_collections.aza.pg.plugins.module_utils.errors import AzaError
from ansible_collections.aza.pg.plugins.module_utils.instance import describe as describing
from ansible_collections.aza.pg.plugins.module_utils.model.desired import Desired
from ansible_collections.aza.pg.plugins.module_utils.model.variables import Variables
from ansible_collections.aza.pg.plugins.module_utils.services import postgres_exporter as exporter
from ansible_collections.aza.pg.tests.unit import declarations

DIGEST = "sha256:" + "a" * 64


def describe(uid: int = 0, **changes: Any) -> Desired:
    image = {
        "reference": "aza-pg/postgres:18",
        "digest": DIGEST,
        "archive": "/x.tar",
        "pinned": f"aza-pg/postgres@{DIGEST}",
    }
    images = {**declarations.IMAGES, "postgres": image}
    return declarations.describe(uid, **{"images": images, "memory_mb": 2048, "shm_size_mb": 200, **changes})


def text_of(wanted: Desired, path: str) -> str:
    return next(item.text or "" for item in wanted.files if item.path == path)


def service(wanted: Desired) -> dict[str, Any]:
    return dict(yaml.safe_load(text_of(wanted, "compose.yml"))["services"]["postgres"])


def test_the_container_is_hardened_and_limited() -> None:
    found = service(describe(cpus=2.0))
    assert found["init"] is True
    assert found["read_only"] is True
    assert found["cap_drop"] == ["ALL"]
    assert found["security_opt"] == ["no-new-privileges:true"]
    assert (found["mem_limit"], found["cpus"], found["shm_size"]) == ("2048m", 2, "200m")
    assert found["ports"] == ["127.0.0.1:5432:5432"]
    assert found["image"].endswith(DIGEST)
    assert found["pull_policy"] == "never"
    assert "user" not in found


def test_no_secret_is_in_any_file_or_in_the_environment() -> None:
    wanted = describe()
    assert service(wanted)["environment"]["POSTGRES_PASSWORD_FILE"] == "/run/secrets/postgres_password"
    assert "POSTGRES_PASSWORD" not in service(wanted)["environment"]
    secret = next(item for item in wanted.files if item.secret)
    assert (secret.text, secret.mode, secret.owner) == (None, 0o400, "postgres")


def test_the_data_volume_is_out_of_reach_of_compose() -> None:
    project = yaml.safe_load(text_of(describe(), "compose.yml"))
    assert project["volumes"]["data"] == {"name": "aza-pg-shop-single-data", "external": True}


def test_an_ordinary_user() -> None:
    wanted = describe(uid=1000)
    assert wanted.directory == "/home/me/.local/share/aza-pg/shop-single"
    assert wanted.socket_link == ""
    assert service(wanted)["user"] == "1000:1000"
    assert "./passwd:/etc/passwd:ro" in service(wanted)["volumes"]
    assert "postgres:x:1000:1000:" in text_of(wanted, "passwd")


def test_root() -> None:
    wanted = describe()
    assert (wanted.directory, wanted.socket_link) == ("/opt/aza-pg/shop-single", "/run/aza-pg/shop-single")
    assert describe(base_dir="/srv/pg/").directory == "/srv/pg/shop-single"


def test_hba_lets_in_nobody_who_was_not_named() -> None:
    rules = [
        line.split() for line in text_of(describe(), "postgres/pg_hba.conf").splitlines() if line[0] != "#"
    ]
    assert rules == [
        ["local", "all", "postgres", "peer", "map=aza"],
        ["local", "all", "all", "scram-sha-256"],
        ["host", "all", "all", "samenet", "scram-sha-256"],
    ]
    assert "10.0.0.0/8 scram-sha-256" in text_of(describe(allow_from=["10.0.0.0/8"]), "postgres/pg_hba.conf")


def test_with_tls_the_network_has_to_speak_it() -> None:
    text = text_of(describe(tls=True, allow_from=["10.0.0.0/8"]), "postgres/pg_hba.conf")
    assert [line.split()[0] for line in text.splitlines()[3:]] == ["local", "local", "hostssl", "hostssl"]


def test_declared_rules_and_who_they_would_shut_out() -> None:
    reject = {"type": "host", "method": "reject", "addresses": ["10.0.0.0/8"]}
    shop = {"type": "host", "roles": ["shop"], "addresses": ["10.1.0.0/16"]}
    text = text_of(describe(hba=[shop, reject]), "postgres/pg_hba.conf")
    assert text.index("shop") < text.index("reject") < text.index("samenet")
    with pytest.raises(AzaError, match=r"postgres_hba\[1\] .* admits no client: postgres_hba\[0\]"):
        describe(hba=[reject, shop])
    with pytest.raises(AzaError, match=r"postgres_allow_from\[0\]"):
        describe(hba=[reject], allow_from=["10.1.0.0/16"])


def test_a_name_with_quotes_stays_a_name() -> None:
    declared = declarations.declaration()
    renamed = {**declared.variables, "postgres_user": 'a"b'}
    wanted = describing.describe(replace(declared, variables=cast(Variables, renamed)), yaml.safe_dump)
    assert '"a""b" peer' in text_of(wanted, "postgres/pg_hba.conf")
    assert 'root "a""b"' in text_of(wanted, "postgres/pg_ident.conf")


def test_the_hash_follows_what_the_container_is_made_of_and_nothing_else() -> None:
    base = describe()
    assert describe().config_hash == base.config_hash
    assert describe(settings={"work_mem": "1MB"}).config_hash == base.config_hash
    assert describe(allow_from=["10.0.0.0/8"]).config_hash == base.config_hash
    for changed in (
        {"memory_mb": 4096},
        {"port": 1234},
        {"workload": "dw"},
        {"extra_preload_libraries": ["x"]},
    ):
        assert describe(**changed).config_hash != base.config_hash


@pytest.mark.parametrize("name", ["ca", "", "-a", "a-", "A", "1a", "a_b", "a" * 41, "ä", "a b", "a\n"])
def test_bad_cluster_names(name: str) -> None:
    with pytest.raises(AzaError, match="postgres_cluster"):
        describe(cluster=name)


@pytest.mark.parametrize("name", ["a", "a1", "shop-eu-1", "a" * 40])
def test_good_cluster_names(name: str) -> None:
    assert describe(cluster=name).instance == f"{name}-single"


def test_ipv6() -> None:
    assert service(describe(publish_address="::1"))["ports"] == ["[::1]:5432:5432"]


def test_the_exporter_may_only_look() -> None:
    wanted = describe(exporter=True)
    found = yaml.safe_load(text_of(wanted, "compose.yml"))["services"]["exporter"]
    assert (found["user"], found["read_only"], found["cap_drop"]) == ("9187:9187", True, ["ALL"])
    assert found["security_opt"] == ["no-new-privileges:true"]
    assert found["ports"] == ["127.0.0.1:9187:9187"]
    assert found["secrets"] == ["exporter_password"]
    assert found["volumes"] == ["./run:/var/run/postgresql:ro"]
    (role,) = [role for role in wanted.objects["roles"] if role["name"] == "aza_monitor"]
    assert [group["role"] for group in role["member_of"]] == ["pg_monitor"]
    assert (role["superuser"], role["connection_limit"]) == (False, 5)
    secret = next(item for item in wanted.files if item.path == "secrets/exporter_password")
    assert (secret.mode, wanted.owner(secret, (0, 0))) == (0o400, (9187, 9187))
    assert secret.secret == "roles/aza_monitor"


def test_the_exporter_of_an_ordinary_user_is_that_user() -> None:
    wanted = describe(uid=1000, exporter=True)
    assert (wanted.services[1].uid, wanted.services[1].gid) == (1000, 1000)


def test_the_exporter_has_a_hash_of_its_own() -> None:
    assert describe(exporter=True).config_hash == describe().config_hash
    one, other = (describe(exporter=True, exporter_port=port).services[1] for port in (1, 2))
    assert one.config_hash != other.config_hash


def test_the_exporters_role_is_not_declared_twice() -> None:
    with pytest.raises(AzaError, match="aza_monitor belongs to the exporter"):
        describe(exporter=True, roles=["aza_monitor"])
    assert describe(roles=["aza_monitor"]).objects["roles"][0]["name"] == "aza_monitor"


@pytest.mark.parametrize(
    ("status", "text", "message"),
    [
        (200, "# HELP pg_up x\npg_up 1\n", ""),
        (200, "pg_up 0\n", "pg_up 0"),
        (200, "go_threads 7\n", "says nothing about pg_up"),
        (500, "pg_up 1\n", "HTTP 500"),
    ],
)
def test_what_a_scrape_says(status: int, text: str, message: str) -> None:
    answer = exporter.judge(status, text)
    assert message in answer if message else answer == ""
