# SPDX-License-Identifier: Apache-2.0
"""Encoding and locale of a database: chosen once, compared as PostgreSQL spells them. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

PROVIDER = "case d.datlocprovider when 'b' then 'builtin' when 'i' then 'icu' else 'libc' end"
LOCALE = (
    "case when d.datlocprovider <> 'c' then d.datlocale when d.datcollate = d.datctype then d.datcollate "
    "else d.datcollate || ' and ' || d.datctype end"
)

# PostgreSQL's other names of encodings, without punctuation.
_ALIASES = {
    "unicode": "utf8",
    "iso88591": "latin1",
    "iso88592": "latin2",
    "iso88593": "latin3",
    "iso88594": "latin4",
    "iso88599": "latin5",
    "iso885910": "latin6",
    "iso885913": "latin7",
    "iso885914": "latin8",
    "iso885915": "latin9",
    "iso885916": "latin10",
    "win": "win1251",
    "alt": "win866",
    "koi8": "koi8r",
    "mskanji": "sjis",
    "shiftjis": "sjis",
    "windows949": "uhc",
    "windows936": "gbk",
    "windows950": "big5",
}


def encoding(name: str) -> str:
    """One spelling for all that PostgreSQL takes for the same: ``utf-8`` is ``UTF8``.

    >>> encoding("ISO_8859-1") == encoding("latin1")
    True
    """
    plain = re.sub(r"[^a-z0-9]", "", name.lower())
    plain = re.sub(r"^(windows|cp)(?=12)", "win", plain)
    return _ALIASES.get(plain, plain)


def _same_locale(provider: str, one: str, two: str) -> bool:
    """libc knows a codeset in several spellings, ICU a language in two."""
    if provider == "icu":
        return one.replace("_", "-").lower() == two.replace("_", "-").lower()
    if provider == "libc":
        return _libc(one) == _libc(two)
    return one == two


def _libc(name: str) -> str:
    head, dot, codeset = name.partition(".")
    return f"{head}{dot}{re.sub(r'[^a-z0-9]', '', codeset.lower())}"


def differences(wanted: Mapping[str, Any], is_now: Mapping[str, Any]) -> list[str]:
    """What cannot be changed any more, in words. What is not known yet (None) differs from nothing."""
    said = []
    provider = str(is_now["provider"] or "")
    if is_now["encoding"] and encoding(wanted["encoding"]) != encoding(is_now["encoding"]):
        said.append(f"its encoding is {is_now['encoding']}, not {wanted['encoding']}")
    if provider and wanted["locale_provider"] not in ("", provider):
        said.append(f"its locale provider is {provider}, not {wanted['locale_provider']}")
    elif (
        is_now["locale"]
        and wanted["locale"]
        and not _same_locale(provider, wanted["locale"], is_now["locale"])
    ):
        said.append(f"its locale is {is_now['locale']}, not {wanted['locale']}")
    return said


def options(wanted: Mapping[str, Any], template: Mapping[str, Any]) -> dict[str, str]:
    """The options of CREATE DATABASE that are needed, by their key words. ``template``: template1, as it is.

    Only template0 may be copied with another encoding or locale than its own.
    """
    chosen: dict[str, str] = {}
    other = encoding(wanted["encoding"]) != encoding(template.get("encoding") or "UTF8")
    if wanted["template"] or other or wanted["locale"] or wanted["locale_provider"]:
        chosen["template"] = wanted["template"] or "template0"
    if other:
        chosen["encoding"] = wanted["encoding"]
    provider = wanted["locale_provider"] or (template.get("provider") or "libc" if wanted["locale"] else "")
    if provider:
        chosen["locale provider"] = provider
    if wanted["locale"]:
        key = {"icu": "icu_locale", "builtin": "builtin_locale"}.get(provider, "locale")
        chosen[key] = wanted["locale"]
    return chosen
