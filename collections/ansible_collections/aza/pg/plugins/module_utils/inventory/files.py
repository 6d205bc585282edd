# SPDX-License-Identifier: Apache-2.0
"""What is wrong with the files of an inventory, besides the values: keys given twice, secrets in plain text. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ansible_collections.aza.pg.plugins.module_utils.inventory.check import Host, Problem
from ansible_collections.aza.pg.plugins.module_utils.inventory.declared import truth
from ansible_collections.aza.pg.plugins.module_utils.inventory.sources import Scope, Sources
from ansible_collections.aza.pg.plugins.module_utils.inventory.specs import PREFIXES, Option, places

_ALLOWED = "postgres_allow_plain_passwords"


def remarks(sources: Sources, hosts: Mapping[str, Host], specs: Mapping[str, Option]) -> Iterator[Problem]:
    for remark in sources.twice:
        if remark.path[0].startswith(PREFIXES):
            for host in _in(remark.scope, hosts):
                said = f"the key is given twice, first at {remark.first}; leave one of the two out"
                yield Problem(host, remark.path, said, remark.place)
    secret = {where for where, option in places(specs).items() if option.secret}
    for remark in sources.plain:
        if _where(remark.path) in secret:
            for host in _in(remark.scope, hosts):
                values = hosts[host].values
                if "postgres_cluster" in values and not truth(values.get(_ALLOWED)):
                    what = "password" if remark.path[-1].endswith("password") else "key"
                    yield Problem(
                        host,
                        remark.path,
                        f"this {what} can be read by whoever reads the file; encrypt it (ansible-vault encrypt_string)"
                        f"{', leave it out to have one made' if what == 'password' else ''}, or allow it with "
                        f"{_ALLOWED}: true",
                        remark.place,
                    )


def _in(scope: Scope, hosts: Mapping[str, Host]) -> list[str]:
    kind, wanted = scope
    if kind == "host":
        return [wanted] if wanted in hosts else []
    return [name for name, host in hosts.items() if wanted == "all" or wanted in host.groups]


def _where(path: tuple[str, ...]) -> str:
    """``postgres_roles[].password``, for any entry."""
    return path[0] + "".join("[]" if part.isdigit() else f".{part}" for part in path[1:])
