# SPDX-License-Identifier: Apache-2.0
"""Let the image's own server read what is declared before anybody else does.

A container that lives for seconds, without network and without anybody's data: what PostgreSQL rejects there, in its
own words, would have kept the real one from starting, or from letting people in, or would have ended a deploy in the
middle.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ansible_collections.aza.pg.plugins.module_utils.errors import AzaError, did_you_mean
from ansible_collections.aza.pg.plugins.module_utils.host.cache import cache, remove_unused
from ansible_collections.aza.pg.plugins.module_utils.host.docker import Docker
from ansible_collections.aza.pg.plugins.module_utils.instance import server_objects
from ansible_collections.aza.pg.plugins.module_utils.instance.preflight_statements import (
    Statement,
    initdb_arguments,
    of_databases,
    statements,
)
from ansible_collections.aza.pg.plugins.module_utils.model.desired import Desired
from ansible_collections.aza.pg.plugins.module_utils.model.details import SettingDetail, path_of
from ansible_collections.aza.pg.plugins.module_utils.model.observed import Observed
from ansible_collections.aza.pg.plugins.module_utils.model.service import SERVER
from ansible_collections.aza.pg.plugins.module_utils.objects import hba, locale
from ansible_collections.aza.pg.plugins.module_utils.planning.plan import Plan
from ansible_collections.aza.pg.plugins.module_utils.server import settings as pg

_FILES = (pg.PATH, hba.PATH, hba.IDENT_PATH)

# It reads the three files, the arguments of initdb and the statements (one a line) from its input, and prints what each
# step has to say in a section of its own.
# - The server is made as the image makes one (first-start.sh): its locale unless the arguments choose another.
# - shared_memory_size is only known once the libraries are loaded, so `-C` tries them and all that a start checks.
#   Of several mistakes the server names the unknown names first, and the rest only without them.
# - Of a library's own settings the server thinks when it loads that: it warns, and `-C` keeps warnings to itself.
# - The rules are read by a server for a single user, which is enough to ask what it thinks of them. It runs the
#   statements as well, each after its number, and says on the same stream what is wrong with it.
_SCRIPT = r"""
set -u
export LC_ALL=C
unset PGDATA
cd /tmp || exit
for name in conf hba ident initdb sql; do IFS= read -r line; base64 --decode <<<"$line" >"try.$name"; done
one() { # QUERY ARGUMENT...
    local query=$1
    shift
    postgres --single -D data -c config_file=/tmp/one.conf -c ssl=on -c huge_pages=off -c shared_buffers=1MB \
        -c logging_collector=off -c log_destination=stderr -c log_min_messages=warning -c lc_messages=C "$@" postgres \
        <<<"copy (${query//$'\n'/ }) to stdout" # a line is a statement
}
echo '== initdb'
given=$(<try.initdb) chosen=() arguments=() encoding=utf8 previous=
locale=(--locale-provider=builtin --locale=C.UTF-8)
eval "chosen=($given)"
for word in "${chosen[@]}"; do
    case $word in
    --waldir=* | -X?*) continue ;;
    --encoding=*) encoding=${word#*=} ;;
    -E?*) encoding=${word#-E} ;;
    --locale* | --no-locale* | --lc-* | --icu-* | --builtin-locale*) locale=() ;;
    esac
    case $previous in
    --waldir | -X) unset 'arguments[-1]' ;;
    --encoding | -E) encoding=$word arguments+=("$word") ;;
    *) arguments+=("$word") ;;
    esac
    previous=$word
done
encoding=${encoding,,}
if [[ ${#locale[@]} != 0 && ${encoding//[-_]/} != utf8 ]]; then locale=(--locale-provider=builtin --locale=C); fi
said=$(LC_ALL=C.UTF-8 initdb --pgdata=data --no-sync --no-instructions --username=postgres --auth=trust \
    --encoding=UTF8 "${locale[@]}" "${arguments[@]}" 2>&1) || { printf '%s\n' "$said" '== end'; exit; }
echo '== preload'
preload=$(
    exec 2>&1
    share=/usr/local/share/aza-pg
    misconfigured() {
        local more=${2:-}
        printf '%s\n' "$1${more:+; ${more%%. Correct *}}"
        exit 78
    }
    argument() { return 1; }
    source /usr/local/lib/aza-pg/preload.sh && preload_resolve && printf %s "$preload"
) || { printf '%s\n' "$preload"; preload=; }
echo '== settings'
unknown=
for _ in 1 2 3; do
    { printf "shared_preload_libraries = '%s'\n" "$preload"; cat try.conf; } >try.all
    said=$(postgres -D data -c config_file=/tmp/try.all -c ssl=off -c lc_messages=C -c log_destination=stderr \
        -C shared_memory_size 2>&1) && break
    printf '%s\n' "$said"
    names=$(sed -n 's/.*unrecognized configuration parameter "\([^"]*\)".*/\1/p' <<<"$said")
    [[ -n $names ]] || break
    unknown+=$names
    while read -r name; do sed -i "/^${name//./\\.} =/Id" try.conf; done <<<"$names"
done
if grep -q '^[^#=]*\..*=' try.conf; then
    cp try.all one.conf
    echo '== warnings'
    { one 'select 1 where false' >/dev/null; } 2>&1
    unknown+=prefixed
fi
: >one.conf
echo '== rules'
one "select 'hba', line_number, error from pg_hba_file_rules where error is not null
     union all select 'ident', line_number, error from pg_ident_file_mappings where error is not null" \
    -c hba_file=/tmp/try.hba -c ident_file=/tmp/try.ident | tr -d '\r'
if [[ -s try.sql ]]; then
    printf "shared_preload_libraries = '%s'\n" "$preload" >one.conf
    echo '== statements'
    postgres --single -D data -c config_file=/tmp/one.conf -c huge_pages=off -c shared_buffers=4MB -c fsync=off \
        -c logging_collector=off -c log_destination=stderr -c log_min_messages=error -c lc_messages=C \
        -c log_min_error_statement=panic -c max_connections=5 postgres <try.sql 2>&1 | tr -d '\r'
    : >one.conf
fi
if [[ -n $unknown ]]; then
    echo '== known'
    one 'select name from pg_settings' -c shared_preload_libraries="$preload" 2>/dev/null
fi
echo '== end'
"""

_SECTION = re.compile(r"^== (\w+)\n", re.MULTILINE)
_PROMPT = re.compile(r"^(?:backend> )+", re.MULTILINE)
_SAID = re.compile(r"(?:LOG|ERROR|FATAL|WARNING|HINT|DETAIL):\s+(.*)|^postgres: (.*)")
_NOISE = ("skipping missing configuration file", "contains errors", "is now a reserved prefix")
# A few where the host has nothing else to do.
_SECONDS = 300
_FAILED = re.compile(r"(?:ERROR|FATAL|PANIC):\s+(.*)")
_IN_FILE = re.compile(r' in file "/tmp/[^"]*" line \d+')
_UNKNOWN = re.compile(
    r'(?:unrecognized configuration parameter|invalid configuration parameter name) "([^"]+)".*'
)


@dataclass(frozen=True)
class _Question:
    """Everything that an answer depends on."""

    image: str
    texts: Mapping[str, str] = field(default_factory=dict)
    libraries: str = ""
    initdb: str = ""
    statements: Sequence[Statement] = ()

    @property
    def lines(self) -> list[str]:
        sql = "".join(
            f"copy (select 'statement', {number}) to stdout\n{item.sql}\n"
            for number, item in enumerate(self.statements)
        )
        return [*(self.texts.get(path, "") for path in _FILES), self.initdb, sql]


def needed(plan: Plan) -> bool:
    """Whether the plan brings something that can be tried, now or once it is permitted."""
    return any(
        isinstance(change.detail, SettingDetail)
        or path_of(change) in _FILES
        or (change.kind == "container" and change.action in ("create", "recreate"))
        or server_objects.is_tried(change)
        for change in (*plan.changes, *plan.held)
    )


def check(wanted: Desired, found: Observed, docker: Docker, before: str = "Nothing was changed") -> None:
    """:raises AzaError: what the server of the image refuses, all at once. ``before``: what was done until now.

    What it accepted within the last weeks it is not asked again: that takes seconds, and the answer depends on nothing
    but the question.
    """
    question = _Question(
        wanted.image["pinned"],
        {item.path: item.text or "" for item in wanted.files if item.path in _FILES},
        ",".join((wanted.objects.get("preload") or {}).get("declared") or ()),
        initdb_arguments(wanted, found),
        # What a standby holds comes from its primary.
        () if wanted.standby else statements(wanted, found),
    )
    accepted = _mark("accepted", _SCRIPT, question.image, question.libraries, *question.lines)
    if accepted and accepted.is_dir():
        return
    message = _ask(question, docker)
    problems = list(_initdb(message, wanted))
    if not problems:
        problems += [
            *_preload(message, wanted),
            *_settings(message, wanted),
            *_rules(message, wanted, question.texts),
            *_refused(message, wanted, question),
        ]
    if problems:
        text = "; ".join(problems)
        end = "" if text.endswith("?") else "."
        raise AzaError(f"{text}{end} {before}.", reason="bad_setting", problems=problems)
    _keep_locales(question.image, _locales(message))
    if accepted:
        with contextlib.suppress(OSError):
            accepted.mkdir()
            remove_unused(accepted.parent, "accepted-*")


def with_locales(wanted: Desired, found: Observed, docker: Docker) -> Observed:
    """The same, and what the server calls those declared locales that it may have under another name (``en-u-kn-true``
    is ``en-u-kn``). Only where a name differs a server is asked, once."""
    there = (found.server or {}).get("databases") or {}
    unsettled = {locale.key(*pair) for pair in locale.unsettled(wanted.objects.get("databases", ()), there)}
    if found.server is None or not unsettled or wanted.standby:
        return found
    image = wanted.image["pinned"] if found.image else found.containers.get(SERVER, {}).get("image", "")
    known = {key: text for key in unsettled if (text := _kept_locale(image, key))}
    if image and unsettled - set(known):
        initdb = initdb_arguments(wanted, found)
        question = _Question(image, initdb=initdb, statements=list(of_databases(wanted, found)))
        with contextlib.suppress(AzaError):  # without an answer the names differ
            known = _locales(_ask(question, docker))
            _keep_locales(image, known)
    return found.with_server({**found.answers, "locales": known})


def _locales(message: Mapping[str, str]) -> dict[str, str]:
    rows = (line.split("\t") for line in message.get("statements", "").splitlines())
    return {row[1]: row[2] for row in rows if len(row) == 3 and row[0] == "locale"}


def _kept_locale(image: str, key: str) -> str:
    place = _mark("locale", image, key)
    with contextlib.suppress(OSError):
        return (place / "standard").read_text(encoding="utf-8") if place else ""
    return ""


def _keep_locales(image: str, known: Mapping[str, str]) -> None:
    for key, text in known.items():
        place = _mark("locale", image, key)
        with contextlib.suppress(OSError):
            if place and not place.is_dir():
                place.mkdir()
                (place / "standard").write_text(text, encoding="utf-8")
                remove_unused(place.parent, "locale-*")


def _mark(kind: str, *question: str) -> Path | None:
    """What is there once this was answered; None where this user can keep nothing."""
    content = hashlib.sha256("\0".join(question).encode()).hexdigest()
    with contextlib.suppress(OSError, KeyError):
        return cache() / f"{kind}-{content[:32]}"
    return None


def _ask(question: _Question, docker: Docker) -> dict[str, str]:
    done = docker.run(
        *("run", "--rm", "--interactive", "--network", "none", "--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL"),
        *("--user", "postgres", "--env", f"POSTGRES_EXTRA_PRELOAD_LIBRARIES={question.libraries}"),
        *("--entrypoint", "/bin/bash", question.image, "-c", _SCRIPT),
        stdin="".join(base64.b64encode(text.encode()).decode() + "\n" for text in question.lines),
        check=False,
        timeout=_SECONDS,
    )  # fmt: skip
    parts = _SECTION.split(_PROMPT.sub("", done.stdout))
    message = dict(zip(parts[1::2], parts[2::2]))
    if "end" not in message:
        raise docker.error(("run", question.image), done)
    return message


def _initdb(message: Mapping[str, str], wanted: Desired) -> Iterator[str]:
    words = [
        line.partition(": ")[2].partition(": ")[2]
        for line in message.get("initdb", "").splitlines()
        if line.startswith(("initdb: error:", "initdb: hint:"))
    ]
    if text := " ".join(words) or " ".join(message.get("initdb", "").split()):
        yield f"{_where(wanted, 'postgres_initdb_args')}: initdb rejects them: {text.rstrip('.')}"


def _refused(message: Mapping[str, str], wanted: Desired, question: _Question) -> Iterator[str]:
    """What is wrong with each statement: the number of one precedes what is said of it."""
    item = Statement("")
    for line in message.get("statements", "").splitlines():
        kind, _, number = line.partition("\t")
        if kind == "statement" and number.isdecimal():
            item = question.statements[int(number)]
        elif item.variable and (found := _FAILED.search(line)):
            where = f"{_where(wanted, item.variable)} {item.where}".rstrip()
            yield f"{where}: PostgreSQL rejects: {found.group(1).rstrip('.')}"


def _where(wanted: Desired, variable: str) -> str:
    origin = wanted.origin(variable)
    return f"{variable} ({origin})" if origin else variable


def _preload(message: Mapping[str, str], wanted: Desired) -> Iterator[str]:
    if message["preload"].strip():
        where = _where(wanted, "postgres_extra_preload_libraries")
        yield f"{where}: {' '.join(message['preload'].split()).rstrip('.')}"


def _settings(message: Mapping[str, str], wanted: Desired) -> Iterator[str]:
    known = message.get("known", "").split()
    words = []
    for line in [*message["settings"].splitlines(), *_warnings(message.get("warnings", ""), wanted)]:
        found = _SAID.search(line)
        if found and not any(noise in line for noise in _NOISE):
            text = _IN_FILE.sub("", (found.group(1) or found.group(2)).rstrip("."))
            words.append(
                _UNKNOWN.sub(lambda m: f"there is no setting '{m[1]}'{did_you_mean(m[1], known)}", text)
            )
    if words:
        yield f"{_where(wanted, 'postgres_settings')}: PostgreSQL rejects them: {'; '.join(dict.fromkeys(words))}"


def _warnings(message: str, wanted: Desired) -> Iterator[str]:
    """What libraries think of declared settings. What else they say is not about the declaration."""
    ours = False
    for line in message.splitlines():
        if "WARNING:" in line:
            ours = any(f'"{name}"' in line for name in wanted.settings)
        if ours and ("WARNING:" in line or "HINT:" in line):
            yield line


def _rules(message: Mapping[str, str], wanted: Desired, texts: Mapping[str, str]) -> Iterator[str]:
    for line in message["rules"].splitlines():
        kind, _, rest = line.partition("\t")
        number, _, error = rest.partition("\t")
        if not number.isdecimal():
            continue
        path = hba.PATH if kind == "hba" else hba.IDENT_PATH
        text = texts[path].split("\n")[int(number) - 1]
        yield f"{_where(wanted, f'postgres_{kind}')}: PostgreSQL rejects ‘{text}’: {error}"
