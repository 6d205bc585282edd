# SPDX-License-Identifier: Apache-2.0
"""The little language of ``tuning.yml``: integers, names, arithmetic, comparisons, min/max/clamp.

It is a subset of what bash evaluates between ``$((`` and ``))``, with the same precedence and the same
division (towards zero), so that one text gives one value in both. No ``eval()`` here: a text is parsed into
a tree, and the tree is walked (Python) or written out again (bash).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Union

from ansible_collections.aza.pg.plugins.module_utils.errors import AzaError

INT64_MAX = 2**63 - 1

# Weakest first; operators of one row have one strength and associate to the left, as in C and in bash.
_LEVELS: tuple[tuple[str, ...], ...] = (
    ("||",),
    ("&&",),
    ("==", "!="),
    ("<=", ">=", "<", ">"),
    ("+", "-"),
    ("*", "/", "%"),
)
_TOKEN = re.compile(r"\s*(?:(\d+)|([a-z][a-z0-9_]*)|(\|\||&&|==|!=|<=|>=|[-+*/%<>()?:,!]))")
_ARITY: dict[str, tuple[int, int]] = {"min": (2, 9), "max": (2, 9), "clamp": (3, 3)}


@dataclass(frozen=True)
class Number:
    value: int


@dataclass(frozen=True)
class Name:
    name: str


@dataclass(frozen=True)
class Unary:
    op: str
    operand: Node


@dataclass(frozen=True)
class Binary:
    op: str
    left: Node
    right: Node


@dataclass(frozen=True)
class Choice:
    condition: Node
    yes: Node
    no: Node


@dataclass(frozen=True)
class Call:
    function: str
    arguments: tuple[Node, ...]


Node = Union[Number, Name, Unary, Binary, Choice, Call]


def _fail(text: str, why: str) -> AzaError:
    return AzaError(f"expression '{text}': {why}", reason="tuning_expression")


def _tokens(text: str) -> list[str]:
    found: list[str] = []
    position, end = 0, len(text.rstrip())
    while position < end:
        match = _TOKEN.match(text, position)
        if match is None:
            raise _fail(text, f"'{text[position:].strip()[0]}' is not part of the language")
        token = match.group(1) or match.group(2) or match.group(3)
        if match.group(1) and len(token) > 1 and token.startswith("0"):
            raise _fail(text, f"'{token}' begins with a zero, which bash reads as octal")
        found.append(token)
        position = match.end()
    return found


class _Parser:
    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens = _tokens(text)
        self.at = 0

    def peek(self) -> str:
        return self.tokens[self.at] if self.at < len(self.tokens) else ""

    def take(self) -> str:
        token = self.peek()
        self.at += 1
        return token

    def expect(self, token: str) -> None:
        found = self.take()
        if found != token:
            raise _fail(self.text, f"'{token}' expected, found '{found or 'the end'}'")

    def choice(self) -> Node:
        condition = self.binary(0)
        if self.peek() != "?":
            return condition
        self.take()
        yes = self.choice()
        self.expect(":")
        return Choice(condition, yes, self.choice())

    def binary(self, level: int) -> Node:
        if level == len(_LEVELS):
            return self.unary()
        left = self.binary(level + 1)
        while self.peek() in _LEVELS[level]:
            left = Binary(self.take(), left, self.binary(level + 1))
        return left

    def unary(self) -> Node:
        token = self.take()
        if token in ("-", "!"):
            return Unary(token, self.unary())
        if token == "(":
            inner = self.choice()
            self.expect(")")
            return inner
        if token.isdigit():
            return Number(int(token))
        if not token or not token[0].isalpha():
            raise _fail(self.text, f"a number or a name expected, found '{token or 'the end'}'")
        return self.call(token) if self.peek() == "(" else Name(token)

    def call(self, function: str) -> Node:
        if function not in _ARITY:
            raise _fail(self.text, f"there is no function '{function}'; there are {', '.join(_ARITY)}")
        self.expect("(")
        arguments = [self.choice()]
        while self.peek() == ",":
            self.take()
            arguments.append(self.choice())
        self.expect(")")
        low, high = _ARITY[function]
        if not low <= len(arguments) <= high:
            raise _fail(self.text, f"{function}() takes {low}{f' to {high}' if high > low else ''} values")
        return Call(function, tuple(arguments))


def parse(text: str) -> Node:
    """Return the tree of an expression, or raise :class:`AzaError` that says what is wrong with it."""
    parser = _Parser(text)
    tree = parser.choice()
    if parser.peek():
        raise _fail(text, f"'{parser.peek()}' is left over")
    return tree


def names(node: Node) -> Iterator[str]:
    """Yield every name that an expression reads, in order of appearance."""
    if isinstance(node, Name):
        yield node.name
    elif isinstance(node, Unary):
        yield from names(node.operand)
    elif isinstance(node, Binary):
        yield from names(node.left)
        yield from names(node.right)
    elif isinstance(node, Choice):
        for part in (node.condition, node.yes, node.no):
            yield from names(part)
    elif isinstance(node, Call):
        for part in node.arguments:
            yield from names(part)


def _divide(left: int, right: int) -> int:
    if right == 0:
        raise AzaError("a tuning rule divides by zero", reason="tuning_expression")
    quotient = abs(left) // abs(right)
    return quotient if (left < 0) == (right < 0) else -quotient


def _binary(op: str, left: int, right: int) -> int:
    if op == "+":
        return left + right
    if op == "-":
        return left - right
    if op == "*":
        return left * right
    if op == "/":
        return _divide(left, right)
    if op == "%":
        return left - right * _divide(left, right)
    if op == "<":
        return int(left < right)
    if op == "<=":
        return int(left <= right)
    if op == ">":
        return int(left > right)
    if op == ">=":
        return int(left >= right)
    if op == "==":
        return int(left == right)
    return int(left != right)


def calculate(node: Node, values: Mapping[str, int]) -> int:
    """Return the value of an expression; a step outside 64 bits is an error, since bash would wrap there."""
    if isinstance(node, Number):
        return node.value
    if isinstance(node, Name):
        return values[node.name]
    if isinstance(node, Choice):
        return calculate(node.yes if calculate(node.condition, values) else node.no, values)
    if isinstance(node, Unary):
        operand = calculate(node.operand, values)
        return -operand if node.op == "-" else int(operand == 0)
    if isinstance(node, Call):
        arguments = [calculate(argument, values) for argument in node.arguments]
        if node.function == "clamp":
            value, low, high = arguments
            return low if value < low else high if value > high else value
        return min(arguments) if node.function == "min" else max(arguments)
    left = calculate(node.left, values)
    if node.op in ("&&", "||"):
        if bool(left) == (node.op == "||"):
            return int(bool(left))
        return int(bool(calculate(node.right, values)))
    result = _binary(node.op, left, calculate(node.right, values))
    if not -INT64_MAX <= result <= INT64_MAX:
        raise AzaError(f"a tuning rule leaves 64 bits: {left} {node.op} …", reason="tuning_expression")
    return result


class BashWriter:
    """Writes trees as bash arithmetic, where min, max and clamp become ?: over scratch names."""

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self.scratch = 0
        self.most_scratch = 0

    def write(self, node: Node) -> str:
        """Return the text of one expression, for between ``$((`` and ``))``."""
        self.scratch = 0
        text = self._outer(node)
        self.most_scratch = max(self.most_scratch, self.scratch)
        return text

    def _outer(self, node: Node) -> str:
        text = self._inner(node)
        whole = isinstance(node, (Binary, Choice, Call)) and text.startswith("(") and text.endswith(")")
        return text[1:-1] if whole else text

    def _inner(self, node: Node) -> str:
        if isinstance(node, Number):
            return str(node.value)
        if isinstance(node, Name):
            return self.prefix + node.name
        if isinstance(node, Unary):
            return f"{node.op}({self._inner(node.operand)})"
        if isinstance(node, Binary):
            return f"({self._inner(node.left)} {node.op} {self._inner(node.right)})"
        if isinstance(node, Choice):
            return f"({self._inner(node.condition)} ? {self._inner(node.yes)} : {self._inner(node.no)})"
        return self._call(node)

    def _call(self, node: Call) -> str:
        if node.function == "clamp":
            value, low, high = node.arguments
            # The order of calculate(): the lower bound is inspected first.
            steps, (v, lo, hi) = self._hold((value, low, high))
            return self._sequence(steps, f"({v} < {lo} ? {lo} : {v} > {hi} ? {hi} : {v})")
        sign = "<" if node.function == "min" else ">"
        steps, held = self._hold(node.arguments)
        best = held[0]
        for place, other in enumerate(held[1:], start=2):
            pick = f"({best} {sign} {other} ? {best} : {other})"
            if place < len(held):
                best, step = self._assign(pick)
                steps.append(step)
            else:
                best = pick
        return self._sequence(steps, best)

    def _hold(self, arguments: tuple[Node, ...]) -> tuple[list[str], list[str]]:
        """Give every argument that is not plain a scratch name, so that it is worked out once."""
        steps: list[str] = []
        held: list[str] = []
        for argument in arguments:
            text = self._inner(argument)
            if not isinstance(argument, (Number, Name)):
                text, step = self._assign(text)
                steps.append(step)
            held.append(text)
        return steps, held

    def _assign(self, text: str) -> tuple[str, str]:
        self.scratch += 1
        name = f"_t{self.scratch}"
        return name, f"{name} = {text}"

    @staticmethod
    def _sequence(steps: list[str], result: str) -> str:
        return f"({', '.join([*steps, result])})" if steps else result
