# SPDX-License-Identifier: Apache-2.0
"""The reason of a change names the lines that differ."""

from __future__ import annotations

from ansible_collections.aza.pg.plugins.module_utils.planning import differences

COMPOSE = """name: shop
services:
  postgres:
    image: a
    mem_limit: 1g
  exporter:
    image: b
    labels:
      config-hash: x
secrets:
  exporter:
    file: s
"""


def test_of_a_service_its_own_lines_alone() -> None:
    after = (
        COMPOSE.replace("1g", "2g")
        .replace("image: b", "image: c\n    init: true")
        .replace("file: s", "file: t")
    )
    assert differences.of_service("postgres", COMPOSE, after) == "mem_limit: 1g → mem_limit: 2g"
    assert differences.of_service("exporter", COMPOSE, after) == "image: b → image: c; with init: true"
    assert differences.of_service("pgbouncer", COMPOSE, after) == ""


def test_no_more_than_a_person_reads() -> None:
    assert differences.of("a\nb\nc\nd\ne\nf", "") == "without a; without b; without c; without d; and 2 more"


def test_hashes_say_nothing() -> None:
    assert differences.of(COMPOSE, COMPOSE.replace("config-hash: x", "config-hash: y")) == ""


def test_nothing_that_nobody_reads() -> None:
    """Neither a certificate nor a long line is a reason."""
    pem = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
    assert differences.of(pem, pem.replace("MIIB", "MIIC")) == "its certificates differ"
    assert len(differences.of("a" * 9999, "b" * 9999)) < 300
