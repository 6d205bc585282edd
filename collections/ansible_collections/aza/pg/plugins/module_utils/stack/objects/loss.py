# SPDX-License-Identifier: Apache-2.0
"""What would be lost with a database, a schema or an extension: asked only where one is declared absent."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.aza.pg.plugins.module_utils.stack.objects.within import rows_here, words

_OWN = (
    "not exists (select from pg_depend e where e.classid = {catalog} and e.objid = {oid} and e.deptype = 'e')"
)
_USERS = "n.nspname !~ '^pg_' and n.nspname <> 'information_schema'"

# The tables with their sizes, the largest first, and how much there is besides.
DATABASE = f"""
select json_build_object(
    'tables', count(*), 'size', pg_size_pretty(coalesce(sum(size), 0)),
    'largest', coalesce((json_agg(name || ' ' || pg_size_pretty(size) order by size desc, name)
        filter (where place <= 5)), '[]'),
    'others', (select coalesce(json_agg(said order by said), '[]') from (
        select count(*) || ' ' || what || case when count(*) = 1 then '' else 's' end as said from (
            select case c.relkind when 'f' then 'foreign table' when 'v' then 'view' else 'sequence' end as what
            from pg_class c join pg_namespace n on n.oid = c.relnamespace and {_USERS}
            where c.relkind in ('f', 'v', 'S') and {_OWN.format(catalog="'pg_class'::regclass", oid="c.oid")}
                and not exists (select from pg_depend a
                    where a.classid = 'pg_class'::regclass and a.objid = c.oid and a.deptype in ('a', 'i'))
            union all
            select 'function' from pg_proc p join pg_namespace n on n.oid = p.pronamespace and {_USERS}
            where {_OWN.format(catalog="'pg_proc'::regclass", oid="p.oid")}
            union all
            select 'large object' from pg_largeobject_metadata) besides
        group by what) counted))
from (select *, row_number() over (order by size desc, name) as place from (
    select format('%I.%I', n.nspname, c.relname) as name, pg_total_relation_size(c.oid) as size
    from pg_class c join pg_namespace n on n.oid = c.relnamespace and {_USERS}
    where c.relkind in ('r', 'm') and {_OWN.format(catalog="'pg_class'::regclass", oid="c.oid")}) sized) placed
"""


def database(seen: Mapping[str, Any], name: str) -> str:
    """What a database holds, in words; empty when it holds nothing that people put there."""
    if seen["databases"][name]["limit"] == -2:
        return ""  # its removal has begun already
    holds = (seen["inside"].get(name) or {}).get("holds")
    if holds is None:
        return "what it holds cannot be seen, because it takes no connections"
    parts = []
    if holds["tables"]:
        one = "table" if holds["tables"] == 1 else "tables"
        largest = words(holds["largest"], most=5)
        more = holds["tables"] - len(holds["largest"])
        parts.append(
            f"{holds['tables']} {one}, {holds['size']}: {largest}{f' and {more} more' if more > 0 else ''}"
        )
    return "; ".join([*parts, *([", ".join(holds["others"])] if holds["others"] else [])])


def within(absents: Iterable[tuple[str, str, str]]) -> str:
    """Per object what a cascade would take along besides its own parts: ``schema api`` → list of identities.

    ``absents``: database, schema or extension, name. The dependencies are followed as DROP … CASCADE does: whoever
    depends goes, and who is part of something takes that along. Shown is what a person has made; not what goes with
    it anyway (an index of a table that goes).
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
        case when g.objsubid <> 0 and g.classid = 'pg_class'::regclass then g.objid end, q.refobjid) as part_of,
        nullif(k.contypid, 0) as part_of_type
    from gone g
    left join pg_index i on g.classid = 'pg_class'::regclass and i.indexrelid = g.objid
    left join pg_attrdef a on g.classid = 'pg_attrdef'::regclass and a.oid = g.objid
    left join pg_trigger t on g.classid = 'pg_trigger'::regclass and t.oid = g.objid
    left join pg_constraint k on g.classid = 'pg_constraint'::regclass and k.oid = g.objid
    left join pg_policy p on g.classid = 'pg_policy'::regclass and p.oid = g.objid
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
            and x.type in ('table', 'view', 'materialized view', 'foreign table', 'sequence', 'index', 'table column',
                'function', 'procedure', 'aggregate', 'type', 'domain', 'extension', 'default value', 'trigger',
                'policy', 'table constraint', 'domain constraint', 'operator', 'collation', 'text search configuration')
            and not exists (select from gone whole where whole.root = g.root and whole.objsubid = 0
                and (whole.classid, whole.objid) in
                    (('pg_class'::regclass, g.part_of), ('pg_type'::regclass, g.part_of_type)))
            and not exists (select from pg_depend member where member.classid = g.classid and member.objid = g.objid
                and member.deptype in ('e', 'i'))
        union all
        select 'extension ' || e.extname, 'rows of ' || f.config::regclass, 0
        from pg_extension e, unnest(e.extconfig, e.extcondition) as f(config, condition)
        where 'extension ' || e.extname in (select root from roots) and (
            select relkind = 'r' from pg_class where oid = f.config)
            and (xpath('/row/c/text()', query_to_xml(format('select count(*) as c from %s %s',
                f.config::regclass, f.condition), false, true, '')))[1]::text <> '0') shown
    group by root) found)
"""
