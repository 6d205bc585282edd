# SPDX-License-Identifier: Apache-2.0
"""PgBouncer admits no client that the server rejects, for any declaration."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.aza.pg.plugins.module_utils.errors import AzaError
from ansible_collections.aza.pg.plugins.module_utils.objects import hba
from ansible_collections.aza.pg.plugins.module_utils.services.pgbouncer import rules as pool_rules
from ansible_collections.aza.pg.tests.unit.services.hba_semantics import (
    REJECT,
    Client,
    Place,
    malformed,
    pgbouncer,
    postgres,
)
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

SCRAM = ("scram-sha-256",)
SUBNETS = ("172.20.0.0/16", "fd01::/64")
PLACE = Place((*SUBNETS, "127.0.0.0/8", "::1/128", "fe80::/64"))
CERTIFICATE = {"clientcert": "verify-full"}

DATABASES = [
    "shop",
    "Ledger 2",
    'a"b',
    "x,y",
    "#1",
    "a\u2028b",
    "@file",
    "samegroup",
    "team",
    "postgres",
    "é",
]
ROLES = ["shop", "web", 'q"r', "sameuser", "replication", "all of them", "samenet reject", "team", "boss"]
ADDRESSES = [
    "10.1.2.3",
    "10.9.9.9",
    "172.20.0.1",
    "192.168.7.7",
    "fd01::1",
    "fd00::7",
    "2001:db8::1",
    "fe80::5",
]
NETWORKS = [
    "10.0.0.0/8",
    "10.1.7.7/16",
    "172.20.0.0/24",
    "172.16.0.0/12",
    "0.0.0.0/0",
    "fd00::/8",
    "::/0",
    "fe80::/10",
]


def files(*declared: dict[str, Any], allow: tuple[str, ...] = (), tls: bool = True) -> tuple[str, str]:
    """The server's rules and PgBouncer's."""
    made = hba.rules("boss", hba.normalise(declared), allow, tls)
    return hba.render(made), pool_rules.expand(pool_rules.access(made, "boss"), SUBNETS)


def verdicts(client: Client, *declared: dict[str, Any], **more: Any) -> tuple[tuple[str, ...], str]:
    server, pool = files(*declared, **more)
    return postgres(server, client, PLACE), pgbouncer(pool, client)


@st.composite
def rules(draw: st.DrawFn) -> dict[str, Any]:
    rule: dict[str, Any] = {
        "type": draw(st.sampled_from(["hostssl", "host", "hostnossl"])),
        "databases": draw(
            st.lists(
                st.sampled_from([*DATABASES, "all", "sameuser", "samerole", "replication", "/^s", "/^a.*b$"]),
                min_size=1,
                max_size=3,
            )
        ),
        "roles": draw(
            st.lists(st.sampled_from([*ROLES, "all", "+team", "+web", "/^w"]), min_size=1, max_size=2)
        ),
        "addresses": draw(
            st.lists(
                st.sampled_from(
                    ["all", "samenet", "samehost", "host.example.org", ".example.org", *ADDRESSES, *NETWORKS]
                ),
                min_size=1,
                max_size=2,
            )
        ),
        "method": draw(st.sampled_from(["scram-sha-256"] * 4 + ["reject"] * 3 + ["cert", "ldap"])),
    }
    if rule["method"] == "scram-sha-256" and draw(st.booleans()):
        rule["options"] = CERTIFICATE
    return rule


CLIENTS = st.builds(
    Client,
    address=st.sampled_from(ADDRESSES),
    database=st.sampled_from(DATABASES),
    role=st.sampled_from(ROLES),
    tls=st.booleans(),
    groups=st.frozensets(st.sampled_from(["team", "web", "shop"])),
    replication=st.sampled_from([False, False, False, True]),
    host_name=st.sampled_from(["", "host.example.org"]),
)


@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow])
@given(
    declared=st.lists(rules(), max_size=5),
    allow=st.lists(st.sampled_from(["10.0.0.0/8", "0.0.0.0/0", "::/0"]), max_size=2),
    tls=st.booleans(),
    clients=st.lists(CLIENTS, min_size=1, max_size=12),
)
@example(
    declared=[
        {
            "type": "hostssl",
            "databases": ["a\u2028b"],
            "roles": ["all"],
            "addresses": ["all"],
            "method": "reject",
        }
    ],
    allow=[],
    tls=True,
    clients=[Client("172.20.0.1", "a\u2028b", "web")],
)
def test_whom_the_pool_lets_in_the_server_lets_in_by_the_same_proof(
    declared: list[dict[str, Any]], allow: list[str], tls: bool, clients: list[Client]
) -> None:
    try:
        server, pool = files(*declared, allow=tuple(allow), tls=tls)
    except AzaError as error:
        assert error.reason == "bad_object"
        return
    assert not malformed(pool)
    for client in clients:
        verdict = pgbouncer(pool, client)
        assert verdict in (REJECT, *SCRAM)
        if verdict != REJECT:
            assert postgres(server, client, PLACE) == SCRAM, f"{client}\n{server}\n{pool}"


@settings(max_examples=100)
@given(declared=st.lists(rules(), max_size=4), clients=st.lists(CLIENTS, min_size=1, max_size=12))
def test_what_can_be_expressed_is_as_the_server_has_it(
    declared: list[dict[str, Any]], clients: list[Client]
) -> None:
    """A pool that rejects all clients would be safe, but useless."""
    for rule in declared:
        plain = [name for name in rule["roles"] if not name.startswith(("+", "/"))]
        rule["roles"] = plain or ["web"]
        plain = [name for name in rule["databases"] if name != "samerole" and not name.startswith("/")]
        rule["databases"] = plain or ["shop"]
        plain = [
            name for name in rule["addresses"] if not name.endswith("example.org") and name != "samehost"
        ]
        rule["addresses"] = plain or ["samenet"]
    server, pool = files(*declared)
    for client in clients:
        if client.address.startswith("fe80:"):
            continue  # of samenet, the pool admits the containers' network alone
        expected = postgres(server, client, PLACE)
        if client.role == "boss" or client.replication or expected != SCRAM:
            expected = (REJECT,)
        verdict = pgbouncer(pool, client)
        assert verdict == expected[0], f"{client}\n{server}\n{pool}"


@pytest.mark.parametrize(
    "rule",
    [
        {"options": CERTIFICATE},
        {"method": "cert"},
        {"method": "ldap", "options": {"ldapserver": "x"}},
        {"method": "reject"},
    ],
)
def test_a_password_alone_is_not_enough_where_the_server_asks_for_more(rule: dict[str, Any]) -> None:
    declared = {"databases": ["shop"], "roles": ["shop"], "addresses": ["10.0.0.0/8"], **rule}
    allow = ("10.0.0.0/8",)
    server, pool = verdicts(Client("10.1.2.3", "shop", "shop"), declared, allow=allow)
    assert server != SCRAM and pool == REJECT
    for other in (Client("10.1.2.3", "shop", "web"), Client("10.1.2.3", "Ledger 2", "shop")):
        assert verdicts(other, declared, allow=allow) == (SCRAM, *SCRAM)


@pytest.mark.parametrize(
    "rule",
    [
        {"roles": ["+team"]},
        {"roles": ["/^w"]},
        {"databases": ["samerole"]},
        {"databases": ["/^s"]},
        {"addresses": ["host.example.org"]},
        {"addresses": ["samehost"]},
    ],
)
def test_a_rule_whose_clients_pgbouncer_cannot_tell(rule: dict[str, Any]) -> None:
    """One that admits is left out. One that does not is refused if a later rule admits some of its clients."""
    declared = {"addresses": ["10.0.0.0/8"], **rule}
    assert pool_rules.DIRECT in files(declared)[1]
    for more in ({"method": "reject"}, {"options": CERTIFICATE}, {"method": "cert"}):
        with pytest.raises(AzaError) as refused:
            files({**declared, **more}, allow=("10.1.0.0/16",))
        assert refused.value.reason == "bad_object" and "postgres_hba[0]" in refused.value.msg


def test_a_rejection_covers_more_where_only_the_host_knows_the_addresses() -> None:
    declared = {"roles": ["+team"], "addresses": ["172.20.0.0/24"], "method": "reject"}
    member = Client("172.20.0.1", "shop", "web", groups=frozenset({"team"}))
    assert verdicts(member, declared) == ((REJECT,), REJECT)
    assert verdicts(Client("172.20.0.1", "shop", "web"), declared) == (SCRAM, REJECT)
    assert verdicts(Client("172.20.1.1", "shop", "web"), declared) == (SCRAM, *SCRAM)
    for everywhere in ("all", "0.0.0.0/0", "samenet"):
        with pytest.raises(AzaError):
            files({**declared, "addresses": [everywhere]})


def test_a_database_called_as_an_old_keyword_is_only_itself() -> None:
    declared = {"databases": ["samegroup"], "addresses": ["10.0.0.0/8"]}
    assert verdicts(Client("10.1.2.3", "samegroup", "web"), declared) == (SCRAM, *SCRAM)
    member = Client("10.1.2.3", "team", "web", groups=frozenset({"team"}))
    assert verdicts(member, declared) == ((REJECT,), REJECT)


def test_nobody_replicates_through_the_pool() -> None:
    declared = {"databases": ["replication", "shop"], "addresses": ["10.0.0.0/8"]}
    client = Client("10.1.2.3", "shop", "web", replication=True)
    assert verdicts(client, declared, allow=("0.0.0.0/0",)) == (SCRAM, REJECT)


# -- who may come in ---------------------------------------------------------------------------------


def lines(*declared: dict[str, Any], allow: tuple[str, ...] = (), encrypted: bool = True) -> list[str]:
    made = hba.rules("boss", hba.normalise(declared), allow, encrypted)
    return pool_rules.access(made, "boss").splitlines()[2:]


def test_its_own_access_comes_first_and_administrators_do_not_come_in() -> None:
    found = lines()
    assert found[:3] == [
        "local pgbouncer aza_pgbouncer trust",
        "local pgbouncer aza_stats trust",
        "host postgres aza_health 127.0.0.1/32 trust",
    ]
    assert 'host all aza_pgbouncer,aza_health,aza_stats,"boss" 0.0.0.0/0 reject' in found
    assert found[-1] == "hostssl all all samenet scram-sha-256"
    assert lines(encrypted=False)[-1] == "host all all samenet scram-sha-256"
    assert not [line for line in found if "trust" in line][3:]


def test_declared_clients_are_the_servers() -> None:
    found = lines(
        {"databases": ["shop", "all"], "roles": ["web", "all"], "addresses": ["10.0.0.7", "10.1.2.3/16"]},
        {"addresses": ["10.9.0.0/16"], "roles": ['a"b'], "method": "reject"},
        {"addresses": ["all"], "databases": ["replication"]},
        allow=("192.168.0.0/24", "fd00::/8"),
    )
    assert found[7:] == [
        'hostssl "shop",all "web",all 10.0.0.7/32 scram-sha-256',
        'hostssl "shop",all "web",all 10.1.0.0/16 scram-sha-256',
        'hostssl all "a""b" 10.9.0.0/16 reject',
        "hostssl all all samenet scram-sha-256",
        "hostssl all all 192.168.0.0/24 scram-sha-256",
        "hostssl all all fd00::/8 scram-sha-256",
    ]


def test_samenet_is_the_network_of_the_containers() -> None:
    text_now = (
        "host all all samenet scram-sha-256\n# host all all samenet reject\nhost all all samenet reject\n"
    )
    assert pool_rules.expand(text_now, ["172.20.0.0/16", "fd01::/64"]).splitlines() == [
        "host all all 172.20.0.0/16 scram-sha-256",
        "host all all fd01::/64 scram-sha-256",
        "# host all all samenet reject",
        "host all all 172.20.0.0/16 reject",
        "host all all fd01::/64 reject",
        # What else samenet is to the server.
        "host all all 127.0.0.0/8 reject",
        "host all all ::1/128 reject",
        "host all all fe80::/64 reject",
    ]
    assert "samenet" not in pool_rules.expand("host all all samenet reject\n", [])
