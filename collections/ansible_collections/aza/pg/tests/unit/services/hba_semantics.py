# SPDX-License-Identifier: Apache-2.0
"""How PostgreSQL and how PgBouncer read a file of rules and judge a client by it: written after their sources
(``src/backend/libpq/hba.c`` of 18, ``src/hba.c`` of 1.25), apart from what the toolkit makes of them. A container
test compares both with the real programs."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

REJECT = "reject"


@dataclass(frozen=True)
class Client:
    address: str
    database: str
    role: str
    tls: bool = True
    groups: frozenset[str] = frozenset()
    replication: bool = False
    host_name: str = ""


@dataclass(frozen=True)
class Place:
    """Where the program runs: the networks of its interfaces, and its own addresses."""

    networks: tuple[str, ...]
    own: tuple[str, ...] = ("127.0.0.1",)


@dataclass(frozen=True)
class Token:
    text: str
    quoted: bool

    def is_word(self, word: str) -> bool:
        return self.text == word and not self.quoted


def _within(address: str, network: str) -> bool:
    one, other = ipaddress.ip_address(address), ipaddress.ip_network(network, strict=False)
    return one.version == other.version and one in other


# -- PostgreSQL ------------------------------------------------------------------------------------


def _fields(line: str) -> Iterator[list[Token]]:
    """next_field_expand: fields are separated by blanks, and each is a list with commas."""
    at = 0
    field: list[Token] = []
    while True:
        while at < len(line) and line[at] in " \t\r":
            at += 1
        if at >= len(line) or line[at] == "#":
            if field:
                yield field
            return
        text, in_quote, quoted, was_quote = "", False, line[at] == '"', False
        comma = False
        while at < len(line) and (in_quote or line[at] not in " \t\r"):
            char = line[at]
            if char == "#" and not in_quote:
                at = len(line)
                break
            if char == "," and not in_quote:
                comma, at = True, at + 1
                break
            if char != '"' or was_quote:
                text += char
            was_quote = in_quote and char == '"' and not was_quote
            if char == '"':
                in_quote = not in_quote
            at += 1
        field.append(Token(text, quoted))
        if not comma:
            yield field
            field = []


def _is_member(client: Client, group: str) -> bool:
    return group == client.role or group in client.groups


def _pg_pattern(token: Token, value: str) -> bool:
    """A regular expression is one in quotation marks too."""
    return token.text.startswith("/") and re.search(token.text[1:], value) is not None


def _pg_database(tokens: list[Token], client: Client) -> bool:
    for token in tokens:
        if client.replication:
            if token.is_word("replication"):
                return True
        elif token.is_word("all") or (token.is_word("sameuser") and client.database == client.role):
            return True
        elif token.is_word("samerole") or token.is_word("samegroup"):
            if _is_member(client, client.database):
                return True
        elif token.is_word("replication") or token.is_word("sameuser"):
            continue
        elif _pg_pattern(token, client.database) or token.text == client.database:
            return True
    return False


def _pg_role(tokens: list[Token], client: Client) -> bool:
    for token in tokens:
        if not token.quoted and token.text.startswith("+"):
            if _is_member(client, token.text[1:]):
                return True
        elif token.is_word("all") or _pg_pattern(token, client.role) or token.text == client.role:
            return True
    return False


def _pg_address(token: Token, client: Client, place: Place) -> bool:
    if token.is_word("all"):
        return True
    if token.is_word("samehost"):
        return client.address in place.own
    if token.is_word("samenet"):
        return any(_within(client.address, network) for network in place.networks)
    if re.fullmatch(r"[0-9a-fA-F.:]+/\d+", token.text):
        return _within(client.address, token.text)
    name = client.host_name.lower()
    wanted = token.text.lower()
    return bool(name) and (name.endswith(wanted) if wanted.startswith(".") else name == wanted)


def postgres(text: str, client: Client, place: Place) -> tuple[str, ...]:
    """What the server asks of a client of the network: the method and its options, or REJECT."""
    for line in text.split("\n"):
        fields = list(_fields(line))
        if not fields or fields[0][0].text == "local":
            continue
        kind, databases, roles, (address,), (method,), *options = fields
        if kind[0].text == ("hostnossl" if client.tls else "hostssl"):
            continue
        if not _pg_address(address, client, place):
            continue
        if _pg_database(databases, client) and _pg_role(roles, client):
            return (method.text, *(token.text for option in options for token in option))
    return (REJECT,)


# -- PgBouncer -------------------------------------------------------------------------------------


class _MalformedError(Exception):
    pass


def _tokens(line: str) -> list[tuple[str, str]]:
    """next_token: IDENT, STRING or COMMA, and what it holds."""
    found: list[tuple[str, str]] = []
    at = 0
    while True:
        while at < len(line) and line[at] in " \t\n\v\f\r":
            at += 1
        if at >= len(line) or line[at] == "#":
            return found
        if line[at] == ",":
            found.append(("COMMA", ","))
            at += 1
        elif line[at] == '"':
            match = re.compile(r'"((?:[^"]|"")*)"').match(line, at)
            if not match:
                raise _MalformedError
            found.append(("STRING", match[1].replace('""', '"')))
            at = match.end()
        else:
            end = at + 1
            while end < len(line) and line[end] not in ',#" \t\n\v\f\r':
                end += 1
            found.append(("IDENT", line[at:end]))
            at = end


@dataclass
class _Names:
    everybody: bool = False
    sameuser: bool = False
    replication: bool = False
    names: tuple[str, ...] = ()

    def match(self, name: str, pair: str) -> bool:
        return self.everybody or (self.sameuser and name == pair) or name in self.names


def _bouncer_names(tokens: list[tuple[str, str]]) -> _Names:
    """parse_names, which reads both lists alike; takes what it reads from the front of the tokens."""
    found = _Names()
    while True:
        if not tokens or tokens[0][0] == "COMMA":
            raise _MalformedError
        kind, text = tokens.pop(0)
        if kind == "IDENT" and (text in ("samerole", "samegroup") or text[0] in "+@"):
            raise _MalformedError
        if kind == "IDENT" and text == "all":
            found.everybody = True
        elif kind == "IDENT" and text == "sameuser":
            found.sameuser = True
        elif kind == "IDENT" and text == "replication":
            found.replication = True
        else:
            found.names = (*found.names, text)
        if not tokens or tokens[0][0] != "COMMA":
            return found
        tokens.pop(0)


_BOUNCER_METHODS = ("trust", REJECT, "md5", "password", "peer", "cert", "scram-sha-256")


def _bouncer_rule(line: str) -> tuple[str, _Names, _Names, str, str] | None:
    tokens = _tokens(line)
    if not tokens:
        return None
    kind, name = tokens.pop(0)
    if kind != "IDENT" or name not in ("local", "host", "hostssl", "hostnossl"):
        raise _MalformedError
    databases, roles, address = _bouncer_names(tokens), _bouncer_names(tokens), ""
    if name != "local":
        kind, address = tokens.pop(0) if tokens else ("", "")
        if kind != "IDENT":
            raise _MalformedError
        if address != "all":
            try:
                ipaddress.ip_network(address, strict=False)
            except ValueError:
                raise _MalformedError from None
            if "/" not in address:
                raise _MalformedError
    if len(tokens) != 1 or tokens[0][0] != "IDENT" or tokens[0][1] not in _BOUNCER_METHODS:
        raise _MalformedError
    return name, databases, roles, address, tokens[0][1]


def pgbouncer(text: str, client: Client) -> str:
    """What PgBouncer asks of a client of the network: a method, or REJECT."""
    for line in text.split("\n"):
        try:
            rule = _bouncer_rule(line)
        except _MalformedError:
            continue
        if rule is None or rule[0] in ("local", "hostnossl" if client.tls else "hostssl"):
            continue
        _, databases, roles, address, method = rule
        if address != "all" and not _within(client.address, address):
            continue
        named = databases.replication if client.replication else databases.match(client.database, client.role)
        if named and roles.match(client.role, client.database):
            return method
    return REJECT


def malformed(text: str) -> Sequence[str]:
    """The lines that PgBouncer would skip."""
    found = []
    for line in text.split("\n"):
        try:
            _bouncer_rule(line)
        except _MalformedError:
            found.append(line)
    return found
