# SPDX-License-Identifier: Apache-2.0
"""Objects of a database that no one can declare: event triggers, publications, foreign servers, languages, functions
with a superuser's rights, and large objects of others. What belongs to an extension is left out."""

from __future__ import annotations

from ansible_collections.aza.pg.plugins.module_utils.objects.unmanaged import Row, kind_inside, own
from ansible_collections.aza.pg.plugins.module_utils.objects.within import identifier, listing, quoted
from ansible_collections.aza.pg.plugins.module_utils.server.own_schema import LOOKUP

_EVENT_TRIGGERS = f"""
    select t.evtname as name, t.evtevent as event, t.evtenabled <> 'D' as enabled, r.rolname as owner,
        format('%I.%I()', n.nspname, p.proname) as function, not r.rolsuper and t.evtenabled <> 'D' as risk
    from pg_event_trigger t join pg_proc p on p.oid = t.evtfoid join pg_namespace n on n.oid = p.pronamespace
    join pg_roles r on r.oid = p.proowner where {own("pg_event_trigger", "t")}"""


def _event_trigger(database: str, row: Row) -> tuple[str, str]:
    message = f"on {row['event']}, it calls {row['function']}, which belongs to {row['owner']}"
    message += "" if row["enabled"] else "; it is disabled"
    if row["risk"]:
        message += ", who can replace it, and superusers run it"
    return message, f"DROP EVENT TRIGGER {identifier(row['name'])} in {database}"


_PUBLICATIONS = f"""
    select o.pubname as name, pg_get_userbyid(o.pubowner) as owner, o.puballtables as everything, false as risk
    from pg_publication o where {own("pg_publication", "o")}"""


def _publication(database: str, row: Row) -> tuple[str, str]:
    message = f"it belongs to {row['owner']}{' and publishes all tables' if row['everything'] else ''}"
    return message, f"DROP PUBLICATION {identifier(row['name'])} in {database}"


# Options may hold passwords, so none is read but whether one is required.
_FREE = "exists (select from unnest({options}) o where o ~* '^password_required=(f|n|of|0)')"
_FOREIGN_SERVERS = f"""
    select s.srvname as name, w.fdwname as wrapper, pg_get_userbyid(s.srvowner) as owner,
        (select count(*) from pg_user_mapping m where m.umserver = s.oid) as mappings,
        exists (select from pg_user_mapping m left join pg_roles r on r.oid = m.umuser
            where m.umserver = s.oid and r.rolsuper is not true and {_FREE.format(options="m.umoptions")}) as risk
    from pg_foreign_server s join pg_foreign_data_wrapper w on w.oid = s.srvfdw
    where {own("pg_foreign_server", "s")}"""


def _foreign_server(database: str, row: Row) -> tuple[str, str]:
    message = f"it belongs to {row['owner']}, by {row['wrapper']}, with {row['mappings']} user mapping"
    message += "" if row["mappings"] == 1 else "s"
    if row["risk"]:
        message += "; one of a role that is not a superuser needs no password, so it connects as the server's own user"
    return message, f"DROP SERVER {identifier(row['name'])} in {database}"


# c and internal are PostgreSQL's own; the others with a u at the end are untrusted by custom.
_LANGUAGES = f"""
    select l.lanname as name, l.lanpltrusted as risk from pg_language l
    where (l.lanpltrusted and (l.lanname in ('c', 'internal') or l.lanispl and l.lanname ~ 'u$'))
        or (l.lanispl and not l.lanpltrusted and {own("pg_language", "l")})"""


def _language(database: str, row: Row) -> tuple[str, str]:
    if row["risk"]:
        message = "it has no limits and is marked as trusted: its users run code as the server's own user"
        return (
            message,
            f"UPDATE pg_language SET lanpltrusted = false WHERE lanname = {quoted(row['name'])} in {database}",
        )
    message = "an untrusted language outside of an extension: its functions run as the server's system user"
    return message, f"DROP LANGUAGE {identifier(row['name'])} in {database}"


# Those that a role which is no superuser can call, with a superuser's rights or outside of any limits.
_UNLIMITED = "(l.lanname in ('c', 'internal') or l.lanispl and not l.lanpltrusted)"
_FUNCTIONS = f"""
    select f.*, public and definer and not pinned as risk from (
        select format('%I.%I(%s)', n.nspname, p.proname, pg_get_function_identity_arguments(p.oid)) as name,
            r.rolname as owner, l.lanname as language, p.prosecdef and r.rolsuper as definer,
            exists (select from unnest(p.proconfig) c where c ~ '^search_path=') as pinned,
            exists (select from aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a where a.grantee = 0)
                and exists (select from aclexplode(coalesce(n.nspacl, acldefault('n', n.nspowner))) a
                    where a.grantee = 0 and a.privilege_type = 'USAGE') as public,
            (select coalesce(json_agg(c.rolname order by c.rolname), '[]') from (
                select rolname from pg_roles where not rolsuper and rolname !~ '^pg_'
                and has_function_privilege(pg_roles.oid, p.oid, 'execute')
                and has_schema_privilege(pg_roles.oid, n.oid, 'usage') order by rolname limit 6) c) as callers
        from pg_proc p join pg_namespace n on n.oid = p.pronamespace join pg_roles r on r.oid = p.proowner
        join pg_language l on l.oid = p.prolang
        where p.oid >= 16384 and (p.prosecdef and r.rolsuper or {_UNLIMITED}) and {own("pg_proc", "p")}
        and not (current_database() = 'postgres' and n.nspname || '.' || p.proname = '{LOOKUP}')
    ) f where public or json_array_length(callers) > 0"""


def _function(database: str, row: Row) -> tuple[str, str]:
    who = "everybody" if row["public"] else listing(row["callers"])
    named = "PUBLIC" if row["public"] else ", ".join(map(identifier, row["callers"]))
    remedy = f"REVOKE EXECUTE ON ROUTINE {row['name']} FROM {named} in {database}"
    if not row["definer"]:
        return f"it is written in {row['language']}, which has no limits, and {who} can call it", remedy
    message = f"it runs with the rights of the superuser {row['owner']}, and {who} can call it"
    if row["pinned"]:
        return message, remedy
    pin = f"ALTER ROUTINE {row['name']} SET search_path = pg_catalog, pg_temp in {database}"
    return f"{message}, with a search_path of the caller's choice", f"{remedy}; or {pin}"


# Applications grant on millions of them; then the first thousand are enough.
_LARGE_OBJECTS = """
    select o.oid::text as name, pg_get_userbyid(o.lomowner) as owner, false as risk,
        (select json_agg(coalesce(r.rolname, 'PUBLIC') || ': ' || a.privilege_type order by r.rolname)
            from aclexplode(o.lomacl) a left join pg_roles r on r.oid = a.grantee
            where a.grantee <> o.lomowner) as grants
    from (select * from pg_largeobject_metadata where lomacl is not null and exists (
        select from aclexplode(lomacl) a where a.grantee <> lomowner) limit 1000) o"""


def _large_object(database: str, row: Row) -> tuple[str, str]:
    message = f"it belongs to {row['owner']}, and others may use it: {listing(row['grants'])}"
    return message, f"REVOKE ALL ON LARGE OBJECT {row['name']} FROM … in {database}"


KINDS = (
    kind_inside("event_triggers", "event trigger", _EVENT_TRIGGERS, _event_trigger),
    kind_inside("publications", "publication", _PUBLICATIONS, _publication),
    kind_inside("foreign_servers", "foreign server", _FOREIGN_SERVERS, _foreign_server),
    kind_inside("languages", "language", _LANGUAGES, _language),
    kind_inside("functions", "function", _FUNCTIONS, _function),
    kind_inside("large_objects", "large object", _LARGE_OBJECTS, _large_object),
)
