# SPDX-License-Identifier: Apache-2.0
"""The members of a cluster: the hosts of the inventory that are declared so, and what a look at each has shown."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.aza.pg.plugins.module_utils.errors import AzaError
from ansible_collections.aza.pg.plugins.module_utils.stack.replication import PRIMARY, REPLICA, Member

# Registered by the role's tasks: what a look at the host said, once more after it was changed, and what was said at
# members that this run leaves out.
_LOOK, _LOOK_AGAIN, _LOOKS_ELSEWHERE = "stack_host", "stack_seen_again", "stack_elsewhere"


def members(task_vars: Mapping[str, Any], cluster: str, me: str, look: Mapping[str, Any]) -> list[Member]:
    """All members, in the inventory's order. ``look``: what was seen of the host ``me`` just now."""
    hostvars = task_vars["hostvars"]
    elsewhere = _results(task_vars.get(_LOOKS_ELSEWHERE))
    found = []
    for host in hostvars:
        values = hostvars[host]
        if values.get("postgres_cluster") != cluster or values.get("postgres_stack") not in (
            PRIMARY,
            REPLICA,
        ):
            continue
        seen = [
            values.get(_LOOK_AGAIN) or {},
            look if host == me else elsewhere.get(host) or values.get(_LOOK) or {},
        ]
        facts, error = _facts(next((it for it in seen if it.get("member")), seen[1]))
        found.append(
            Member(
                host=str(host),
                stack=str(values["postgres_stack"]),
                address=address(host, values),
                port=int(values.get("postgres_port") or 5432),
                delay=str(values.get("postgres_replay_delay") or ""),
                upstream=str(values.get("postgres_replicate_from") or ""),
                facts=facts,
                error=error,
            )
        )
    return found


def address(host: str, values: Mapping[str, Any]) -> str:
    """Where the other members reach it.

    :raises AzaError: it is no IP address, and pg_hba.conf can name a member by nothing else.
    """
    given = values.get("postgres_address")
    found = str(given or values.get("ansible_host") or host)
    try:
        return str(ipaddress.ip_address(found))
    except ValueError:
        raise AzaError(
            f"{host}: postgres_address is '{found}', which is no IP address; members of a cluster know each other by "
            "theirs. Set postgres_address to the address at which the other members reach this host.",
            reason="bad_address",
        ) from None


def _results(registered: Any) -> dict[str, Mapping[str, Any]]:
    """Host → what was seen, of a task that was delegated in a loop."""
    results: Iterable[Any] = registered.get("results") or () if isinstance(registered, Mapping) else ()
    return {str(item["item"]): item for item in results if isinstance(item, Mapping) and "item" in item}


def _facts(seen: Mapping[str, Any]) -> tuple[Mapping[str, Any] | None, str]:
    member = seen.get("member")
    if member:
        return dict(member), ""
    if seen.get("unreachable"):
        return None, "it cannot be reached"
    return None, str(seen.get("engine_error") or seen.get("msg") or "")
