# SPDX-License-Identifier: Apache-2.0
"""PgBouncer beside the server: many clients share few connections, each of them as itself. Pure.

A client authenticates to PgBouncer, which asks the server for the verifier (``lookup.py``) and logs in there with the
same proof: no password is stored here except those of PgBouncer's own two roles. The server's rules decide which
clients are admitted. All of its files are read again by ``RELOAD`` (``console.py``).
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ansible_collections.aza.pg.plugins.module_utils.errors import AzaError
from ansible_collections.aza.pg.plugins.module_utils.model.service import SERVER, ContainerSpec, File
from ansible_collections.aza.pg.plugins.module_utils.services.pgbouncer import lookup
from ansible_collections.aza.pg.plugins.module_utils.services.pgbouncer.roles import AUTH as AUTH
from ansible_collections.aza.pg.plugins.module_utils.services.pgbouncer.roles import HEALTH as HEALTH
from ansible_collections.aza.pg.plugins.module_utils.services.pgbouncer.settings import (
    AUTH_CONNECTIONS,
    FILES,
    FIXED,
    VARIABLE,
    capacity,
    clients,
    normalise,
    number,
    shares,
)
from ansible_collections.aza.pg.plugins.module_utils.tls import certificate as tls
from ansible_collections.aza.pg.plugins.module_utils.yaml_values import text, truth

NAME = "pgbouncer"
VARIABLE_PREFIX = "postgres_pgbouncer"
# A name of ``stats_users``, who may only read at the console; the exporter uses it through the Unix socket.
STATS_USER = "aza_stats"
# By peer it cannot be: the user of the exporter's container has no name in PgBouncer's.
STATS_HBA = f"local pgbouncer {STATS_USER} trust"
# Even a trusted user needs a line in auth_file: one that no password matches, and that SCRAM does not take.
_STATS_USERLIST = f'"{STATS_USER}" "md5{"0" * 32}"'
PORT = 6432
# A user that nothing else on the host or in the image is.
UID = 6432
CONSOLE = "pgbouncer"  # PgBouncer's own name for the database that is its administration
DIRECTORY, SOCKET_DIRECTORY = "pgbouncer", "run-pgbouncer"
INI, USERLIST, HBA = (
    f"{DIRECTORY}/{name}" for name in ("pgbouncer.ini", "userlist.txt", "pgbouncer_hba.conf")
)
# The same file in the container; PgBouncer was started with its name.
CONFFILE = "/etc/pgbouncer/pgbouncer.ini"
CERTIFICATE, AUTHORITY = f"{DIRECTORY}/tls/server.pem", f"{DIRECTORY}/tls/ca.crt"
# When it was last told to read its files: the time of this file. Whatever is younger was not read.
LOADED = f"{DIRECTORY}/.loaded"
SECRET = "pgbouncer/userlist"
PASSWORDS = tuple(f"roles/{name}" for name in (AUTH, HEALTH))

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
    "auth_query": f"SELECT usename, password FROM {lookup.FUNCTION}($1)",
    "admin_users": AUTH,
}
_DEFAULTS: Mapping[str, str] = {
    "pool_mode": "transaction",
    "max_prepared_statements": "200",
    # Java's driver sends it with every login, and PostgreSQL's default is what it asks for.
    "ignore_startup_parameters": "extra_float_digits",
    # A server that was away is back sooner than PgBouncer would look again.
    "server_login_retry": "1",
    "dns_max_ttl": "5",
    "dns_nxdomain_ttl": "1",
    "client_login_timeout": "15",
    # The health checks would fill the log.
    "log_connections": "0",
    "log_disconnections": "0",
    "log_stats": "0",
}
_PLAIN_NAME = re.compile(r"[A-Za-z0-9_.-]+", re.ASCII)
_USER = re.compile(r'"((?:[^"]|"")*)" "((?:[^"]|"")*)"')


def _message(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack("!i", len(body) + 4) + body


def _escaped(data: bytes) -> str:
    """For bash's printf."""
    return "".join(chr(byte) if chr(byte).isalnum() or byte in b" _" else f"\\{byte:03o}" for byte in data)


_HELLO = struct.pack("!i", 3 << 16) + f"user\0{HEALTH}\0database\0postgres\0\0".encode()
# A query in a database, as a client asks it; the image has no psql. The answer ends with the words SELECT 1.
_HEALTH = (
    f"exec 3<>/dev/tcp/127.0.0.1/{PORT} && "
    f"printf '{_escaped(_message(b'', _HELLO) + _message(b'Q', b'select 1' + bytes(1)))}' >&3 && "
    "while IFS= LC_ALL=C read -rt 3 -d '' <&3; do "
    f"[[ $REPLY == *'SELECT 1' ]] && printf '{_escaped(_message(b'X', b''))}' >&3 && exit; done; exit 1"
)


def is_declared(variables: Mapping[str, Any]) -> bool:
    """Return whether PgBouncer runs beside the server: by default with each member of a cluster."""
    given = variables.get(VARIABLE_PREFIX)
    if given is None:
        return text(variables.get("postgres_stack")) not in ("", "single")
    return truth(given)


def compose(spec: ContainerSpec, server: str) -> dict[str, Any]:
    """Return its service as Compose reads it. ``server``: the name by which it verifies the server."""
    definition: dict[str, Any] = {
        "image": spec.image["pinned"],
        "container_name": spec.container,
        "restart": "unless-stopped",
        # Clients that are in a transaction may end it.
        "stop_signal": "SIGINT",
        "stop_grace_period": "30s",
        "user": f"{spec.uid}:{spec.gid}",
        "read_only": True,
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges:true"],
        "mem_limit": "256m",
        "ulimits": {"nofile": FILES},
        "ports": [spec.published(PORT)],
        # While the server is stopped, the engine forwards its name to other resolvers, and PgBouncer's resolver
        # (c-ares) keeps "no such name" for up to an hour. No one listens here, and a failure is not kept. An option
        # has to be given: with the host's ndots the engine itself would answer "no such name".
        "dns": ["127.0.0.1"],
        "dns_opt": ["timeout:1"],
        "volumes": [f"./{DIRECTORY}:/etc/pgbouncer:ro", f"./{SOCKET_DIRECTORY}:/var/run/pgbouncer"],
        "healthcheck": {
            "test": ["CMD", "bash", "-c", _HEALTH],
            "interval": "30s",
            "timeout": "5s",
            "start_period": "30s",
        },
    }
    if server != SERVER:
        # The operator's own certificate does not name the service: the server gets a name from the certificate.
        definition["links"] = [f"{SERVER}:{server}"]
    return definition


def fixed(declared: Mapping[str, Any]) -> str:
    """Return the settings that a running PgBouncer does not read again. ``declared``: postgres_pgbouncer_settings."""
    return str({name: value for name, value in normalise(declared).items() if name in FIXED} or "")


def server_name(authority: str, encrypted: bool, certificate: Mapping[str, Any]) -> str:
    """Return the name by which PgBouncer finds and verifies the server: one that its certificate has.

    :param authority: the root (PEM) that verifies it.
    :raises AzaError: the server could not be verified in full.
    """
    if not encrypted:
        return SERVER
    way_out = "or set postgres_pgbouncer: false"
    if not authority:
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


def files(encrypted: bool, authority: str, ini: str, rules: str, origins: Mapping[str, str]) -> list[File]:
    """Return its files. ``ini``, ``rules``: the text of two of them. ``origins``: of the variables."""
    reload: dict[str, Any] = {"effect": "reload", "reader": NAME}
    found = [
        File(DIRECTORY, 0o755),
        File(SOCKET_DIRECTORY, 0o700, owner=NAME),
        File(USERLIST, 0o400, owner=NAME, secret=SECRET, **reload),
        File(
            HBA, 0o644, text=rules, origin=origins.get("postgres_allow_from", ""), per_network=True, **reload
        ),
    ]
    if encrypted:
        found += [
            File(f"{DIRECTORY}/tls", 0o755),
            File(AUTHORITY, 0o644, text=authority, kind=tls.KIND, **reload),
            File(CERTIFICATE, 0o400, owner=NAME, secret=tls.SECRET, **reload),
        ]
    return [*found, File(INI, 0o644, text=ini, origin=origins.get(VARIABLE, ""), **reload)]


def leftovers(declared: bool, encrypted: bool) -> tuple[File, ...]:
    """Return what must not remain: whole directories, once their container is gone."""
    if not declared:
        return (File(DIRECTORY, 0o755, reader=NAME), File(SOCKET_DIRECTORY, 0o700, owner=NAME, reader=NAME))
    return () if encrypted else (File(f"{DIRECTORY}/tls", 0o755, reader=NAME),)


def userlist(passwords: Mapping[str, str]) -> str:
    """Return ``auth_file``: role and password, a line each. A quotation mark, the only special character, is doubled.

    >>> userlist({"shop": 'a"b'}).splitlines()[0]
    '"shop" "a""b"'
    """
    lines = [f"{quoted(name)} {quoted(password)}" for name, password in passwords.items()]
    return "".join(f"{line}\n" for line in [*lines, _STATS_USERLIST])


def passwords_of(userlist_text: str) -> dict[str, str]:
    """Return role → password of an ``auth_file``."""
    return {user.replace('""', '"'): word.replace('""', '"') for user, word in _USER.findall(userlist_text)}


def quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'


def render(
    pool_settings: Mapping[str, Any],
    max_connections: int,
    name: str,
    encrypted: bool,
    main_database: str,
    declared: Sequence[Mapping[str, Any]],
    settings: Mapping[str, str],
) -> str:
    """Return ``pgbouncer.ini``.

    :param pool_settings: postgres_pgbouncer_settings.
    :param max_connections: of the server, as the tuning predicts it.
    :param name: of the server.
    :param declared: postgres_databases.
    :param settings: postgres_settings.
    :raises AzaError: the declared pools are larger than what the server gives.
    """
    own = normalise(pool_settings)
    given = capacity(
        _whole(settings, "max_connections", max_connections),
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
    values["stats_users"] = ", ".join(filter(None, [STATS_USER, own.get("stats_users")]))
    lines += ["[pgbouncer]", *(f"{key} = {value}".rstrip() for key, value in values.items())]
    most = number(values["max_client_conn"])
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
    """What is not a number, the server itself refuses in better words."""
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
