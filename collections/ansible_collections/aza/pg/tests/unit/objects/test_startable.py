# SPDX-License-Identifier: Apache-2.0
"""Settings that slots and prepared transactions need are not taken from a server that could not start without them."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.aza.pg.plugins.module_utils.model.desired import Desired
from ansible_collections.aza.pg.plugins.module_utils.model.observed import Observed
from ansible_collections.aza.pg.plugins.module_utils.objects import startable

LEVELS = ["minimal", "replica", "logical"]
KNOWN = {
    "wal_level": {
        "vartype": "enum",
        "enumvals": LEVELS,
        "raw": "logical",
        "default": "replica",
        "elsewhere": None,
    },
    "max_replication_slots": {"vartype": "integer", "raw": "10", "default": "10", "elsewhere": None},
    "max_prepared_transactions": {"vartype": "integer", "raw": "20", "default": "0", "elsewhere": None},
}
ALL = {"wal_level": "logical", "max_prepared_transactions": "20"}


def refused(settings: dict[str, str], **facts: Any) -> list[str]:
    wanted = Desired("i", "c", "single", "p", "v", "n", (), settings=settings)
    found = Observed(server={"settings": KNOWN, **facts})
    message = list(startable.problems(wanted, found))
    return [name for name in KNOWN if any(name in text for text in message)]


LOGICAL: dict[str, Any] = {"logical_slots": {"cdc": {}}}
PHYSICAL: dict[str, Any] = {"slots": {"db2": {}, "db3": {}}}


@pytest.mark.parametrize(
    ("settings", "facts", "names"),
    [
        (ALL, {**LOGICAL, **PHYSICAL, "prepared_transactions": {"total": 1}}, []),
        # Taken out of the inventory, the default is next.
        ({}, LOGICAL, ["wal_level"]),
        ({}, PHYSICAL, []),
        ({}, {}, []),
        ({"wal_level": "replica"}, LOGICAL, ["wal_level"]),
        ({"wal_level": "minimal"}, PHYSICAL, ["wal_level"]),
        ({**ALL, "max_replication_slots": "2"}, PHYSICAL, []),
        ({**ALL, "max_replication_slots": "2"}, {**PHYSICAL, **LOGICAL}, ["max_replication_slots"]),
        ({}, {"prepared_transactions": {"total": 1}}, ["max_prepared_transactions"]),
        ({**ALL, "max_prepared_transactions": "1"}, {"prepared_transactions": {"total": 1}}, []),
        (
            {**ALL, "max_prepared_transactions": "1"},
            {"prepared_transactions": {"total": 2}},
            ["max_prepared_transactions"],
        ),
    ],
)
def test_what_a_server_could_not_start_with(settings: dict[str, str], facts: Any, names: list[str]) -> None:
    assert refused(settings, **facts) == names


def test_of_a_server_about_which_nothing_is_known_nothing_is_said() -> None:
    wanted = Desired("i", "c", "single", "p", "v", "n", (), settings={"wal_level": "minimal"})
    assert list(startable.problems(wanted, Observed(server={"slots": {"db2": {}}}))) == []
