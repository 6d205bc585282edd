# SPDX-License-Identifier: Apache-2.0
"""Changes come after what they need, and otherwise stay where they were."""

from __future__ import annotations

import pytest
from ansible_collections.aza.pg.plugins.module_utils.errors import AzaError
from ansible_collections.aza.pg.plugins.module_utils.planning.change import Change
from ansible_collections.aza.pg.plugins.module_utils.planning.order import ordered
from hypothesis import given
from hypothesis import strategies as st


def change(name: str, *needs: str) -> Change:
    return Change("role", name, "create", id=name, needs=needs)


@given(st.permutations(range(8)), st.data())
def test_whatever_the_order_of_the_declaration_each_comes_after_its_needs(
    numbers: list[int], data: st.DataObject
) -> None:
    """Each may need any with a lower number, so there is an order; some of what is needed is there already."""
    needs = {n: data.draw(st.sets(st.integers(-2, n - 1))) if n else set[int]() for n in numbers}
    result = ordered(change(str(n), *(str(x) for x in needs[n])) for n in numbers)
    place = {item.name: number for number, item in enumerate(result)}
    assert sorted(place) == sorted(map(str, numbers))
    assert all(place[str(x)] < place[str(n)] for n in numbers for x in needs[n] if x >= 0)


def test_what_needs_nothing_keeps_its_place() -> None:
    assert [c.name for c in ordered(change(name) for name in "cab")] == ["c", "a", "b"]


def test_what_waits_for_everything_comes_last() -> None:
    given_now = [change("gone", "*"), change("x", "late"), change("also", "*", "gone"), change("late")]
    assert [c.name for c in ordered(given_now)] == ["late", "x", "gone", "also"]


def test_a_circle_is_named() -> None:
    with pytest.raises(AzaError, match=r"Circular dependency: .*a.*b"):
        ordered([change("a", "b"), change("b", "a")])
