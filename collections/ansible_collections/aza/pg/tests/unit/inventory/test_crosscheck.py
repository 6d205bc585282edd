# SPDX-License-Identifier: Apache-2.0
"""What contradicts what: each rule with a declaration that breaks it, and with its neighbour that does not."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.aza.pg.plugins.module_utils.catalog import load_catalog, solve
from ansible_collections.aza.pg.plugins.module_utils.inventory.check import Host, check_host, check_inventory
from ansible_collections.aza.pg.plugins.module_utils.inventory.contents import Contents, contents_of
from ansible_collections.aza.pg.plugins.module_utils.inventory.declared import written
from ansible_collections.aza.pg.plugins.module_utils.inventory.plain import Unresolved
from ansible_collections.aza.pg.plugins.module_utils.inventory.specs import load_specs

ROOT = next(parent for parent in Path(__file__).resolve().parents if (parent / "ansible.cfg").is_file())
SPECS = load_specs([ROOT / "roles"])
CATALOG = load_catalog(ROOT / "image")


def contents(values: Mapping[str, Any]) -> Contents:
    chosen = values["image_extensions"]
    return contents_of(CATALOG, solve(CATALOG, "debian", values["image_flavour"], chosen), built=["unaccent"])


def message(**values: Any) -> list[str]:
    found = check_host("db1", {"postgres_cluster": "shop", **values}, SPECS, contents)
    return [f"{written(problem.path)}: {problem.message}" for problem in found]


def roles(*names: str, **more: Any) -> dict[str, Any]:
    return {"postgres_roles": [{"name": name} for name in names], **more}


def one(**database: Any) -> dict[str, Any]:
    return {"postgres_databases": [{"name": "shop", **database}]}


def rule(**keys: Any) -> dict[str, Any]:
    return {"postgres_hba": [{"addresses": ["10.0.0.0/24"], **keys}]}


CERTIFICATE = {"postgres_tls_certificate": "a.pem", "postgres_tls_key": "a.key"}
AUTHORITY = {"postgres_tls_ca_certificate": "ca.pem", "postgres_tls_ca_key": "ca.key"}
REPLICATED = {"name": "x", "state": "absent"}


@pytest.mark.parametrize(
    ("values", "place", "words"),
    [
        # roles
        (one(owner="shpo") | roles("shop"), "postgres_databases[0].owner", "did you mean 'shop'?"),
        (one(owner="x"), "postgres_databases[0].owner", "the role 'x' is not declared in postgres_roles"),
        (one(owner="pg_x"), "postgres_databases[0].owner", "not declared"),
        (
            one(owner="x") | {"postgres_roles": [REPLICATED]},
            "postgres_databases[0].owner",
            "the role 'x' is needed here, and postgres_roles[0] declares it absent",
        ),
        (
            one(schemas=[{"name": "api", "owner": "x"}]),
            "postgres_databases[0].schemas[0].owner",
            "not declared",
        ),
        (one(access={"read_only": ["x"]}), "postgres_databases[0].access.read_only[0]", "not declared"),
        (one(access={"connect": ["x"]}), "postgres_databases[0].access.connect[0]", "not declared"),
        (
            {"postgres_roles": [{"name": "a", "member_of": ["b"]}]},
            "postgres_roles[0].member_of[0]",
            "the role 'b' is not declared",
        ),
        (
            {"postgres_roles": [{"name": "a", "member_of": [{"role": "b", "admin": True}]}]},
            "postgres_roles[0].member_of[0]",
            "the role 'b' is not declared",
        ),
        (
            {"postgres_roles": [{"name": "b"}, {"name": "a", "member_of": ["b", {"role": "b"}]}]},
            "postgres_roles[1].member_of[1]",
            "is declared twice",
        ),
        (
            {"postgres_roles": [{"name": "a", "member_of": ["b"]}, {"name": "b", "member_of": ["a"]}]},
            "postgres_roles[0].member_of",
            "circular memberships: a → b → a",
        ),
        (
            {"postgres_roles": [{"name": "a", "state": "absent", "reassign_to": "b"}]},
            "postgres_roles[0].reassign_to",
            "not declared",
        ),
        (
            {"postgres_roles": [{"name": "a", "state": "absent", "reassign_to": "a"}]},
            "postgres_roles[0].reassign_to",
            "is the role that is removed",
        ),
        (
            roles("b") | {"postgres_roles": [{"name": "a", "reassign_to": "postgres"}]},
            "postgres_roles[0].reassign_to",
            "state: absent",
        ),
        (roles("a", "b", "a"), "postgres_roles[2]", "is declared twice, first in postgres_roles[0]"),
        (
            {"postgres_roles": [{"name": "a"}, {"name": "a", "state": "absent"}]},
            "postgres_roles[1]",
            "is declared twice",
        ),
        (
            {"postgres_roles": [{"name": "a", "password": "twelve letters", "passwordless": True}]},
            "postgres_roles[0].passwordless",
            "a password is set as well",
        ),
        (
            {"postgres_user": "boss", "postgres_roles": [{"name": "boss", "state": "absent"}]},
            "postgres_roles[0]",
            "administrator",
        ),
        (roles("public"), "postgres_roles[0].name", "reserves"),
        (roles("none"), "postgres_roles[0].name", "reserves"),
        (roles("pg_me"), "postgres_roles[0].name", "begins with pg_"),
        # databases
        (
            {"postgres_databases": [{"name": "a"}, {"name": "a"}]},
            "postgres_databases[1]",
            "is declared twice",
        ),
        (one(schemas=["a", {"name": "a"}]), "postgres_databases[0].schemas[1]", "is declared twice"),
        (
            one(extensions=["hstore", {"name": "hstore"}]),
            "postgres_databases[0].extensions[1]",
            "is declared twice",
        ),
        (one(template="shpo"), "postgres_databases[0].template", "did you mean 'shop'?"),
        (
            {"postgres_databases": [REPLICATED], "postgres_database": "x"},
            "postgres_databases[0]",
            "which a deploy creates",
        ),
        (
            {"postgres_databases": [{"name": "postgres", "state": "absent"}]},
            "postgres_databases[0]",
            "cannot be absent",
        ),
        (
            one(schemas=[REPLICATED], extensions=[{"name": "hstore", "schema": "x"}]),
            "postgres_databases[0].extensions[0].schema",
            "the schema 'x' is needed here",
        ),
        # who may connect
        (rule(roles=["+x"]), "postgres_hba[0].roles[0]", "the role 'x' is not declared"),
        (rule(databases=["shpo"]) | one(), "postgres_hba[0].databases[0]", "did you mean 'shop'?"),
        (
            rule(databases=["x"]) | {"postgres_databases": [REPLICATED]},
            "postgres_hba[0].databases[0]",
            "declares it absent",
        ),
        (rule(options={"map": "x"}), "postgres_hba[0].options.map", "is not declared in postgres_ident"),
        (rule(type="local"), "postgres_hba[0].addresses", "has no addresses"),
        (rule(addresses=[]), "postgres_hba[0]", "needs addresses"),
        (rule(method="peer"), "postgres_hba[0].method", "type: local"),
        (rule(method="cert", type="host"), "postgres_hba[0].method", "type: hostssl"),
        (rule() | {"postgres_tls": False}, "postgres_hba[0]", "never matches"),
        (
            {"postgres_ident": [{"map": "m", "system": "s", "role": "x"}]},
            "postgres_ident[0].role",
            "not declared",
        ),
        # variables
        ({"postgres_tls_certificate": "a.pem"}, "postgres_tls_certificate", "needs postgres_tls_key"),
        ({"postgres_tls_key": "a.pem"}, "postgres_tls_key", "needs postgres_tls_certificate"),
        ({"postgres_tls_ca_key": "a.pem"}, "postgres_tls_ca_key", "needs postgres_tls_ca_certificate"),
        (CERTIFICATE | AUTHORITY, "postgres_tls_ca_certificate", "would sign nothing"),
        ({"postgres_exporter_port": 5432}, "postgres_exporter_port", "is the port of the server"),
        (
            {"postgres_pgbouncer": True, "postgres_pgbouncer_port": 5432},
            "postgres_pgbouncer_port",
            "5432 is the port of the server (postgres_port); give PgBouncer another one",
        ),
        (
            {"postgres_pgbouncer": True, "postgres_exporter_port": 6432},
            "postgres_exporter_port",
            "6432 is the port of PgBouncer (postgres_pgbouncer_port); give the exporter another one",
        ),
        ({"postgres_roles": [{"name": "aza_health"}]}, "postgres_roles[0]", "belongs to PgBouncer"),
        (
            {"postgres_exporter_port": "5432", "postgres_exporter_publish_address": "0.0.0.0"},
            "postgres_exporter_port",
            "is the port of the server",
        ),
        ({"postgres_publish_address": "10.0.0.1"}, "postgres_publish_address", "postgres_allow_from"),
        # the image
        (one(extensions=["hstor"]), "postgres_databases[0].extensions[0]", "did you mean 'hstore'?"),
        (
            one(extensions=[{"name": "pgvector"}]),
            "postgres_databases[0].extensions[0]",
            "did you mean 'vector'?",
        ),
        (one(extensions=["postgis"]), "postgres_databases[0].extensions[0]", "add it to image_extensions"),
        (one(extensions=["auto_explain"]), "postgres_databases[0].extensions[0]", "is a module"),
        (
            one(extensions=["timescaledb"])
            | {"image_flavour": "full", "postgres_extra_preload_libraries": ["pg_show_plans"]},
            "postgres_databases[0].extensions[0]",
            "which cannot be loaded beside 'pg_show_plans'",
        ),
        (
            one(extensions=["pg_cron"]),
            "postgres_databases[0].extensions[0]",
            "in the database 'postgres' only",
        ),
        (
            one(extensions=["pg_cron"]) | {"postgres_extra_preload_libraries": ["pg_cron"]},
            "postgres_databases[0].extensions[0]",
            "in the database 'postgres' only",
        ),
        (
            one(extensions=["earthdistance", {"name": "cube", "state": "absent"}]),
            "postgres_databases[0].extensions[0]",
            "needs 'cube', which postgres_databases[0].extensions[1] declares absent",
        ),
        (
            {"postgres_extra_preload_libraries": ["pg_crn"]},
            "postgres_extra_preload_libraries[0]",
            "did you mean 'pg_cron'?",
        ),
        (
            {"image_flavour": "full", "postgres_extra_preload_libraries": ["timescaledb", "pg_show_plans"]},
            "postgres_extra_preload_libraries[1]",
            "cannot be loaded into one server",
        ),
        (
            {"image_extensions": ["nonsense"]},
            "image_extensions",
            "image_extensions: unknown extension 'nonsense'",
        ),
        ({"image_flavour": "fat"}, "image_flavour", "image_flavour: unknown flavour 'fat'"),
    ],
)
def test_each_contradiction_has_one_sentence(values: dict[str, Any], place: str, words: str) -> None:
    (problem,) = message(**values)
    assert problem.startswith(f"{place}: ")
    assert words in problem
    assert problem.count(f"{place}: ") == 1


@pytest.mark.parametrize(
    "values",
    [
        roles("shop", "app") | one(owner="shop", access={"read_write": ["app"], "read_only": ["pg_monitor"]}),
        roles("2024") | one(owner="2024"),
        one(owner="postgres"),
        one(owner="boss") | {"postgres_user": "boss"},
        one(access={"connect": ["aza_monitor"]}),
        {"postgres_roles": [{"name": "a", "state": "absent", "reassign_to": "postgres"}]},
        {"postgres_roles": [{"name": "a", "member_of": ["pg_monitor", {"role": "postgres"}]}]},
        # An absent object needs no one.
        {"postgres_databases": [{"name": "x", "owner": "gone", "state": "absent"}]},
        {
            "postgres_databases": [
                {"name": "a"},
                {"name": "b", "template": "a"},
                {"name": "c", "template": "template0"},
            ]
        },
        rule(roles=["all", "/^app_"], databases=["all", "sameuser", "replication", "postgres", "/x"]),
        rule(options={"map": "m"}) | {"postgres_ident": [{"map": "m", "system": "/^(.*)$", "role": "\\1"}]},
        {"postgres_hba": [{"type": "local", "method": "peer", "options": {"map": "aza"}}]},
        rule(type="host") | {"postgres_tls": False},
        {"postgres_publish_address": "10.0.0.1"} | rule(),
        CERTIFICATE,
        AUTHORITY,
        {"postgres_exporter_port": 5432, "postgres_exporter": False},
        {"postgres_pgbouncer_port": 5432, "postgres_pgbouncer": False},
        {"postgres_exporter_port": 5432, "postgres_exporter_publish_address": "127.0.0.2"},
        one(extensions=["hstore", "vector", "plpgsql", "pg_stat_statements"]),
        one(extensions=["pg_cron"])
        | {
            "postgres_extra_preload_libraries": ["pg_cron"],
            "postgres_settings": {"cron.database_name": "shop"},
        },
        one(extensions=["postgis"]) | {"image_extensions": ["postgis"]},
        # What the image that was built last has, whatever the inventory chooses now.
        one(extensions=["unaccent"]) | {"image_flavour": "minimal"},
        # A user's own image: its server knows, we do not.
        one(extensions=["their_own"]) | {"postgres_image": "registry/x:1@sha256:0"},
        {"postgres_extra_preload_libraries": ["$libdir/plugins/mine", "vector", "wal2json"]},
    ],
)
def test_what_fits_together_is_not_objected_to(values: dict[str, Any]) -> None:
    assert message(**values) == []


@pytest.mark.parametrize("broken", [Unresolved("x"), "text", [{"nmae": "a"}], [Unresolved("x")]])
def test_who_cannot_be_read_may_be_anybody(broken: Any) -> None:
    """One mistake is one sentence: a role that cannot be read does not make every owner unknown."""
    (problem,) = [
        text for text in message(postgres_roles=broken, **one(owner="a")) if "unknown key" not in text
    ]
    assert problem.startswith("postgres_roles")


def hosts(*given: dict[str, Any]) -> list[str]:
    built = {}
    for number, values in enumerate(given):
        ours = {"postgres_cluster": f"c{number}", **values}
        built[f"db{number}"] = Host(ours, ours.pop("machine", f"10.0.0.{number}"))
    return [
        f"{problem.host} {written(problem.path)}: {problem.message}"
        for problem in check_inventory(built, SPECS)
    ]


SAME = {"machine": "10.0.0.9"}
PORTS = {
    "postgres_port": 1,
    "postgres_exporter_port": 2,
    "postgres_pgbouncer_port": 3,
    "postgres_pgbouncer_exporter_port": 4,
}


def member(stack: str, **more: Any) -> dict[str, Any]:
    return {"postgres_cluster": "a", "postgres_stack": stack, **more}


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (
            [SAME, SAME | {"postgres_exporter_port": 9188}],
            "db1 postgres_port: 5432 is taken on that machine by the host db0",
        ),
        ([SAME | {"postgres_port": 1}, SAME], "db1 postgres_exporter_port: 9187 is taken"),
        (
            [SAME, SAME | {"postgres_port": 9187, "postgres_exporter": False}],
            "db1 postgres_port: 9187 is taken on that machine",
        ),
        (
            [
                SAME,
                SAME
                | {
                    "postgres_publish_address": "0.0.0.0",
                    "postgres_allow_from": ["10.0.0.0/8"],
                    "postgres_exporter": False,
                },
            ],
            "db1 postgres_port: 5432 is taken",
        ),
        (
            [{"postgres_cluster": "a"}, {"postgres_cluster": "a"}],
            "db1 postgres_cluster: 'a' is the cluster of the host db0 too",
        ),
        (
            [
                SAME | {"postgres_cluster": "a", "postgres_stack": "replica"},
                SAME
                | {
                    "postgres_cluster": "a",
                    "postgres_stack": "replica",
                    "postgres_port": 1,
                    "postgres_exporter_port": 2,
                    "postgres_pgbouncer_port": 3,
                    "postgres_pgbouncer_exporter_port": 4,
                },
            ],
            "db1 postgres_cluster: 'a' is the cluster",
        ),
        (
            [SAME | PORTS | member("primary"), SAME | member("replica")],
            "db1 postgres_cluster: 'a' is the cluster of the host db0 too, which is the same machine",
        ),
        (
            [SAME | PORTS | member("replica"), {"postgres_cluster": "b"}, SAME | member("primary")],
            "db2 postgres_cluster: 'a' is the cluster of the host db0 too, which is the same machine",
        ),
        (
            [member("replica"), member("primary"), member("primary")],
            "db2 postgres_cluster: 'a' is the cluster of the host db1 too, whose stack is primary as well",
        ),
        # Each is fine on a machine of its own.
        (
            [member("primary"), {"postgres_cluster": "a"}],
            "db1 postgres_cluster: 'a' is the cluster of the host db0",
        ),
        (
            [
                SAME | PORTS | member("primary", postgres_cluster="shop-single"),
                SAME | {"postgres_cluster": "shop"},
            ],
            "db1 postgres_cluster: 'shop' (single) would call its network 'aza-pg-shop-single'",
        ),
        (
            [
                SAME | PORTS | member("primary", postgres_cluster="shop"),
                SAME | member("primary", postgres_cluster="shop-pgbouncer"),
            ],
            "db1 postgres_cluster: 'shop-pgbouncer' (primary) would call its network 'aza-pg-shop-pgbouncer', and on "
            "the same machine the host db0 calls its container so",
        ),
        (
            [
                SAME | PORTS | member("primary", postgres_cluster="shop-data"),
                SAME | member("primary", postgres_cluster="shop"),
            ],
            "db1 postgres_cluster: 'shop' (primary) would call its volume 'aza-pg-shop-data', and on the same machine "
            "the host db0 calls its network so",
        ),
    ],
)
def test_what_two_hosts_cannot_both_have(given: list[dict[str, Any]], words: str) -> None:
    (problem,) = [message for message in hosts(*given) if "no primary" not in message]
    assert problem.startswith(words)


@pytest.mark.parametrize(
    "given",
    [
        [{}, {}],
        [SAME, SAME | {"postgres_port": 1, "postgres_exporter_port": 2}],
        [member("primary", postgres_cluster="shop-single"), {"postgres_cluster": "shop"}],
        [SAME | PORTS | member("primary"), SAME | member("primary", postgres_cluster="b")],
        [SAME, SAME | {"postgres_publish_address": "127.0.0.2", "postgres_exporter": False}],
        [
            {"postgres_cluster": "a", "postgres_stack": "primary"},
            {"postgres_cluster": "a", "postgres_stack": "replica"},
        ],
        [
            {"postgres_cluster": "a", "postgres_stack": "primary"},
            {"postgres_cluster": "a", "postgres_stack": "replica"},
            {"postgres_cluster": "a", "postgres_stack": "replica", "postgres_replicate_from": "db1"},
        ],
        [
            {"postgres_cluster": "a", "postgres_stack": "primary"},
            {
                "postgres_cluster": "a",
                "postgres_stack": "replica",
                "postgres_address": "10.0.0.8",
                "machine": "db.example.org",
            },
        ],
    ],
)
def test_what_two_hosts_can_both_have(given: list[dict[str, Any]]) -> None:
    assert hosts(*given) == []


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ([member("replica")], "db0 postgres_stack: the cluster 'a' has no primary"),
        (
            [member("primary"), member("replica", machine="db.example.org")],
            "db1 postgres_address: is missing, and 'db.example.org' is not an IP address; members",
        ),
        (
            [member("primary"), member("replica", postgres_address="db.example.org")],
            "db1 postgres_address: 'db.example.org' is not an IP address",
        ),
        (
            [member("primary"), member("replica", postgres_address="10.0.0.0")],
            "db1 postgres_address: '10.0.0.0' is that of db0 as well",
        ),
        (
            [member("primary"), member("replica", postgres_replicate_from="db9")],
            "db1 postgres_replicate_from: 'db9' is not a member of the cluster 'a'",
        ),
        (
            [
                member("primary"),
                member("replica", postgres_replicate_from="db2"),
                member("replica", postgres_replicate_from="db1"),
            ],
            "db1 postgres_replicate_from: the replicas stream from each other in a circle",
        ),
        (
            [member("primary", postgres_synchronous_replicas=1), member("replica")],
            "db1 postgres_synchronous_replicas: it is 1 on db0",
        ),
        (
            [
                member("primary", postgres_synchronous_replicas=1),
                member("replica", postgres_synchronous_replicas=1, postgres_replay_delay="1h"),
            ],
            "db0 postgres_synchronous_replicas: 1 replicas must confirm each transaction and only 0 can",
        ),
    ],
)
def test_what_no_cluster_can_be(given: list[dict[str, Any]], words: str) -> None:
    assert [message for message in hosts(*given) if message.startswith(words)]
