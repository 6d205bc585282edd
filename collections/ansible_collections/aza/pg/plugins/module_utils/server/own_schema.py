# SPDX-License-Identifier: Apache-2.0
"""The schema of the toolkit in the database ``postgres``, and whether what is in it can be trusted.

A role that can create schemas there could have created it first: a table with a trigger, or a view, would run the code
of its owner when a superuser writes to it or reads it. So an existing object is used only if it is exactly what the
toolkit creates.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

SCHEMA = "aza_pg"
SENTINEL = f"{SCHEMA}.sentinel"
# The function that looks up the password verifier of a login.
LOOKUP = f"{SCHEMA}.user_lookup"

# Null where there is no such schema. An owner that is not the bootstrap superuser has an entry in pg_shdepend.
OBSERVE = f"""(
select json_build_object(
    'owner', pg_get_userbyid(n.nspowner), 'owner_is_superuser', o.rolsuper,
    'creators', (select coalesce(json_agg(coalesce(g.rolname::text, 'PUBLIC') order by g.rolname), '[]')
        from aclexplode(coalesce(n.nspacl, acldefault('n', n.nspowner))) a left join pg_roles g on g.oid = a.grantee
        where a.privilege_type = 'CREATE' and a.grantee <> n.nspowner and not coalesce(g.rolsuper, false)),
    'foreign', (select coalesce(json_agg(format('%s of %s', pg_describe_object(d.classid, d.objid, 0), r.rolname)
            order by d.classid, d.objid), '[]')
        from pg_depend d join pg_shdepend s on s.classid = d.classid and s.objid = d.objid and s.deptype = 'o'
            and s.dbid = (select oid from pg_database where datname = current_database())
        join pg_roles r on r.oid = s.refobjid and not r.rolsuper
        where d.refclassid = 'pg_namespace'::regclass and d.refobjid = n.oid))
from pg_namespace n join pg_roles o on o.oid = n.nspowner where n.nspname = '{SCHEMA}')"""

# What the table of the sentinel has that the toolkit did not give it; null where there is no table.
SENTINEL_OBSERVE = f"""(
select json_build_object(
    'kind', c.relkind, 'owner', pg_get_userbyid(c.relowner), 'owner_is_superuser', o.rolsuper,
    'columns', (select json_agg(format('%s %s%s', attname, format_type(atttypid, atttypmod),
            case when attgenerated <> '' then ' generated' end) order by attnum)
        from pg_attribute where attrelid = c.oid and attnum > 0),
    'defaults', (select coalesce(json_agg(pg_get_expr(adbin, adrelid) order by adnum), '[]')
        from pg_attrdef where adrelid = c.oid),
    'constraints', (select coalesce(json_agg(pg_get_constraintdef(oid) order by contype), '[]')
        from pg_constraint where conrelid = c.oid and contype <> 'n'),
    'indexes', (select count(*) from pg_index where indrelid = c.oid),
    'others', (select count(*) from pg_trigger where tgrelid = c.oid)
        + (select count(*) from pg_rewrite where ev_class = c.oid)
        + (select count(*) from pg_policy where polrelid = c.oid)
        + (select count(*) from pg_inherits where c.oid in (inhrelid, inhparent))
        + (select count(*) from pg_statistic_ext where stxrelid = c.oid) + c.relrowsecurity::int,
    'writers', (select count(*) from aclexplode(coalesce(c.relacl, acldefault('r', c.relowner))) a
        where a.privilege_type <> 'SELECT' and a.grantee <> c.relowner))
from pg_class c join pg_roles o on o.oid = c.relowner where c.oid = to_regclass('{SENTINEL}'))"""
_TABLE = {
    "kind": "r",
    "owner_is_superuser": True,
    "columns": ["one boolean", "token text", "at timestamp with time zone", "lsn pg_lsn"],
    "defaults": ["true"],
    "constraints": ["CHECK (one)", "PRIMARY KEY (one)"],
    "indexes": 1,
    "others": 0,
    "writers": 0,
}
REMEDY = f"inspect it, then drop it: DROP SCHEMA {SCHEMA} CASCADE in the database postgres"


def distrust(schema: Mapping[str, Any] | None) -> str:
    """Return why the schema cannot be used; empty where it can, or does not exist.

    ``schema``: as ``OBSERVE`` gives it.
    """
    if not schema:
        return ""
    where = f"the schema {SCHEMA} of the database postgres"
    if not schema["owner_is_superuser"]:
        return f"{where} belongs to {schema['owner']}, which is not a superuser"
    if schema["creators"]:
        return f"{', '.join(schema['creators'])} may create objects in {where}"
    if schema["foreign"]:
        return f"{where} holds {', '.join(schema['foreign'])}"
    return ""


def distrust_table(table: Mapping[str, Any] | None) -> str:
    """Return why the table of the sentinel cannot be used. ``table``: as ``SENTINEL_OBSERVE`` gives it."""
    differs = [key for key, value in _TABLE.items() if table and table[key] != value]
    if not differs:
        return ""
    return (
        f"{SENTINEL} of the database postgres is not the toolkit's table: it has other {', '.join(differs)}"
    )
