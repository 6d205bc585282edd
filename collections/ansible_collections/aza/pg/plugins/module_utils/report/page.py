# SPDX-License-Identifier: Apache-2.0
"""The findings as one HTML file: no script, no font, nothing that is fetched. Pure.

The page forbids itself every request (Content-Security-Policy), so that it may be mailed, kept and opened anywhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from html import escape

from ansible_collections.aza.pg.plugins.module_utils.planning.finding import SEVERITIES, Finding
from ansible_collections.aza.pg.plugins.module_utils.report import topology
from ansible_collections.aza.pg.plugins.module_utils.report.clusters import NONE, Cluster
from ansible_collections.aza.pg.plugins.module_utils.report.fleet import Fleet, Instance

# Never by colour alone: each severity has a sign and its word.
_SIGN = {"red": "✕", "yellow": "!", "green": "✓"}
_VERDICT = {
    "red": "Not everything is as it was declared, or works",
    "yellow": "All works as declared; something waits or deserves a look",
    "green": "All is as declared, and works",
}

_STYLE = """
:root { color-scheme: light dark; --page: #f6f7f9; --card: #fff; --text: #1b1f24; --muted: #59636e; --line: #d9dee4;
  --red: #b3261e; --red-soft: #fdeceb; --yellow: #7a5200; --yellow-soft: #fff4d6; --green: #1a6b35;
  --green-soft: #e6f5ea; }
@media (prefers-color-scheme: dark) { :root { --page: #0f1317; --card: #171c22; --text: #e7ebef; --muted: #9aa5b1;
  --line: #2b333c; --red: #ff9a92; --red-soft: #3a1815; --yellow: #f2c45a; --yellow-soft: #33270b; --green: #7fd99a;
  --green-soft: #10301b; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--text); font: 16px/1.5 system-ui, sans-serif; }
main { max-width: 64rem; margin: 0 auto; padding: 1.5rem 1rem 3rem; }
h1 { font-size: 1.5rem; line-height: 1.25; margin: 0; }
h2 { font-size: 1.15rem; margin: 0; overflow-wrap: anywhere; }
p { margin: .25rem 0; }
a { color: inherit; text-decoration-color: var(--muted); text-underline-offset: .2em; }
.muted { color: var(--muted); font-size: .9rem; overflow-wrap: anywhere; }
.verdict { border-left: .4rem solid; border-radius: .25rem; padding: .25rem 0 .25rem 1rem; }
.card { background: var(--card); border: 1px solid var(--line); border-radius: .6rem; margin-top: 1.25rem;
  overflow: hidden; }
.card > header { padding: .8rem 1rem; border-bottom: 1px solid var(--line); display: flex; flex-wrap: wrap;
  gap: .25rem 1rem; align-items: baseline; justify-content: space-between; }
.card > footer { padding: .6rem 1rem; border-top: 1px solid var(--line); }
.counts { display: inline-flex; flex-wrap: wrap; gap: .4rem; }
.mark { display: inline-block; border-radius: 1rem; padding: 0 .65rem; font-size: .85rem; font-weight: 600;
  white-space: nowrap; border: 1px solid currentcolor; }
.none { color: var(--muted); border-color: var(--line); font-weight: 400; }
.red { color: var(--red); } .yellow { color: var(--yellow); } .green { color: var(--green); }
.mark.red { background: var(--red-soft); } .mark.yellow { background: var(--yellow-soft); }
.mark.green { background: var(--green-soft); }
table { width: 100%; border-collapse: collapse; }
th { text-align: left; font-size: .8rem; color: var(--muted); font-weight: 600; }
th, td { padding: .5rem 1rem; vertical-align: top; border-top: 1px solid var(--line); overflow-wrap: anywhere; }
thead th, .card > header + table tr:first-child td { border-top: 0; }
.findings td:first-child { width: 7rem; } .findings td:nth-child(2) { width: 9.5rem; color: var(--muted);
  overflow-wrap: break-word; }
.members thead th { border-top: 1px solid var(--line); }
.topology { overflow-x: auto; padding: 1rem; } .topology svg { display: block; max-width: 100%; height: auto;
  min-width: 26rem; font: 12px system-ui, sans-serif; }
.topology text { fill: var(--muted); } .topology .name { fill: var(--text); font-size: 14px; font-weight: 600; }
.node rect { fill: var(--card); stroke: currentcolor; stroke-width: 1.5; }
.node.red rect { fill: var(--red-soft); } .node.yellow rect { fill: var(--yellow-soft); }
.arrow path { fill: none; stroke: var(--muted); stroke-width: 1.5; } .arrow polygon { fill: var(--muted); }
.arrow text { text-anchor: middle; }
.broken path { stroke: var(--red); stroke-dasharray: 5 4; } .broken polygon, .broken text { fill: var(--red); }
.scroll { overflow-x: auto; } .scroll th, .scroll td { white-space: nowrap; }
.said { white-space: pre-wrap; } .todo::before { content: "→ "; }
@media (max-width: 40rem) {
  .findings, .findings tbody { display: block; }
  .findings tr { display: grid; grid-template-columns: auto 1fr; gap: .15rem .6rem; padding: .6rem 1rem;
    border-top: 1px solid var(--line); }
  .findings tr:first-child { border-top: 0; }
  .findings td, .findings td:first-child, .findings td:nth-child(2) { border: 0; padding: 0; width: auto; }
  .findings td:nth-child(3) { grid-column: 1 / -1; }
  .fleet thead, .fleet .version { display: none; }
  .fleet td { display: block; border: 0; padding-bottom: 0; } .fleet td:last-child { padding-bottom: .6rem; }
  .fleet tr + tr { border-top: 1px solid var(--line); } .fleet tr { display: block; }
}
@media print {
  :root { color-scheme: light; --page: #fff; --card: #fff; --text: #000; --muted: #444; --line: #999; --red: #8c0000;
    --yellow: #5c3d00; --green: #0b4d20; --red-soft: #fff; --yellow-soft: #fff; --green-soft: #fff; }
  body { font-size: 10.5pt; } main { max-width: none; padding: 0; }
  tr, .card > header { break-inside: avoid; } .card > header { break-after: avoid; } a { text-decoration: none; }
}
"""


def render(fleet: Fleet) -> str:
    return "".join(f"{part}\n" for part in _page(fleet))


def _page(fleet: Fleet) -> Iterator[str]:
    yield '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">'
    policy = (
        "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"
    )
    yield f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
    yield '<meta name="referrer" content="no-referrer">\n<link rel="icon" href="data:,">'
    yield f"<title>{_SIGN[fleet.state]} {escape(fleet.summary())}</title>"
    yield f"<style>{_STYLE}</style>\n</head>\n<body>\n<main>"
    yield f'<div class="verdict {fleet.state}"><h1>{_SIGN[fleet.state]} {_VERDICT[fleet.state]}</h1></div>'
    yield f"<p>{escape(fleet.summary())}</p>"
    looked = " · ".join(filter(None, (f"looked at {fleet.at}" if fleet.at else "", fleet.source)))
    yield f'<p class="muted">{escape(looked)}</p>'
    if len(fleet.instances) > 1:
        yield from _overview(fleet)
    numbers = {id(one): number for number, one in enumerate(fleet.instances)}
    for cluster, instances in fleet.groups:
        if cluster:
            yield from _cluster(cluster)
        for one in instances:
            yield from _instance(numbers[id(one)], one)
    yield "</main>\n</body>\n</html>"


def _overview(fleet: Fleet) -> Iterator[str]:
    yield '<section class="card fleet">\n<table>\n<thead><tr><th>Instance</th><th class="version">PostgreSQL</th>'
    yield "<th>Findings</th></tr></thead>\n<tbody>"
    for number, one in enumerate(fleet.instances):
        name = f'<a href="#i{number}">{escape(one.name)}</a> <span class="muted">on {escape(one.host)}</span>'
        yield f"<tr><td>{name}</td>"
        yield f'<td class="version">{escape(one.version) or "–"}</td><td>{_counts(one)}</td></tr>'
    yield "</tbody>\n</table>\n</section>"


def _cluster(one: Cluster) -> Iterator[str]:
    """A picture, a line for each member, the pools, and what concerns all of it."""
    yield f'<section class="card">\n<header><h2>Cluster {escape(one.name)}</h2>'
    yield f"{_mark(one.state, one.state)}</header>"
    yield f'<div class="topology">{topology.picture(one, _SIGN)}</div>'
    if one.findings:
        yield '<table class="findings">\n<tbody>'
        yield from _findings(one.findings)
        yield "</tbody>\n</table>"
    yield from _table(
        ("Member", "Role", "PostgreSQL", "PgBouncer", "Timeline", "Behind", "Sync", "Slot", "TLS"),
        (
            (
                m.host,
                m.role,
                m.version,
                m.bouncer.removeprefix("PgBouncer "),
                m.timeline,
                m.behind,
                m.sync,
                m.slot,
                m.tls,
            )
            for m in one.members
        ),
    )
    if one.pools:
        yield from _table(
            ("Pool", "User", "Member", "Mode", "Clients", "Waiting", "Longest wait", "Servers", "Idle"),
            (
                (p.database, p.user, p.host, p.mode, p.clients, p.waiting, p.longest, p.servers, p.idle)
                for p in one.pools
            ),
        )
    yield "</section>"


def _table(names: Iterable[str], rows: Iterable[Iterable[str]]) -> Iterator[str]:
    head = "".join(f"<th>{name}</th>" for name in names)
    yield f'<div class="scroll"><table class="members">\n<thead><tr>{head}</tr></thead>\n<tbody>'
    for row in rows:
        yield f"<tr>{''.join(f'<td>{escape(cell) or NONE}</td>' for cell in row)}</tr>"
    yield "</tbody>\n</table></div>"


def _instance(number: int, one: Instance) -> Iterator[str]:
    version = f", PostgreSQL {one.version}" if one.version else ""
    yield f'<section class="card" id="i{number}">\n<header><div><h2>{escape(one.name)}</h2>'
    yield f'<p class="muted">on {escape(one.host + version)}</p></div>{_counts(one)}</header>'
    yield '<table class="findings">\n<tbody>'
    yield from _findings(one.findings)
    yield "</tbody>\n</table>"
    if one.todo:
        yield f'<footer class="muted">What a deploy would do: {escape(one.todo)}</footer>'
    yield "</section>"


def _findings(items: Sequence[Finding]) -> Iterator[str]:
    for item, following in zip(items, (*items[1:], None)):
        yield _finding(item, following is None or following.todo != item.todo)


def _finding(item: Finding, last: bool) -> str:
    """``last``: of those that the same thing helps; it is said once."""
    todo = f'<div class="muted todo">{escape(item.todo)}</div>' if item.todo and last else ""
    return (
        f"<tr><td>{_mark(item.state, item.state)}</td><td>{escape(item.what)}</td>"
        f'<td><div class="said">{escape(item.said)}</div>{todo}</td></tr>'
    )


def _counts(one: Instance) -> str:
    marks = (_mark(state, f"{one.counts[state]} {state}", one.counts[state]) for state in SEVERITIES)
    return f'<span class="counts">{"".join(marks)}</span>'


def _mark(state: str, text: str, number: int = 1) -> str:
    look = state if number else "none"
    return f'<span class="mark {look}">{_SIGN[state]} {text}</span>'
