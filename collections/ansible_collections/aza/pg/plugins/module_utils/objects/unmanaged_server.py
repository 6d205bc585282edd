# SPDX-License-Identifier: Apache-2.0
"""Objects of the whole server that no one can declare: tablespaces, subscriptions, privileges on settings, settings of
roles in databases, prepared transactions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ansible_collections.aza.pg.plugins.module_utils.model.desired import Desired
from ansible_collections.aza.pg.plugins.module_utils.model.observed import Observed
from ansible_collections.aza.pg.plugins.module_utils.objects.kind import Kind, Undeclared
from ansible_collections.aza.pg.plugins.module_utils.objects.unmanaged import Row, kind_on_server
from ansible_collections.aza.pg.plugins.module_utils.objects.within import identifier, known, listing, quoted

# -- tablespaces -----------------------------------------------------------------------------------

_TABLESPACES = """
    select spcname as name, pg_get_userbyid(spcowner) as owner, pg_tablespace_location(oid) as location, false as risk
    from pg_tablespace where spcname not in ('pg_default', 'pg_global')"""


def _tablespace(row: Row) -> tuple[str, str]:
    return (
        f"it belongs to {row['owner']} and lies in {row['location']} of the container; what is outside of the volume "
        "is lost with the container",
        f"move what is in it, then DROP TABLESPACE {identifier(row['name'])}",
    )


# -- subscriptions ---------------------------------------------------------------------------------

# The connection string is left out: it may hold a password.
_SUBSCRIPTIONS = """
    select s.subname as name, d.datname as database, r.rolname as owner, s.subenabled as enabled,
        (s.subrunasowner and r.rolsuper) or (not s.subpasswordrequired and not r.rolsuper) as risk,
        s.subrunasowner and r.rolsuper as as_superuser
    from pg_subscription s join pg_database d on d.oid = s.subdbid join pg_roles r on r.oid = s.subowner"""


def _subscription(row: Row) -> tuple[str, str]:
    message = f"it belongs to {row['owner']} and replicates into {row['database']}"
    name = identifier(row["name"])
    if row["as_superuser"]:
        message += f"; it writes as the superuser {row['owner']}, so that triggers of table owners run as one"
        return message, f"ALTER SUBSCRIPTION {name} SET (run_as_owner = false) in {row['database']}"
    if row["risk"]:
        message += "; it may connect without a password, so with what the server's own user has"
        return message, f"ALTER SUBSCRIPTION {name} SET (password_required = true) in {row['database']}"
    return (
        f"{message}{'' if row['enabled'] else '; it is disabled'}",
        f"DROP SUBSCRIPTION {name} in {row['database']}",
    )


# -- prepared transactions -------------------------------------------------------------------------

_PREPARED = """
    select gid as name, owner, database, extract(epoch from now() - prepared)::bigint as seconds, false as risk
    from pg_prepared_xacts"""


def _prepared(row: Row) -> tuple[str, str]:
    minutes = int(row["seconds"]) // 60
    age = f"{minutes} minutes ago" if minutes else "less than a minute ago"
    message = (
        f"{row['owner']} prepared it in {row['database']}, {age}: it keeps its locks and holds VACUUM back"
    )
    return message, "let its transaction manager finish it, or ROLLBACK PREPARED in that database"


# -- privileges on settings ------------------------------------------------------------------------

# With these a role brings code of its own into the server; the commands and files only by ALTER SYSTEM.
_LIBRARIES = (
    "dynamic_library_path",
    "extension_control_path",
    "jit_provider",
    "local_preload_libraries",
    "session_preload_libraries",
    "shared_preload_libraries",
)
_COMMANDS = (
    "archive_cleanup_command",
    "archive_command",
    "archive_library",
    "config_file",
    "data_directory",
    "hba_file",
    "ident_file",
    "recovery_end_command",
    "restore_command",
    "ssl_passphrase_command",
)
_PARAMETERS = f"""
    select p.parname as name, p.parname in ({", ".join(map(quoted, _LIBRARIES))}) or (
            bool_or(a.privilege_type = 'ALTER SYSTEM')
            and p.parname in ({", ".join(map(quoted, _COMMANDS))})) as risk,
        json_agg(coalesce(r.rolname, 'PUBLIC') || ': ' || a.privilege_type order by r.rolname) as grants,
        json_agg(distinct coalesce(r.rolname, '')) as roles
    from pg_parameter_acl p cross join lateral aclexplode(p.paracl) a left join pg_roles r on r.oid = a.grantee
    where r.rolsuper is not true group by p.parname"""


def _parameter(row: Row) -> tuple[str, str]:
    why = "; with that a role can become a superuser" if row["risk"] else ""
    who = ", ".join(identifier(name) if name else "PUBLIC" for name in row["roles"])
    return (
        f"granted to roles that are not superusers: {listing(row['grants'])}{why}",
        f"REVOKE ALL ON PARAMETER {row['name']} FROM {who}",
    )


# -- settings of roles in databases ----------------------------------------------------------------

# Settings that decide which code a session runs, and with which role.
_RISKY = (
    "local_preload_libraries",
    "role",
    "search_path",
    "session_authorization",
    "session_preload_libraries",
)
_SETTINGS = """(
    select coalesce(json_agg(json_build_object('database', coalesce(d.datname, ''), 'role', coalesce(r.rolname, ''),
        'superuser', r.rolsuper is not false,
        'names', (select json_agg(lower(split_part(entry, '=', 1))) from unnest(s.setconfig) entry))
        order by r.rolname nulls first, d.datname nulls first), '[]')
    from pg_db_role_setting s left join pg_database d on d.oid = s.setdatabase
    left join pg_roles r on r.oid = s.setrole)
"""


def _undeclared_settings(wanted: Desired, found: Observed) -> Iterator[Undeclared]:
    """Settings of sessions that no entry of the inventory covers. Their values stay out of it: they may be secrets."""
    declared = {
        kind: {item["name"] for item in wanted.objects.get(kind, ()) if item["state"] == "present"}
        for kind in ("roles", "databases")
    }
    others = {wanted.database, "postgres", wanted.superuser}
    for row in known(found).get("settings_of_sessions", ()):
        role, database, names = row["role"], row["database"], list(row["names"])
        covered = (not role and database in declared["databases"]) or (
            not database and role in declared["roles"]
        )
        # Reported as a whole: the role or the database itself.
        stray = not (role and database) and (role or database) and (role or database) not in others
        risky = [name for name in names if name in _RISKY] if row["superuser"] and not database else []
        if covered or (stray and not risky):
            continue
        target = f"role {role or 'ALL'}{f' in database {database}' if database else ''}"
        sql = f"ALTER ROLE {identifier(role) if role else 'ALL'}"
        sql += f" IN DATABASE {identifier(database)}" if database else ""
        message = f"it sets {listing(names, most=6)}"
        if risky:
            message += "; superusers also run the functions that it resolves to"
        home = "postgres_settings" if not (role or database) else "the settings of a role or of a database"
        remedy = f"{sql} RESET {names[0] if len(names) == 1 else 'ALL'}; to keep it, put it into {home}"
        yield Undeclared("settings", "red" if risky else "yellow", f"settings of {target}", message, remedy)


def _fresh(_: Desired) -> Mapping[str, Any]:
    return {"settings_of_sessions": []}


KINDS = (
    Kind(
        "session settings",
        server={"settings_of_sessions": _SETTINGS},
        fresh=_fresh,
        undeclared=_undeclared_settings,
    ),
    kind_on_server("parameters", "privileges on parameter", _PARAMETERS, _parameter),
    kind_on_server("tablespaces", "tablespace", _TABLESPACES, _tablespace),
    kind_on_server("subscriptions", "subscription", _SUBSCRIPTIONS, _subscription),
    kind_on_server("prepared_transactions", "prepared transaction", _PREPARED, _prepared),
)
