# SPDX-License-Identifier: Apache-2.0
"""The generated bash: the same values as Python for thousands of inputs, clean, and quick."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import asdict, fields
from pathlib import Path
from random import Random

import pytest
from ansible_collections.aza.pg.plugins.module_utils.tuning import Inputs, Rules, evaluate, render_shell

from .shell import bash

_NAMES = [field.name for field in fields(Inputs)]
_LOOP = """
source "$1"
names=("${@:2}")
IFS=,
while read -r -a values; do
  for index in "${!names[@]}"; do printf -v "tune_${names[index]}" '%s' "${values[index]}"; done
  _tune_rules
  line=
  for name in "${_tune_settings[@]}" shm_size_mb active_backends; do
    value=tuned_$name
    line+="${!value} "
  done
  printf '%s\\n' "$line$_tune_budget $_tune_exposure"
done
"""


def _generated(number: int) -> Iterator[Inputs]:
    random = Random(18)
    minimums = [name for name in _NAMES if name.startswith("minimum_")]
    for _ in range(number):
        primary = {name: random.choice([0, 100, 262_143, random.randint(0, 5000)]) for name in minimums}
        yield Inputs(
            memory_mb=random.choice(
                [
                    random.randint(512, 9000),
                    random.randint(512, 300_000),
                    random.randint(512, 67_108_864),
                    512,
                ]
            ),
            cpus=random.choice([random.randint(1, 16), random.randint(1, 1024)]),
            workload=random.choice(["web", "oltp", "dw", "mixed"]),
            storage=random.choice(["ssd", "hdd", "san"]),
            disk_mb=random.choice([0, random.randint(1, 100_000), random.randint(1, 1 << 40)]),
            preload_workers=random.randint(0, 64),
            wal_segment_mb=random.choice([1, 16, 1024]),
            wal_level=random.choice(["replica", "logical"]),
            io_method=random.choice(["worker", "io_uring", "sync"]),
            **(primary if random.random() < 0.3 else {}),
        )


def test_python_and_bash_give_the_same_values(rules: Rules, library: Path) -> None:
    inputs = list(_generated(6000))
    stdin = "".join(",".join(str(value) for value in asdict(given).values()) + "\n" for given in inputs)
    done = bash(_LOOP, str(library), *_NAMES, stdin=stdin)
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    assert len(lines) == len(inputs)
    for given, line in zip(inputs, lines):
        result = evaluate(rules, given)
        more = [result.values["shm_size_mb"].text, result.values["active_backends"].text]
        expected = [*result.settings.values(), *more, str(result.budget_kb), str(result.exposure_kb)]
        assert line.split() == expected, given


def test_shellcheck(library: Path) -> None:
    shellcheck = shutil.which("shellcheck")
    if shellcheck is None:
        pytest.skip("shellcheck is not installed")
    done = subprocess.run([shellcheck, str(library)], capture_output=True, text=True, check=False)
    assert done.stdout == ""


def _whole(library: Path, file: Path, **env: str) -> subprocess.CompletedProcess[str]:
    script = """
source "$1"
tune_preload_workers=2 tune_disk_mb=40000
autotune_detect
autotune_compute
autotune_write "$2"
autotune_explain
"""
    return bash(script, str(library), str(file), env={"POSTGRES_MEMORY": "1g", "POSTGRES_CPUS": "2", **env})


def test_the_file_for_postgresql(rules: Rules, library: Path, tmp_path: Path) -> None:
    assert _whole(library, tmp_path / "tuned.conf").returncode == 0
    result = evaluate(rules, Inputs(1024, 2, disk_mb=40_000, preload_workers=2))
    lines = (tmp_path / "tuned.conf").read_text().splitlines()
    assert lines[0].startswith("#")
    assert lines[1:] == [f"{name} = '{text}'" for name, text in result.settings.items()]


def test_the_block_at_start(rules: Rules, library: Path, tmp_path: Path) -> None:
    message = _whole(library, tmp_path / "tuned.conf").stderr
    result = evaluate(rules, Inputs(1024, 2, disk_mb=40_000, preload_workers=2))
    first, *lines = message.splitlines()
    assert first == (
        "aza-pg: tuned to 1024 MB of memory (POSTGRES_MEMORY), 2 cores (POSTGRES_CPUS), disk of 40000 MB (given), "
        "workload web, storage ssd"
    )
    for value in result.values.values():
        if not value.internal:
            assert any(value.name in line and value.text in line and value.rule in line for line in lines)
    budget = result.budget_kb // 1024
    assert f"memory budget: {budget} of 1024 MB ({budget * 100 // 1024} %) = shared_buffers 256, " in message
    assert "if every connection sorted at once: " in message
    assert "POSTGRES_AUTOTUNE=off" in lines[-1]


def test_io_uring_is_probed_only_when_asked_for(library: Path, tmp_path: Path) -> None:
    postgres = tmp_path / "bin" / "postgres"
    postgres.parent.mkdir()
    postgres.write_text(
        '#!/bin/bash\necho "$*" >>"$PROBED"\necho postgres "(PostgreSQL)" 18.6 x\nexit "${ANSWER-0}"\n'
    )
    postgres.chmod(0o755)
    probed = tmp_path / "probed"
    env = {"PATH": f"{postgres.parent}:/usr/bin:/bin", "PROBED": str(probed), "TMPDIR": str(tmp_path)}

    def method(**more: str) -> str:
        done = _whole(library, tmp_path / "tuned.conf", **env, **more)
        if done.returncode:
            return f"{done.returncode}"
        lines = (tmp_path / "tuned.conf").read_text().splitlines()
        return next(line for line in lines if line.startswith("io_method")).split("'")[1]

    assert method() == "worker" and not probed.exists()
    assert method(POSTGRES_IO_METHOD="sync") == "sync" and not probed.exists()
    assert method(POSTGRES_IO_METHOD="auto") == "io_uring"
    assert "--check" in probed.read_text() and "max_connections=80" in probed.read_text()
    assert method(POSTGRES_IO_METHOD="io_uring") == "io_uring"
    assert method(POSTGRES_IO_METHOD="auto", ANSWER="1") == "worker"
    assert method(POSTGRES_IO_METHOD="io_uring", ANSWER="1") == "78"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bin", "probed", "tuned.conf"]


def test_a_start_is_not_slowed(library: Path, tmp_path: Path) -> None:
    """The whole of it in one process: 6 ms of processor time, so that a busy machine does not matter much."""
    script = """
source "$1"
whole() {
  unset tune_disk_mb
  tune_preload_workers=2
  autotune_detect
  autotune_compute
  autotune_write "$1"
  autotune_explain
}
TIMEFORMAT='%3U %3S'
for _ in 1 2 3 4 5; do { time whole "$2" >/dev/null 2>&1; } 2>&1; done
"""
    done = bash(script, str(library), str(tmp_path / "tuned.conf"))
    spent = [sum(map(float, line.split())) for line in done.stdout.splitlines()]
    assert len(spent) == 5
    assert min(spent) < 0.06


def test_the_words_of_a_rule_cannot_break_out(rules: Rules) -> None:
    assert "'PostgreSQL'\\''s default'" in render_shell(rules)
