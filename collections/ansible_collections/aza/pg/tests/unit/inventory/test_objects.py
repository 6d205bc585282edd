# SPDX-License-Identifier: Apache-2.0
"""What the argument_specs declare, and what the kinds of objects take for granted, is the same."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.aza.pg.plugins.module_utils.inventory.specs import load_specs, places
from ansible_collections.aza.pg.plugins.module_utils.objects import databases, extensions, hba, roles, schemas

ROOT = next(parent for parent in Path(__file__).resolve().parents if (parent / "ansible.cfg").is_file())
PLACES = places(load_specs([ROOT / "roles"]))


@pytest.mark.parametrize(
    ("place", "defaults"),
    [
        ("postgres_roles", roles.DEFAULTS),
        ("postgres_roles[].member_of", roles.MEMBER_DEFAULTS),
        ("postgres_databases", databases.DEFAULTS),
        ("postgres_databases[].extensions", extensions.DEFAULTS),
        ("postgres_databases[].schemas", schemas.DEFAULTS),
        ("postgres_hba", hba.DEFAULTS),
    ],
)
def test_keys_and_defaults(place: str, defaults: Mapping[str, Any]) -> None:
    options = PLACES[place].options
    assert {key: option.default for key, option in options.items() if not option.required} == defaults


def test_each_bare_name_stands_for_the_one_key_that_is_required() -> None:
    bare = {
        place: option.entry.bare
        for place, option in PLACES.items()
        if option.type == "list" and option.entry.bare
    }
    assert bare == {
        "postgres_roles[].member_of": "role",
        "postgres_databases[].extensions": "name",
        "postgres_databases[].schemas": "name",
    }
