# SPDX-License-Identifier: Apache-2.0
"""The changes of databases: what each needs, how it is applied, and what the server is afterwards."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.aza.pg.plugins.module_utils.errors import AzaError
from ansible_collections.aza.pg.plugins.module_utils.model.desired import Desired
from ansible_collections.aza.pg.plugins.module_utils.objects import session
from ansible_collections.aza.pg.plugins.module_utils.objects.access import reowned
from ansible_collections.aza.pg.plugins.module_utils.objects.execute import compose, execute, keywords, value
from ansible_collections.aza.pg.plugins.module_utils.objects.kind import Facts
from ansible_collections.aza.pg.plugins.module_utils.objects.within import STOCK
from ansible_collections.aza.pg.plugins.module_utils.planning.change import Change, Detail
from ansible_collections.aza.pg.plugins.module_utils.server import connection as server

SESSIONS = """
(select coalesce(json_object_agg(datname, who), '{}') from (
    select datname, json_agg(said order by said) as who from (
        select datname, concat(usename, ' from ' || coalesce(host(client_addr), 'this host'),
            ' (' || nullif(application_name, '') || ')') as said
        from pg_stat_activity
        where datname is not null and backend_type = 'client backend' and application_name <> 'aza-pg') one
    group by datname) every)
"""


@dataclass(frozen=True)
class CreationDetail(Detail):
    """``options``: of CREATE DATABASE, the key words in lower case → their value."""

    owner: str
    options: Mapping[str, str]


@dataclass(frozen=True)
class DropDetail(Detail):
    """``is_template``: whether the mark has to be removed first."""

    is_template: bool


@dataclass(frozen=True)
class AttributeDetail(Detail):
    """``attribute``: owner, limit, is_template or comment."""

    attribute: str
    value: str | int | bool


@dataclass(frozen=True)
class SessionSettingDetail(Detail):
    """``value``: what sessions in the database get; None: what the server says."""

    setting: str
    value: str | None


def apply(context: Any, change: Change) -> None:
    connection, name = context.sql(), change.name
    if change.action == "create":
        creation = change.detail_as(CreationDetail)
        # No session may be connected to a template that is copied, this one included.
        if "template" in creation.options:
            context.close(creation.options["template"])
            connection = context.sql()
        connection.execute(_creation(name, creation.owner, creation.options))
    elif change.action == "drop":
        context.close(name)
        if change.detail_as(DropDetail).is_template:
            execute(connection, "alter database {} is_template false", name)
        _drop(connection, name)
    else:
        _alter(connection, change)


def _creation(name: str, its_owner: str, options: Mapping[str, str]) -> Any:
    statement = compose("create database {} owner {}", name, its_owner)
    for key, text in options.items():
        part = text if key == "template" else value(text)
        statement = compose(f"{{}} {key.replace('locale provider', 'locale_provider')} {{}}", statement, part)
    return statement


def _drop(connection: Any, name: str) -> None:
    try:
        execute(connection, "drop database if exists {}", name)
    except server.database_errors() as error:
        if getattr(error, "sqlstate", "") != "55006":
            raise
        found = connection.execute(f"select {SESSIONS}").fetchone()[0]
        who = ", ".join(found.get(name, ())) or "a session that has just ended"
        raise AzaError(
            f"{who} uses the database; end these sessions, then deploy again", reason="database_in_use"
        ) from None


def _alter(connection: Any, change: Change) -> None:
    name, head = change.name, compose("alter database {}", change.name)
    if isinstance(change.detail, SessionSettingDetail):
        session.give(connection, head, change.detail.setting, change.detail.value)
        return
    detail = change.detail_as(AttributeDetail)
    if detail.attribute == "owner":
        execute(connection, "{} owner to {}", head, str(detail.value))
    elif detail.attribute == "limit":
        execute(connection, "{} connection limit {}", head, keywords(str(int(detail.value))))
    elif detail.attribute == "is_template":
        execute(connection, f"{{}} is_template {'true' if detail.value else 'false'}", head)
    else:
        execute(connection, "comment on database {} is {}", name, value(detail.value or None))


def simulate(_: Desired, server: Facts, change: Change) -> Facts:
    there, inside, name = dict(server["databases"]), dict(server["inside"]), change.name
    if change.action == "create":
        creation = change.detail_as(CreationDetail)
        there[name] = made(creation.owner)
        copied = inside.get(creation.options.get("template", ""), {})
        inside[name] = copy.deepcopy({**STOCK, **copied, "lost": {}, "paths": {}})
    elif change.action == "drop":
        there.pop(name)
        inside.pop(name, None)
    elif isinstance(change.detail, SessionSettingDetail):
        stored = session.after(there[name]["settings"], change.detail.setting, change.detail.value)
        there[name] = {**there[name], "settings": stored}
    else:
        detail, is_now = change.detail_as(AttributeDetail), there[name]
        acl = is_now["acl"]
        if detail.attribute == "owner":
            acl = reowned(acl, is_now["owner"], str(detail.value))
        there[name] = {**is_now, "acl": acl, detail.attribute: detail.value}
    return {**server, "databases": there, "inside": inside}


def is_tried(change: Change) -> bool:
    detail = change.detail
    return isinstance(detail, SessionSettingDetail) or (
        isinstance(detail, CreationDetail) and bool(detail.options)
    )


def made(its_owner: str) -> dict[str, Any]:
    """A database as the first start makes it. What its locale is, no one knows yet."""
    return {
        "owner": its_owner,
        "encoding": None,
        "provider": None,
        "locale": None,
        "limit": -1,
        "connects": True,
        "is_template": False,
        "comment": "",
        "settings": None,
        "acl": [["", "CONNECT"], ["", "TEMPORARY"]],
        "collation": None,
        "library": None,
    }
