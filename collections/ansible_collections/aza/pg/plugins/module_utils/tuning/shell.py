# SPDX-License-Identifier: Apache-2.0
"""Writes the rules as a bash library, for the image's entrypoint, where no Python is."""

from __future__ import annotations

from pathlib import Path

from ansible_collections.aza.pg.plugins.module_utils.tuning.expression import BashWriter
from ansible_collections.aza.pg.plugins.module_utils.tuning.rules import Choice, Rule, Rules

_HEADER = """\
# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
# Generated from image/tuning.yml and module_utils/tuning/detect.sh; never edited.
#
#   autotune_detect        sets tune_memory_mb, tune_cpus, tune_disk_mb, tune_workload, tune_storage …
#   autotune_compute       sets tuned_SETTING for every setting
#   autotune_write FILE    writes them for postgresql.conf
#   autotune_explain       prints them with their rules on stderr
#
# Set before: tune_preload_workers, tune_pgdata and, on a standby, tune_minimum_SETTING.
# Variables that only the caller reads look unused here, and those that the caller sets look unset.
# shellcheck disable=SC2034,SC2154
"""
# Which environment variable says each choice.
_ENVIRONMENT = {
    "workload": "POSTGRES_WORKLOAD_TYPE",
    "storage": "POSTGRES_STORAGE_TYPE",
    "wal_level": "POSTGRES_WAL_LEVEL",
    "io_method": "POSTGRES_IO_METHOD",
}


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


def _limits(rules: Rules) -> list[str]:
    memory, cpus = rules.inputs["memory_mb"], rules.inputs["cpus"]
    minimums = [name for name in rules.inputs if name.startswith("minimum_")]
    most = " ".join(f"[{name}]={rules.inputs[name].most}" for name in ("preload_workers", *minimums))
    return [
        f"_tune_least_memory={memory.least} _tune_most_memory={memory.most} _tune_most_cpus={cpus.most}",
        f"_tune_minimums=({' '.join(minimums)})",
        f"declare -A _tune_most=({most})",
        f"_tune_settings=({' '.join(rule.name for rule in rules.settings)})",
        "_tune_why=(",
        *(f"  {_quoted(rule.rule)}" for rule in rules.settings),
        ")",
        f"_tune_parts=({' '.join(part.name for part in rules.budget)})",
    ]


def _choices(rules: Rules) -> list[str]:
    lines = ["_tune_choices() {"]
    for name, choice in rules.choices.items():
        words = " ".join(choice.rows)
        # auto is not a way of doing I/O: it asks for the probe, and is worker until that has answered.
        more = " auto" if name == "io_method" else ""
        lines.append(f"  _tune_word tune_{name} {_ENVIRONMENT[name]} {choice.default} {words}{more}")
    lines += [
        "  _tune_io_auto=0",
        "  if [[ $tune_io_method == auto ]]; then tune_io_method=worker _tune_io_auto=1; fi",
        "}",
    ]
    return lines


def _table(choice: Choice) -> list[str]:
    lines = [f"  case $tune_{choice.name} in"]
    for word, cells in choice.rows.items():
        assigned = " ".join(f"_n_{column}={cells[column]}" for column in choice.columns)
        lines.append(f"    {word}) {assigned} ;;")
    return [*lines, "  esac"]


def _rule(rule: Rule, writer: BashWriter) -> list[str]:
    if rule.tree is None:
        word = rule.constant or (f"$tune_{rule.choice}" if rule.choice else f"$_n_{rule.column}")
        return [f"  tuned_{rule.name}={word}{rule.unit}"]
    lines = [f"  _n_{rule.name}=$(({writer.write(rule.tree)}))"]
    if rule.unit == "kB":
        lines.append(f"  _tune_size tuned_{rule.name} $_n_{rule.name}")
    else:
        lines.append(f"  tuned_{rule.name}=${{_n_{rule.name}}}{rule.unit}")
    return lines


def _compute(rules: Rules) -> list[str]:
    writer = BashWriter("_n_")
    body: list[str] = []
    for rule in rules.rules:
        body += _rule(rule, writer)
    parts = [f"    $(({writer.write(part.tree)}))" for part in rules.budget]
    exposure = writer.write(rules.exposure.tree)
    places = range(len(rules.budget))
    counted = [place for place in places if rules.budget[place].name not in rules.exposure.without]
    lines = [
        "# _tune_size VARIABLE KB: as a size, in MB where nothing is lost.",
        "_tune_size() {",
        '  local size="${2}kB"',
        '  if (( $2 % 1024 == 0 )); then size="$(($2 / 1024))MB"; fi',
        '  printf -v "$1" %s "$size"',
        "}",
        "",
        "_tune_rules() {",
        "  local " + " ".join(f"_t{number + 1}" for number in range(writer.most_scratch)),
    ]
    for name in rules.inputs:
        default = {"wal_segment_mb": "16"}.get(name, "0")
        lines.append(f"  _n_{name}=${{tune_{name}:-{default}}}")
    for choice in rules.choices.values():
        if choice.columns:
            lines += _table(choice)
    lines += [*body, "  _tune_part_kb=(", *parts, "  )"]
    lines += [
        f"  _tune_budget=$(({' + '.join(f'_tune_part_kb[{place}]' for place in places)}))",
        f"  _tune_exposure=$(({' + '.join([exposure, *(f'_tune_part_kb[{place}]' for place in counted)])}))",
        "}",
    ]
    return lines


def render_shell(rules: Rules) -> str:
    """Return the bash library: detection, the rules as arithmetic, the file, the explanation."""
    detection = Path(__file__).with_name("detect.sh").read_text(encoding="utf-8")
    parts = [
        "\n".join(_limits(rules)),
        "\n".join(_choices(rules)),
        "\n".join(_compute(rules)),
        detection.rstrip(),
    ]
    return _HEADER + "\n" + "\n\n".join(parts) + "\n"
