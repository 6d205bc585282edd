# SPDX-License-Identifier: Apache-2.0
"""What every session of the toolkit starts with, and what is trusted of its own schema."""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.aza.pg.plugins.module_utils.server import own_schema, pinned
from ansible_collections.aza.pg.plugins.module_utils.services.pgbouncer import lookup


def read(options: str) -> dict[str, str]:
    """As the server reads them: a space separates unless a backslash precedes it."""
    words = [re.sub(r"\\(.)", r"\1", word) for word in re.findall(r"(?:[^\s\\]|\\.)+", options)]
    assert words[0::2] == ["-c"] * (len(words) // 2)
    return dict(word.split("=", 1) for word in words[1::2])


def test_nothing_that_an_owner_can_set_decides_what_is_run() -> None:
    found = read(pinned.options())
    assert found["search_path"] == "pg_catalog, pg_temp"
    assert (found["role"], found["session_preload_libraries"], found["local_preload_libraries"]) == (
        "none",
        "",
        "",
    )
    assert (found["event_triggers"], found["synchronous_commit"]) == ("off", "local")
    assert {
        found[f"{name}_timeout"] for name in ("transaction", "idle_session", "idle_in_transaction_session")
    } == {"0"}
    assert (found["statement_timeout"], found["lock_timeout"]) == ("15s", "5s")


def test_other_roles_pin_what_they_may() -> None:
    found = read(pinned.options(superuser=False))
    assert not {"session_preload_libraries", "event_triggers", "lc_messages"} & set(found)
    assert found["search_path"] == "pg_catalog, pg_temp"
    assert set(pinned.for_role()) < {*found}
    assert not any(" " in text for text in pinned.for_role().values())


def test_a_change_may_need_views() -> None:
    assert "restrict_nonsystem_relation_kind" not in read(pinned.options(changes=True, statement_seconds=900))
    assert read(pinned.options(statement_seconds=0.5))["statement_timeout"] == "0.5s"


def test_a_refusal_is_recognised_in_every_language() -> None:
    assert pinned.is_refused('FATAL:  keine Berechtigung, um Parameter »x« zu setzen: "event_triggers"')
    assert not pinned.is_refused("FATAL:  sorry, too many clients already")


SCHEMA: dict[str, Any] = {"owner": "postgres", "owner_is_superuser": True, "creators": [], "foreign": []}
TABLE: dict[str, Any] = {"owner": "postgres", **own_schema._TABLE}


@pytest.mark.parametrize(
    "wrong", [{"owner_is_superuser": False}, {"creators": ["shop"]}, {"foreign": ["function f of shop"]}]
)
def test_a_schema_of_others_is_not_trusted(wrong: dict[str, Any]) -> None:
    assert own_schema.distrust({**SCHEMA, **wrong})
    assert own_schema.distrust(SCHEMA) == own_schema.distrust(None) == ""


@pytest.mark.parametrize(
    "wrong",
    [
        {"kind": "v"},
        {"owner_is_superuser": False},
        {"others": 1},
        {"writers": 1},
        {"defaults": []},
        {"indexes": 2},
    ],
)
def test_a_table_of_others_is_not_trusted(wrong: dict[str, Any]) -> None:
    assert own_schema.distrust_table({**TABLE, **wrong})
    assert own_schema.distrust_table(TABLE) == own_schema.distrust_table(None) == ""


@pytest.mark.parametrize("has_pool", [True, False])
def test_a_pool_does_not_look_up_passwords_in_a_schema_of_others(has_pool: bool) -> None:
    wanted: Any = SimpleNamespace(service=lambda _: object() if has_pool else None)
    found: Any = SimpleNamespace(answers={"own_schema": {**SCHEMA, "creators": ["shop"]}})
    message = list(lookup.KIND.problems(wanted, found))
    assert len(message) == has_pool
    found.answers["own_schema"] = SCHEMA
    assert not list(lookup.KIND.problems(wanted, found))
