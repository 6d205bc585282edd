# SPDX-License-Identifier: Apache-2.0
"""A cluster in which everything is well, of any size and shape: what was declared and what its members say."""

from __future__ import annotations

from typing import Any

IMAGE = "sha256:7c0efc13904d8768ab8564bc01e2788625410bea371b75ef0668455b321c64c9"
MINIMUMS = {
    "max_connections": 100,
    "max_worker_processes": 8,
    "max_wal_senders": 10,
    "max_prepared_transactions": 0,
    "max_locks_per_transaction": 64,
}


def declared(
    replicas: int = 2, synchronous: int = 0, cascade: bool = False, delay: int = 0
) -> dict[str, Any]:
    """``cascade``: each replica streams from the one before it. ``delay``: of the last one."""
    members: dict[str, Any] = {"db0": {"role": "primary"}}
    for number in range(1, replicas + 1):
        members[f"db{number}"] = {
            "role": "replica",
            "slot": f"shop_db{number}",
            "upstream": f"db{number - 1}" if cascade else "",
            "delay": delay if number == replicas else 0,
        }
    return {"name": "shop", "members": members, "synchronous": synchronous}


def facts(given: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """What the members of the healthy cluster say."""
    members = given["members"]
    made = {name: _member(entry["role"] == "replica") for name, entry in members.items()}
    for name, entry in members.items():
        if entry["role"] == "replica":
            upstream = entry["upstream"] or "db0"
            made[upstream]["senders"].append(_sender(entry, upstream == "db0" and given["synchronous"]))
            made[upstream]["slots"].append(slot(entry["slot"]))
            made[name]["receiver"] = {
                "status": "streaming",
                "slot_name": entry["slot"],
                "sender_host": upstream,
                "sender_port": 5432,
            }
            made[name]["settings"]["recovery_min_apply_delay"] = entry["delay"]
            if entry["delay"]:
                made[name]["sentinel"] = {"seen": False, "skipped": "it is delayed"}
                made[name]["replay_seconds"] = entry["delay"]
    if given["synchronous"]:
        names = ", ".join(sender["application_name"] for sender in made["db0"]["senders"])
        made["db0"]["settings"]["synchronous_standby_names"] = f"ANY {given['synchronous']} ({names})"
    return made


def slot(name: str, **more: Any) -> dict[str, Any]:
    return {
        "name": name,
        "type": "physical",
        "temporary": False,
        "active": True,
        "wal_status": "reserved",
        "safe_bytes": 2**33,
        "retained_bytes": 2**20,
        **more,
    }


def _sender(entry: dict[str, Any], synchronous: int) -> dict[str, Any]:
    return {
        "application_name": entry["slot"],
        "slot_name": entry["slot"],
        "state": "streaming",
        "sync_state": "quorum" if synchronous else "async",
        "lag_bytes": 0,
        "receive_lag_bytes": 0,
        "tls": True,
        "tls_version": "TLSv1.3",
    }


def _member(standby: bool) -> dict[str, Any]:
    return {
        "version": "18.6 (Debian 18.6-3)",
        "in_recovery": standby,
        "system_identifier": "7712241099874291739",
        "timeline": 1,
        "lsn": "1/3014A28",
        "receive_lsn": "1/3014A28" if standby else None,
        "replay_lsn": "1/3014A28" if standby else None,
        "replay_bytes": 0 if standby else None,
        "replay_seconds": 0 if standby else None,
        "replay_paused": False if standby else None,
        "senders": [],
        "receiver": None,
        "slots": [],
        "settings": {
            **MINIMUMS,
            "max_slot_wal_keep_size": 2**33,
            "recovery_min_apply_delay": 0,
            "synchronous_commit": "on",
            "synchronous_standby_names": "",
        },
        "sentinel": {"seen": True, "age": 0.02, "seconds": 0.05}
        if standby
        else {"written": True, "at": 1000.0},
        "disk_free": 2**36,
        "image": IMAGE,
    }
