# SPDX-License-Identifier: Apache-2.0
"""The little language: the same value in Python and in bash, and a sentence for what is not part of it."""

from __future__ import annotations

import subprocess
from random import Random

import pytest
from ansible_collections.aza.pg.plugins.module_utils.errors import AzaError
from ansible_collections.aza.pg.plugins.module_utils.tuning.expression import (
    BashWriter,
    Binary,
    Call,
    Choice,
    Name,
    Node,
    Number,
    Unary,
    calculate,
    names,
    parse,
)

OPERATORS = ["||", "&&", "==", "!=", "<=", ">=", "<", ">", "+", "-", "*", "/", "%"]
VALUES = {"a": 7, "b": 0, "big": 123_456_789, "neg": -7}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1 + 2 * 3", 7),
        ("(1 + 2) * 3", 9),
        ("10 - 4 - 3", 3),
        ("7 / 2 * 2", 6),
        ("neg / 2", -3),
        ("neg % 4", -3),
        ("a < 8 && b", 0),
        ("a < 8 || b / b", 1),
        ("!a + 1", 1),
        ("a > 5 ? a > 6 ? 2 : 1 : 0", 2),
        ("min(a, 3, big)", 3),
        ("max(b, min(a, 5), 4)", 5),
        ("clamp(a, 1, 5)", 5),
        ("clamp(neg, 1, 5)", 1),
        ("- a + 1", -6),
        ("1 == 1 != 0", 1),
    ],
)
def test_value(text: str, value: int) -> None:
    assert calculate(parse(text), VALUES) == value


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1 +", "a number or a name expected, found 'the end'"),
        ("(1", "')' expected"),
        ("1 2", "'2' is left over"),
        ("a ? 1", "':' expected"),
        ("mni(1, 2)", "there is no function 'mni'"),
        ("clamp(1, 2)", "clamp() takes 3 values"),
        ("min(1)", "min() takes 2 to 9 values"),
        ("1 $ 2", "'$' is not part of the language"),
        ("0512", "octal"),
        ("__import__('os')", "'_' is not part of the language"),
    ],
)
def test_mistakes_are_named(text: str, message: str) -> None:
    with pytest.raises(AzaError) as caught:
        parse(text)
    assert message in caught.value.msg


def test_division_by_zero_and_overflow_are_errors() -> None:
    for text in ("a / b", "a % b", "big * big * big"):
        with pytest.raises(AzaError):
            calculate(parse(text), VALUES)


def test_names() -> None:
    assert list(names(parse("min(a, b ? -c : d) + 1"))) == ["a", "b", "c", "d"]


def _tree(random: Random, depth: int) -> Node:
    def inner() -> Node:
        return _tree(random, depth - 1)

    kind = (
        random.choice(["leaf", "unary", "binary", "binary", "choice", "call", "clamp"]) if depth else "leaf"
    )
    if kind == "unary":
        return Unary(random.choice("-!"), inner())
    if kind == "binary":
        return Binary(
            random.choice(["||", "&&", "==", "!=", "<=", ">=", "<", ">", "+", "-", "*", "/", "%"]),
            inner(),
            inner(),
        )
    if kind == "choice":
        return Choice(inner(), inner(), inner())
    if kind == "call":
        return Call(random.choice(["min", "max"]), tuple(inner() for _ in range(random.randint(2, 4))))
    if kind == "clamp":
        return Call("clamp", (inner(), inner(), inner()))
    leaves: list[Node] = [Number(random.randint(0, 1000)), *map(Name, VALUES)]
    return random.choice(leaves)


@pytest.mark.parametrize("seed", range(5))
def test_bash_gives_the_same_value_for_any_expression(seed: int) -> None:
    """Many expressions for one bash process, or the test would take minutes."""
    random = Random(seed)
    expected: list[str] = []
    script = [f"n_{name}={value}" for name, value in VALUES.items()]
    for _ in range(400):
        tree = _tree(random, 4)
        try:
            expected.append(str(calculate(tree, VALUES)))
        except AzaError:  # divides by zero or leaves 64 bits: no rule may, so bash need not agree
            continue
        script.append(f"echo $(({BashWriter('n_').write(tree)}))")
    done = subprocess.run(["bash"], input="\n".join(script), text=True, capture_output=True, check=True)
    assert done.stdout.split() == expected
