# SPDX-License-Identifier: Apache-2.0
"""Reads the forms in which people write memory, cores and words: the same forms, results and sentences as
``detect.sh`` in the image, so that a value that the toolkit accepts is never refused at start.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from ansible_collections.aza.pg.plugins.module_utils.errors import AzaError

LEAST_MEMORY_MB = 512
MOST_MEMORY_MB = 67108864
MOST_CPUS = 1024
_BLANKS = " \t\n\r\f\v"
_SIZE = re.compile(r"([0-9]+)[ \t\n\r\f\v]*(?:([kmgt])(i?b)?|(b))?", re.ASCII | re.IGNORECASE)
_FRACTION = re.compile(r"[0-9]*\.[0-9]+[ \t\n\r\f\v]*[a-z]*", re.ASCII | re.IGNORECASE)
_CPUS = re.compile(r"([0-9]+)(?:\.([0-9]+))?", re.ASCII)
_FORMS = "write megabytes (2048) or a number with a unit (512MB, 2g, 1TiB)"
# For each unit: how many make one MB (negative: how many MB one makes), and the most that is understood.
_UNITS = {
    "b": (-1048576, MOST_MEMORY_MB * 1048576),
    "k": (-1024, MOST_MEMORY_MB * 1024),
    "": (1, MOST_MEMORY_MB),
    "m": (1, MOST_MEMORY_MB),
    "g": (1024, MOST_MEMORY_MB // 1024),
    "t": (1048576, MOST_MEMORY_MB // 1048576),
}


def _shown(text: str) -> str:
    """A value as it may stand in a message: one line, plain letters, not too long."""
    plain = re.sub(rb"[^\x20-\x7e]", b"?", text.encode("utf-8", "surrogateescape")).decode("ascii")
    return plain if len(plain) <= 40 else f"{plain[:40]}…"


def _refuse(name: str, text: str, why: str) -> AzaError:
    return AzaError(f"{name} is '{_shown(text)}'{why}", reason="tuning_input", input=name)


def parse_memory(text: str, name: str = "POSTGRES_MEMORY") -> int:
    """Return MB from ``2048``, ``512MB``, ``2 gb``, ``1TiB``…; units are powers of 1024."""
    trimmed = text.strip(_BLANKS)
    match = _SIZE.fullmatch(trimmed)
    if match is None:
        if trimmed.startswith("-"):
            raise _refuse(name, text, f", but memory cannot be negative; {_FORMS}")
        if _FRACTION.fullmatch(trimmed):
            raise _refuse(name, text, "; fractions are not understood: write 1536MB for one and a half GB")
        raise _refuse(name, text, f", which is not a size; {_FORMS}")
    digits = match.group(1).lstrip("0")
    if not digits:
        raise _refuse(
            name,
            text,
            f", which is no memory at all; write at least {LEAST_MEMORY_MB} (MB), or leave it out to use the "
            "container's limit",
        )
    factor, most = _UNITS[(match.group(2) or match.group(4) or "").lower()]
    if len(digits) > 15 or int(digits) > most:
        raise _refuse(
            name, text, ", which is more than any machine has (64 TiB); check the number and its unit"
        )
    memory = int(digits) * factor if factor > 0 else int(digits) // -factor
    if memory < LEAST_MEMORY_MB:
        raise _refuse(
            name,
            text,
            f", that is {memory} MB, and at least {LEAST_MEMORY_MB} MB are needed; write "
            f"{LEAST_MEMORY_MB} or more, or set POSTGRES_AUTOTUNE=off for PostgreSQL's own settings",
        )
    return memory


def parse_cpus(text: str, name: str = "POSTGRES_CPUS") -> int:
    """Return whole cores from ``2`` or ``1.5``; a part of a core counts as one."""
    trimmed = text.strip(_BLANKS)
    match = _CPUS.fullmatch(trimmed)
    if match is None:
        raise _refuse(name, text, ", which is not a number of cores; write 2 or 1.5")
    digits = match.group(1).lstrip("0")
    part = 1 if (match.group(2) or "").strip("0") else 0
    if len(digits) > 15 or int(digits or "0") + part > MOST_CPUS:
        raise _refuse(name, text, f"; at most {MOST_CPUS} cores are understood")
    cpus = int(digits or "0") + part
    if cpus == 0:
        raise _refuse(name, text, ", which is no core at all; write 2 or 0.5")
    return cpus


def parse_word(text: str, name: str, choices: Iterable[str]) -> str:
    """Return the choice that a text names, in any case of letters."""
    trimmed = text.strip(_BLANKS)
    known = list(choices)
    if trimmed.isascii() and trimmed.lower() in known:
        return trimmed.lower()
    raise _refuse(name, text, f"; choose {', '.join(known[:-1])} or {known[-1]}")
