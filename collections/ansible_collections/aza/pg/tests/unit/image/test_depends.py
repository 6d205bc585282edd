# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import subprocess

import pytest
from ansible_collections.aza.pg.plugins.module_utils.image.depends import (
    Offer,
    Relation,
    clauses,
    compare,
    relations,
)
from ansible_collections.aza.pg.tests.unit.image.samples import record
from hypothesis import given
from hypothesis import strategies as st

# From oldest to newest; every pair of them is compared, both ways.
ORDERED = [
    "0",
    "1.0~~",
    "1.0~rc1-1",
    "1.0",
    "1.0-0.1",
    "1.0-1",
    "1.0-1+b1",
    "1.0a",
    "1.0+dfsg-1",
    "1.0.1",
    "1.10",
    "2:0.1",
]
VERSIONS = st.from_regex(r"([0-9]:)?[0-9][0-9a-c.+~]{0,6}(-[0-9a-c.+~]{1,3})?", fullmatch=True)


@pytest.mark.parametrize(("index", "older"), list(enumerate(ORDERED)))
def test_versions_are_ordered(index: int, older: str) -> None:
    assert compare(older, older) == 0
    for newer in ORDERED[index + 1 :]:
        assert compare(older, newer) < 0, (older, newer)
        assert compare(newer, older) > 0, (older, newer)


def test_an_absent_revision_is_revision_zero() -> None:
    assert compare("1.0", "1.0-0") == 0


@given(VERSIONS, VERSIONS)
def test_comparison_is_antisymmetric(left: str, right: str) -> None:
    def sign(number: int) -> int:
        return (number > 0) - (number < 0)

    assert sign(compare(left, right)) == -sign(compare(right, left))


def test_dpkg_agrees() -> None:
    for left in ORDERED:
        for right in ORDERED:
            order = compare(left, right)
            word = "lt" if order < 0 else "gt" if order > 0 else "eq"
            assert subprocess.run(["dpkg", "--compare-versions", left, word, right]).returncode == 0, (
                left,
                word,
                right,
            )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("libc6", Relation("libc6")),
        ("libc6 (>= 2.40)", Relation("libc6", ">=", "2.40")),
        ("perl:any", Relation("perl")),
        ("python3:any (<< 3.15~)", Relation("python3", "<<", "3.15~")),
        (" libstdc++6(>=5)", Relation("libstdc++6", ">=", "5")),
    ],
)
def test_a_relation_is_read(text: str, expected: Relation) -> None:
    assert relations(text) == [expected]


def test_clauses_come_from_both_fields() -> None:
    found = clauses({"Pre-Depends": "a", "Depends": "b | c (= 1), d"})
    assert [[relation.name for relation in clause] for clause in found] == [["a"], ["b", "c"], ["d"]]


def test_a_versioned_dependency_wants_a_versioned_provide() -> None:
    offer = Offer(
        [record("perl", Provides="libencode-perl (= 3.21), libfoo"), record("libencode-perl", "3.24-1")]
    )
    assert offer.satisfying(relations("libencode-perl (>= 3.24)")) == ["libencode-perl"]
    assert offer.satisfying(relations("libencode-perl (>= 3.20)")) == ["libencode-perl", "perl"]
    assert offer.satisfying(relations("libfoo")) == ["perl"]
    assert offer.satisfying(relations("libfoo (>= 1)")) == []


def test_the_first_alternative_comes_first() -> None:
    offer = Offer([record("a"), record("b")])
    assert offer.satisfying([*relations("b"), *relations("a")]) == ["b", "a"]
