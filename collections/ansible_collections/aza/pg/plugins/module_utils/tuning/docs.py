# SPDX-License-Identifier: Apache-2.0
"""Writes ``docs/reference/tuning.md`` from the rules."""

from __future__ import annotations

from collections.abc import Iterable

from ansible_collections.aza.pg.plugins.module_utils.tuning.evaluate import Inputs, Result, evaluate
from ansible_collections.aza.pg.plugins.module_utils.tuning.rules import Choice, Rule, Rules
from ansible_collections.aza.pg.plugins.module_utils.tuning.text import percent

# MB of memory, cores, MB of disk: what people rent and buy.
_SIZES = (
    (512, 1, 10_240),
    (1024, 1, 20_480),
    (2048, 2, 40_960),
    (4096, 2, 81_920),
    (8192, 4, 163_840),
    (16384, 4, 204_800),
    (65536, 16, 1_024_000),
    (262144, 64, 4_096_000),
)
_SHOWN = (
    "max_connections",
    "shared_buffers",
    "work_mem",
    "hash_mem_multiplier",
    "maintenance_work_mem",
    "effective_cache_size",
    "max_wal_size",
    "max_worker_processes",
    "max_parallel_workers",
    "max_parallel_workers_per_gather",
    "io_workers",
    "autovacuum_max_workers",
)
_BUDGETS = ((512, 1, "web"), (2048, 2, "web"), (2048, 2, "dw"), (16384, 4, "oltp"), (65536, 16, "dw"))

_INTRODUCTION = """\
<!-- Generated from image/tuning.yml by `make docs`; never edited. -->
# Auto-configuration

At every start the image looks at the memory, the cores and the disk of its container and works out PostgreSQL's
settings from them. The start prints each value with its rule. What you set yourself (`conf.d`, `ALTER SYSTEM`, `-c`)
always wins; `POSTGRES_AUTOTUNE=off` leaves the tuning out. What a host would get, without a container:

```console
$ ansible localhost -m aza.pg.tuning_info -a 'memory=4g cpus=2 workload=oltp disk=80g'
```

## What it starts from

| Input | Where it comes from, first that applies |
|---|---|
| memory | `POSTGRES_MEMORY` (MB, or `512MB`, `2g`, `1TiB`); cgroup v2; v1; the machine, with a warning. Least 512 MB. |
| cores | `POSTGRES_CPUS`; the least of quota (cgroup v2 or v1), cpuset and machine. A part of a core counts as one. |
| disk | size of the file system that holds `pg_wal` |
| workload | `POSTGRES_WORKLOAD_TYPE` |
| storage | `POSTGRES_STORAGE_TYPE` |
| WAL level | `POSTGRES_WAL_LEVEL` |
| I/O method | `POSTGRES_IO_METHOD`; `auto` and `io_uring` first try io_uring in a throwaway server (20 to 100 ms) |
| background workers | of the libraries that are preloaded |
| minimums | on a standby: what its primary has, below which PostgreSQL would refuse to start |

A value that cannot be understood stops the start with one sentence and exit code 78.

"""


def _table(header: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    head = list(header)
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    lines += [f"| {' | '.join(str(cell) for cell in row)} |" for row in rows]
    return "\n".join(lines) + "\n"


def _choice(choice: Choice) -> str:
    title = f"### {choice.name}\n\n{choice.why[0].upper()}{choice.why[1:]}. Default: `{choice.default}`.\n\n"
    if not choice.columns:
        return f"{title}One of {', '.join(f'`{word}`' for word in choice.rows)}.\n"
    rows = [
        [f"`{column}`", text, *(row[column] for row in choice.rows.values())]
        for column, text in choice.columns.items()
    ]
    return title + _table(["", "is", *choice.rows], rows)


def _rule(rule: Rule) -> list[str]:
    how = f"`{rule.how.replace('|', '&#124;')}`" + (f" {rule.unit}" if rule.unit else "")
    return [f"`{rule.name}`", rule.rule, how, rule.why, rule.source]


def _values(rules: Rules, workload: str) -> str:
    results = [evaluate(rules, Inputs(memory, cpus, workload, disk_mb=disk)) for memory, cpus, disk in _SIZES]
    rows: list[list[object]] = [[name, *(result.values[name].text for result in results)] for name in _SHOWN]
    rows.append(["budget", *(f"{percent(result.budget_kb, result.memory_kb)} %" for result in results)])
    rows.append(
        [
            "all connections sort",
            *(f"{percent(result.exposure_kb, result.memory_kb)} %" for result in results),
        ]
    )
    header = ["", *(f"{_memory(memory)}, {cpus} CPU" for memory, cpus, _ in _SIZES)]
    return f"### {workload}\n\n" + _table(header, rows)


def _memory(memory_mb: int) -> str:
    return f"{memory_mb} MB" if memory_mb < 1024 else f"{memory_mb // 1024} GB"


def _budgets(rules: Rules) -> str:
    results: list[Result] = [evaluate(rules, Inputs(memory, cpus, word)) for memory, cpus, word in _BUDGETS]
    rows: list[list[object]] = []
    for place, part in enumerate(rules.budget):
        rows.append([part.text, *(result.budget[place].kb // 1024 for result in results)])
    rows.append(["**sum**", *(f"**{result.budget_kb // 1024}**" for result in results)])
    rows.append([rules.exposure.text, *(result.exposure_kb // 1024 for result in results)])
    return _table(
        ["MB", *(f"{_memory(memory)}, {cpus} CPU, {word}" for memory, cpus, word in _BUDGETS)], rows
    )


def render_tuning_page(rules: Rules) -> str:
    """Return the page: inputs, choices, rules, values for a grid of sizes, and the memory budget."""
    settings = [_rule(rule) for rule in rules.settings]
    steps = [_rule(rule) for rule in rules.rules if rule.internal]
    header = ["", "rule", "expression", "why", "from"]
    parts = [
        _INTRODUCTION,
        "## Choices\n\n" + "\n".join(_choice(choice) for choice in rules.choices.values()),
        "\n## Settings\n\nNo value falls when memory, cores or disk are added.\n\n"
        + _table(header, settings),
        "\n## Steps and other outputs\n\nNot settings: steps of the above, `active_backends` for the pooler and "
        "`shm_size_mb` for the container.\n\n" + _table(header, steps),
        "\n## Values\n\nStorage `ssd`; disks of 20 GB for each GB of memory up to 8 GB, then less. "
        "`work_mem` is the same for any number of cores.\n\n"
        + "\n".join(_values(rules, word) for word in rules.choices["workload"].rows),
        "\n## The memory budget\n\nWhat can be in use at once stays within the memory, for every size, "
        "workload, storage and number of cores; so does the last line.\n\n" + _budgets(rules),
    ]
    return "".join(parts)
