# SPDX-License-Identifier: Apache-2.0
"""PgBouncer's settings: which there are, which of them are the stack's own, and how large the pools are. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.aza.pg.plugins.module_utils.errors import AzaError, did_you_mean
from ansible_collections.aza.pg.plugins.module_utils.server import settings as pg

VARIABLE = "postgres_pgbouncer_settings"
# Every setting of PgBouncer 1.26 (``SHOW CONFIG``; a test compares) that the stack does not decide itself …
_RELOADED = """
    application_name_add_host autodb_idle_timeout cancel_wait_timeout client_idle_timeout client_login_timeout
    client_tls13_ciphers client_tls_ciphers client_tls_dheparams client_tls_ecdhcurve client_tls_protocols
    default_pool_size dns_max_ttl dns_nxdomain_ttl dns_zone_check_period idle_transaction_timeout
    ignore_startup_parameters log_connections log_disconnections log_pooler_errors log_stats login_notify_message
    max_client_conn max_db_client_connections max_db_connections max_packet_size max_prepared_statements
    max_user_client_connections max_user_connections min_pool_size peer_id pool_idle_timeout pool_mode query_timeout
    query_wait_notify query_wait_timeout reserve_pool_size reserve_pool_timeout sbuf_loopcnt scram_iterations
    server_check_delay server_check_query server_connect_timeout server_fast_close server_idle_timeout
    server_lifetime server_login_retry server_reset_query server_reset_query_always server_round_robin
    server_tls13_ciphers server_tls_ciphers server_tls_protocols stats_period stats_users tcp_defer_accept
    tcp_keepalive tcp_keepcnt tcp_keepidle tcp_keepintvl tcp_socket_buffer tcp_user_timeout transaction_timeout
    verbose
"""
# … of which these are read at its start only, so that another value makes another container.
_FIXED = "disable_pqexec listen_backlog pkt_buf resolv_conf so_reuseport track_extra_parameters"
RELOADED, FIXED = frozenset(_RELOADED.split()), frozenset(_FIXED.split())

# Settings without a default: RELOAD takes their value from the file, and leaves what SET gave them if it has none.
KEPT = frozenset(
    {"auth_ident_file", "auth_ldap_options", "client_tls13_ciphers", "server_tls13_ciphers", "verbose"}
)

_ACCESS = "postgres_allow_from and postgres_hba decide which clients are admitted"
_FILES = "the stack writes this file"
_TLS = "the stack provides the certificate (postgres_tls and its variables)"
_LOG = "its log is the container's (postgres_log_max_size)"
OWNED = {
    "admin_users": "only the host's administrator reaches its console, by the socket",
    "auth_dbname": "the stack sets where passwords are looked up",
    "auth_file": _FILES,
    "auth_hba_file": _FILES,
    "auth_ident_file": _ACCESS,
    "auth_ldap_options": _ACCESS,
    "auth_query": "the stack sets where passwords are looked up",
    "auth_type": _ACCESS,
    "auth_user": "the stack sets where passwords are looked up",
    "client_tls_ca_file": _TLS,
    "client_tls_cert_file": _TLS,
    "client_tls_key_file": _TLS,
    "client_tls_sslmode": "postgres_tls and the rules decide which clients must use TLS",
    "conffile": _FILES,
    "job_name": _LOG,
    "listen_addr": "use postgres_pgbouncer_publish_address for the host's address",
    "listen_port": "use postgres_pgbouncer_port for the host's port; inside the container it is 6432",
    "logfile": _LOG,
    "pidfile": "it is the only process of its container",
    "server_tls_ca_file": _TLS,
    "server_tls_cert_file": _TLS,
    "server_tls_key_file": _TLS,
    "server_tls_sslmode": "with postgres_tls the server is verified in full",
    "syslog": _LOG,
    "syslog_facility": _LOG,
    "syslog_ident": _LOG,
    "unix_socket_dir": "the socket is where the toolkit looks for it",
    "unix_socket_group": "only the host's administrator reaches its console, by the socket",
    "unix_socket_mode": "only the host's administrator reaches its console, by the socket",
    "user": "the stack sets the user of the container",
}


def normalise(settings: Mapping[str, Any]) -> dict[str, str]:
    """Names in lower case and values as text; every bad name at once."""
    result: dict[str, str] = {}
    problems = []
    for name, value in settings.items():
        key = str(name).lower()
        if key in OWNED:
            problems.append(f"'{name}' belongs to the stack: {OWNED[key]}")
        elif key not in RELOADED | FIXED:
            problems.append(f"PgBouncer has no setting '{name}'{did_you_mean(key, sorted(RELOADED | FIXED))}")
        elif value is None or isinstance(value, Mapping):
            problems.append(f"'{name}' needs a value, not {'nothing' if value is None else 'a dictionary'}")
        elif key in result:
            problems.append(f"'{name}' is declared twice")
        else:
            result[key] = _text(value)
            if re.search(r"[\r\n\0]", result[key]):
                problems.append(f"'{name}' holds a line break, which pgbouncer.ini cannot hold")
    if problems:
        message = "; ".join(problems)
        raise AzaError(f"{VARIABLE}: {message}{'' if message.endswith('?') else '.'}", reason="bad_setting")
    return dict(sorted(result.items()))


def _text(value: Any) -> str:
    return str(int(value)) if isinstance(value, bool) else pg.canonical(value)


def same(one: str, other: str) -> bool:
    """Compare what a file says and what ``SHOW CONFIG`` says: numbers and truths by value, texts in any case."""
    left, right = number(one), number(other)
    if left is None or right is None:
        return one.strip().lower() == other.strip().lower()
    return left == right


def number(text: str) -> float | None:
    words = {"on": 1.0, "yes": 1.0, "true": 1.0, "off": 0.0, "no": 0.0, "false": 0.0}
    try:
        return float(text)
    except ValueError:
        return words.get(text.lower())


# -- how many connections --------------------------------------------------------------------------

# What others of the stack may need of the server: the exporter (its role's limit) and the toolkit itself.
EXPORTER_CONNECTIONS, TOOLKIT_CONNECTIONS = 5, 5
AUTH_CONNECTIONS = 2
# For each database that is not declared.
UNDECLARED = 2
_POOLS_PERCENT = 80
_CLIENTS_FOR_ONE, _FEWEST_CLIENTS, _MOST_CLIENTS = 20, 100, 2000
FILES = 16384


def capacity(max_connections: int, superuser_reserved: int = 3, reserved: int = 0) -> int:
    """How many of the server's connections the pools may have in all.

    ``max_connections`` less what PostgreSQL keeps back (``superuser_reserved_connections``, ``reserved_connections``),
    less the exporter's and the toolkit's; a fifth of the rest is for clients of the server itself (migrations,
    psql, checks), and two look up passwords. Replication has connections of its own (``max_wal_senders``).
    """
    rest = max_connections - superuser_reserved - reserved - EXPORTER_CONNECTIONS - TOOLKIT_CONNECTIONS
    return max(0, rest * _POOLS_PERCENT // 100 - AUTH_CONNECTIONS)


def shares(given: int, sizes: Mapping[str, int], small: Iterable[str] = ()) -> dict[str, int]:
    """Database → how many connections it gets of ``given``. ``sizes``: what was declared, 0 where nothing was.

    Declared sizes first; ``small`` ones (which are not declared) ``UNDECLARED`` each; the others share the rest alike.
    The sum stays within ``given`` as long as there is one for each; a database has one at least.
    """
    few = [name for name in small if not sizes.get(name)]
    declared = {name: size for name, size in sizes.items() if size}
    equal = [name for name in sizes if name not in declared and name not in few]
    left = given - sum(declared.values())
    each_few = UNDECLARED if left >= UNDECLARED * len(few) + len(equal) else 1
    each = max(1, (left - each_few * len(few)) // len(equal)) if equal else 0
    return {**dict.fromkeys(few, each_few), **dict.fromkeys(equal, each), **declared}


def clients(given: int) -> int:
    """``max_client_conn``: twenty for each connection to the server, at least 100 and at most 2000, so that with TLS
    all of them fit the container's memory."""
    return min(_MOST_CLIENTS, max(_FEWEST_CLIENTS, given * _CLIENTS_FOR_ONE))
