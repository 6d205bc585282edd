# SPDX-License-Identifier: Apache-2.0
"""PgBouncer beside the server: many clients share few connections, each of them as itself. Pure.

A client proves who it is to PgBouncer, which asks the server for the verifier (``objects/pool_lookup.py``) and logs in
there with the same proof: nobody's password is kept here but those of PgBouncer's own two roles. Who may come in is
what the server's own rules say of the network. All of its files are read again by ``RELOAD`` (``console.py``).
"""

from __future__ import annotations

import ipaddress
import re
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.aza.pg.plugins.module_utils.errors import AzaError, did_you_mean
from ansible_collections.aza.pg.plugins.module_utils.stack import settings as pg
from ansible_collections.aza.pg.plugins.module_utils.stack import tls
from ansible_collections.aza.pg.plugins.module_utils.stack.model import (
    PGBOUNCER,
    SERVER,
    Change,
    Desired,
    File,
    Finding,
    Observed,
    Service,
    container_name,
)
from ansible_collections.aza.pg.plugins.module_utils.stack.objects import hba, pool_lookup
from ansible_collections.aza.pg.plugins.module_utils.stack.objects.roles import POOL_AUTH, POOL_HEALTH

AUTH, HEALTH = POOL_AUTH, POOL_HEALTH
VARIABLE = "postgres_pgbouncer_settings"
PORT = 6432
# A user that nothing else on the host or in the image is.
UID = 6432
CONSOLE = "pgbouncer"  # PgBouncer's own name for the database that is its administration
DIRECTORY, SOCKET_DIRECTORY = "pgbouncer", "run-pgbouncer"
INI, USERLIST, HBA = (
    f"{DIRECTORY}/{name}" for name in ("pgbouncer.ini", "userlist.txt", "pgbouncer_hba.conf")
)
CERTIFICATE, AUTHORITY = f"{DIRECTORY}/tls/server.pem", f"{DIRECTORY}/tls/ca.crt"
# When it was last told to read its files: the time of this file. Whatever is younger was not read.
LOADED = f"{DIRECTORY}/.loaded"
SECRET = "pgbouncer/userlist"
PASSWORDS = tuple(f"roles/{name}" for name in (AUTH, HEALTH))

# What the stack declares in the server for it.
OBJECTS: Mapping[str, Any] = {
    "roles": [
        {"name": AUTH, "connection_limit": 5, "comment": "PgBouncer of aza-pg, which looks up who logs in"},
        {"name": HEALTH, "connection_limit": 5, "comment": "the health check of PgBouncer of aza-pg"},
    ]
}

# -- settings --------------------------------------------------------------------------------------

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

_ACCESS = "who may come in follows from postgres_allow_from and postgres_hba"
_FILES = "the stack writes this file"
_TLS = "the stack brings the certificate (postgres_tls and its variables)"
_LOG = "its log is the container's (postgres_log_max_size)"
OWNED = {
    "admin_users": "only the host's administrator reaches its console, by the socket",
    "auth_dbname": "the stack decides where passwords are looked up",
    "auth_file": _FILES,
    "auth_hba_file": _FILES,
    "auth_ident_file": _ACCESS,
    "auth_ldap_options": _ACCESS,
    "auth_query": "the stack decides where passwords are looked up",
    "auth_type": _ACCESS,
    "auth_user": "the stack decides where passwords are looked up",
    "client_tls_ca_file": _TLS,
    "client_tls_cert_file": _TLS,
    "client_tls_key_file": _TLS,
    "client_tls_sslmode": "postgres_tls and the rules decide who has to speak TLS",
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
    "user": "the stack decides as whom the container runs",
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
            problems.append(f"'{name}' stands there twice")
        else:
            result[key] = _text(value)
            if re.search(r"[\r\n\0]", result[key]):
                problems.append(f"'{name}' holds a line break, which pgbouncer.ini cannot hold")
    if problems:
        said = "; ".join(problems)
        raise AzaError(f"{VARIABLE}: {said}{'' if said.endswith('?') else '.'}", reason="bad_setting")
    return dict(sorted(result.items()))


def _text(value: Any) -> str:
    return str(int(value)) if isinstance(value, bool) else pg.canonical(value)


def same(one: str, other: str) -> bool:
    """Compare what a file says and what ``SHOW CONFIG`` says, where that can be done at all: numbers and truths."""
    left, right = _number(one), _number(other)
    return left is None or right is None or left == right


def _number(text: str) -> float | None:
    words = {"on": 1.0, "yes": 1.0, "true": 1.0, "off": 0.0, "no": 0.0, "false": 0.0}
    try:
        return float(text)
    except ValueError:
        return words.get(text.lower())


# -- how many connections --------------------------------------------------------------------------

# What others of the stack may need of the server: the exporter (its role's limit) and the toolkit itself.
EXPORTER_CONNECTIONS, TOOLKIT_CONNECTIONS = 5, 5
AUTH_CONNECTIONS = 2
# For a database that nobody declared: for each of them.
UNDECLARED = 2
_POOLS_PERCENT = 80
_CLIENTS_FOR_ONE, _FEWEST_CLIENTS, _MOST_CLIENTS = 20, 100, 2000
FILES = 16384


def capacity(max_connections: int, superuser_reserved: int = 3, reserved: int = 0) -> int:
    """How many of the server's connections the pools may have in all.

    ``max_connections`` less what PostgreSQL keeps back (``superuser_reserved_connections``, ``reserved_connections``),
    less the exporter's and the toolkit's; a fifth of the rest is for whoever comes to the server itself (migrations,
    psql, checks), and two look up passwords. Replication has connections of its own (``max_wal_senders``).
    """
    rest = max_connections - superuser_reserved - reserved - EXPORTER_CONNECTIONS - TOOLKIT_CONNECTIONS
    return max(0, rest * _POOLS_PERCENT // 100 - AUTH_CONNECTIONS)


def shares(given: int, sizes: Mapping[str, int], small: Iterable[str] = ()) -> dict[str, int]:
    """Database → how many connections it gets of ``given``. ``sizes``: what was declared, 0 where nothing was.

    Declared sizes first; ``small`` ones (which nobody declared) ``UNDECLARED`` each; the others share the rest alike.
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


# -- what it is ------------------------------------------------------------------------------------

_STACK: Mapping[str, str] = {
    "listen_addr": "*",
    "listen_port": str(PORT),
    "unix_socket_dir": "/var/run/pgbouncer",
    "unix_socket_mode": "0700",
    "auth_type": "hba",
    "auth_file": "/etc/pgbouncer/userlist.txt",
    "auth_hba_file": "/etc/pgbouncer/pgbouncer_hba.conf",
    "auth_user": AUTH,
    "auth_dbname": AUTH,
    "auth_query": f"SELECT usename, password FROM {pool_lookup.FUNCTION}($1)",
    "admin_users": AUTH,
}
_DEFAULTS: Mapping[str, str] = {
    "pool_mode": "transaction",
    "max_prepared_statements": "200",
    # Java's driver sends it with every login, and PostgreSQL's default is what it asks for.
    "ignore_startup_parameters": "extra_float_digits",
    # The server may have been restarted with another address; and it is back sooner than PgBouncer would look.
    "server_login_retry": "1",
    "dns_max_ttl": "5",
    "client_login_timeout": "15",
    # A health check every ten seconds would fill the log.
    "log_connections": "0",
    "log_disconnections": "0",
    "log_stats": "0",
}
_PLAIN_NAME = re.compile(r"[A-Za-z0-9_.-]+", re.ASCII)


def _message(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack("!i", len(body) + 4) + body


def _escaped(data: bytes) -> str:
    """For bash's printf."""
    return "".join(chr(byte) if chr(byte).isalnum() or byte in b" _" else f"\\{byte:03o}" for byte in data)


_HELLO = struct.pack("!i", 3 << 16) + f"user\0{HEALTH}\0database\0postgres\0\0".encode()
# A query in a database, as a client asks it; the image has no psql. The answer ends with the words SELECT 1. Compose
# would put something of its own in the place of a single dollar.
_HEALTH = (
    f"exec 3<>/dev/tcp/127.0.0.1/{PORT} && "
    f"printf '{_escaped(_message(b'', _HELLO) + _message(b'Q', b'select 1' + bytes(1)))}' >&3 && "
    "while IFS= LC_ALL=C read -rt 3 -d '' <&3; do "
    f"[[ $$REPLY == *'SELECT 1' ]] && printf '{_escaped(_message(b'X', b''))}' >&3 && exit; done; exit 1"
)


@dataclass(frozen=True)
class PgBouncer:
    """``image``: as the exporter's. ``max_connections``: what the tuning foretells. With TLS, ``authority`` is the root
    (PEM) by which the server is verified."""

    image: Mapping[str, str]
    port: int = PORT
    publish_address: str = "127.0.0.1"
    settings: Mapping[str, Any] = field(default_factory=dict)
    max_connections: int = 100
    authority: str = ""

    def service(self, project: str, uid: int, gid: int) -> Service:
        """``uid``, ``gid``: who deploys. An ordinary user can give a file to nobody but himself."""
        return Service(
            PGBOUNCER,
            container_name(project, PGBOUNCER),
            image=dict(self.image),
            uid=uid or UID,
            gid=gid if uid else UID,
            publish_address=self.publish_address,
            port=self.port,
            port_variable="postgres_pgbouncer_port",
        )

    def compose(self, service: Service, server_name: str) -> dict[str, Any]:
        definition: dict[str, Any] = {
            "image": service.image["pinned"],
            "container_name": service.container,
            "restart": "unless-stopped",
            # Clients that are in a transaction may end it.
            "stop_signal": "SIGINT",
            "stop_grace_period": "30s",
            "user": f"{service.uid}:{service.gid}",
            "read_only": True,
            "cap_drop": ["ALL"],
            "security_opt": ["no-new-privileges:true"],
            "mem_limit": "256m",
            "ulimits": {"nofile": FILES},
            "ports": [service.published(PORT)],
            "volumes": [f"./{DIRECTORY}:/etc/pgbouncer:ro", f"./{SOCKET_DIRECTORY}:/var/run/pgbouncer"],
            "healthcheck": {
                "test": ["CMD", "bash", "-c", _HEALTH],
                "interval": "10s",
                "timeout": "5s",
                "start_period": "30s",
            },
        }
        if server_name != SERVER:
            # The operator's own certificate does not name the service: here, the server goes by a name of its.
            definition["links"] = [f"{SERVER}:{server_name}"]
        return definition

    @property
    def fixed(self) -> str:
        """What a running PgBouncer does not read again: another text makes another container."""
        return str({name: text for name, text in normalise(self.settings).items() if name in FIXED} or "")


def server_name(pgbouncer: PgBouncer, encrypted: bool, certificate: Mapping[str, Any]) -> str:
    """The name by which PgBouncer finds and verifies the server: one that its certificate has.

    :raises AzaError: when it could not be verified in full.
    """
    if not encrypted:
        return SERVER
    way_out = "or set postgres_pgbouncer: false"
    if not pgbouncer.authority:
        raise AzaError(
            "postgres_tls: your certificate, or that of your authority, comes without its root, by which PgBouncer has "
            f"to verify the server; add the root to the end of the file, {way_out}.",
            reason="bad_certificate",
        )
    names: list[str] = [
        name for name in certificate["names"] if not tls.is_address(name) and not tls.is_loopback(name)
    ]
    if tls.covers(names, SERVER):
        return SERVER
    if not names:
        raise AzaError(
            "postgres_tls_certificate: it names no host, so PgBouncer cannot verify the server by it; have it issued "
            f"for a name as well, {way_out}.",
            reason="bad_certificate",
        )
    return names[0].replace("*", SERVER, 1)


# -- its files -------------------------------------------------------------------------------------


def files(
    pgbouncer: PgBouncer,
    encrypted: bool,
    ini: str,
    rules: str,
    origins: Mapping[str, str],
) -> list[File]:
    reload: dict[str, Any] = {"effect": "reload", "reader": PGBOUNCER}
    found = [
        File(DIRECTORY, 0o755),
        File(SOCKET_DIRECTORY, 0o700, owner=PGBOUNCER),
        File(USERLIST, 0o400, owner=PGBOUNCER, secret=SECRET, **reload),
        File(HBA, 0o644, text=rules, origin=origins.get("postgres_allow_from", ""), **reload),
    ]
    if encrypted:
        found += [
            File(f"{DIRECTORY}/tls", 0o755),
            File(AUTHORITY, 0o644, text=pgbouncer.authority, **reload),
            File(CERTIFICATE, 0o400, owner=PGBOUNCER, secret=tls.SECRET, **reload),
        ]
    return [*found, File(INI, 0o644, text=ini, origin=origins.get(VARIABLE, ""), **reload)]


# What an instance without it must not keep: whole directories, once their container is gone.
LEFTOVERS = (File(DIRECTORY, 0o755), File(SOCKET_DIRECTORY, 0o700, owner=PGBOUNCER))
_TLS_LEFTOVERS = (File(f"{DIRECTORY}/tls", 0o755),)


def leftovers(wanted: bool, encrypted: bool) -> tuple[File, ...]:
    return LEFTOVERS if not wanted else () if encrypted else _TLS_LEFTOVERS


def userlist(passwords: Mapping[str, str]) -> str:
    """Role and password, a line each. Only a quotation mark is special in this file: it is doubled.

    >>> userlist({"shop": 'a"b'})
    '"shop" "a""b"\\n'
    """
    return "".join(f"{_quoted(name)} {_quoted(password)}\n" for name, password in passwords.items())


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'


def render(
    pgbouncer: PgBouncer,
    name: str,
    encrypted: bool,
    main_database: str,
    declared: Sequence[Mapping[str, Any]],
    settings: Mapping[str, str],
) -> str:
    """``pgbouncer.ini``. ``name``: of the server. ``declared``: postgres_databases. ``settings``: postgres_settings.

    :raises AzaError: when the declared pools are more than the server gives.
    """
    own = normalise(pgbouncer.settings)
    given = capacity(
        _whole(settings, "max_connections", pgbouncer.max_connections),
        _whole(settings, "superuser_reserved_connections", 3),
        _whole(settings, "reserved_connections", 0),
    )
    connections = _databases(given, main_database, declared)
    lines = [
        "; Written by aza-pg. What the stack decides, what it derives, and postgres_pgbouncer_settings, which win.",
        "[databases]",
    ]
    at = f"host={name} port=5432"
    for database, size in connections.items():
        sized = [
            f"pool_size={size}" if _is_declared(database, declared) or "default_pool_size" not in own else "",
            f"max_db_connections={size}"
            if not {"default_pool_size", "max_db_connections"} & set(own)
            else "",
        ]
        lines.append(" ".join(filter(None, [f"{database} = {at}", *sized])))
    # Where passwords are looked up; no client waits in line for it, or reaches it.
    lines.insert(2, f"{AUTH} = {at} dbname=postgres pool_size={AUTH_CONNECTIONS}")
    derived = {"max_client_conn": str(clients(given))}
    values = {**_STACK, **_tls_settings(encrypted), **_DEFAULTS, **derived, **own}
    lines += ["[pgbouncer]", *(f"{key} = {value}".rstrip() for key, value in values.items())]
    most = _number(values["max_client_conn"])
    if most is not None and most + sum(connections.values()) + 100 > FILES:
        raise AzaError(
            f"{VARIABLE}: max_client_conn {values['max_client_conn']} needs more files than the container may open "
            f"({FILES}); choose less.",
            reason="bad_setting",
        )
    return "\n".join(lines) + "\n"


def _tls_settings(encrypted: bool) -> dict[str, str]:
    if not encrypted:
        return {"client_tls_sslmode": "disable", "server_tls_sslmode": "disable"}
    return {
        # Whether a client has to speak TLS, its rule decides: hostssl.
        "client_tls_sslmode": "allow",
        "client_tls_key_file": "/etc/pgbouncer/tls/server.pem",
        "client_tls_cert_file": "/etc/pgbouncer/tls/server.pem",
        # No client is asked for a certificate, and PgBouncer does not start without this.
        "client_tls_ca_file": "/etc/pgbouncer/tls/ca.crt",
        "server_tls_sslmode": "verify-full",
        "server_tls_ca_file": "/etc/pgbouncer/tls/ca.crt",
    }


def _whole(settings: Mapping[str, str], name: str, otherwise: int) -> int:
    """What is no number, the server itself refuses in better words."""
    text = settings.get(name, "").strip()
    return int(text) if text.isascii() and text.isdigit() else otherwise


def _is_declared(database: str, declared: Iterable[Mapping[str, Any]]) -> bool:
    return any(item["name"] == database and item["pool_size"] for item in declared)


def _databases(given: int, main: str, declared: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """Database → how many connections it gets; ``*`` stands for each that is not named."""
    present = {item["name"]: int(item["pool_size"]) for item in declared if item["state"] == "present"}
    for name, size in present.items():
        if name in (CONSOLE, AUTH):
            raise AzaError(
                f"postgres_databases: '{name}' is PgBouncer's own name for something else, so no client would reach "
                "the database; choose another name, or set postgres_pgbouncer: false.",
                reason="bad_object",
            )
        if size and not _PLAIN_NAME.fullmatch(name):
            raise AzaError(
                f"postgres_databases ({name}): pool_size: PgBouncer's file can name a database only in letters, "
                "digits, _, . and -; without a size it is reached as any that is not named.",
                reason="bad_object",
            )
    sizes = {name: present.get(name, 0) for name in dict.fromkeys(("postgres", main, *present))}
    small = (
        ["*"] if main == "postgres" and set(present) <= {"postgres"} else ["*", *{"postgres"} - set(present)]
    )
    sizes = {name: size for name, size in sizes.items() if _PLAIN_NAME.fullmatch(name)} | {"*": 0}
    asked = sum(sizes.values())
    if asked and asked + sum(not size for size in sizes.values()) > given:
        raise AzaError(
            f"postgres_databases: the pool sizes add up to {asked}, and of the server's connections the pools may have "
            f"{given}, with one at least for each other database; make them smaller, or max_connections "
            "(postgres_settings) larger.",
            reason="pools_too_large",
        )
    found = shares(given, sizes, small)
    return {name: found[name] for name in sizes}


# -- who may come in -------------------------------------------------------------------------------

_EVERYWHERE = ("0.0.0.0/0", "::/0")
_SAMENET = re.compile(r" samenet (?=(?:scram-sha-256|reject)$)")


def access(rules: Iterable[hba.Rule], administrator: str) -> str:
    """``pgbouncer_hba.conf`` from the server's own rules about the network. ``samenet`` is left for ``expand``.

    PgBouncer leaves out a line that it does not understand: what it would not, never gets there.
    :raises AzaError: for a rejection that it could not be told of.
    """
    lines = [
        "# Written by aza-pg from the rules of the server. Its own access comes first: the console by the socket, and",
        "# the health check. Administrators and PgBouncer's own roles do not come in; they use the server's port.",
        f"local {CONSOLE} {AUTH} trust",
        f"host postgres {HEALTH} 127.0.0.1/32 trust",
        *(f"host {CONSOLE},{AUTH} all {network} reject" for network in _EVERYWHERE),
        *(f"host all {AUTH},{HEALTH},{_quoted(administrator)} {network} reject" for network in _EVERYWHERE),
    ]
    for rule in rules:
        if rule.type == "local":
            continue
        text, problem = _translated(rule)
        if problem and rule.method == "reject":
            raise AzaError(
                f"{rule.where}: PgBouncer knows no {problem}, so it could not reject these clients ({rule.text()}); "
                "say it with names and networks, or set postgres_pgbouncer: false.",
                reason="bad_object",
            )
        lines += [f"# not through the pool: {rule.text()}"] if problem else text
    return "\n".join(lines) + "\n"


def _translated(rule: hba.Rule) -> tuple[list[str], str]:
    """Its lines, and what PgBouncer does not know of it."""
    databases = [name for name in rule.databases if name != "replication"]
    if any(name == "samerole" or name.startswith("/") for name in databases):
        return [], "samerole and no patterns"
    if any(name.startswith(("+", "/")) for name in rule.roles):
        return [], "groups and no patterns"
    if rule.method not in ("scram-sha-256", "reject"):
        return [], f"method {rule.method} here"
    networks = _networks(rule.address)
    if not networks:
        return [], f"address {rule.address}"
    if not databases:
        return [], ""  # replication: nobody gets in for it anyway
    shown = ",".join(name if name in ("all", "sameuser") else _quoted(name) for name in databases)
    roles = ",".join(name if name == "all" else _quoted(name) for name in rule.roles)
    return [f"{rule.type} {shown} {roles} {network} {rule.method}" for network in networks], ""


def _networks(address: str) -> list[str]:
    if address == "samenet":
        return [address]
    if address == "all":
        return list(_EVERYWHERE)
    try:
        return [str(ipaddress.ip_network(address, strict=False))]
    except ValueError:
        return []


def expand(text: str, subnets: Iterable[str]) -> str:
    """The rules with the networks of the containers in the place of ``samenet``, a word unknown to PgBouncer."""
    lines: list[str] = []
    for line in text.splitlines():
        if _SAMENET.search(line) and not line.startswith("#"):
            lines += [_SAMENET.sub(f" {subnet} ", line) for subnet in subnets]
        else:
            lines.append(line)
    return "\n".join(lines) + "\n"


def here(item: File, subnets: Iterable[str]) -> str | None:
    """The text of a file on a host whose container network has these addresses."""
    return expand(item.text, subnets) if item.path == HBA and item.text is not None else item.text


# -- what differs ----------------------------------------------------------------------------------


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
    """What was written and is not active: a run was cut off, somebody edited by hand or used the console's SET.

    ``about``: the changes that are planned; what is about to be written becomes active with that.
    """
    service, now = wanted.service(PGBOUNCER), found.pgbouncer
    if service is None or now is None or any(change.detail.get("reader") == PGBOUNCER for change in about):
        return
    why = [*_unread(wanted, found), *_differences(wanted, now)]
    if why:
        yield Change(
            PGBOUNCER,
            wanted.instance,
            "reload",
            effect="reload",
            why="; ".join(why[:4]) + (f"; and {len(why) - 4} more" if len(why) > 4 else ""),
            detail={"reader": PGBOUNCER},
        )


def _unread(wanted: Desired, found: Observed) -> Iterator[str]:
    now = found.pgbouncer or {}
    paths = [item.path for item in wanted.files if item.reader == PGBOUNCER]
    newer = [
        path
        for path in paths
        if path in found.files and float(found.files[path]["modified"]) > float(now["loaded"])
    ]
    if newer:
        yield f"{', '.join(sorted(newer))} changed after it was last read"
    there = (found.files.get(CERTIFICATE) or {}).get("certificate") or {}
    if there and now["certificate"] not in ("", there["fingerprint"]) and CERTIFICATE not in newer:
        yield f"it shows clients another certificate than {CERTIFICATE}"


def _differences(wanted: Desired, now: Mapping[str, Any]) -> Iterator[str]:
    ini = next((item.text or "" for item in wanted.files if item.path == INI), "")
    settings, databases = read(ini)
    for name, text in settings.items():
        is_now = now["config"].get(name)
        if name in RELOADED and is_now is not None and not same(text, is_now):
            yield f"its {name} is {is_now}, and declared is {text}"
    shown = {item["name"]: item for item in now["databases"]}
    for name, parameters in databases.items():
        size = parameters.get("pool_size")
        if size and name in shown and str(shown[name]["pool_size"]) != size:
            yield f"the pool of {name} has {shown[name]['pool_size']}, and declared is {size}"


def findings(wanted: Desired, found: Observed) -> Iterator[Finding]:
    """What a check says of it besides what a deploy would change: that it runs, answers, and keeps nobody waiting."""
    service, here_is = wanted.service(PGBOUNCER), found.containers.get(PGBOUNCER)
    if service is None or here_is is None:
        return  # none is wanted, or the plan says that it is missing
    log = f"docker logs {service.container}"
    if here_is["state"] != "running":
        yield Finding(PGBOUNCER, "red", f"it is {here_is['state']} (exit code {here_is['exit_code']})", log)
        return
    if here_is["restarts"]:
        yield Finding(PGBOUNCER, "yellow", f"it fell and was started again {here_is['restarts']} times", log)
    now = found.pgbouncer
    if now is None:
        yield Finding(PGBOUNCER, "red", "its console does not answer", log)
        return
    if here_is["health"] == "unhealthy":
        said = f"it runs, and a query through its port {service.port} fails"
        yield Finding(PGBOUNCER, "red", said, log)
    waiting = [pool for pool in now["pools"] if int(pool["cl_waiting"])]
    for pool in waiting:
        said = (
            f"{pool['cl_waiting']} clients wait for a connection to {pool['database']} as {pool['user']}, the first "
            f"for {pool['maxwait']} s"
        )
        yield Finding(
            PGBOUNCER, "yellow", said, "give the database a larger pool_size, or its queries less to do"
        )
    only_direct = [
        line.partition(": ")[2]
        for item in wanted.files
        if item.path == HBA
        for line in (item.text or "").splitlines()
        if line.startswith("# not through the pool: ")
    ]
    if only_direct:
        said = f"these rules let clients in at the server's own port only: {'; '.join(only_direct)}"
        yield Finding(PGBOUNCER, "green", said)
    if here_is["health"] != "unhealthy" and not waiting:
        active = sum(int(pool["sv_active"]) + int(pool["sv_idle"]) for pool in now["pools"])
        said = f"{now['version']} answers on port {service.port}, with {active} connections to the server"
        yield Finding(PGBOUNCER, "green", said)
