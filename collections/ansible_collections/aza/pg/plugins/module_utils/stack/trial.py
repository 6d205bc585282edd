# SPDX-License-Identifier: Apache-2.0
"""Let the image's own server read what is declared before anybody else does.

A container that lives for a second, without network and without anybody's data: what PostgreSQL refuses there, in its
own words, would have kept the real one from starting, or from letting people in.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from ansible_collections.aza.pg.plugins.module_utils import compiled
from ansible_collections.aza.pg.plugins.module_utils.errors import AzaError, did_you_mean
from ansible_collections.aza.pg.plugins.module_utils.stack import settings as pg
from ansible_collections.aza.pg.plugins.module_utils.stack.docker import Docker
from ansible_collections.aza.pg.plugins.module_utils.stack.model import Desired, Plan
from ansible_collections.aza.pg.plugins.module_utils.stack.objects import hba

_FILES = (pg.PATH, hba.PATH, hba.IDENT_PATH)

# It reads the three files from its input, and prints what each step has to say in a section of its own.
# - shared_memory_size is only known once the libraries are loaded, so `-C` tries them and all that a start checks.
#   Of several mistakes the server names the unknown names first, and the rest only without them.
# - Of a library's own settings the server thinks when it loads that: it warns, and `-C` keeps warnings to itself.
# - The rules are read by a server for a single user, which is enough to ask what it thinks of them.
_SCRIPT = r"""
set -u
export LC_ALL=C
unset PGDATA
cd /tmp || exit
for name in conf hba ident; do IFS= read -r line; base64 --decode <<<"$line" >"try.$name"; done
one() { # QUERY ARGUMENT...
    local query=$1
    shift
    postgres --single -D data -c config_file=/tmp/one.conf -c ssl=on -c huge_pages=off -c shared_buffers=1MB \
        -c logging_collector=off -c log_destination=stderr -c log_min_messages=warning -c lc_messages=C "$@" postgres \
        <<<"copy (${query//$'\n'/ }) to stdout" # a line is a statement
}
initdb --pgdata=data --no-sync --no-instructions --username=postgres --auth=trust --locale=C --encoding=UTF8 \
    >/dev/null || exit
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
_IN_FILE = re.compile(r' in file "/tmp/[^"]*" line \d+')
_UNKNOWN = re.compile(
    r'(?:unrecognized configuration parameter|invalid configuration parameter name) "([^"]+)".*'
)


def needed(plan: Plan) -> bool:
    """Whether the plan brings something that can be tried, now or once it is permitted."""
    return any(
        "value" in change.detail
        or change.detail.get("path") in _FILES
        or (change.kind == "container" and change.action in ("create", "recreate"))
        for change in (*plan.changes, *plan.held)
    )


def check(wanted: Desired, docker: Docker) -> None:
    """:raises AzaError: what the server of the image refuses, all at once. Nothing was touched then.

    What it accepted within the last weeks it is not asked again: that takes seconds, and the answer depends on nothing
    but the question.
    """
    texts = {item.path: item.text or "" for item in wanted.files if item.path in _FILES}
    libraries = ",".join((wanted.objects.get("preload") or {}).get("declared") or ())
    accepted = _mark(_SCRIPT, wanted.image["pinned"], libraries, *(texts.get(path, "") for path in _FILES))
    if accepted and accepted.is_dir():
        return
    _ask(wanted, docker, texts, libraries)
    if accepted:
        with contextlib.suppress(OSError):
            accepted.mkdir()
            compiled.forget(accepted.parent, "accepted-*")


def _mark(*question: str) -> Path | None:
    """What is there once this was accepted; None where this user can keep nothing."""
    content = hashlib.sha256("\0".join(question).encode()).hexdigest()
    with contextlib.suppress(OSError, KeyError):
        return compiled.cache() / f"accepted-{content[:32]}"
    return None


def _ask(wanted: Desired, docker: Docker, texts: Mapping[str, str], libraries: str) -> None:
    done = docker.run(
        *("run", "--rm", "--interactive", "--network", "none", "--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL"),
        *("--user", "postgres", "--env", f"POSTGRES_EXTRA_PRELOAD_LIBRARIES={libraries}"),
        *("--entrypoint", "/bin/bash", wanted.image["pinned"], "-c", _SCRIPT),
        stdin="".join(base64.b64encode(texts.get(path, "").encode()).decode() + "\n" for path in _FILES),
        check=False,
        timeout=60,
    )  # fmt: skip
    parts = _SECTION.split(_PROMPT.sub("", done.stdout))
    said = dict(zip(parts[1::2], parts[2::2]))
    if "end" not in said:
        raise docker.error(("run", wanted.image["pinned"]), done)
    problems = [*_preload(said, wanted), *_settings(said, wanted), *_rules(said, wanted, texts)]
    if problems:
        text = "; ".join(problems)
        end = "" if text.endswith("?") else "."
        raise AzaError(f"{text}{end} Nothing was changed.", reason="bad_setting", problems=problems)


def _where(wanted: Desired, variable: str) -> str:
    origin = wanted.origin(variable)
    return f"{variable} ({origin})" if origin else variable


def _preload(said: Mapping[str, str], wanted: Desired) -> Iterator[str]:
    if said["preload"].strip():
        yield f"{_where(wanted, 'postgres_extra_preload_libraries')}: {' '.join(said['preload'].split()).rstrip('.')}"


def _settings(said: Mapping[str, str], wanted: Desired) -> Iterator[str]:
    known = said.get("known", "").split()
    words = []
    for line in [*said["settings"].splitlines(), *_warnings(said.get("warnings", ""), wanted)]:
        found = _SAID.search(line)
        if found and not any(noise in line for noise in _NOISE):
            text = _IN_FILE.sub("", (found.group(1) or found.group(2)).rstrip("."))
            words.append(
                _UNKNOWN.sub(lambda m: f"there is no setting '{m[1]}'{did_you_mean(m[1], known)}", text)
            )
    if words:
        yield f"{_where(wanted, 'postgres_settings')}: PostgreSQL refuses them: {'; '.join(dict.fromkeys(words))}"


def _warnings(said: str, wanted: Desired) -> Iterator[str]:
    """What libraries think of declared settings. What else they say is not about the declaration."""
    ours = False
    for line in said.splitlines():
        if "WARNING:" in line:
            ours = any(f'"{name}"' in line for name in wanted.settings)
        if ours and ("WARNING:" in line or "HINT:" in line):
            yield line


def _rules(said: Mapping[str, str], wanted: Desired, texts: Mapping[str, str]) -> Iterator[str]:
    for line in said["rules"].splitlines():
        kind, _, rest = line.partition("\t")
        number, _, error = rest.partition("\t")
        if not number.isdecimal():
            continue
        path = hba.PATH if kind == "hba" else hba.IDENT_PATH
        text = texts[path].split("\n")[int(number) - 1]
        yield f"{_where(wanted, f'postgres_{kind}')}: PostgreSQL refuses ‘{text}’: {error}"
