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
MOST_DISK_MB = 1 << 40
_BLANKS = " \t\n\r\f\v"
_SIZE = re.compile(r"([0-9]+)[ \t\n\r\f\v]*(?:([kmgt])(i?b)?|(b))?", re.ASCII | re.IGNORECASE)
_FRACTION = re.compile(r"[0-9]*\.[0-9]+[ \t\n\r\f\v]*[a-z]*", re.ASCII | re.IGNORECASE)
_CPUS = re.compile(r"([0-9]+)(?:\.([0-9]+))?", re.ASCII)
_FORMS = "write megabytes (2048) or a number with a unit (512MB, 2g, 1TiB)"
_BYTES = {"b": 1, "k": 1024, "m": 1024**2, "g": 1024**3, "t": 1024**4}


def _shown(text: str) -> str:
    """A value as it may stand in a message: one line, plain letters, not too long."""
    plain = re.sub(rb"[^\x20-\x7e]", b"?", text.encode("utf-8", "surrogateescape")).decode("ascii")
    return plain if len(plain) <= 40 else f"{plain[:40]}…"


def _refuse(name: str, text: str, why: str) -> AzaError:
    return AzaError(f"{name} is '{_shown(text)}'{why}", reason="tuning_input", input=name)


def _size(text: str, name: str, most_mb: int, too_much: str) -> int:
    trimmed = text.strip(_BLANKS)
    match = _SIZE.fullmatch(trimmed)
    if match is None:
        if trimmed.startswith("-"):
            raise _refuse(name, text, f", but a size cannot be negative; {_FORMS}")
        if _FRACTION.fullmatch(trimmed):
            raise _refuse(name, text, "; fractions are not understood: write 1536MB for one and a half GB")
        raise _refuse(name, text, f", which is not a size; {_FORMS}")
    digits = match.group(1).lstrip("0") or "0"
    one = _BYTES[(match.group(2) or match.group(4) or "m").lower()]
    if len(digits) > 20 or int(digits) * one > most_mb * _BYTES["m"]:
        raise _refuse(name, text, f", which is more than {too_much}; check the number and its unit")
    return int(digits) * one // _BYTES["m"]


def parse_size(text: str, name: str) -> int:
    """Return MB from ``2048``, ``512MB``, ``2 gb``, ``1TiB``…; units are powers of 1024."""
    return _size(text, name, MOST_DISK_MB, "any disk has (1 EiB)")


def parse_memory(text: str, name: str = "POSTGRES_MEMORY") -> int:
    """Return MB of memory, written like a size, if PostgreSQL can run in it."""
    memory = _size(text, name, MOST_MEMORY_MB, "any machine has (64 TiB)")
    if memory >= LEAST_MEMORY_MB:
        return memory
    if not any(digit in text for digit in "123456789"):
        raise _refuse(
            name,
            text,
            f", which is no memory at all; write at least {LEAST_MEMORY_MB} (MB), or leave it out to use the "
            "container's limit",
        )
    raise _refuse(
        name,
        text,
        f", that is {memory} MB, and at least {LEAST_MEMORY_MB} MB are needed; write {LEAST_MEMORY_MB} or more, "
        "or set POSTGRES_AUTOTUNE=off for PostgreSQL's own settings",
    )


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
