# SPDX-License-Identifier: Apache-2.0
"""What argument_specs cannot say: ranges, patterns, and what only makes sense together.

A limit takes a value of the right type and returns what is wrong with it, in words that follow the value:
``postgres_port: 70000 is not between 1 and 65535``.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ansible_collections.aza.pg.plugins.module_utils.errors import AzaError
from ansible_collections.aza.pg.plugins.module_utils.stack import settings as pg
from ansible_collections.aza.pg.plugins.module_utils.stack.desired import CLUSTER_NAME
from ansible_collections.aza.pg.plugins.module_utils.stack.quantity import megabytes, seconds
from ansible_collections.aza.pg.plugins.module_utils.tuning.parse import parse_memory

Limit = Callable[[Any], str]


def between(low: float, high: float) -> Limit:
    return lambda value: "" if low <= float(value) <= high else f"is not between {low:g} and {high:g}"


def pattern(expression: str, meaning: str) -> Limit:
    form = re.compile(expression)
    return lambda value: "" if form.fullmatch(str(value)) else f"is not {meaning}"


def each(limit: Limit) -> Limit:
    def check(value: Any) -> str:
        wrong = [f"'{item}' {said}" for item in value if (said := limit(item))]
        return "has a wrong entry: " + ", ".join(wrong) if wrong else ""

    return check


def or_empty(limit: Limit) -> Limit:
    return lambda value: "" if value == "" else limit(value)


def memory(value: Any) -> str:
    try:
        parse_memory(str(value), "it")
    except AzaError as error:
        return re.sub(r"^it is '.*'[,;] ", "is refused: ", error.msg)
    return ""


def size(value: Any) -> str:
    try:
        megabytes("", value)
    except AzaError:
        return "is not a size; write 512m or 2g"
    return ""


def duration(value: Any) -> str:
    try:
        seconds("", value)
    except AzaError:
        return "is not a duration; write 90s or 2m"
    return ""


def address(value: Any) -> str:
    try:
        ipaddress.ip_address(str(value))
    except ValueError:
        return "is not an IP address"
    return ""


def network(value: Any) -> str:
    try:
        ipaddress.ip_network(str(value))
    except ValueError as error:
        return f"is not a network like 10.0.0.0/24 ({error})"
    return ""


def settings(value: Any) -> str:
    try:
        pg.normalise(value)
    except AzaError as error:
        return "is wrong: " + error.msg.partition(": ")[2].rstrip(".")
    return ""


def identifier(value: Any) -> str:
    if not 1 <= len(str(value).encode()) <= 63:
        return "is no name: PostgreSQL's have 1 to 63 bytes"
    return "begins with pg_, which PostgreSQL keeps for itself" if str(value).startswith("pg_") else ""


def password(value: Any) -> str:
    return "" if value == "" or len(str(value)) >= 12 else "has fewer than 12 characters"


LIMITS: dict[str, Limit] = {
    "postgres_cluster": pattern(
        CLUSTER_NAME.pattern,
        "a cluster name: lower-case letters, digits and dashes, a letter first, at most 40 characters",
    ),
    "postgres_port": between(1, 65535),
    "postgres_memory": memory,
    "postgres_shm_size": or_empty(size),
    "postgres_cpus": between(0, 1024),
    "postgres_publish_address": address,
    "postgres_allow_from": each(network),
    "postgres_database": identifier,
    "postgres_user": identifier,
    "postgres_password": password,
    "postgres_settings": settings,
    "postgres_extra_preload_libraries": each(pattern(r"[A-Za-z0-9_.$/-]+", "the name of a library")),
    "postgres_base_dir": or_empty(pattern(r"/[^\s:]*", "an absolute path without spaces and colons")),
    "postgres_stop_grace_period": duration,
    "postgres_ready_timeout": duration,
    "postgres_log_max_size": pattern(r"[1-9]\d*[kmg]", "a size that Docker knows, like 20m"),
    "postgres_log_max_files": between(1, 1000),
}


def together(values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Variables that contradict each other on one host, as (variable, sentence)."""
    published = str(values.get("postgres_publish_address", "127.0.0.1"))
    try:
        loopback = ipaddress.ip_address(published).is_loopback
    except ValueError:
        return
    if not loopback and not values.get("postgres_allow_from"):
        yield (
            "postgres_publish_address",
            f"'{published}' can be reached by other machines: say which may come in with postgres_allow_from "
            "(a list of networks)",
        )
