# SPDX-License-Identifier: Apache-2.0
"""What people write for memory, cores and words: one result or one sentence, the same in Python and in bash."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from ansible_collections.aza.pg.plugins.module_utils.errors import AzaError
from ansible_collections.aza.pg.plugins.module_utils.tuning.parse import (
    parse_cpus,
    parse_memory,
    parse_size,
    parse_word,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from .shell import bash


@pytest.mark.parametrize(
    ("text", "memory"),
    [
        ("512", 512),
        ("0512", 512),
        ("02048", 2048),
        ("08192", 8192),
        ("2g", 2048),
        ("2G", 2048),
        ("2gb", 2048),
        ("2 GB", 2048),
        ("2gb ", 2048),
        (" 2GiB\t", 2048),
        ("1024MB", 1024),
        ("1024 mib", 1024),
        ("1048576k", 1024),
        ("1048577kB", 1024),
        ("1073741824b", 1024),
        ("1T", 1048576),
        ("64TiB", 67108864),
        ("67108864", 67108864),
        ("00000000000000000000000000001024", 1024),
    ],
)
def test_memory(text: str, memory: int) -> None:
    assert parse_memory(text) == memory


BAD_MEMORY = [
    (
        "abc",
        "is 'abc', which is not a size; write megabytes (2048) or a number with a unit (512MB, 2g, 1TiB)",
    ),
    ("2 gigabytes", "is '2 gigabytes', which is not a size"),
    ("0x400", "is '0x400', which is not a size"),
    ("1ib", "is '1ib', which is not a size"),
    ("2g;id", "is '2g;id', which is not a size"),
    ("-1", "is '-1', but a size cannot be negative"),
    ("-512MB", "is '-512MB', but a size cannot be negative"),
    ("1.5g", "is '1.5g'; fractions are not understood: write 1536MB for one and a half GB"),
    (
        "0",
        "is '0', which is no memory at all; write at least 512 (MB), or leave it out to use the container's limit",
    ),
    ("000g", "is '000g', which is no memory at all"),
    (
        "511",
        "is '511', that is 511 MB, and at least 512 MB are needed; write 512 or more, or set POSTGRES_AUTOTUNE=off",
    ),
    ("0511", "is '0511', that is 511 MB"),
    ("1k", "is '1k', that is 0 MB"),
    ("100000000000000000000", "is '100000000000000000000', which is more than any machine has (64 TiB)"),
    ("67108865", "is '67108865', which is more than any machine has (64 TiB)"),
    ("65TB", "is '65TB', which is more than any machine has (64 TiB)"),
    ("9223372036854775807t", "is '9223372036854775807t', which is more than any machine has (64 TiB)"),
    ("a\nb", "is 'a?b', which is not a size"),
    ("x" * 60, f"is '{'x' * 40}…', which is not a size"),
]


@pytest.mark.parametrize(("text", "message"), BAD_MEMORY)
def test_bad_memory_has_its_sentence(text: str, message: str) -> None:
    with pytest.raises(AzaError) as caught:
        parse_memory(text)
    assert f"POSTGRES_MEMORY {message}" in caught.value.msg
    assert caught.value.reason == "tuning_input"


@pytest.mark.parametrize(("text", "message"), BAD_MEMORY)
def test_bad_memory_stops_the_container_with_78(library: Path, text: str, message: str) -> None:
    done = bash('source "$1"; autotune_detect', str(library), env={"POSTGRES_MEMORY": text})
    assert done.returncode == 78
    assert f"aza-pg: POSTGRES_MEMORY {message}" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("text", "cpus"), [("1", 1), ("2.0", 2), ("1.5", 2), ("0.5", 1), ("08", 8), (" 4 ", 4), ("1024", 1024)]
)
def test_cpus(text: str, cpus: int) -> None:
    assert parse_cpus(text) == cpus


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("abc", "is 'abc', which is not a number of cores; write 2 or 1.5"),
        ("-1", "is '-1', which is not a number of cores"),
        ("1,5", "is '1,5', which is not a number of cores"),
        ("0", "is '0', which is no core at all; write 2 or 0.5"),
        ("0.0", "is '0.0', which is no core at all"),
        ("1025", "is '1025'; at most 1024 cores are understood"),
        ("1024.1", "is '1024.1'; at most 1024 cores are understood"),
        ("99999999999999999999", "is '99999999999999999999'; at most 1024 cores are understood"),
    ],
)
def test_bad_cpus_have_their_sentence(library: Path, text: str, message: str) -> None:
    with pytest.raises(AzaError) as caught:
        parse_cpus(text)
    assert f"POSTGRES_CPUS {message}" in caught.value.msg
    done = bash(
        'source "$1"; autotune_detect', str(library), env={"POSTGRES_CPUS": text, "POSTGRES_MEMORY": "1g"}
    )
    assert (done.returncode, done.stderr) == (78, f"aza-pg: {caught.value.msg}\n")


def test_a_disk_may_be_of_any_size() -> None:
    assert [parse_size(text, "disk") for text in ("0", "100", "40g", "900TB")] == [
        0,
        100,
        40_960,
        943_718_400,
    ]
    with pytest.raises(AzaError, match="disk is '2000000TB', which is more than any disk has"):
        parse_size("2000000TB", "disk")


def test_words() -> None:
    assert parse_word(" OLTP", "workload", ["web", "oltp"]) == "oltp"
    with pytest.raises(AzaError, match="workload is 'x'; choose web, oltp or dw"):
        parse_word("x", "workload", ["web", "oltp", "dw"])


# What people could write, and what lies just beside it.
texts = st.one_of(
    st.from_regex(r"[ \t]{0,2}0{0,3}[0-9]{1,21} ?[bkmgtBKMGT]?(i?[bB])?[ \n]?", fullmatch=True),
    st.from_regex(r"-?[0-9]{0,4}\.?[0-9]{0,3}[a-z]{0,3}", fullmatch=True),
    st.text(st.characters(min_codepoint=1, exclude_categories=["Cs"]), max_size=50),
    st.sampled_from(["2\u212a", "\u0662g", "１g", "2ＧB", "\x1c1g", "\xa01g", "1g\u2003", "ı", "2g\x85"]),
)


def _python(parse: Callable[[str], int], text: str) -> str:
    try:
        return str(parse(text))
    except AzaError as error:
        return f"aza-pg: {error.msg}"


_LOOP = """
source "$1"
_tune_fail() { printf '%s\\0' "aza-pg: $1"; exit 0; }
while IFS= read -r -d '' text; do
  for kind in memory cpus; do
    # A refusal ends the process, so it has one of its own.
    ( "_tune_parse_$kind" "POSTGRES_${kind^^}" "$text"; printf '%s\\0' "$_tune_parsed" )
  done
done
"""


@settings(max_examples=12, deadline=None)
@given(st.lists(texts, min_size=1, max_size=40))
def test_python_and_bash_agree_on_any_text(library: Path, given: list[str]) -> None:
    done = bash(_LOOP, str(library), stdin="".join(f"{text}\0" for text in given))
    expected = [
        answer for text in given for answer in (_python(parse_memory, text), _python(parse_cpus, text))
    ]
    assert done.stdout.split("\0")[:-1] == expected
