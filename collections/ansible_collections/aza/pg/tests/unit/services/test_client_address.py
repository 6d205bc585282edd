# SPDX-License-Identifier: Apache-2.0
"""Clients keep their addresses: IPv6 in the containers' network, and what is said if the engine hides them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import yaml
from ansible_collections.aza.pg.plugins.module_utils.errors import AzaError
from ansible_collections.aza.pg.plugins.module_utils.instance import plan as planning
from ansible_collections.aza.pg.plugins.module_utils.instance import preflight, verbs
from ansible_collections.aza.pg.plugins.module_utils.model.desired import Desired
from ansible_collections.aza.pg.plugins.module_utils.model.observed import Observed
from ansible_collections.aza.pg.plugins.module_utils.model.service import SERVER
from ansible_collections.aza.pg.plugins.module_utils.objects import hba
from ansible_collections.aza.pg.plugins.module_utils.services import client_address
from ansible_collections.aza.pg.tests.unit.declarations import describe

SUBNETS = ("172.22.0.0/16", "fd01::/64")


def network(wanted: Desired) -> dict[str, Any]:
    text = next(item.text or "" for item in wanted.files if item.path == "compose.yml")
    return dict(yaml.safe_load(text)["networks"]["default"])


def hashes(wanted: Desired) -> list[str]:
    return [service.config_hash for service in wanted.services]


@pytest.mark.parametrize(
    "changes",
    [
        {"publish_address": "::"},
        {"publish_address": "2001:db8::7"},
        {"pgbouncer": True, "pgbouncer_publish_address": "::"},
    ],
)
def test_a_port_that_is_published_by_ipv6_has_a_network_with_ipv6(changes: dict[str, Any]) -> None:
    before = describe(pgbouncer="pgbouncer" in changes)
    wanted = describe(**changes)
    assert "enable_ipv6" not in network(before) and network(wanted)["enable_ipv6"] is True
    names = "aza-pg-shop-single", "aza-pg-shop-single-ipv6"
    assert (before.network, before.other_network) == names
    assert (wanted.network, wanted.other_network) == names[::-1]
    assert network(wanted)["name"] == wanted.network
    # Every container moves there.
    assert not set(hashes(before)) & set(hashes(wanted))


def test_the_network_that_is_left_goes_after_the_last_container() -> None:
    wanted = describe(publish_address="::")
    (change,) = [
        item
        for item in planning.plan(wanted, Observed(host={"engine": "28.5.2"}, other_network=True)).changes
        if item.kind == "network"
    ]
    assert (change.action, change.name) == ("remove", "aza-pg-shop-single")
    assert change.needs == ("container postgres",)
    gone = verbs.absent(wanted, Observed(network=True, other_network=True), remove_data=False)
    assert [item.name for item in gone.changes if item.kind == "network"] == [
        "aza-pg-shop-single-ipv6",
        "aza-pg-shop-single",
    ]


@pytest.mark.parametrize(("engine", "refused"), [("26.1.5+dfsg1", True), ("27.0.1", False), ("", False)])
def test_an_engine_that_would_hide_ipv6_clients(engine: str, refused: bool) -> None:
    found = Observed(host={"engine": engine})
    assert bool(preflight.problems(describe(publish_address="::"), found)) is refused
    assert not preflight.problems(describe(publish_address="0.0.0.0"), found)


def test_a_rejection_of_an_address_that_no_client_has() -> None:
    for address in ("::1", "127.0.0.1/32", "127.0.0.0/8"):
        with pytest.raises(AzaError, match="Use samenet"):
            hba.normalise([{"addresses": ["10.0.0.0/8", address], "method": "reject"}])
        assert hba.normalise([{"addresses": [address]}])


def error(message: str) -> bytes:
    body = b"".join(field.encode() + b"\0" for field in ("SFATAL", "C28000", f"M{message}")) + b"\0"
    return b"E" + (len(body) + 4).to_bytes(4, "big") + body


@pytest.mark.parametrize(
    ("answer", "seen"),
    [
        (
            error(
                'no pg_hba.conf entry for replication connection from host "172.22.0.1", user "x", no encryption'
            ),
            "172.22.0.1",
        ),
        (error("kein Eintrag in pg_hba.conf für Host »fd00::2«, Benutzer »x«"), "fd00::2"),
        (error("the database system is starting up"), ""),
        (b"R\0\0\0\x17\0\0\0\x0aSCRAM-SHA-256\0\0", ""),
        (b"", ""),
    ],
)
def test_the_address_that_the_server_names(answer: bytes, seen: str) -> None:
    assert client_address.told(answer) == seen


@pytest.mark.parametrize(
    ("own", "seen", "hidden"),
    [
        ("192.0.2.2", "192.0.2.2", False),
        ("192.0.2.2", "172.22.0.1", True),
        ("fd00::2", "172.22.0.1", True),
        ("fd00::2", "fd01::1", True),
        ("192.0.2.2", "198.51.100.7", False),
        # A client that is a container of this network.
        ("172.22.0.9", "172.22.0.9", False),
    ],
)
def test_a_client_behind_the_engines_proxy(own: str, seen: str, hidden: bool) -> None:
    found = Observed(subnets=SUBNETS, probes={SERVER: {"own": own, "seen": seen}})
    said = list(client_address.findings(describe(publish_address="::"), found))
    assert [item.state for item in said] == ["red"] * hidden
    assert not list(client_address.findings(describe(), replace(found, probes={})))


def test_a_port_of_loopback_is_not_probed() -> None:
    for address in ("127.0.0.1", "::1"):
        assert client_address.probe(replace(describe(publish_address=address).server, port=1)) == {}
