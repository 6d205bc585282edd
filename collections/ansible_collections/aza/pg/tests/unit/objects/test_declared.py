# SPDX-License-Identifier: Apache-2.0
"""Entries as people write them become entries with every key, each of its type."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.aza.pg.plugins.module_utils.errors import AzaError
from ansible_collections.aza.pg.plugins.module_utils.objects.declared import entries

DEFAULTS: dict[str, Any] = {
    "login": True,
    "limit": -1,
    "until": "",
    "groups": [],
    "settings": {},
    "password": "",
    "set": None,
}


def one(**given: Any) -> dict[str, Any]:
    return entries("postgres_roles", [{"name": "shop", **given}], DEFAULTS)[0]


def test_a_bare_name_is_an_entry_and_lists_are_nobody_elses() -> None:
    first, second = entries("postgres_roles", ["a", "b"], DEFAULTS)
    assert first == {**DEFAULTS, "name": "a"}
    first["groups"].append("x")
    assert second["groups"] == [] and DEFAULTS["groups"] == []


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"login": "no"}, {"login": False}),
        ({"login": "True"}, {"login": True}),
        ({"limit": "5"}, {"limit": 5}),
        ({"limit": None, "until": None, "groups": None}, {"limit": -1, "until": "", "groups": []}),
        ({"set": False}, {"set": False}),
    ],
)
def test_values_get_the_type_of_their_key(given: dict[str, Any], expected: dict[str, Any]) -> None:
    assert {key: one(**given)[key] for key in expected} == expected


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"login": "perhaps"}, r"postgres_roles\[0\] \(shop\): login: expected yes or no, not 'perhaps'"),
        ({"limit": True}, "limit: expected a whole number"),
        ({"limit": "five"}, "limit: expected a whole number"),
        ({"until": ["x"]}, "until: expected text"),
        ({"groups": "a"}, "groups: expected a list"),
        ({"settings": []}, "settings: expected a dictionary"),
        ({"until": 2027}, "until: expected text, not 2027. Put it in quotes"),
        (
            {"lgoin": True},
            r"\[0\].lgoin: unknown key; did you mean 'login'\? Valid keys: groups, limit, login",
        ),
        ({"name": 2027}, "name: 2027 is not text"),
        ({"name": "x" * 64}, "63 bytes"),
        ({"name": "a\nb"}, "control character"),
    ],
)
def test_what_is_of_another_type_is_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(AzaError, match=message):
        one(**given)


def test_a_password_of_another_type_is_not_shown() -> None:
    with pytest.raises(AzaError) as caught:
        one(password=["CANARY"])
    assert "CANARY" not in caught.value.msg
