# SPDX-License-Identifier: Apache-2.0
"""What the modules of objects that no one can declare share: a check names them, a deploy leaves them alone.

Applications and people make them for good reasons, and some of them hand out a superuser's power. A server may hold
thousands of them, so questions and reports have an upper limit; what is most dangerous comes first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

from ansible_collections.aza.pg.plugins.module_utils.model.desired import Desired
from ansible_collections.aza.pg.plugins.module_utils.model.observed import Observed
from ansible_collections.aza.pg.plugins.module_utils.objects.kind import Kind, Undeclared
from ansible_collections.aza.pg.plugins.module_utils.objects.within import known, listing

# How many of one kind a server is asked for, and how many are reported one by one.
_ASKED = 50
_SHOWN = 4

Row = Mapping[str, Any]


def rows(query: str) -> str:
    """A question for the rows of ``query``, those whose column ``risk`` is true first, then by ``name``; and their
    number."""
    return f"""(
    select json_build_object('total', count(*), 'rows', coalesce(json_agg(to_json(listed) order by place)
        filter (where place <= {_ASKED}), '[]'))
    from (select *, row_number() over (order by risk desc, name) as place from ({query}) every) listed)"""


def own(catalog: str, alias: str) -> str:
    """A condition: the object is not a part of an extension or of another object."""
    return (
        f"not exists (select from pg_depend e where e.classid = '{catalog}'::regclass and e.objid = {alias}.oid "
        "and e.deptype in ('e', 'i'))"
    )


def report(
    policy: str,
    noun: str,
    database: str,
    found: Mapping[str, Any] | None,
    say: Callable[[Row], tuple[str, str]],
) -> Iterator[Undeclared]:
    """A report for each of the first rows, and one for all others. ``say``: what is said of a row, and what helps."""
    given = (found or {}).get("rows") or []
    place = f"{database}." if database else ""
    for row in given[:_SHOWN]:
        message, remedy = say(row)
        yield Undeclared(policy, _severity(row), f"{noun} {place}{row['name']}", message, remedy)
    more = given[_SHOWN:]
    if more:
        left = int((found or {})["total"]) - _SHOWN
        names = listing([row["name"] for row in more], most=_SHOWN)
        where = f" in {database}" if database else ""
        message = f"there are {left} more: {names if len(more) == left else f'{names} …'}"
        yield Undeclared(
            policy, _severity(more[0]), f"{noun}s{where}", message, "remove what should not be there"
        )


def _severity(row: Row) -> str:
    return "red" if row["risk"] else "yellow"


def kind_on_server(
    policy: str, noun: str, query: str, say: Callable[[Row], tuple[str, str]], on_standby: bool = False
) -> Kind:
    """``policy`` is the key of ``postgres_undeclared``, and that of the answer."""

    def undeclared(_: Desired, found: Observed) -> Iterator[Undeclared]:
        yield from report(policy, noun, "", known(found).get(policy), say)

    return Kind(noun, server={policy: rows(query)}, undeclared=undeclared, on_standby=on_standby)


def kind_inside(policy: str, noun: str, query: str, say: Callable[[str, Row], tuple[str, str]]) -> Kind:
    """The same for what is in each database; ``say`` gets the name of the database, too."""

    def undeclared(_: Desired, found: Observed) -> Iterator[Undeclared]:
        for database, seen in sorted(known(found)["inside"].items()):
            yield from report(policy, noun, database, seen.get(policy), partial(say, database))

    return Kind(noun, inside={policy: rows(query)}, undeclared=undeclared)
