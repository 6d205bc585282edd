# SPDX-License-Identifier: Apache-2.0
"""What would be lost with a database, a schema or an extension: asked only where one is declared absent.

Everything counts that neither PostgreSQL nor an extension brings. A doubt is a loss: the worst that follows from it is
one more name in ``postgres_allow_loss``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.aza.pg.plugins.module_utils.objects.within import listing, rows_here

# Objects with a smaller number come from initdb.
_FIRST = 16384
_PLURALS = {
    "operator class": "operator classes",
    "operator family": "operator families",
    "text search dictionary": "text search dictionaries",
}
_NAMESPACE = "join pg_namespace n on n.oid = o.{column} and n.nspname !~ '^pg_(toast|temp)'"


def _objects(catalog: str, word: str, namespace: str = "", where: str = "true") -> str:
    """What people made of one catalog, as a query of words. Parts of extensions and of other objects are left out."""
    join = _NAMESPACE.format(column=namespace) if namespace else ""
    return f"""
        select {word} as what from {catalog} o {join} where o.oid >= {_FIRST} and ({where}) and not exists (
            select from pg_depend e where e.classid = '{catalog}'::regclass and e.objid = o.oid
            and e.deptype in ('e', 'i'))"""


_OTHERS = "\n        union all".join(
    (
        _objects(
            "pg_class",
            "case relkind when 'f' then 'foreign table' when 'v' then 'view' when 'S' then 'sequence' else 'type' end",
            "relnamespace",
            "relkind in ('f', 'v', 'S', 'c') and not exists (select from pg_depend a "
            "where a.classid = 'pg_class'::regclass and a.objid = o.oid and a.deptype = 'a')",
        ),
        # A row type is counted with its relation.
        _objects(
            "pg_type",
            "case typtype when 'd' then 'domain' else 'type' end",
            "typnamespace",
            "typtype <> 'c'",
        ),
        _objects("pg_proc", "'function'", "pronamespace"),
        _objects("pg_operator", "'operator'", "oprnamespace"),
        _objects("pg_opclass", "'operator class'", "opcnamespace"),
        _objects(
            "pg_opfamily",
            "'operator family'",
            "opfnamespace",
            "not exists (select from pg_opclass c where c.opcfamily = o.oid)",
        ),
        _objects("pg_collation", "'collation'", "collnamespace"),
        _objects("pg_conversion", "'conversion'", "connamespace"),
        _objects("pg_ts_config", "'text search configuration'", "cfgnamespace"),
        _objects("pg_ts_dict", "'text search dictionary'", "dictnamespace"),
        _objects("pg_ts_parser", "'text search parser'", "prsnamespace"),
        _objects("pg_ts_template", "'text search template'", "tmplnamespace"),
        _objects("pg_cast", "'cast'"),
        _objects("pg_transform", "'transform'"),
        _objects("pg_am", "'access method'"),
        _objects("pg_language", "'language'"),
        _objects("pg_foreign_data_wrapper", "'foreign-data wrapper'"),
        _objects("pg_foreign_server", "'foreign server'"),
        _objects("pg_user_mapping", "'user mapping'"),
        _objects("pg_event_trigger", "'event trigger'"),
        _objects("pg_publication", "'publication'"),
        _objects("pg_largeobject_metadata", "'large object'"),
        _objects("pg_default_acl", "'default privilege'"),
        """
        select 'security label' from pg_seclabel
        union all
        select 'comment' from pg_namespace n where n.nspname = 'public'
            and obj_description(n.oid, 'pg_namespace') <> 'standard public schema'
        union all
        select 'comment' from pg_extension x join pg_available_extensions a on a.name = x.extname
            where obj_description(x.oid, 'pg_extension') <> a.comment
        union all
        select 'subscription' from pg_subscription s join pg_database d on d.oid = s.subdbid
            where d.datname = current_database()
        union all
        select 'logical replication slot' from pg_replication_slots where database = current_database()""",
    )
)

# Every table of an extension counts whose rows are not known to come with it. An extension says which do, if it says
# anything (``extcondition``); pg_dump believes it too.
_ROWS = """
        select x.oid as extension, format('%I.%I', n.nspname, c.relname) as name
        from pg_extension x
        join pg_depend e on e.refclassid = 'pg_extension'::regclass and e.refobjid = x.oid and e.deptype = 'e'
            and e.classid = 'pg_class'::regclass
        join pg_class c on c.oid = e.objid and c.relkind in ('r', 'p')
        join pg_namespace n on n.oid = c.relnamespace
        left join lateral (select condition from unnest(x.extconfig, x.extcondition) as f(config, condition)
            where f.config = c.oid) f on true
        where query_to_xml(format('select 1 as c from %I.%I %s limit 1', n.nspname, c.relname, f.condition),
            true, true, '')::text <> ''"""

# The tables with their sizes, the largest first, and how much else there is.
DATABASE = f"""
select json_build_object(
    'tables', count(*), 'size', pg_size_pretty(coalesce(sum(size), 0)),
    'largest', coalesce((json_agg(name || ' ' || pg_size_pretty(size) order by size desc, name)
        filter (where place <= 5)), '[]'),
    'rows', (select coalesce(json_agg(name order by name), '[]') from ({_ROWS}) r),
    'schemas', (select coalesce(json_agg(nspname order by nspname), '[]') from pg_namespace o
        where nspname !~ '^pg_' and nspname not in ('public', 'information_schema')
        and not exists (select from pg_depend e
            where e.classid = 'pg_namespace'::regclass and e.objid = o.oid and e.deptype = 'e')
        and not exists (select from pg_extension x where x.extnamespace = o.oid)),
    'extensions', (select coalesce(json_agg(extname order by extname), '[]') from pg_extension),
    'others', (select coalesce(json_object_agg(what, number), '{{}}')
        from (select what, count(*) as number from ({_OTHERS}) every group by what) counted))
from (select *, row_number() over (order by size desc, name) as place from (
    select format('%I.%I', n.nspname, o.relname) as name, pg_total_relation_size(o.oid) as size
    from pg_class o {_NAMESPACE.format(column="relnamespace")}
    where o.relkind in ('r', 'm', 'p') and o.oid >= {_FIRST} and not exists (select from pg_depend e
        where e.classid = 'pg_class'::regclass and e.objid = o.oid and e.deptype = 'e')) sized) placed
"""


def database(
    seen: Mapping[str, Any], name: str, declared: Mapping[str, Any] | None = None, known: Iterable[str] = ()
) -> str:
    """What a database holds, as text; empty when it holds nothing that people put there.

    What its entry itself declares can be made from it again: schemas, settings, comment, access. ``known``: the
    extensions that are declared, or come with the image.
    """
    now = seen["databases"][name]
    if now["limit"] == -2:
        return ""  # its removal has begun already
    holds = (seen["inside"].get(name) or {}).get("holds")
    if holds is None:
        taken = "it was not inspected" if now["connects"] else "it takes no connections"
        return f"its contents are unknown, because {(seen.get('unseen') or {}).get(name, taken)}"
    entry = declared or {}
    others = {key: number for key, number in holds["others"].items() if number}
    if any((entry.get("access") or {}).values()):
        others.pop("default privilege", None)
    if now["comment"] not in ("", entry.get("comment")):
        others["comment"] = others.get("comment", 0) + 1
    own = [text.partition("=")[0].lower() for text in now["settings"] or ()]
    if foreign := [setting for setting in own if setting not in entry.get("settings", {})]:
        others["setting"] = len(foreign)
    schemas = {item["name"] for item in entry.get("schemas", ())}
    parts = [
        _tables(holds),
        _named("rows in {} of extensions", "table", holds["rows"]),
        ", ".join(_counted(word, others[word]) for word in sorted(others)),
        _named("{}", "schema", sorted(set(holds["schemas"]) - schemas)),
        _named("{}", "extension", sorted(set(holds["extensions"]) - set(known))),
    ]
    return "; ".join(filter(None, parts))


def _tables(holds: Mapping[str, Any]) -> str:
    if not holds["tables"]:
        return ""
    more = holds["tables"] - len(holds["largest"])
    largest = f"{listing(holds['largest'], most=5)}{f' and {more} more' if more > 0 else ''}"
    return f"{_counted('table', holds['tables'])}, {holds['size']}: {largest}"


def _named(message: str, word: str, names: list[str]) -> str:
    return f"{message.format(_counted(word, len(names)))}: {listing(names)}" if names else ""


def _counted(word: str, number: int) -> str:
    return f"{number} {word if number == 1 else _PLURALS.get(word, f'{word}s')}"


def within(absents: Iterable[tuple[str, str, str]]) -> str:
    """Per object what a cascade would take along in addition to its own parts: ``schema api`` → list of identities.

    ``absents``: database, schema or extension, name. The dependencies are followed as DROP … CASCADE does: a
    dependent object is dropped, with what it is part of. Shown is what a person has made; not what goes with
    it anyway (an index of a table that goes), nor default privileges.
    """
    here = rows_here(absents, "kind, name")
    return f"""(
with recursive roots as (
    select kind || ' ' || name as root, 'pg_namespace'::regclass::oid as classid, oid as objid
    from {here} a join pg_namespace on kind = 'schema' and nspname = name
    union all
    select kind || ' ' || name, 'pg_extension'::regclass::oid, oid
    from {here} a join pg_extension on kind = 'extension' and extname = name
),
gone as (
    select root, classid, objid, 0 as objsubid from roots
    union
    select g.root, d.classid, d.objid, d.objsubid from gone g cross join lateral (
        select classid, objid, objsubid from pg_depend
        where refclassid = g.classid and refobjid = g.objid and (g.objsubid = 0 or refobjsubid = g.objsubid)
        union all
        select refclassid, refobjid, refobjsubid from pg_depend
        where classid = g.classid and objid = g.objid and deptype in ('i', 'e') and g.objsubid = 0) d
),
placed as (
    select g.*, coalesce(i.indrelid, a.adrelid, t.tgrelid, k.conrelid, p.polrelid,
        r.ev_class, s.stxrelid, l.prrelid,
        case when g.objsubid <> 0 and g.classid = 'pg_class'::regclass then g.objid end, q.refobjid) as part_of,
        nullif(k.contypid, 0) as part_of_type
    from gone g
    left join pg_index i on g.classid = 'pg_class'::regclass and i.indexrelid = g.objid
    left join pg_attrdef a on g.classid = 'pg_attrdef'::regclass and a.oid = g.objid
    left join pg_trigger t on g.classid = 'pg_trigger'::regclass and t.oid = g.objid
    left join pg_constraint k on g.classid = 'pg_constraint'::regclass and k.oid = g.objid
    left join pg_policy p on g.classid = 'pg_policy'::regclass and p.oid = g.objid
    left join pg_rewrite r on g.classid = 'pg_rewrite'::regclass and r.oid = g.objid
    left join pg_statistic_ext s on g.classid = 'pg_statistic_ext'::regclass and s.oid = g.objid
    left join pg_publication_rel l on g.classid = 'pg_publication_rel'::regclass and l.oid = g.objid
    left join pg_depend q on q.classid = 'pg_class'::regclass and g.classid = q.classid and q.objid = g.objid
        and q.deptype in ('a', 'i') and q.refclassid = 'pg_class'::regclass and i.indexrelid is null
)
select coalesce(json_object_agg(root, things), '{{}}') from (
    select root, json_agg(said order by place, said) as things from (
        select distinct g.root, x.type || ' ' || x.identity || case when c.relkind in ('r', 'm')
                and g.objsubid = 0 then ' ' || pg_size_pretty(pg_total_relation_size(c.oid)) else '' end as said,
            case when c.relkind in ('r', 'm') and g.objsubid = 0 then 0 else 1 end as place
        from placed g
        left join pg_class c on g.classid = 'pg_class'::regclass and c.oid = g.objid
        cross join lateral pg_identify_object(g.classid, g.objid, g.objsubid) x
        where (g.classid, g.objid) not in (select classid, objid from roots r where r.root = g.root)
            and x.type not in ('default acl', 'toast table', 'operator of access method', 'function of access method')
            and not exists (select from gone whole where whole.root = g.root and whole.objsubid = 0
                and (whole.classid, whole.objid) in
                    (('pg_class'::regclass, g.part_of), ('pg_type'::regclass, g.part_of_type)))
            and not exists (select from pg_depend member where member.classid = g.classid and member.objid = g.objid
                and member.deptype in ('e', 'i'))
        union all
        select 'extension ' || e.extname, 'rows of ' || r.name, 0
        from ({_ROWS}) r join pg_extension e on e.oid = r.extension
        where 'extension ' || e.extname in (select root from roots)) shown
    group by root) found)
"""
