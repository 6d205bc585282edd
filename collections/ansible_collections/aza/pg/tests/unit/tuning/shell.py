# SPDX-License-Identifier: Apache-2.0
"""Runs the bash library in one process for many inputs, and against trees that look like /sys and /proc."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path


def bash(
    script: str, *arguments: str, env: Mapping[str, str] | None = None, stdin: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run a script as strictly as the entrypoint runs."""
    return subprocess.run(
        ["bash", "-c", f"set -Eeuo pipefail\n{script}", "bash", *arguments],
        env={"PATH": "/usr/bin:/bin", **(env or {})},
        input=stdin,
        text=True,
        encoding="utf-8",
        capture_output=True,
        check=False,
    )


@dataclass(frozen=True)
class Detected:
    code: int
    message: str
    memory_mb: int
    memory_source: str
    cpus: int
    cpus_source: str
    workload: str
    storage: str
    wal_segment_mb: int
    disk_mb: int


_SHOW = """
source "$1"
tune_disk_mb=1000
autotune_detect
printf '%s\\n' "$tune_memory_mb" "$tune_memory_source" "$tune_cpus" "$tune_cpus_source" "$tune_workload" \
  "$tune_storage" "$tune_wal_segment_mb" "$tune_disk_mb"
"""


class Machine:
    """Files as a kernel shows them in a container."""

    def __init__(self, root: Path, library: Path) -> None:
        self.root = root
        self.library = library
        self.write("proc/meminfo", "MemTotal:       16777216 kB\nMemFree:        1 kB\n")
        self.cores("0-7")
        self.write("sys/devices/system/cpu/online", "0-7\n")
        (root / "cgroup").mkdir()

    def write(self, path: str, text: str) -> None:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def cores(self, allowed: str) -> None:
        self.write(
            "proc/self/status", f"Name:\tbash\nCpus_allowed:\tff\nCpus_allowed_list:\t{allowed}\nx:\t1\n"
        )

    def groups(self, lines: Iterable[str]) -> None:
        self.write("proc/self/cgroup", "".join(f"{line}\n" for line in lines))

    def detect(self, **env: str) -> Detected:
        done = bash(
            _SHOW,
            str(self.library),
            env={
                "AZA_CGROUP_ROOT": str(self.root / "cgroup"),
                "AZA_PROC_ROOT": str(self.root / "proc"),
                "AZA_SYS_ROOT": str(self.root / "sys"),
                **env,
            },
        )
        if done.returncode:
            return Detected(done.returncode, done.stderr.strip(), 0, "", 0, "", "", "", 0, 0)
        memory, memory_source, cpus, cpus_source, workload, storage, segment, disk = done.stdout.splitlines()
        return Detected(
            0,
            done.stderr.strip(),
            int(memory),
            memory_source,
            int(cpus),
            cpus_source,
            workload,
            storage,
            int(segment),
            int(disk),
        )
