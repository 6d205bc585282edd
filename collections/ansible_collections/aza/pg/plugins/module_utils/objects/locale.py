# SPDX-License-Identifier: Apache-2.0
"""Encoding and locale of a database: chosen once, compared as PostgreSQL spells them. Pure."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

PROVIDER = "case d.datlocprovider when 'b' then 'builtin' when 'i' then 'icu' else 'libc' end"
LOCALE = (
    "case when d.datlocprovider <> 'c' then d.datlocale when d.datcollate = d.datctype then d.datcollate "
    "else d.datcollate || ' and ' || d.datctype end"
)

TEMPLATES = ("template0", "template1")
# The arguments of initdb that set the locale; without them the image's default applies.
_LOCALE_ARGUMENTS = ("--locale", "--no-locale", "--lc-", "--icu-", "--builtin-locale")
_OPTIONS = {"icu": "icu_locale", "builtin": "builtin_locale"}
# PostgreSQL takes both for the same, and keeps the first.
_BUILTIN = {"C.UTF8": "C.UTF-8"}

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
    return _BUILTIN.get(one, one) == _BUILTIN.get(two, two)


def _libc(name: str) -> str:
    head, dot, codeset = name.partition(".")
    return f"{head}{dot}{re.sub(r'[^a-z0-9]', '', codeset.lower())}"


def key(provider: str, text: str) -> str:
    """A locale as the answers about its standard form know it."""
    return f"{provider} {text}"


def unsettled(declared: Iterable[Mapping[str, Any]], there: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Provider and locale of those declarations that differ from what the server holds, unless the server calls the
    same locale by another name (``en-u-kn-true`` is ``en-u-kn``), which only a server knows."""
    for item in declared:
        is_now = there.get(item["name"])
        if item["state"] == "present" and is_now and is_now["locale"] and item["locale"]:
            provider = str(is_now["provider"])
            same_provider = item["locale_provider"] in ("", provider)
            if same_provider and not _same_locale(provider, item["locale"], is_now["locale"]):
                yield provider, item["locale"]


def differences(
    wanted: Mapping[str, Any], is_now: Mapping[str, Any], standard: Mapping[str, str]
) -> list[str]:
    """What cannot be changed any more, as text. What is not known yet (None) differs from nothing. ``standard``: what
    the server calls the locales of ``unsettled``, by ``key``."""
    message = []
    provider = str(is_now["provider"] or "")
    if is_now["encoding"] and encoding(wanted["encoding"]) != encoding(is_now["encoding"]):
        message.append(f"its encoding is {is_now['encoding']}, not {wanted['encoding']}")
    if provider and wanted["locale_provider"] not in ("", provider):
        message.append(f"its locale provider is {provider}, not {wanted['locale_provider']}")
    elif (
        is_now["locale"]
        and wanted["locale"]
        and not _same_locale(provider, wanted["locale"], is_now["locale"])
        and standard.get(key(provider, wanted["locale"])) != is_now["locale"]
    ):
        message.append(f"its locale is {is_now['locale']}, not {wanted['locale']}")
    return message


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
        chosen[_OPTIONS.get(provider, "locale")] = wanted["locale"]
    return chosen


def of_options(chosen: Mapping[str, str]) -> str:
    """The locale that ``options`` chose; empty when it is the template's."""
    return next((chosen[name] for name in (*_OPTIONS.values(), "locale") if name in chosen), "")


def made_by(initdb_args: str) -> dict[str, str]:
    """Encoding and provider of template1 once the image has made a server with these arguments."""
    made = {"encoding": "UTF8", "provider": "builtin"}
    try:
        words = shlex.split(initdb_args)
    except ValueError:
        return made  # the image's own shell says what is wrong with it
    if any(word.startswith(_LOCALE_ARGUMENTS) for word in words):
        made["provider"] = "libc"
    for word, following in zip(words, [*words[1:], ""]):
        name, equals, text = word.partition("=")
        value = text if equals else following
        if name == "--locale-provider":
            made["provider"] = value
        elif name in ("-E", "--encoding"):
            made["encoding"] = value
    return made


def initdb(template: Mapping[str, Any]) -> str:
    """The arguments of initdb that make a server with this template1 once more."""
    provider, text = template.get("provider"), template.get("locale")
    if not provider or not text:
        return ""
    words = [f"--encoding={template['encoding']}", f"--locale-provider={provider}"]
    words += [f"--{_OPTIONS[provider].replace('_', '-')}={text}"] if provider in _OPTIONS else []
    words += [f"--lc-collate={template['collate']}", f"--lc-ctype={template['ctype']}"]
    return " ".join(map(shlex.quote, words))
