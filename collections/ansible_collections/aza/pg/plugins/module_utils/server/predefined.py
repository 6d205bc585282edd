# SPDX-License-Identifier: Apache-2.0
"""The roles that PostgreSQL itself makes: https://www.postgresql.org/docs/current/predefined-roles.html"""

from __future__ import annotations

# By the major version that brought them; a new version is a new entry.
_SINCE: dict[int, tuple[str, ...]] = {
    9: ("pg_signal_backend",),
    10: ("pg_monitor", "pg_read_all_settings", "pg_read_all_stats", "pg_stat_scan_tables"),
    11: ("pg_execute_server_program", "pg_read_server_files", "pg_write_server_files"),
    14: ("pg_database_owner", "pg_read_all_data", "pg_write_all_data"),
    15: ("pg_checkpoint",),
    16: ("pg_create_subscription", "pg_use_reserved_connections"),
    17: ("pg_maintain",),
    18: ("pg_signal_autovacuum_worker",),
}


def predefined(major: int = 0) -> tuple[str, ...]:
    """Return the predefined roles of a major version, by name; 0: of every version that is known."""
    return tuple(
        sorted(name for since, names in _SINCE.items() if not major or since <= major for name in names)
    )
