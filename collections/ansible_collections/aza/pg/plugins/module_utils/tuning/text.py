# SPDX-License-Identifier: Apache-2.0
"""A result as facts for programs and as a block for people."""

from __future__ import annotations

from typing import Any

from ansible_collections.aza.pg.plugins.module_utils.tuning.evaluate import Result, Value


def percent(part_kb: int, whole_kb: int) -> int:
    """Return a share as a whole percentage; rounded up, so that 100 never hides 101."""
    return -(-100 * part_kb // whole_kb)


def facts(result: Result) -> dict[str, Any]:
    """Return plain data: settings, other outputs, how each came about, and the budget."""
    return {
        "settings": result.settings,
        "outputs": {name: value.value for name, value in result.values.items() if value.internal},
        "values": [
            {
                "name": value.name,
                "value": value.value,
                "text": value.text,
                "setting": not value.internal,
                "rule": value.rule,
                "expression": value.how,
                "inputs": dict(value.inputs),
                "why": value.why,
                "source": value.source,
            }
            for value in result.values.values()
        ],
        "budget": {
            "memory_kb": result.memory_kb,
            "used_kb": result.budget_kb,
            "used_percent": percent(result.budget_kb, result.memory_kb),
            "parts": [{"name": part.name, "kb": part.kb, "what": part.text} for part in result.budget],
            "exposure_kb": result.exposure_kb,
            "exposure_percent": percent(result.exposure_kb, result.memory_kb),
        },
    }


def _worked_out(value: Value) -> str:
    given = ", ".join(f"{name} {number}" for name, number in value.inputs.items())
    return f"{value.how}{f'  with {given}' if given and given != value.how else ''}"


def block(result: Result) -> str:
    """Return every value with its rule and its inputs, and the budget, ready to print."""
    given = result.inputs
    disk = f"{given.disk_mb} MB" if given.disk_mb else "not known"
    lines = [
        f"{given.memory_mb} MB of memory, {given.cpus} cores, workload {given.workload}, storage {given.storage}, "
        f"disk {disk}, {given.preload_workers} workers of preloaded libraries",
        "",
    ]
    for value in result.values.values():
        name = f"({value.name})" if value.internal else value.name
        lines.append(f"{name:<34} {value.text:<10} {value.rule}")
        if value.inputs:
            lines.append(f"{'':<45} = {_worked_out(value)}")
    lines += ["", "Memory that can be in use at once:"]
    for part in result.budget:
        lines.append(f"{part.kb // 1024:>10} MB  {part.text}")
    used, exposed = (percent(kb, result.memory_kb) for kb in (result.budget_kb, result.exposure_kb))
    lines += [
        f"{result.budget_kb // 1024:>10} MB  of {given.memory_mb} ({used} %)",
        f"{result.exposure_kb // 1024:>10} MB  ({exposed} %): {result.exposure_text}",
        *(f"Warning: {warning}" for warning in result.warnings),
    ]
    return "\n".join(lines)
