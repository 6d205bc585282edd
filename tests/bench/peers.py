# SPDX-License-Identifier: Apache-2.0
"""What other tuners would set, restated from their published formulas: memory in MB, whole CPUs, disk in GB.

Only what differs between them and what the benchmark can feel is here. Every function gives settings for
postgresql.conf. Where a tool knows workloads, it is asked for the one that is measured.
"""

from __future__ import annotations

import math
from collections.abc import Callable

Settings = dict[str, str]


def _clamp(value: float, low: float, high: float) -> float:
    return max(low, min(value, high))


def _settings(
    connections: int,
    shared_buffers: float,
    work_mem: float,
    maintenance: float,
    cache: float,
    wal: tuple[float, float],
    workers: tuple[int, int, int, int],
    **more: str,
) -> Settings:
    processes, parallel, gather, index = workers
    return {
        "max_connections": str(connections),
        "shared_buffers": f"{int(shared_buffers)}MB",
        "work_mem": f"{int(work_mem * 1024)}kB",
        "maintenance_work_mem": f"{int(maintenance)}MB",
        "effective_cache_size": f"{int(cache)}MB",
        "min_wal_size": f"{int(wal[0])}MB",
        "max_wal_size": f"{int(wal[1])}MB",
        "max_worker_processes": str(processes),
        "max_parallel_workers": str(parallel),
        "max_parallel_workers_per_gather": str(gather),
        "max_parallel_maintenance_workers": str(index),
        **more,
    }


_SSD = {"random_page_cost": "1.1", "effective_io_concurrency": "200"}


def pigsty(memory: int, cpus: int, disk: int, workload: str) -> Settings:
    """oltp.yml and olap.yml (on fewer than 4 CPUs its installer would take tiny.yml in place of oltp.yml)."""
    olap = workload == "dw"
    buffers = math.ceil(memory * 0.25)
    unit = _clamp(math.ceil(disk / 20), 1, 100) * 1024
    workers = (
        (max(cpus + 12, 20) + 8, max(math.ceil(cpus * 0.8), 2), max(math.ceil(cpus * 0.5), 2))
        if olap
        else (max(cpus + 8, 16) + 8, max(math.ceil(cpus * 0.5), 2), int(_clamp(cpus // 5, 2, 8)))
    )
    return _settings(
        500,
        buffers,
        _clamp(buffers // 500, 64, 8192 if olap else 1024),
        math.ceil(buffers * (0.5 if olap else 0.25)),
        memory - buffers,
        (unit, 4 * unit),
        (*workers, max(math.ceil(cpus * 0.33), 2)),
        io_workers="4",
        hash_mem_multiplier="8",
        wal_buffers="16MB",
        checkpoint_timeout="15min",
        checkpoint_completion_target="0.95",
        default_statistics_target="1000" if olap else "400",
        parallel_setup_cost="2000",
        parallel_tuple_cost="0.2",
        **_SSD,
    )


def autobase(memory: int, cpus: int, disk: int, workload: str) -> Settings:
    return _settings(
        1000,
        int(memory * 0.25),
        64,
        512,
        int(memory * 0.75),
        (1024, 8192),
        (max(cpus, 16), max(cpus // 2, 8), 2, 2),
        wal_buffers="32MB",
        checkpoint_timeout="15min",
        default_statistics_target="1000",
        jit="off",
        **_SSD,
    )


def pgtune(memory: int, cpus: int, disk: int, workload: str) -> Settings:
    """As its page gives for PostgreSQL 18 on Linux and SSD, but for io_uring, with which no server starts here."""
    connections = {"web": 200, "oltp": 300, "dw": 40, "mixed": 100}[workload]
    buffers = memory // 4
    wal = {"web": (1024, 4096), "oltp": (2048, 8192), "dw": (4096, 16384), "mixed": (1024, 4096)}[workload]
    workers = (8, 8, 2, 2)
    if cpus >= 4:
        half = math.ceil(cpus / 2)
        workers = (cpus, cpus, half if workload == "dw" else min(half, 4), min(half, 4))
    share = (memory - buffers) / ((connections + workers[0]) * 3) / (2 if workload in ("dw", "mixed") else 1)
    return _settings(
        connections,
        buffers,
        max(share, 4),
        min(memory // (8 if workload == "dw" else 16), 8192),
        memory * 3 // 4,
        wal,
        workers,
        wal_buffers="16MB",
        default_statistics_target="500" if workload == "dw" else "100",
        **{**_SSD, **({"random_page_cost": "4"} if workload == "dw" else {})},
    )


def timescaledb_tune(memory: int, cpus: int, disk: int, workload: str) -> Settings:
    gigabytes = memory / 1024
    connections = 25 if gigabytes <= 2 else 50 if gigabytes <= 4 else 75 if gigabytes <= 6 else 100
    half = math.floor(cpus / 2 + 0.5)
    return _settings(
        connections,
        memory // 4,
        gigabytes * (400 / connections) / max(half, 1),
        min(gigabytes * 128, 2047),
        memory * 0.75,
        (512, 1024),
        (19 + cpus, cpus, half, 2),
        wal_buffers="16MB",
        jit="off",
        default_statistics_target="100",
        autovacuum_max_workers="10",
        **{**_SSD, "effective_io_concurrency": "256"},
    )


def aza_original(memory: int, cpus: int, disk: int, workload: str) -> Settings:
    connections = {"mixed": 120, "web": 200, "oltp": 300, "dw": 100}[workload]
    tier = 50 if memory < 2048 else 70 if memory < 4096 else 85 if memory < 8192 else 100
    connections = max(20, connections * tier // 100)
    buffers = min(max(memory * (25 if memory <= 8192 else 20 if memory <= 32768 else 15) // 100, 64), 32768)
    cache = max((memory - buffers - max(memory * 20 // 100, 512)) * 70 // 100, 2 * buffers)
    cap = 32
    if workload in ("dw", "mixed"):
        cap = 256 if memory >= 32768 else 128 if memory >= 8192 else 64 if memory >= 2048 else 32
    work_mem = _clamp(max(memory - buffers - connections * 10 - 512, 256) // (connections * 4), 1, cap)
    wal = {"web": (1024, 4096), "oltp": (2048, 8192), "dw": (4096, 16384), "mixed": (1024, 4096)}[workload]
    processes = int(_clamp(cpus + 1 if cpus <= 4 else cpus + cpus // 2, 8, 64))
    parallel = (cpus, max(cpus // 2, 1), min(cpus // 2, 4)) if cpus >= 4 else (cpus, 1, 1)
    return _settings(
        connections,
        buffers,
        work_mem,
        _clamp(memory // (8 if workload == "dw" else 16), 32, 2048),
        cache,
        wal,
        (processes, *parallel),
        io_workers=str(int(_clamp(cpus // 4, 1, 64))),
        maintenance_io_concurrency="20",
        default_statistics_target="500" if workload == "dw" else "100",
        **_SSD,
    )


def stock(memory: int, cpus: int, disk: int, workload: str) -> Settings:
    return {}


PEERS: dict[str, Callable[[int, int, int, str], Settings]] = {
    "pgtune": pgtune,
    "Pigsty": pigsty,
    "Autobase": autobase,
    "timescaledb-tune": timescaledb_tune,
    "aza-pg (TypeScript)": aza_original,
    "stock": stock,
}
