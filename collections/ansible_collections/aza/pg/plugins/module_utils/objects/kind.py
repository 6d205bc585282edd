# SPDX-License-Identifier: Apache-2.0
"""What a kind of object of the server is to the engine: how it is observed, planned and applied.

One module of this package is one kind, whole; ``__init__`` lists them. Nothing else has to know a kind.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.aza.pg.plugins.module_utils.model.desired import Desired
from ansible_collections.aza.pg.plugins.module_utils.model.observed import Observed
from ansible_collections.aza.pg.plugins.module_utils.planning.change import Change
from ansible_collections.aza.pg.plugins.module_utils.planning.finding import Finding

# The facts of a server, ``Observed.server``: key → the answer to the SQL that a kind asks under that key.
Facts = Mapping[str, Any]


@dataclass(frozen=True)
class Undeclared:
    """Something that is there and that no one declared: a finding, never a change."""

    policy: str  # the key of postgres_undeclared that decides about it
    severity: str
    what: str
    message: str
    # What helps, where that is not a declaration.
    remedy: str = ""


@dataclass(frozen=True)
class Kind:
    """``server``: key of ``Observed.server`` → SQL, a scalar expression that gives JSON, asked once.
    ``inside``: the same, asked in each database that the declaration speaks of; the answers stand in
    ``Observed.server["inside"][DATABASE]``.
    """

    # Also ``Change.kind`` of its changes.
    name: str
    # A kind whose changes come from elsewhere, or that is only reported, has none of its own.
    plan: Callable[[Desired, Observed], Iterator[Change]] = lambda *_: iter(())
    # Applies one change; the first argument is the Context of ``instance/context.py``.
    apply: Callable[[Any, Change], None] | None = None
    # Returns the facts of the server after one change was applied. Pure.
    simulate: Callable[[Desired, Facts, Change], Facts] = lambda _wanted, server, _change: server
    # Key of ``Desired.objects`` (``roles`` for postgres_roles) → what brings a declaration to its full form.
    declared: Mapping[str, Callable[[Any], Any]] = field(default_factory=dict)
    # Whether a change brings a value that only a server can judge: the preflight has the image's own server try it.
    is_tried: Callable[[Change], bool] = lambda _: False
    # Further questions, as ``server`` and ``inside``, that depend on what is declared.
    asked: Callable[[Desired], Mapping[str, str]] = lambda _: {}
    asked_inside: Callable[[Desired], Mapping[str, str]] = lambda _: {}
    server: Mapping[str, str] = field(default_factory=dict)
    inside: Mapping[str, str] = field(default_factory=dict)
    # What a server that is about to be made will hold, so that its first plan is whole.
    fresh: Callable[[Desired], Mapping[str, Any]] = lambda _: {}
    # Why what is declared cannot be had, each a sentence without its period: asked before anything is done.
    problems: Callable[[Desired, Observed], Iterator[str]] = lambda *_: iter(())
    undeclared: Callable[[Desired, Observed], Iterator[Undeclared]] | None = None
    # Whether a standby has such objects of its own. What is not, comes to it from its primary.
    on_standby: bool = False
    # What a check also reports: an extension that is older than the image's, for example.
    findings: Callable[[Desired, Observed], Iterator[Finding]] | None = None
