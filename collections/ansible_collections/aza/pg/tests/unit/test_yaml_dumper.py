# SPDX-License-Identifier: Apache-2.0
"""What we write as YAML is read by others: Compose and Prometheus, which read version 1.2."""

from __future__ import annotations

import ruamel.yaml
import yaml
from ansible_collections.aza.pg.plugins.module_utils.yaml_dumper import dump
from hypothesis import example, given
from hypothesis import strategies as st


def test_as_a_person_writes_it() -> None:
    document = {"b": ["x"], "a": {"c": "1"}, "port": "127.0.0.1:5432:5432", "size": 1024}
    assert dump(document) == "b:\n  - x\na:\n  c: '1'\nport: 127.0.0.1:5432:5432\nsize: 1024\n"
    assert yaml.safe_load(dump(document)) == document


@given(st.from_regex(r"[-+.]?[0-9a-f_xXoObB.:eE+-]{1,20}", fullmatch=True))
@example("54953589697148e8")
@example("0o17")
@example("089")
@example("1_0e5")
@example("0X1F")
def test_what_looks_like_a_number_to_another_reader_stays_a_text(text: str) -> None:
    document = {"text": text, "whole": 1024, "part": 0.5}
    assert ruamel.yaml.YAML(typ="safe", pure=True).load(dump(document)) == document
    assert yaml.safe_load(dump(document)) == document
