# SPDX-License-Identifier: Apache-2.0
"""YAML for other programs: as a person writes it, and read alike by all of them.

PyYAML knows version 1.1, where an exponent needs a point. Compose and others know version 1.2 and more, where
``54953589697148e8`` is a number; so whatever any of them could take for one is quoted.
"""

from __future__ import annotations

import re
from typing import Any

import yaml

_NUMBER = re.compile(
    r"[-+]?(?:0[oOxXbB][0-9a-fA-F_]+|(?:[0-9][0-9_]*(?:\.[0-9_]*)?|\.[0-9_]+)(?:[eE][-+]?[0-9_]+)?)$"
)


class _Dumper(yaml.SafeDumper):
    """Lists are indented below their key."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)


_Dumper.add_implicit_resolver("tag:yaml.org,2002:float", _NUMBER, list("-+.0123456789"))


def dump(document: Any) -> str:
    """The document, in the order of its keys."""
    return str(yaml.dump(document, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120))
