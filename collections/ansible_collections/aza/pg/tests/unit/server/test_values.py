# SPDX-License-Identifier: Apache-2.0
"""Values as the server reads them. That the server agrees is tested on a real one (tests/objects)."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.aza.pg.plugins.module_utils.server.values import same_value, shown, unfit
from hypothesis import given
from hypothesis import strategies as st

BUFFERS = {"vartype": "integer", "unit": "8kB"}
MEMORY = {"vartype": "integer", "unit": "kB"}
WAL = {"vartype": "integer", "unit": "MB"}
BYTES = {"vartype": "integer", "unit": "B"}
DURATION = {"vartype": "integer", "unit": "ms"}
MINUTES = {"vartype": "integer", "unit": "min"}
DELAY = {"vartype": "real", "unit": "ms"}
COUNT = {"vartype": "integer", "unit": None}
COST = {"vartype": "real", "unit": None}
BOOLEAN = {"vartype": "bool", "unit": None}
ENUM = {"vartype": "enum", "enumvals": ["local", "remote_write", "on", "off"]}
TEXT = {"vartype": "string"}


@pytest.mark.parametrize(
    ("info", "one", "two"),
    [
        (BUFFERS, "1GB", "131072"),
        (BUFFERS, "1GB", "1024MB"),
        (BUFFERS, "1024MB", "1048576kB"),
        (BUFFERS, "12kB", "16kB"),  # half a page is rounded to an even number of pages
        (MEMORY, "4MB", "4096"),
        (MEMORY, " 4 MB ", "4096kB"),
        (MEMORY, "0.5GB", "512MB"),
        (MEMORY, "30.1GB", "30822MB"),  # the example of PostgreSQL's manual
        (MEMORY, "0x1000", "4MB"),
        (MEMORY, "010", "8"),
        (WAL, "1GB", "1024"),
        (BYTES, "16MB", "16777216"),
        (DURATION, "1s", "1000"),
        (DURATION, "1.5min", "90s"),
        (MINUTES, "1d", "1440"),
        (MINUTES, "90s", "2min"),
        (DELAY, "2", "2.0ms"),
        (DELAY, "1us", "0.001"),
        (COUNT, "100", "1e2"),
        (COST, "1.1", "1.10"),
        (COST, "4", "4.0"),
        (BOOLEAN, "on", "TRUE"),
        (BOOLEAN, "off", "f"),
        (BOOLEAN, "yes", "1"),
        (ENUM, "ON", "yes"),
        (ENUM, "Local", "local"),
        (TEXT, "a", "a"),
        ({}, "10s", "10s"),
    ],
)
def test_the_same(info: dict[str, Any], one: str, two: str) -> None:
    assert same_value(info, one, two)
    assert same_value(info, two, one)


@pytest.mark.parametrize(
    ("info", "one", "two"),
    [
        (BUFFERS, "1GB", "BG1"),
        (MEMORY, "4MB", "4mb"),  # PostgreSQL knows units in these letters only
        (MEMORY, "4MB", "4s"),
        (MEMORY, "4MB", "5MB"),
        (COUNT, "100", "100MB"),
        (BOOLEAN, "on", "o"),
        (BOOLEAN, "on", ""),
        (ENUM, "local", "loc"),
        (TEXT, "a", "A"),
        (TEXT, "1GB", "1024MB"),
        ({}, "1GB", "1024MB"),
    ],
)
def test_not_the_same(info: dict[str, Any], one: str, two: str) -> None:
    assert not same_value(info, one, two)


@pytest.mark.parametrize(
    ("info", "text", "message"),
    [
        (BUFFERS, "131072", "1GB"),
        (BUFFERS, "131073", "1048584kB"),
        (MEMORY, "4096", "4MB"),
        (MEMORY, "-1", "-1"),
        (MEMORY, "0", "0"),
        (DURATION, "60000", "1min"),
        (DURATION, "1500", "1500ms"),
        (DELAY, "2", "2ms"),
        (DELAY, "0.5", "500us"),
        (COST, "1.10", "1.1"),
        (COST, "4.0", "4"),
        (COUNT, "100", "100"),
        (BOOLEAN, "yes", "on"),
        (ENUM, "ON", "on"),
        (TEXT, "", "''"),
        (TEXT, "%m [%p] ", "%m [%p] "),
        ({}, "16384", "16384"),
    ],
)
def test_as_people_read_it(info: dict[str, Any], text: str, message: str) -> None:
    assert shown(info, text) == message


@given(st.sampled_from((BUFFERS, MEMORY, WAL, BYTES, DURATION, MINUTES, COUNT)), st.integers(-1, 2**31 - 1))
def test_what_is_shown_is_the_same_value(info: dict[str, Any], number: int) -> None:
    assert same_value(info, shown(info, str(number)), str(number))


@given(st.sampled_from((MEMORY, DURATION, DELAY, COST, BOOLEAN, ENUM, TEXT, {})), st.text(max_size=8))
def test_any_text_is_compared_with_itself_and_shown(info: dict[str, Any], text: str) -> None:
    assert same_value(info, text, text)
    assert isinstance(shown(info, text), str)


@pytest.mark.parametrize(
    ("info", "text", "message"),
    [
        (MEMORY | {"min_val": "64", "max_val": "2147483647"}, "4MB", ""),
        (
            MEMORY | {"min_val": "64", "max_val": "2147483647"},
            "32kB",
            "takes 64kB to 2147483647kB, not '32kB'",
        ),
        (MEMORY | {"min_val": "64", "max_val": "2147483647"}, "4mb", "takes a number with one of the units"),
        (DURATION | {"min_val": "-1", "max_val": "2147483647"}, "-1", ""),
        (DURATION | {"min_val": "-1", "max_val": "2147483647"}, "-2", "takes -1 to"),
        (COST | {"min_val": "0", "max_val": "1.79769e+308"}, "1.1", ""),
        (COST | {"min_val": "0", "max_val": "1.79769e+308"}, "cheap", "takes a number, not 'cheap'"),
        (BOOLEAN, "yes", ""),
        (BOOLEAN, "maybe", "takes on or off, not 'maybe'"),
        (ENUM, "true", ""),
        (ENUM, "remote_writ", "not 'remote_writ'; did you mean 'remote_write'?"),
        (TEXT, "anything", ""),
    ],
)
def test_what_the_server_would_refuse(info: dict[str, Any], text: str, message: str) -> None:
    found = unfit(info, text)
    assert message in found
    assert bool(message) == bool(found)


@given(st.sampled_from([MEMORY, DURATION, COUNT]), st.integers(-5, 5000))
def test_only_what_lies_in_the_range_is_taken(info: dict[str, Any], number: int) -> None:
    assert (unfit(info | {"min_val": "0", "max_val": "1000"}, str(number)) == "") == (0 <= number <= 1000)
