# SPDX-License-Identifier: Apache-2.0
"""Where PgBouncer is not what was declared, and what a check says of it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ansible_collections.aza.pg.plugins.module_utils.model.desired import Desired
from ansible_collections.aza.pg.plugins.module_utils.model.observed import Observed
from ansible_collections.aza.pg.plugins.module_utils.planning.change import Change
from ansible_collections.aza.pg.plugins.module_utils.planning.finding import Finding
from ansible_collections.aza.pg.plugins.module_utils.services.pgbouncer.files import (
    CERTIFICATE,
    CONFFILE,
    CONSOLE,
    HBA,
    INI,
    NAME,
)
from ansible_collections.aza.pg.plugins.module_utils.services.pgbouncer.settings import KEPT, same


def read(ini: str) -> tuple[dict[str, str], dict[str, dict[str, str]]]:
    """Settings, and database → its parameters, of a file that ``render`` wrote."""
    settings: dict[str, str] = {}
    databases: dict[str, dict[str, str]] = {}
    section = ""
    for line in ini.splitlines():
        if line.startswith("["):
            section = line.strip("[]")
            continue
        name, mark, value = (part.strip() for part in line.partition("="))
        if mark and not name.startswith(";"):
            if section == "databases":
                databases[name] = dict(part.split("=", 1) for part in value.split())
            else:
                settings[name] = value
    return settings, databases


def reload(wanted: Desired, found: Observed, about: Iterable[Change]) -> Iterator[Change]:
    """What was written and is not active: a run was interrupted, a user edited by hand or used the console's SET.

    ``about``: the changes that are planned; what is about to be written becomes active with that.
    """
    service, now = wanted.service(NAME), found.reports.get(NAME)
    reads = any(item.effect == "reload" and item.reader == NAME for item in about)
    if service is None or now is None or reads:
        return
    why = [*_unread(wanted, found), *_differences(wanted, now)]
    if why:
        yield Change(
            NAME,
            wanted.instance,
            "reload",
            effect="reload",
            why="; ".join(why[:4]) + (f"; and {len(why) - 4} more" if len(why) > 4 else ""),
            reader=NAME,
        )


def _unread(wanted: Desired, found: Observed) -> Iterator[str]:
    now = found.reports.get(NAME) or {}
    paths = [item.path for item in wanted.files if item.reader == NAME]
    newer = [
        path
        for path in paths
        if path in found.files and float(found.files[path]["modified"]) > float(now["loaded"])
    ]
    if newer:
        yield f"{', '.join(sorted(newer))} changed after it was last read"
    there = (found.files.get(CERTIFICATE) or {}).get("certificate") or {}
    if there and now["certificate"] not in ("", there["fingerprint"]) and CERTIFICATE not in newer:
        yield f"it presents another certificate than {CERTIFICATE}"


def _differences(wanted: Desired, now: Mapping[str, Any]) -> Iterator[str]:
    """What the console's SET changed, of every setting that it can change and that RELOAD takes from the file."""
    settings, databases = read(_ini(wanted))
    settings["conffile"] = CONFFILE
    for name, default in now["defaults"].items():
        is_now = now["config"].get(name)
        if is_now is None or name in KEPT - set(settings):
            continue
        expected = settings.get(name, default)
        if not same(expected, is_now):
            what = "declared" if name in settings else "its default"
            yield f"its {name} is {is_now or 'empty'}, and {what} is {expected or 'empty'}"
    shown = {item["name"]: item for item in now["databases"]}
    for name, parameters in databases.items():
        size = parameters.get("pool_size")
        if size and name in shown and str(shown[name]["pool_size"]) != size:
            yield f"the pool of {name} has {shown[name]['pool_size']}, declared is {size}"


def _ini(wanted: Desired) -> str:
    return next((item.text or "" for item in wanted.files if item.path == INI), "")


def by_hand(wanted: Desired, now: Mapping[str, Any]) -> Iterator[Finding]:
    """What a user did at the console and RELOAD does not undo."""
    service = wanted.service(NAME)
    assert service is not None
    declared = read(_ini(wanted))[0]
    for name in sorted(KEPT - set(declared)):
        if now["config"].get(name, "") not in ("", "0"):
            yield Finding(
                NAME,
                "red",
                f"its {name} was set to {now['config'][name]} at the console, which RELOAD does not undo",
                f"docker restart {service.container}",
            )
    stopped = [name for name in ("paused", "suspended") if name in now["state"]]
    if stopped:
        yield Finding(
            NAME,
            "red",
            f"it is {stopped[0]}: every client waits",
            "RESUME at the console, or restart it",
        )
    for item in now["databases"]:
        for column, remedy in (("paused", "RESUME"), ("disabled", "ENABLE")):
            if int(item.get(column) or 0) and item["name"] != CONSOLE and not stopped:
                yield Finding(
                    NAME,
                    "red",
                    f"the database {item['name']} is {column} at its console",
                    f"{remedy} {item['name']} at the console",
                )


def findings(wanted: Desired, found: Observed) -> Iterator[Finding]:
    """Findings in addition to drift: whether it runs and answers, and whether clients wait."""
    service, here_is = wanted.service(NAME), found.containers.get(NAME)
    if service is None or here_is is None:
        return  # none is wanted, or the plan says that it is missing
    log = f"docker logs {service.container}"
    if here_is["state"] != "running":
        yield Finding(NAME, "red", f"it is {here_is['state']} (exit code {here_is['exit_code']})", log)
        return
    if here_is["restarts"]:
        yield Finding(NAME, "yellow", f"it restarted {here_is['restarts']} times", log)
    now = found.reports.get(NAME)
    if now is None:
        yield Finding(NAME, "red", "its console does not answer", log)
        return
    if here_is["health"] == "unhealthy":
        message = f"it runs, and a query through its port {service.port} fails"
        yield Finding(NAME, "red", message, log)
    yield from by_hand(wanted, now)
    waiting = [pool for pool in now["pools"] if int(pool["cl_waiting"])]
    for pool in waiting:
        message = (
            f"{pool['cl_waiting']} clients wait for a connection to {pool['database']} as {pool['user']}, the first "
            f"for {pool['maxwait']} s"
        )
        yield Finding(
            NAME, "yellow", message, "give the database a larger pool_size, or make its queries faster"
        )
    only_direct = [
        line.partition(": ")[2]
        for item in wanted.files
        if item.path == HBA
        for line in (item.text or "").splitlines()
        if line.startswith("# not through the pool: ")
    ]
    if only_direct:
        message = f"these rules admit clients at the server's own port only: {'; '.join(only_direct)}"
        yield Finding(NAME, "green", message)
    if here_is["health"] != "unhealthy" and not waiting:
        active = sum(int(pool["sv_active"]) + int(pool["sv_idle"]) for pool in now["pools"])
        message = f"{now['version']} answers on port {service.port}, with {active} connections to the server"
        yield Finding(NAME, "green", message)
