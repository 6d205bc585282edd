# SPDX-License-Identifier: Apache-2.0
"""What the rounds of a comparison of tuners say, as tables."""

from __future__ import annotations

import statistics
from collections.abc import Callable

OURS = "ours"
# A second server with our settings: what lies between it and the first is no difference that settings make.
CONTROL = "ours, a second server"
# What is measured, as against what it took.
PHASES = ("reads", "writes", "analytics", "together")
Sample = dict[str, float | str]
Samples = dict[str, list[Sample]]
Column = Callable[[list[Sample], list[list[Sample]]], str]
"""What a column says of a tuner's samples, beside those of each server of ours."""


def report(samples: dict[str, Samples]) -> str:
    """Medians, with the least and the most of the rounds; and how far each is from the mean of ours in its round."""
    columns: tuple[tuple[str, Column], ...] = (
        ("reads, tps", _median("reads", "{:.0f}")),
        ("to ours", _to_ours("reads")),
        ("CPU µs each", _median("reads cpu", "{:.0f}")),
        ("writes, tps", _median("writes", "{:.0f}")),
        ("to ours", _to_ours("writes")),
        ("CPU µs each", _median("writes cpu", "{:.0f}")),
        ("WAL bytes each", _median("wal", "{:.0f}")),
        ("analytics, s", _median("analytics", "{:.1f}")),
        ("CPU s", _median("analytics cpu", "{:.1f}")),
        ("four at once, s", _median("together", "{:.1f}")),
        ("CPU s", _median("together cpu", "{:.1f}")),
        ("temporary files, MB", _median("temp", "{:.0f}")),
    )
    lines: list[str] = []
    for size, tuners in samples.items():
        lines += ["", f"### {size.replace('/', ', ')} CPU", ""]
        lines += [f"| | {' | '.join(title for title, _ in columns)} |", f"|{'---|' * (len(columns) + 1)}"]
        for tuner, found in tuners.items():
            ours = [tuners[name] for name in (OURS, CONTROL) if name in tuners]
            cells = [column(found, ours) for _, column in columns]
            lines.append(f"| {tuner} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _median(name: str, form: str) -> Column:
    """The middle of the rounds, and of a phase the least and the most."""

    def shown(found: list[Sample], _ours: list[list[Sample]]) -> str:
        values = [float(sample[name]) for sample in found if name in sample]
        if not values:
            return "killed" if any(key.startswith("failed") for sample in found for key in sample) else "–"
        middle = form.format(statistics.median(values))
        spread = (
            f" ({form.format(min(values))}–{form.format(max(values))})"
            if name in PHASES and len(values) > 1
            else ""
        )
        gone = len(found) - len(values)
        return middle + spread + (f", killed {gone} of {len(found)}" if gone else "")

    return shown


def _to_ours(name: str) -> Column:
    """The mean of the differences, round by round, with its standard error."""

    def shown(found: list[Sample], ours: list[list[Sample]]) -> str:
        differences = []
        for one, *own in zip(found, *ours, strict=False):
            if all(name in sample for sample in (one, *own)):
                mean = statistics.mean(float(sample[name]) for sample in own)
                differences.append(100 * (float(one[name]) / mean - 1))
        if not ours or ours == [found] or len(differences) < 2:
            return "–"
        error = statistics.stdev(differences) / len(differences) ** 0.5
        return f"{statistics.mean(differences):+.1f} % ± {error:.1f}"

    return shown
