# SPDX-License-Identifier: Apache-2.0
"""Who may connect: the rules of pg_hba.conf and the lines of pg_ident.conf. Pure.

Both files are written whole, and a plan names each rule. The order of the rules is their meaning, so the stack's own
access comes first: no declared rule can shut out the administrator on the host, or the exporter.
"""

from __future__ import annotations

import difflib
import ipaddress
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.aza.pg.plugins.module_utils.errors import AzaError
from ansible_collections.aza.pg.plugins.module_utils.model.desired import Desired
from ansible_collections.aza.pg.plugins.module_utils.model.details import FileDetail
from ansible_collections.aza.pg.plugins.module_utils.model.service import File
from ansible_collections.aza.pg.plugins.module_utils.objects.declared import entries
from ansible_collections.aza.pg.plugins.module_utils.objects.kind import Kind
from ansible_collections.aza.pg.plugins.module_utils.planning.change import Change

PATH = "postgres/pg_hba.conf"
IDENT_PATH = "postgres/pg_ident.conf"
IDENT_MAP = "aza"
RULE, IDENT_LINE = "hba rule", "ident line"
KIND_OF_PATH = {PATH: RULE, IDENT_PATH: IDENT_LINE}

DEFAULTS: dict[str, Any] = {
    "type": "hostssl",
    "databases": ["all"],
    "roles": ["all"],
    "addresses": [],
    "method": "scram-sha-256",
    "options": {},
    "comment": "",
}
IDENT_DEFAULTS: dict[str, Any] = {"system": "", "role": ""}

DATABASE_WORDS = ("all", "sameuser", "samerole", "replication")
_ADDRESS_WORDS = ("all", "samenet", "samehost")
# Names that the server would take for keywords. samegroup is its old word for samerole.
_KEYWORDS = (*DATABASE_WORDS, "samegroup", *_ADDRESS_WORDS)
_PLAIN = re.compile(r"[a-z_][a-z0-9_]*")
_TOKEN = re.compile(r'(?:[^\s"#]|"(?:[^"]|"")*")+')


@dataclass(frozen=True)
class Rule:
    """One line of pg_hba.conf. ``where`` is its place in the inventory, empty for the stack's own."""

    type: str
    databases: tuple[str, ...]
    roles: tuple[str, ...]
    address: str
    method: str
    options: tuple[tuple[str, str], ...] = ()
    comment: str = ""
    where: str = ""

    def text(self) -> str:
        """``hostssl shop shop 10.0.0.0/24 scram-sha-256``."""
        databases = ",".join(_name(item, DATABASE_WORDS) for item in self.databases)
        roles = ",".join(_role(item) for item in self.roles)
        options = [_option(name, value) for name, value in self.options]
        return " ".join(filter(None, [self.type, databases, roles, self.address, self.method, *options]))


# -- what is declared ------------------------------------------------------------------------------


def normalise(given: Any) -> list[dict[str, Any]]:
    """``postgres_hba`` with every key.

    :raises AzaError: a rule that could never match.
    """
    filled = [
        {"type": DEFAULTS["type"], **item} if isinstance(item, Mapping) else item for item in given or ()
    ]
    others = {key: value for key, value in DEFAULTS.items() if key != "type"}
    result = entries("postgres_hba", filled, others, key="type")
    for number, entry in enumerate(result):
        where = f"postgres_hba[{number}]"
        if entry["type"] == "local" and entry["addresses"]:
            message = "a local rule is about the socket, which has no addresses; leave one of the two out"
            raise AzaError(f"{where}: {message}.", reason="bad_object")
        if entry["type"] != "local" and not entry["addresses"]:
            message = f"a {entry['type']} rule needs addresses: networks, or samenet"
            raise AzaError(f"{where}: {message}.", reason="bad_object")
        hidden = [item for item in entry["addresses"] if _is_loopback(item)]
        if hidden and entry["method"] == "reject":
            raise AzaError(
                f"{where}: no client has the address {hidden[0]}, so this rule rejects no client: a client on the host "
                "comes from the gateway of the containers' network. Use samenet.",
                reason="bad_object",
            )
        for key in ("databases", "roles"):
            if not entry[key]:
                raise AzaError(f"{where}: {key} is empty; leave it out for all of them.", reason="bad_object")
    return result


def normalise_ident(given: Any) -> list[dict[str, Any]]:
    """``postgres_ident`` with every key."""
    result = entries("postgres_ident", given, IDENT_DEFAULTS, key="map")
    for number, item in enumerate(result):
        for key in ("system", "role"):
            if not item[key]:
                raise AzaError(f"postgres_ident[{number}]: the key '{key}' is missing.", reason="bad_object")
    return result


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_network(address, strict=False).is_loopback
    except ValueError:
        return False


# -- what is written -------------------------------------------------------------------------------


def rules(
    superuser: str,
    declared: Iterable[Mapping[str, Any]],
    allow_from: Iterable[str],
    tls: bool,
    monitors: Sequence[str] = (),
    replicators: Mapping[str, Sequence[str]] | None = None,
) -> list[Rule]:
    """All rules, in their order. ``monitors``: the roles with which the stack itself looks at the server;
    ``replicators``: role that replicas connect as → their addresses.

    :raises AzaError: a client that was declared and that an earlier rule rejects.
    """
    network = "hostssl" if tls else "host"
    scram = "scram-sha-256"
    result = [
        Rule("local", ("all",), (superuser,), "", "peer", (("map", IDENT_MAP),)),
        *(Rule("local", ("all",), (role,), "", scram) for role in monitors),
        *(
            Rule(network, ("replication",), (role,), _address(item), scram)
            for role, addresses in (replicators or {}).items()
            for item in addresses
        ),
    ]
    for number, item in enumerate(declared):
        options = tuple((str(key), _value(value)) for key, value in item["options"].items())
        for place, address in enumerate(item["addresses"] or [""]):
            result.append(
                Rule(
                    item["type"],
                    tuple(map(str, item["databases"])),
                    tuple(map(str, item["roles"])),
                    _address(address),
                    item["method"],
                    options,
                    "" if place else item["comment"],
                    f"postgres_hba[{number}]",
                )
            )
    result += [
        Rule("local", ("all",), ("all",), "", scram),
        Rule(network, ("all",), ("all",), "samenet", scram),
    ]
    result += [
        Rule(network, ("all",), ("all",), _address(item), scram, where=f"postgres_allow_from[{number}]")
        for number, item in enumerate(allow_from)
    ]
    return result


def shut_out(given: Sequence[Rule], groups: Mapping[str, Iterable[str]]) -> Iterator[str]:
    """Declared clients that can never come in, because an earlier rule rejects all of them.

    ``groups``: role → the groups it is a member of, directly or not.
    """
    for number, rule in enumerate(given):
        if not rule.where or rule.method == "reject":
            continue
        for earlier in given[:number]:
            if earlier.method == "reject" and _covers(earlier, rule, groups):
                yield (
                    f"{rule.where} ({rule.text()}) admits no client: {earlier.where} ({earlier.text()}) is before it "
                    "and rejects all of them; put the reject after it, or make it narrower"
                )
                break


def check(given: Sequence[Rule], groups: Mapping[str, Iterable[str]]) -> None:
    problems = list(shut_out(given, groups))
    if problems:
        raise AzaError(f"{'; '.join(problems)}. Nothing was changed.", reason="locked_out", problems=problems)


def memberships(roles: Iterable[Mapping[str, Any]]) -> dict[str, set[str]]:
    """Role → the groups that it is a member of, as declared, directly or not."""
    direct = {
        role["name"]: {item["role"] if isinstance(item, Mapping) else str(item) for item in role["member_of"]}
        for role in roles
    }
    result = {}
    for name in direct:
        reached, open_ = {name}, [name]
        while open_:
            new = direct.get(open_.pop(), set()) - reached
            reached |= new
            open_ += new
        result[name] = reached
    return result


def render(given: Iterable[Rule]) -> str:
    lines = [
        "# Written by aza-pg. Who may connect: the host's administrator by the socket; what postgres_hba says; with a",
        "# password everyone from the container's own network (where the published port ends) and postgres_allow_from.",
        "# TYPE DATABASE ROLE ADDRESS METHOD",
    ]
    for rule in given:
        lines += [f"# {line}" for line in rule.comment.splitlines()]
        lines.append(rule.text())
    return "\n".join(lines) + "\n"


def render_ident(superuser: str, declared: Iterable[Mapping[str, Any]]) -> str:
    lines = [
        "# Written by aza-pg. Who of the host (and of the image) is the server's administrator, and postgres_ident.",
        "# MAP SYSTEM ROLE",
    ]
    lines += [f"{IDENT_MAP} {system} {_name(superuser)}" for system in ("root", "postgres")]
    lines += [ident_text(item) for item in declared]
    return "\n".join(lines) + "\n"


def ident_text(item: Mapping[str, Any]) -> str:
    return f"{_name(item['map'])} {_name(item['system'])} {_role(item['role'])}"


def _name(name: str, words: Sequence[str] = ()) -> str:
    """Quoted, a name is only itself: no keyword, no group, no file, and commas and blanks are its own."""
    if name in words:
        return name
    return name if _PLAIN.fullmatch(name) and name not in _KEYWORDS else _quoted(name)


def _role(name: str) -> str:
    if name.startswith("+") and name != "+":
        return "+" + _name(name[1:])
    return _name(name, ("all",))


def _address(given: Any) -> str:
    """An address alone is a network of one, which pg_hba.conf wants to be said."""
    try:
        return f"{ipaddress.ip_address(str(given))}/{ipaddress.ip_address(str(given)).max_prefixlen}"
    except ValueError:
        return str(given)


def _option(name: str, value: str) -> str:
    text = f"{name}={value}"
    return text if re.fullmatch(r"[\w.:/@%?&=+-]+", text, re.ASCII) else _quoted(text)


def _value(value: Any) -> str:
    return str(int(value)) if isinstance(value, bool) else str(value)


def _quoted(name: str) -> str:
    if re.search(r"[\n\r\0]", name):
        raise AzaError(
            f"postgres_hba and postgres_ident: {name!r} holds a line break, which these files cannot hold.",
            reason="bad_object",
        )
    return '"' + name.replace('"', '""') + '"'


# -- which client a rule is about ------------------------------------------------------------------


def _covers(earlier: Rule, later: Rule, groups: Mapping[str, Iterable[str]]) -> bool:
    """Whether every connection of ``later`` meets ``earlier``. Says no where that cannot be known."""
    types = earlier.type == later.type or (earlier.type == "host" and later.type != "local")
    return (
        types
        and all(_database_covered(name, earlier.databases) for name in later.databases)
        and all(_role_covered(name, earlier.roles, groups) for name in later.roles)
        and (earlier.type == "local" or _address_covered(later.address, earlier.address))
    )


def _database_covered(name: str, by: Sequence[str]) -> bool:
    # For PostgreSQL, replication is no database: ``all`` does not mean it.
    return name in by or ("all" in by and name != "replication")


def _role_covered(name: str, by: Sequence[str], groups: Mapping[str, Iterable[str]]) -> bool:
    return "all" in by or name in by or any(f"+{group}" in by for group in groups.get(name, ()))


def _address_covered(address: str, by: str) -> bool:
    if by in ("all", address):
        return True
    try:
        inner, outer = (ipaddress.ip_network(item, strict=False) for item in (address, by))
    except ValueError:
        return False  # a name, or what depends on the host
    return inner.version == outer.version and inner.subnet_of(outer)  # type: ignore[arg-type]


# -- what differs ----------------------------------------------------------------------------------


def changes(item: File, before: str, effect: str, wanted: Desired) -> Iterator[Change]:
    """Each rule that is added, changed or removed, in the order of the file, with its place there.

    Where no rule differs, the text does (a comment): the file is written all the same.
    """
    kind, old, new = KIND_OF_PATH[item.path], _rules_of(before), _rules_of(item.text or "")
    detail = FileDetail(item.path)
    if old == new:
        message = "only its text changed, no rule"
        yield Change("file", item.path, "change", effect=effect, why=message, detail=detail)
        return
    origins = _origins(item.path, wanted)
    matcher = difflib.SequenceMatcher(a=old, b=new, autojunk=False)
    for tag, i1, i2, j1, j2 in matcher.get_opcodes():
        if tag == "equal":
            continue
        for offset in range(max(i2 - i1, j2 - j1)):
            gone = old[i1 + offset] if i1 + offset < i2 else ""
            come = new[j1 + offset] if j1 + offset < j2 else ""
            yield Change(
                kind,
                str((j1 if come else i1) + offset + 1),
                "change" if gone and come else "add" if come else "remove",
                effect=effect,
                before=gone,
                after=come,
                origin=origins.get(come, ""),
                detail=detail,
            )


def _origins(path: str, wanted: Desired) -> dict[str, str]:
    """Rule → where it is declared. What no one declared for itself comes from the networks that were allowed."""
    if path == IDENT_PATH:
        ident = wanted.objects.get("ident", ())
        return {ident_text(item): wanted.origin("postgres_ident") for item in ident}
    given = rules(wanted.superuser, wanted.objects.get("hba", ()), (), True)
    return {rule.text(): wanted.origin("postgres_hba") for rule in given if rule.where}


def _rules_of(text: str) -> list[str]:
    """The lines that mean something, with one blank between their parts."""
    lines = (" ".join(_TOKEN.findall(_without_comment(line))) for line in text.splitlines())
    return [line for line in lines if line]


def _without_comment(line: str) -> str:
    found = re.match(r'(?:[^"#]|"(?:[^"]|"")*")*', line)
    return found.group(0) if found else line


KIND = Kind(
    "hba",
    declared={"hba": normalise, "ident": normalise_ident},
    on_standby=True,
)
