# SPDX-License-Identifier: Apache-2.0
"""The roles of PgBouncer in the server: one looks up password verifiers, the other runs the health check."""

from __future__ import annotations

AUTH, HEALTH = "aza_pgbouncer", "aza_health"
