# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.aza.pg.plugins.module_utils.errors import AzaError
from ansible_collections.aza.pg.plugins.module_utils.quantity import megabytes, seconds
from ansible_collections.aza.pg.plugins.module_utils.server import scram
from ansible_collections.aza.pg.plugins.module_utils.server import settings as pg
from hypothesis import given
from hypothesis import settings as profile
from hypothesis import strategies as st

names = st.from_regex(r"[a-z_][a-z0-9_]{0,20}(\.[a-z_][a-z0-9_]{0,9})?", fullmatch=True).filter(
    lambda name: name not in pg.OWNED
)
texts = st.text(st.characters(exclude_characters="\n\r\0", exclude_categories=["Cs"]))


@given(st.dictionaries(names, texts))
def test_what_is_written_is_read_again(values: dict[str, str]) -> None:
    assert pg.parse(pg.render(values)) == values


@pytest.mark.parametrize(
    ("given_value", "text"),
    [
        (True, "on"),
        (False, "off"),
        (16, "16"),
        (0.9, "0.9"),
        (["a", "b"], "a, b"),
        ("it's", "it's"),
        ("", ""),
    ],
)
def test_yaml_values_as_postgres_reads_them(given_value: Any, text: str) -> None:
    assert pg.normalise({"Some_Name": given_value}) == {"some_name": text}


def test_quoting() -> None:
    assert pg.render({"a": "it's \\d"}).splitlines()[-1] == r"a = 'it''s \\d'"
    with pytest.raises(AzaError, match="line break"):
        pg.render({"a": "x\ny"})


def test_a_file_that_a_person_edited() -> None:
    text = "work_mem 4MB\nfsync=off # why\n  A.b = 'x''y'  \nnonsense\n# c = 1\nwork_mem = '8MB'\n"
    assert pg.parse(text) == {"work_mem": "8MB", "fsync": "off", "a.b": "x'y"}


def test_all_bad_settings_at_once_with_what_to_use_instead() -> None:
    with pytest.raises(AzaError) as caught:
        pg.normalise({"port": 1, "a b": 2, "x": None, "y": {}, "HBA_file": "z"})
    for words in (
        "use postgres_port",
        "'a b' is not",
        "'x' needs a value",
        "'y' needs a value",
        "postgres_allow_from",
    ):
        assert words in caught.value.msg


def test_the_same_setting_twice_in_other_letters() -> None:
    with pytest.raises(AzaError, match="twice"):
        pg.normalise({"work_mem": 1, "WORK_MEM": 2})


@profile(max_examples=20, deadline=None)
@given(st.text(min_size=1, max_size=30).filter(lambda text: "\0" not in text))
def test_a_verifier_fits_its_password_alone(password: str) -> None:
    verifier = scram.make(password)
    assert scram.matches(password, verifier)
    assert not scram.matches(password + "x", verifier)


def test_a_verifier_that_postgres_made() -> None:
    # PostgreSQL's own documentation of the form; the password is "pencil" as in RFC 7677.
    verifier = (
        "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$"
        "WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="
    )
    assert scram.matches("pencil", verifier)
    assert not scram.matches("Pencil", verifier)
    assert not scram.matches("pencil", "md5abc")
    assert not scram.matches("pencil", None)


@pytest.mark.parametrize(("text", "value"), [("90", 90), ("90s", 90), ("2m", 120), (" 1 h ", 3600), (45, 45)])
def test_durations(text: object, value: int) -> None:
    assert seconds("x", text) == value


@pytest.mark.parametrize("text", ["", "m", "-1", "1y", "0", "1.5m", "1 m s"])
def test_bad_durations_name_the_variable(text: str) -> None:
    with pytest.raises(AzaError, match="postgres_ready_timeout"):
        seconds("postgres_ready_timeout", text)


def test_sizes() -> None:
    assert megabytes("x", "2g") == 2048
    assert megabytes("x", "512MB") == 512
    with pytest.raises(AzaError, match="postgres_shm_size: '12x' is no size"):
        megabytes("postgres_shm_size", "12x")
