# SPDX-License-Identifier: Apache-2.0
"""The little of PromQL and of the exposition format that the tests need: which metrics and labels are named."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

_GROUPING = re.compile(r"\b(?:by|on|ignoring|without|group_left|group_right)\s*\(([^)]*)\)")
_SELECTOR = re.compile(r"\b([a-zA-Z_:][a-zA-Z0-9_:]*)\b(?!\s*\()\s*(?:\{([^}]*)\})?")
_MATCHER = re.compile(r'(\w+)\s*(=~|!~|!=|=)\s*"([^"]*)"')
_WORDS = {"and", "or", "unless", "bool", "offset"}
_SAMPLE = re.compile(r"^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? \S+$", re.MULTILINE)
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')

Series = dict[str, list[dict[str, str]]]


@dataclass(frozen=True)
class Selector:
    metric: str
    # (label, operator, value)
    matchers: tuple[tuple[str, str, str], ...]


def selectors(query: str) -> list[Selector]:
    bare = re.sub(r"\[[^]]*\]", "", _GROUPING.sub("", query))
    return [
        Selector(name, tuple(_MATCHER.findall(inside or "")))
        for name, inside in _SELECTOR.findall(bare)
        if name not in _WORDS
    ]


def grouped(query: str) -> set[str]:
    return {
        label.strip() for labels in _GROUPING.findall(query) for label in labels.split(",") if label.strip()
    }


def series(texts: Iterable[str]) -> Series:
    """What exporters gave: by metric, the labels of each series."""
    found: Series = {}
    for text in texts:
        for name, labels in _SAMPLE.findall(text):
            found.setdefault(name, []).append(dict(_LABEL.findall(labels)))
    return found


def matches(selector: Selector, labels: dict[str, str]) -> bool:
    for name, operator, wanted in selector.matchers:
        if name in labels:
            same = re.fullmatch(wanted, labels[name]) if "~" in operator else labels[name] == wanted
            if bool(same) == operator.startswith("!"):
                return False
    return True
