# SPDX-License-Identifier: Apache-2.0
"""The function with which PgBouncer looks up the password verifier of a login. Only its own role may call it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ansible_collections.aza.pg.plugins.module_utils.errors import AzaError
from ansible_collections.aza.pg.plugins.module_utils.model.desired import Desired
from ansible_collections.aza.pg.plugins.module_utils.model.observed import Observed
from ansible_collections.aza.pg.plugins.module_utils.objects.execute import compose, execute
from ansible_collections.aza.pg.plugins.module_utils.objects.kind import Facts, Kind
from ansible_collections.aza.pg.plugins.module_utils.planning.change import Change
from ansible_collections.aza.pg.plugins.module_utils.server import own_schema
from ansible_collections.aza.pg.plugins.module_utils.services.pgbouncer.roles import AUTH, HEALTH

NAME = "pool lookup"
# The service whose roles use it.
POOLER = "pgbouncer"
SCHEMA = own_schema.SCHEMA
FUNCTION = own_schema.LOOKUP
# Superusers, replication roles and expired roles are not admitted through a pool.
BODY = """
    select rolname, rolpassword from pg_authid
    where rolname = asked and rolcanlogin and not rolsuper and not rolreplication
    and (rolvaliduntil is null or rolvaliduntil > now())
"""
_PATH = ["search_path=pg_catalog, pg_temp"]
_OBSERVE = f"""(
    select json_build_object(
        'schema', n.oid is not null, 'source', p.prosrc, 'definer', p.prosecdef, 'path', to_json(p.proconfig),
        'owner', pg_get_userbyid(p.proowner),
        'execute', (select coalesce(json_agg(coalesce(r.rolname::text, '') order by r.rolname), '[]')
            from aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a
            left join pg_roles r on r.oid = a.grantee where a.grantee <> p.proowner),
        'usage', (select coalesce(json_agg(coalesce(r.rolname::text, '') order by r.rolname), '[]')
            from aclexplode(coalesce(n.nspacl, acldefault('n', n.nspowner))) a
            left join pg_roles r on r.oid = a.grantee where a.grantee <> n.nspowner))
    from (select 1) one left join pg_namespace n on n.nspname = '{SCHEMA}'
    left join pg_proc p on p.pronamespace = n.oid and p.proname = 'user_lookup'
        and pg_get_function_identity_arguments(p.oid) = 'asked text')"""


def _plan(wanted: Desired, found: Observed) -> Iterator[Change]:
    facts = found.answers
    now = facts["pool_lookup"]
    if wanted.service(POOLER):
        differs = list(_differences(wanted, now))
        if now["source"] is None or differs:
            yield Change(
                NAME,
                FUNCTION,
                "create" if now["source"] is None else "change",
                effect="sql",
                why="; ".join(differs),
                id=NAME,
                needs=tuple(f"role {name}" for name in (AUTH, HEALTH)),
            )
        return
    left = [f"role {name}" for name in (AUTH, HEALTH) if name in facts["roles"]]
    if now["source"] is not None or left:
        yield Change(
            NAME,
            FUNCTION,
            "drop",
            effect="sql",
            before=f"with {', '.join(left)}" if left else "",
            why="this instance has no PgBouncer",
            # While its container waits for a permission to go, clients come in by it.
            needs=(f"container {wanted.project}-{POOLER}",),
        )


def _problems(wanted: Desired, found: Observed) -> Iterator[str]:
    """An object that another role created under the toolkit's name is neither used nor taken over."""
    untrusted = own_schema.distrust(found.answers["own_schema"]) if wanted.service(POOLER) else ""
    if untrusted:
        yield (
            f"{untrusted}; with PgBouncer, its code could run with the rights of those who look up passwords: "
            f"{own_schema.REMEDY}"
        )


def _differences(wanted: Desired, now: Mapping[str, Any]) -> Iterator[str]:
    if now["source"] is None:
        return
    if now["source"].split() != BODY.split() or not now["definer"] or now["path"] != _PATH:
        yield "its definition differs"
    if now["owner"] != wanted.superuser:
        yield f"it belongs to {now['owner']}"
    if now["execute"] != [AUTH]:
        yield f"{', '.join(name or 'everybody' for name in now['execute']) or 'no role'} may call it"
    if AUTH not in now["usage"]:
        yield f"{AUTH} may not use its schema"


def _apply(context: Any, change: Change) -> None:
    connection, owner = context.sql(), context.wanted.superuser
    with connection.transaction():
        connection.execute(f"drop function if exists {FUNCTION}(text)")
        if change.action == "drop":
            _remove(connection)
            return
        schema = connection.execute(f"select {own_schema.OBSERVE}").fetchone()[0]
        if untrusted := own_schema.distrust(schema):
            raise AzaError(f"{untrusted}; {own_schema.REMEDY}", reason="untrusted_schema")
        if not schema:
            execute(connection, f"create schema {SCHEMA} authorization {{}}", owner)
        connection.execute(
            f"create function {FUNCTION}(asked text) returns table (usename name, password text) "
            "language sql stable strict security definer set search_path = pg_catalog, pg_temp "
            f"as $lookup${BODY}$lookup$"
        )
        execute(connection, f"alter function {FUNCTION}(text) owner to {{}}", owner)
        connection.execute(f"revoke all on function {FUNCTION}(text) from public")
        execute(connection, f"grant usage on schema {SCHEMA} to {{}}", AUTH)
        execute(connection, f"grant execute on function {FUNCTION}(text) to {{}}", AUTH)


def _remove(connection: Any) -> None:
    """The schema stays while a user keeps something else in it."""
    used = (
        "select from pg_depend where refclassid = 'pg_namespace'::regclass and refobjid = to_regnamespace(%s)"
    )
    if not connection.execute(used, (SCHEMA,)).fetchone():
        connection.execute(f"drop schema if exists {SCHEMA}")
    for role in (AUTH, HEALTH):
        if connection.execute("select 1 from pg_roles where rolname = %s", (role,)).fetchone():
            connection.execute(compose("drop owned by {}", role))
            connection.execute(compose("drop role {}", role))


def _fresh(_: Desired) -> dict[str, Any]:
    return {"pool_lookup": {"schema": False, "source": None}, "own_schema": None}


def _simulate(wanted: Desired, server: Facts, change: Change) -> Facts:
    if change.action == "drop":
        roles = {name: role for name, role in server["roles"].items() if name not in (AUTH, HEALTH)}
        return {**server, "roles": roles, "pool_lookup": {"schema": False, "source": None}}
    lookup = {
        "schema": True,
        "source": BODY,
        "definer": True,
        "path": _PATH,
        "owner": wanted.superuser,
        "execute": [AUTH],
        "usage": [AUTH],
    }
    return {**server, "pool_lookup": lookup}


KIND = Kind(
    NAME,
    _plan,
    apply=_apply,
    simulate=_simulate,
    server={"pool_lookup": _OBSERVE, "own_schema": own_schema.OBSERVE},
    fresh=_fresh,
    problems=_problems,
)
