# SPDX-License-Identifier: Apache-2.0
"""PgBouncer's files: pool sizes that fit the server, rules that let no other user in, quoting, what differs."""

from __future__ import annotations

import string
from dataclasses import replace
from typing import Any

import pytest
import yaml
from ansible_collections.aza.pg.plugins.module_utils.errors import AzaError
from ansible_collections.aza.pg.plugins.module_utils.instance import container_parts, files
from ansible_collections.aza.pg.plugins.module_utils.model.desired import Desired
from ansible_collections.aza.pg.plugins.module_utils.model.observed import Observed
from ansible_collections.aza.pg.plugins.module_utils.planning.plan import hold
from ansible_collections.aza.pg.plugins.module_utils.services.pgbouncer import drift as pool_drift
from ansible_collections.aza.pg.plugins.module_utils.services.pgbouncer import files as pgbouncer
from ansible_collections.aza.pg.plugins.module_utils.services.pgbouncer import settings as pool_settings
from ansible_collections.aza.pg.plugins.module_utils.tls import certificate as tls
from ansible_collections.aza.pg.plugins.plugin_utils.control_secrets import pgpass_escape
from ansible_collections.aza.pg.tests.unit import declarations
from hypothesis import given
from hypothesis import strategies as st

FACTS = {"names": ["localhost", "postgres", "127.0.0.1"], "fingerprint": "f", "expires": 0}
PRINTABLE = "".join(map(chr, range(32, 127)))


def describe(uid: int = 0, settings: dict[str, Any] | None = None, **changes: Any) -> Desired:
    base: dict[str, Any] = {
        "tls": True,
        "certificate": FACTS,
        "pgbouncer": True,
        "pgbouncer_settings": settings or {},
        "authority": "ROOT\n",
    }
    return declarations.describe(uid, **{**base, **changes})


def text(wanted: Desired, path: str) -> str:
    return next(item.text or "" for item in wanted.files if item.path == path)


def ini(wanted: Desired) -> tuple[dict[str, str], dict[str, dict[str, str]]]:
    return pool_drift.read(text(wanted, pgbouncer.INI))


def compose(wanted: Desired) -> dict[str, Any]:
    return dict(yaml.safe_load(text(wanted, "compose.yml"))["services"][pgbouncer.NAME])


# -- the container -----------------------------------------------------------------------------------


def test_the_container_is_hardened_and_limited() -> None:
    found = compose(describe())
    assert (found["user"], found["read_only"], found["cap_drop"]) == ("6432:6432", True, ["ALL"])
    assert found["security_opt"] == ["no-new-privileges:true"]
    assert (found["mem_limit"], found["ulimits"]) == ("256m", {"nofile": pool_settings.FILES})
    assert found["ports"] == ["127.0.0.1:6432:6432"]
    assert "environment" not in found and "secrets" not in found
    assert compose(describe(uid=1000))["user"] == "1000:1000"


def test_secrets_belong_to_its_own_user() -> None:
    wanted = describe()
    found = {
        item.path: item for item in wanted.files if item.path.startswith(pgbouncer.DIRECTORY) and item.secret
    }
    assert set(found) == {pgbouncer.USERLIST, pgbouncer.CERTIFICATE}
    for item in found.values():
        assert (item.mode, wanted.owner(item, (0, 0)), item.reader) == (0o400, (6432, 6432), pgbouncer.NAME)
    assert found[pgbouncer.CERTIFICATE].secret == tls.SECRET


def test_the_health_check_is_a_query_of_its_own_role() -> None:
    script = compose(describe())["healthcheck"]["test"][-1]
    # Compose makes one dollar of two.
    assert script.count("$") == 2 * script.count("$$")
    assert (
        "user\\000aza_health\\000database\\000postgres\\000\\000Q\\000\\000\\000\\015select 1\\000" in script
    )


# -- settings ----------------------------------------------------------------------------------------


def test_what_the_user_says_wins() -> None:
    values, databases = ini(describe(settings={"pool_mode": "session", "Max_Client_Conn": 50}))
    assert (values["pool_mode"], values["max_client_conn"]) == ("session", "50")
    assert int(values["max_prepared_statements"]) > 0
    values, databases = ini(describe(settings={"default_pool_size": 7, "server_fast_close": True}))
    assert (values["default_pool_size"], values["server_fast_close"]) == ("7", "1")
    assert set(databases["postgres"]) == {"host", "port"}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"auth_query": "select 1"}, "'auth_query' belongs to the stack: the stack sets"),
        ({"listen_port": 1}, "use postgres_pgbouncer_port"),
        ({"pool_mod": "session"}, "no setting 'pool_mod'; did you mean 'pool_mode'?"),
        ({"pool_mode": None}, "'pool_mode' needs a value, not nothing"),
        ({"pool_mode": "a\nb = c"}, "holds a line break"),
        ({"pool_mode": 1, "POOL_MODE": 2}, "is declared twice"),
        ({"max_client_conn": 16300}, "needs more files than the container may open"),
    ],
)
def test_settings_that_cannot_be(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(AzaError) as caught:
        describe(settings=settings)
    assert message in caught.value.msg and caught.value.msg.startswith(pool_settings.VARIABLE)


def test_only_what_is_read_at_its_start_makes_another_container() -> None:
    def container(**settings: Any) -> str:
        return next(
            item.config_hash for item in describe(settings=settings).services if item.name == pgbouncer.NAME
        )

    assert container() == container(max_client_conn=7) != container(listen_backlog=7)


# -- how many connections ----------------------------------------------------------------------------

SIZES = st.dictionaries(st.sampled_from("abcdefgh"), st.integers(0, 40), min_size=1)


@given(SIZES, st.integers(5, 5000), st.integers(0, 20), st.integers(0, 20))
def test_the_pools_never_exceed_what_the_server_gives(
    sizes: dict[str, int], connections: int, superusers: int, reserved: int
) -> None:
    given_to_pools = pool_settings.capacity(connections, superusers, reserved)
    found = pool_settings.shares(given_to_pools, {**sizes, "*": 0}, ["*"])
    assert set(found) == {*sizes, "*"} and min(found.values()) >= 1
    assert all(found[name] == size for name, size in sizes.items() if size)
    fits = sum(sizes.values()) + sum(not size for size in sizes.values()) + 1 <= given_to_pools
    if fits:
        others = (
            pool_settings.AUTH_CONNECTIONS
            + pool_settings.EXPORTER_CONNECTIONS
            + pool_settings.TOOLKIT_CONNECTIONS
        )
        assert sum(found.values()) + others + superusers + reserved <= connections


@given(SIZES, st.integers(0, 3000), st.integers(0, 500))
def test_more_connections_never_make_a_pool_smaller(sizes: dict[str, int], few: int, more: int) -> None:
    less, greater = (pool_settings.shares(pool_settings.capacity(n), sizes, ["a"]) for n in (few, few + more))
    assert all(less[name] <= greater[name] for name in less)
    assert pool_settings.clients(few) <= pool_settings.clients(few + more)


def test_databases_and_their_sizes() -> None:
    declared = {
        "databases": [{"name": "shop", "pool_size": 9}, {"name": "a b"}, {"name": "old", "state": "absent"}],
        "roles": [],
    }
    _, databases = ini(describe(**declared, database="main"))
    assert {name: found.get("pool_size") for name, found in databases.items()} == {
        "aza_pgbouncer": "2",
        "postgres": "2",
        "main": "54",
        "shop": "9",
        "*": "2",
    }
    assert databases["aza_pgbouncer"]["dbname"] == "postgres"
    _, databases = ini(describe())
    assert databases["postgres"]["pool_size"] == "65"


def test_the_servers_own_settings_decide() -> None:
    parameters = {"max_connections": 1000, "reserved_connections": 100}
    wanted = describe_with_server_settings(parameters)
    assert (
        int(ini(wanted)[1]["postgres"]["pool_size"])
        == pool_settings.capacity(1000, 3, 100) - pool_settings.UNDECLARED
    )


def describe_with_server_settings(server: dict[str, Any], **changes: Any) -> Desired:
    return declarations.describe(settings=server, pgbouncer=True, **changes)


@pytest.mark.parametrize(
    ("databases", "message"),
    [
        ([{"name": "a", "pool_size": 60}, {"name": "b", "pool_size": 60}], "add up to 120"),
        ([{"name": "pgbouncer"}], "PgBouncer's own name"),
        ([{"name": "a b", "pool_size": 1}], "can name a database only in letters"),
    ],
)
def test_databases_that_cannot_be(databases: list[dict[str, Any]], message: str) -> None:
    with pytest.raises(AzaError, match=message):
        describe(databases=databases)


def test_its_roles_are_nobody_elses() -> None:
    for name in ("aza_pgbouncer", "aza_health"):
        with pytest.raises(AzaError, match="belongs to PgBouncer"):
            describe(roles=[name])
    declared = {item["name"] for item in describe().objects["roles"]}
    assert {"aza_pgbouncer", "aza_health"} <= declared
    assert not {item["name"] for item in describe(pgbouncer=False).objects.get("roles", ())}


# -- quoting -----------------------------------------------------------------------------------------


def unquoted(line: str) -> list[str]:
    """As PgBouncer reads a line of its list: a quotation mark within a value is declared twice."""
    found, rest = [], line
    while rest.strip():
        rest = rest.lstrip()[1:]
        value = ""
        while not rest.startswith('"') or rest.startswith('""'):
            value, rest = value + rest[0], rest[2 if rest.startswith('""') else 1 :]
        found.append(value)
        rest = rest[1:]
    return found


@given(st.text(PRINTABLE, min_size=1), st.text(PRINTABLE, min_size=1))
def test_the_list_of_users(name: str, password: str) -> None:
    assert unquoted(pgbouncer.userlist({name: password}).splitlines()[0]) == [name, password]
    assert pgbouncer.passwords_of(pgbouncer.userlist({name: password}))[name] == password


def test_every_printable_character() -> None:
    line = pgbouncer.userlist({"u": PRINTABLE}).splitlines()[0]
    assert line == '"u" "' + PRINTABLE.replace('"', '""') + '"'
    escaped = pgpass_escape(PRINTABLE)
    assert escaped.replace("\\:", ":").replace("\\\\", "\\") == PRINTABLE
    assert len(escaped) == len(PRINTABLE) + 2
    assert set(string.printable) - set(string.whitespace) <= set(PRINTABLE)


# -- how it verifies the server ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("names", "host"),
    [
        (["localhost", "postgres"], "postgres"),
        (["10.0.0.1", "db.example.org", "localhost"], "db.example.org"),
        (["*.example.org"], "postgres.example.org"),
    ],
)
def test_the_server_is_verified_in_full_by_a_name_that_it_has(names: list[str], host: str) -> None:
    wanted = describe(certificate={**FACTS, "names": names})
    values, databases = ini(wanted)
    assert (values["server_tls_sslmode"], databases["postgres"]["host"]) == ("verify-full", host)
    assert text(wanted, pgbouncer.AUTHORITY) == "ROOT\n"
    links = [] if host == "postgres" else [f"postgres:{host}"]
    assert compose(wanted).get("links", []) == links


def test_a_server_that_could_not_be_verified_is_refused() -> None:
    with pytest.raises(AzaError, match="comes without its root"):
        describe(authority="")
    with pytest.raises(AzaError, match="names no host"):
        describe(certificate={**FACTS, "names": ["10.0.0.1", "localhost"]})
    values, _ = ini(describe(tls=False, authority=""))
    assert values["server_tls_sslmode"] == values["client_tls_sslmode"] == "disable"


# -- what differs ------------------------------------------------------------------------------------


def running(wanted: Desired, **changes: Any) -> Observed:
    values, databases = ini(wanted)
    service = wanted.service(pgbouncer.NAME)
    assert service is not None
    says = {
        "version": "PgBouncer 1.26.1",
        "config": {
            **values,
            "conffile": pgbouncer.CONFFILE,
            "auth_type": "hba",
            "verbose": "0",
            "peer_id": "0",
        },
        "defaults": {**dict.fromkeys(values, ""), "conffile": "", "verbose": "", "peer_id": "0"},
        "state": ["active"],
        "databases": [
            {"name": name, "pool_size": int(found["pool_size"])} for name, found in databases.items()
        ],
        "pools": [],
        "loaded": 100.0,
        "certificate": "f",
        **changes,
    }
    container = {"state": "running", "health": "healthy", "restarts": 0, "exit_code": 0}
    files = {pgbouncer.CERTIFICATE: {"modified": 50.0, "certificate": {"fingerprint": "f"}}}
    files |= {pgbouncer.HBA: {"modified": 50.0}}
    return Observed(containers={pgbouncer.NAME: container}, reports={pgbouncer.NAME: says}, files=files)


def why(wanted: Desired, found: Observed) -> str:
    return "".join(change.why for change in pool_drift.reload(wanted, found, ()))


def test_what_is_not_active_is_read_again() -> None:
    wanted = describe()
    assert why(wanted, running(wanted)) == ""
    assert why(wanted, replace(running(wanted), reports={})) == ""
    config = {**ini(wanted)[0], "max_client_conn": "5", "log_stats": "0"}
    for name, value in (
        ("auth_type", "trust"),
        ("peer_id", "7"),
        ("conffile", "/tmp/x"),
        ("stats_users", "me"),
    ):
        message = why(
            wanted, running(wanted, config={**ini(wanted)[0], "conffile": pgbouncer.CONFFILE, name: value})
        )
        assert message.startswith(f"its {name} is {value}, and "), message
    assert why(wanted, running(wanted, config=config)).startswith(
        "its max_client_conn is 5, and declared is "
    )
    assert "it presents another certificate" in why(wanted, running(wanted, certificate="old"))
    younger = running(wanted, loaded=40.0)
    assert why(wanted, younger) == f"{pgbouncer.HBA}, {pgbouncer.CERTIFICATE} changed after it was last read"
    shown = [{"name": "postgres", "pool_size": 1}]
    assert why(wanted, running(wanted, databases=shown)) == "the pool of postgres has 1, declared is 65"
    # What is written now is read with that.
    item = next(item for item in wanted.files if item.path == pgbouncer.INI)
    about = list(files.changes(item, wanted, younger))
    assert not list(pool_drift.reload(wanted, younger, about))


def test_another_authority_comes_with_the_certificates() -> None:
    """Or PgBouncer could not verify the server's new one."""
    wanted = describe()
    old = {"type": "file", "sha256": "", "text": "OLD", "mode": 0o644, "uid": 0, "gid": 0}
    found = replace(running(wanted), files={pgbouncer.AUTHORITY: old})
    item = next(item for item in wanted.files if item.path == pgbouncer.AUTHORITY)
    (change,) = files.changes(item, wanted, found)
    assert (change.kind, change.effect, change.reader) == (tls.KIND, "reload", pgbouncer.NAME)


@pytest.mark.parametrize(
    ("one", "other"), [("on", "1"), ("600", "600.0"), ("transaction", "Transaction"), ("a, b", "a, b")]
)
def test_values_are_compared_as_pgbouncer_reads_them(one: str, other: str) -> None:
    assert pool_settings.same(one, other)
    for left, right in (("5", "6"), ("off", "1"), ("hba", "trust"), ("", "x")):
        assert not pool_settings.same(left, right)


def test_what_a_reload_does_not_undo_is_a_finding() -> None:
    wanted = describe()
    now = running(wanted).reports[pgbouncer.NAME] or {}
    assert not list(pool_drift.by_hand(wanted, now))
    for changes, message in (
        ({"config": {**now["config"], "auth_ident_file": "/x"}}, "its auth_ident_file was set to /x"),
        ({"config": {**now["config"], "verbose": "3"}}, "its verbose was set to 3"),
        ({"state": ["paused"]}, "it is paused"),
        ({"databases": [{"name": "shop", "paused": 1, "disabled": 0}]}, "the database shop is paused"),
        ({"databases": [{"name": "shop", "paused": 0, "disabled": 1}]}, "the database shop is disabled"),
    ):
        (found,) = pool_drift.by_hand(wanted, {**now, **changes})
        assert found.state == "red" and found.message.startswith(message)
    # A declared value is the file's, and RELOAD brings it back.
    declared = describe(settings={"client_tls13_ciphers": "TLS_AES_256_GCM_SHA384"})
    other = {**now["config"], "client_tls13_ciphers": "x"}
    assert not list(pool_drift.by_hand(declared, {**now, "config": other}))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({}, ["green PgBouncer 1.26.1 answers on port 6432, with 0 connections"]),
        (
            {
                "pools": [
                    {
                        "database": "shop",
                        "user": "web",
                        "cl_waiting": 3,
                        "maxwait": 9,
                        "sv_active": 2,
                        "sv_idle": 0,
                    }
                ]
            },
            ["yellow 3 clients wait for a connection to shop as web, the first for 9 s"],
        ),
    ],
)
def test_findings(changes: dict[str, Any], message: list[str]) -> None:
    wanted = describe()
    found = [
        f"{item.state} {item.message}" for item in pool_drift.findings(wanted, running(wanted, **changes))
    ]
    assert len(found) == len(message) and all(
        one.startswith(other) for one, other in zip(found, message, strict=True)
    )


def test_findings_of_what_does_not_answer_or_run() -> None:
    wanted = describe()
    silent = replace(running(wanted), reports={})
    assert [item.message for item in pool_drift.findings(wanted, silent)] == ["its console does not answer"]
    dead = {**silent.containers[pgbouncer.NAME], "state": "exited", "exit_code": 1}
    assert [
        item.message
        for item in pool_drift.findings(wanted, replace(silent, containers={pgbouncer.NAME: dead}))
    ] == ["it is exited (exit code 1)"]
    assert not list(pool_drift.findings(describe(pgbouncer=False), silent))


def test_it_goes_with_everything_that_it_had() -> None:
    wanted = describe(pgbouncer=False)
    assert {item.path for item in wanted.leftovers} >= {"pgbouncer", "run-pgbouncer"}
    foreign = f"{wanted.project}-{pgbouncer.NAME}"
    found = Observed(
        orphans={foreign: {"state": "running", "volumes": []}},
        files={"pgbouncer": {"type": "directory", "foreign": True}},
        host={"uid": 0, "gid": 0},
    )
    changes = [
        *container_parts.Containers().plan(wanted, found, ()),
        *container_parts.Remains().plan(wanted, found, ()),
    ]
    assert [(item.kind, item.action) for item in changes if item.action == "remove"] == [
        ("container", "remove"),
        ("directory", "remove"),
    ]
    # While clients may not be disconnected, its files stay.
    held = hold(changes, ())
    assert not [item for item in held.changes if item.action == "remove"]
