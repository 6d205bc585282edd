# SPDX-License-Identifier: Apache-2.0
"""A variable that has a new name is accepted under the old one, with a warning."""

from __future__ import annotations

from ansible_collections.aza.pg.plugins.module_utils.inventory import deprecated, generated
from ansible_collections.aza.pg.plugins.module_utils.inventory.check import Host, check_inventory
from ansible_collections.aza.pg.plugins.module_utils.inventory.specs import Option

SPECS = {
    "postgres_new": Option("postgres_new", "int", default=7, deprecated_aliases={"postgres_old": "2.0.0"}),
    "postgres_other": Option("postgres_other"),
}


def test_the_old_name_counts_and_is_checked() -> None:
    values = {"postgres_old": 5, "postgres_other": "x"}
    assert deprecated.renamed(values, SPECS) == {"postgres_new": 5, "postgres_other": "x"}
    assert not check_inventory({"db1": Host(values)}, SPECS)
    (problem,) = check_inventory({"db1": Host({"postgres_old": "many"})}, SPECS)
    assert problem.path == ("postgres_old",), "the place is found by the name that the file has"


def test_both_names_are_a_conflict() -> None:
    (problem,) = check_inventory({"db1": Host({"postgres_old": 5, "postgres_new": 6})}, SPECS)
    assert problem.path == ("postgres_old",) and "postgres_new is set as well" in problem.message
    assert deprecated.renamed({"postgres_old": 5, "postgres_new": 6}, SPECS) == {"postgres_new": 6}


def test_the_warning_names_the_new_name_and_the_release() -> None:
    message = deprecated.warning("postgres_old", SPECS)
    assert "postgres_new" in message and "2.0.0" in message


def test_the_default_of_the_role_is_the_value_under_the_old_name() -> None:
    text = generated.render_defaults(SPECS.values(), "instance")
    assert "{{ postgres_old | default(7) }}" in text
