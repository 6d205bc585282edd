# SPDX-License-Identifier: Apache-2.0
"""What argument_specs cannot say of one value: ranges and patterns. (What contradicts what: ``crosscheck``.)

A limit takes a value of the right type and returns what is wrong with it, as text that follows the value:
``postgres_port: 70000 is not between 1 and 65535``. Its ``schema`` is as much of it as JSON Schema can say; that
part never refuses what the limit accepts. Where text is expected, a number or a date is refused unless the limit
``takes`` it: YAML has turned into one what was written (0123 becomes 83).
"""

from __future__ import annotations

import datetime
import ipaddress
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from ansible_collections.aza.pg.plugins.module_utils.errors import AzaError, did_you_mean
from ansible_collections.aza.pg.plugins.module_utils.instance.server_objects import KINDS
from ansible_collections.aza.pg.plugins.module_utils.model.names import CLUSTER_NAME
from ansible_collections.aza.pg.plugins.module_utils.objects.declared import unfit_name, unfit_sign
from ansible_collections.aza.pg.plugins.module_utils.quantity import megabytes, seconds
from ansible_collections.aza.pg.plugins.module_utils.server import settings as pg
from ansible_collections.aza.pg.plugins.module_utils.services.pgbouncer import settings as pool_settings
from ansible_collections.aza.pg.plugins.module_utils.tuning.parse import parse_memory


@dataclass(frozen=True)
class Limit:
    wrong: Callable[[Any], str]
    schema: Mapping[str, Any] = field(default_factory=dict)
    # What may stand for the text: ``number`` or ``moment``.
    takes: str = ""

    def __call__(self, value: Any) -> str:
        return self.wrong(value)


def between(low: int, high: int) -> Limit:
    return Limit(
        lambda value: "" if low <= float(value) <= high else f"is not between {low} and {high}",
        {"minimum": low, "maximum": high},
    )


def pattern(expression: str, meaning: str) -> Limit:
    """``expression`` is read by Python and by editors (ECMAScript): what both understand alike."""
    form = re.compile(expression)
    return Limit(
        lambda value: "" if form.fullmatch(str(value)) else f"is not {meaning}",
        {"pattern": f"^(?:{expression})$"},
    )


def or_empty(limit: Limit) -> Limit:
    schema = {"anyOf": [{"const": ""}, limit.schema]} if limit.schema else {}
    return Limit(lambda value: "" if value == "" else limit(value), schema, limit.takes)


def _memory(value: Any) -> str:
    try:
        parse_memory(str(value), "it")
    except AzaError as error:
        return re.sub(r"^it is '.*'[,;] ", "is refused: ", error.msg, flags=re.DOTALL)
    return ""


def _size(value: Any) -> str:
    try:
        megabytes("", value)
    except AzaError:
        return "is not a size; write 512m or 2g"
    return ""


def _duration(value: Any) -> str:
    try:
        seconds("", value)
    except AzaError:
        return "is not a duration; write 90s or 2m"
    return ""


def is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _address(value: Any) -> str:
    return "" if is_address(str(value)) else "is not an IP address"


def _network(value: Any) -> str:
    try:
        ipaddress.ip_network(str(value))
    except ValueError as error:
        return f"is not a network like 10.0.0.0/24 ({error})"
    return ""


_HOST_NAME = re.compile(r"\.?(?=.*[A-Za-z])[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9])?")


def _client(value: Any) -> str:
    """The address of an HBA rule. A host name has a letter in it: `10.0.0` is a slip, not a name."""
    if _HOST_NAME.fullmatch(str(value)) or not _network(value):
        return ""
    return "is not a network like 10.0.0.0/24, nor an address, a host name, samenet or samehost"


def _settings(value: Any, normalise: Callable[[Any], Any] = pg.normalise) -> str:
    try:
        normalise(value)
    except AzaError as error:
        return "is wrong: " + error.msg.partition(": ")[2].rstrip(".")
    wrong = [f"'{name}' is a list, but not of plain values" for name in value if _nested(value[name])]
    wrong += [f"'{name}' holds a line break" for name in value if "\n" in pg.canonical(value[name])]
    return "is wrong: " + "; ".join(wrong) if wrong else ""


def _nested(value: Any) -> bool:
    return isinstance(value, list) and any(item is None or isinstance(item, (list, dict)) for item in value)


def _name(value: Any) -> str:
    return unfit_name(str(value))


_MARKS = "\"'`\\$"


def _administrator(value: Any) -> str:
    """initdb makes no server for a user with one of the marks, and the name stands on command lines and in rules."""
    marks = [sign for sign in str(value) if sign in _MARKS]
    if marks or str(value).startswith(("/", "+", "-")):
        wrong = marks[0] if marks else f"{str(value)[0]} at its beginning"
        return f"has {wrong} in it, which this name cannot have; use letters, digits, _ and -"
    return _role_name(value)


def _entry(value: Any) -> str:
    """Of a word in pg_hba.conf or pg_ident.conf: a name, or more (+group, /expression)."""
    return "is empty" if value == "" else unfit_sign(str(value))


def _schema_name(value: Any) -> str:
    reserved = "begins with pg_, which PostgreSQL reserves"
    return _name(value) or (reserved if str(value).startswith("pg_") else "")


def _role_name(value: Any) -> str:
    if value in ("public", "none"):
        return "is a word that PostgreSQL reserves; no role can have that name"
    return _schema_name(value)


def _password(value: Any) -> str:
    """What is wrong with it, without a word of it."""
    if value == "":
        return ""
    if len(str(value)) < 12:
        return "has fewer than 12 characters"
    return "has a line break or another control character" if unfit_sign(str(value)) else ""


_TIME = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)([ T]([01]\d|2[0-3]):[0-5]\d(:[0-5]\d(\.\d{1,6})?)?"
    r"( ?([Zz]|[+-]\d\d(:?\d\d)?)| [A-Za-z][A-Za-z0-9_/+-]*)?)?"
)


def _moment(value: Any) -> str:
    if value == "infinity":
        return ""
    found = _TIME.fullmatch(str(value))
    try:
        if found and datetime.date(int(found[1]), int(found[2]), int(found[3])):
            return ""
    except ValueError as error:
        return f"is not a date ({error})"
    return "is not a time; write 2027-01-31 or 2027-01-31 18:00+00"


_KINDS = [kind.name for kind in KINDS if kind.apply]


def _loss(value: Any) -> str:
    text = str(value)
    kind = next((kind for kind in _KINDS if text == kind or text.startswith(f"{kind} ")), "")
    if not kind:
        return f"is not a kind and a name, like 'database shop'{did_you_mean(text.partition(' ')[0], _KINDS)}"
    name = text.removeprefix(kind).strip()
    if kind in ("schema", "extension") and "." not in name:
        return f"names no {kind}; write '{kind} DATABASE.NAME'"
    return "" if name else f"names no {kind}"


def _paths(value: Any) -> str:
    given = value if isinstance(value, list) else [value]
    if all(isinstance(path, str) and path.strip() for path in given):
        return ""
    expected = "a path, or a list of paths"
    return f"expected {expected}" if isinstance(value, (list, dict)) else f"is not {expected}"


_NAME_SCHEMA = {"minLength": 1, "maxLength": 63, "pattern": "^[^\u0000-\u001f]*$"}
_ADMINISTRATOR_SCHEMA = {**_NAME_SCHEMA, "pattern": "^(?![/+-])[^\"'`\\\\$\u0000-\u001f]*$"}
SIZE, DURATION = Limit(_size, takes="number"), Limit(_duration, takes="number")
ADDRESS, NETWORK = Limit(_address), Limit(_network)
SETTINGS = Limit(_settings, {"additionalProperties": {"not": {"type": ["null", "object"]}}})
NAME = Limit(_name, _NAME_SCHEMA)
ADMINISTRATOR = Limit(
    _administrator, {**_ADMINISTRATOR_SCHEMA, "not": {"pattern": "^(?:pg_|(?:public|none)$)"}}
)
SCHEMA_NAME = Limit(_schema_name, {**_NAME_SCHEMA, "pattern": "^(?!pg_)"})
ROLE_NAME = Limit(_role_name, {**_NAME_SCHEMA, "pattern": "^(?!pg_)(?!(?:public|none)$)"})
ENTRY = Limit(_entry, {"pattern": "^[^\u0000-\u001f]+$"})
PASSWORD = Limit(_password, {"anyOf": [{"const": ""}, {"minLength": 12}]})
_PATH_SCHEMA = {"type": "string", "pattern": r"\S"}
PATHS = Limit(_paths, {"anyOf": [_PATH_SCHEMA, {"type": "array", "items": _PATH_SCHEMA}]})
CONNECTIONS = between(-1, 2**31 - 1)
PORT = between(1, 65535)
LIBRARY = pattern(r"[A-Za-z0-9_.$/-]+", "the name of a library")

# By the place as people write it, `[]` for any entry of a list.
LIMITS: dict[str, Limit] = {
    "postgres_cluster": pattern(
        CLUSTER_NAME.pattern,
        "a cluster name: lower-case letters, digits and dashes, a letter first, at most 40 characters, and not 'ca'",
    ),
    "postgres_port": PORT,
    "postgres_memory": Limit(_memory, takes="number"),
    "postgres_shm_size": or_empty(SIZE),
    "postgres_cpus": between(0, 1024),
    "postgres_publish_address": or_empty(ADDRESS),
    "postgres_address": or_empty(ADDRESS),
    "postgres_replay_delay": or_empty(DURATION),
    "postgres_synchronous_replicas": between(0, 16),
    "postgres_allow_from[]": NETWORK,
    "postgres_database": NAME,
    "postgres_user": ADMINISTRATOR,
    "postgres_password": PASSWORD,
    "postgres_settings": SETTINGS,
    "postgres_extra_preload_libraries[]": LIBRARY,
    "postgres_base_dir": or_empty(pattern(r"/[^\s:]*", "an absolute path without spaces and colons")),
    "postgres_stop_grace_period": DURATION,
    "postgres_ready_timeout": DURATION,
    "postgres_log_max_size": pattern(r"[1-9][0-9]*[kmg]", "a size that Docker knows, like 20m"),
    "postgres_log_max_files": between(1, 1000),
    "postgres_roles[].name": ROLE_NAME,
    "postgres_roles[].reassign_to": or_empty(NAME),
    "postgres_roles[].connection_limit": CONNECTIONS,
    "postgres_roles[].valid_until": or_empty(Limit(_moment, takes="moment")),
    "postgres_roles[].password": PASSWORD,
    "postgres_roles[].member_of[].role": NAME,
    "postgres_roles[].settings": SETTINGS,
    "postgres_databases[].name": NAME,
    "postgres_databases[].owner": or_empty(NAME),
    "postgres_databases[].template": or_empty(NAME),
    "postgres_databases[].connection_limit": CONNECTIONS,
    "postgres_databases[].pool_size": between(0, 10000),
    "postgres_databases[].settings": SETTINGS,
    "postgres_databases[].extensions[].name": NAME,
    "postgres_databases[].extensions[].schema": or_empty(NAME),
    "postgres_databases[].schemas[].name": SCHEMA_NAME,
    "postgres_databases[].schemas[].owner": or_empty(NAME),
    "postgres_hba[].databases[]": ENTRY,
    "postgres_hba[].roles[]": ENTRY,
    "postgres_hba[].addresses[]": Limit(_client),
    "postgres_ident[].map": ENTRY,
    "postgres_ident[].system": ENTRY,
    "postgres_ident[].role": ENTRY,
    "postgres_allow_loss[]": Limit(_loss, {"pattern": f"^(?:{'|'.join(_KINDS)}) "}),
    "postgres_tls_names[]": pattern(r"[A-Za-z0-9*_.:-]+", "a host name or an address"),
    "postgres_pgbouncer_publish_address": or_empty(ADDRESS),
    "postgres_pgbouncer_settings": Limit(
        partial(_settings, normalise=pool_settings.normalise),
        {"additionalProperties": {"not": {"type": ["null", "object"]}}},
    ),
    "docker_engine_start_timeout": between(1, 3600),
}

# By the end of a variable's name, unless it has a limit of its own.
BY_SUFFIX: dict[str, Limit] = {"_port": PORT, "_publish_address": ADDRESS}
# By the variable, for every key in it. The keys themselves have one home, the argument specification.
BY_VARIABLE: dict[str, Limit] = {"postgres_hooks": PATHS}


def limit_of(place: str) -> Limit | None:
    """Return the limit of a variable or of a key in one, by its place: ``postgres_port``, ``postgres_roles[].name``."""
    by_suffix = (limit for suffix, limit in BY_SUFFIX.items() if place.endswith(suffix) and "[" not in place)
    variable, _, key = place.partition(".")
    by_variable = BY_VARIABLE.get(variable) if key else None
    return LIMITS.get(place) or by_variable or next(by_suffix, None)
