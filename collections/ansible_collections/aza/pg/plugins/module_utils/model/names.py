# SPDX-License-Identifier: Apache-2.0
"""All derived names of an instance, and where it lies on its host: their one home. Pure, and light to load."""

from __future__ import annotations

import re

from ansible_collections.aza.pg.plugins.module_utils.errors import AzaError

# Not `ca`: beside the secrets of the clusters, the environment's authority has its own under that name.
CLUSTER_NAME = re.compile(r"^(?!ca$)[a-z][a-z0-9-]{0,38}[a-z0-9]$|^[a-z]$")
STACKS = ("single", "primary", "replica")
# What a standby may not have less of than its primary: with less it stops replaying, or does not even start.
STANDBY_MINIMUMS = (
    "max_connections",
    "max_worker_processes",
    "max_wal_senders",
    "max_prepared_transactions",
    "max_locks_per_transaction",
)
# A network does not learn IPv6 while containers are connected to it: one that has it has a name of its own.
IPV6_SUFFIX = "-ipv6"


def instance_name(cluster: str, stack: str) -> str:
    """Primary and replica are called alike: which of them a host is changes, and its data stays where it is."""
    return f"{cluster}-{stack}" if stack == "single" else cluster


def base_directory(wanted: str, uid: int, home: str) -> str:
    return (wanted or ("/opt/aza-pg" if uid == 0 else f"{home}/.local/share/aza-pg")).rstrip("/")


def identity(cluster: str, stack: str, base_dir: str, uid: int) -> dict[str, str]:
    """Every name that an instance's cluster and stack give it.

    :raises AzaError: the cluster's name cannot be one.
    """
    if not CLUSTER_NAME.fullmatch(cluster):
        raise AzaError(
            f"postgres_cluster: '{cluster}' is no cluster name. Use lower-case letters, digits and dashes, a letter "
            "first, at most 40 characters; 'ca' is taken by the environment's authority.",
            reason="bad_cluster_name",
        )
    instance = instance_name(cluster, stack)
    return {
        "instance": instance,
        "cluster": cluster,
        "stack": stack,
        "project": f"aza-pg-{instance}",
        "volume": f"aza-pg-{instance}-data",
        "network": f"aza-pg-{instance}",
        "other_network": f"aza-pg-{instance}{IPV6_SUFFIX}",
        "base_dir": base_dir,
        # Only root owns /run; an ordinary user's socket is reached by its long path.
        "socket_link": f"/run/aza-pg/{instance}" if uid == 0 else "",
    }
