# SPDX-License-Identifier: Apache-2.0
"""What must hold for every size: nothing falls when something is added, the budget is kept, bounds are kept."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

import pytest
from ansible_collections.aza.pg.plugins.module_utils.errors import AzaError
from ansible_collections.aza.pg.plugins.module_utils.tuning import Inputs, Result, Rules, evaluate
from hypothesis import given, settings
from hypothesis import strategies as st

WORKLOADS = ("web", "oltp", "dw", "mixed")
# A step towards other values, larger only where a lot is fixed; no one sets it and nothing is shown of it.
STEPS = {"query_pool"}
MINIMUMS = [
    "max_connections",
    "max_worker_processes",
    "max_wal_senders",
    "max_prepared_transactions",
    "max_locks_per_transaction",
]

memories = st.one_of(
    st.integers(512, 9000),
    st.integers(512, 400_000),
    st.integers(512, 67_108_864),
    st.integers(0, 14).map(lambda n: 512 << n),
)
cores = st.one_of(st.integers(1, 16), st.integers(1, 1024))
LARGEST_DISK = 1 << 40
disks = st.one_of(st.integers(0, 100_000), st.integers(0, LARGEST_DISK))
inputs = st.builds(
    Inputs,
    memory_mb=memories,
    cpus=cores,
    workload=st.sampled_from(WORKLOADS),
    storage=st.sampled_from(["ssd", "hdd", "san"]),
    disk_mb=disks,
    preload_workers=st.integers(0, 64),
    wal_segment_mb=st.sampled_from([1, 16, 64, 1024]),
    wal_level=st.sampled_from(["replica", "logical"]),
    io_method=st.sampled_from(["worker", "io_uring", "sync"]),
)


def numbers(result: Result) -> dict[str, int]:
    return {name: value.value for name, value in result.values.items() if isinstance(value.value, int)}


def assert_not_less(small: Result, large: Result) -> None:
    before, after = numbers(small), numbers(large)
    fallen = {name: (before[name], after[name]) for name in before if after[name] < before[name]}
    assert not {name: pair for name, pair in fallen.items() if name not in STEPS}


@settings(max_examples=600, deadline=None)
@given(inputs, st.one_of(st.integers(1, 4), st.integers(1, 100_000)))
def test_more_memory_makes_nothing_smaller(rules: Rules, given: Inputs, more: int) -> None:
    larger = replace(given, memory_mb=min(given.memory_mb + more, 67_108_864))
    assert_not_less(evaluate(rules, given), evaluate(rules, larger))


@settings(max_examples=400, deadline=None)
@given(inputs, cores)
def test_more_cores_make_nothing_smaller(rules: Rules, given: Inputs, more: int) -> None:
    larger = replace(given, cpus=min(given.cpus + more, 1024))
    assert_not_less(evaluate(rules, given), evaluate(rules, larger))


@pytest.mark.parametrize("workload", WORKLOADS)
def test_nothing_falls_from_one_megabyte_to_the_next(rules: Rules, workload: str) -> None:
    """Where tiers begin and roundings meet: every size that a small server can have."""
    before: Result | None = None
    for memory in [*range(512, 4200), *range(8180, 8210), *range(16380, 16400)]:
        after = evaluate(rules, Inputs(memory, 4, workload=workload, disk_mb=40_000))
        if before is not None:
            assert_not_less(before, after)
        before = after


@settings(max_examples=200, deadline=None)
@given(inputs, st.integers(1, 1_000_000))
def test_a_larger_disk_makes_nothing_smaller(rules: Rules, given: Inputs, more: int) -> None:
    known = replace(given, disk_mb=max(given.disk_mb, 1))
    larger = replace(known, disk_mb=min(known.disk_mb + more, LARGEST_DISK))
    assert_not_less(evaluate(rules, known), evaluate(rules, larger))


@settings(max_examples=800, deadline=None)
@given(inputs)
def test_the_memory_holds_what_may_be_used_at_once(rules: Rules, given: Inputs) -> None:
    result = evaluate(rules, given)
    assert all(part.kb >= 0 for part in result.budget)
    assert result.budget_kb <= result.memory_kb
    assert result.exposure_kb <= result.memory_kb
    assert result.warnings == ()


@settings(max_examples=300, deadline=None)
@given(st.integers(512, 7000), st.sampled_from(WORKLOADS))
def test_memory_is_used_not_hoarded(rules: Rules, memory: int, workload: str) -> None:
    """As long as work_mem is not at its cap, all connections sorting fill most of the memory.

    Least at the end of a tier, where work_mem is already that of the next one.
    """
    result = evaluate(rules, Inputs(memory, 4, workload=workload))
    if numbers(result)["work_mem"] < 32 * 1024:
        assert result.exposure_kb >= result.memory_kb * 70 // 100


@settings(max_examples=800, deadline=None)
@given(inputs)
def test_bounds(rules: Rules, given: Inputs) -> None:
    value = numbers(evaluate(rules, given))
    assert value["shared_buffers"] == min(given.memory_mb * 256, 32 * 1024 * 1024)
    assert 64 <= value["work_mem"] <= 32 * 1024
    assert value["io_workers"] in range(3, 33)
    assert value["autovacuum_max_workers"] in range(3, 11)
    assert 1 <= value["max_parallel_workers"] <= min(given.cpus, 128)
    assert value["max_parallel_workers_per_gather"] <= value["max_parallel_workers"]
    assert value["max_parallel_maintenance_workers"] <= value["max_parallel_workers"]
    assert value["max_worker_processes"] >= value["max_parallel_workers"] + given.preload_workers
    assert value["max_worker_processes"] <= 262_143
    assert 1 <= value["active_backends"] <= value["max_connections"]
    assert value["min_wal_size"] >= 2 * given.wal_segment_mb
    assert value["max_wal_size"] >= value["min_wal_size"]
    assert value["max_slot_wal_keep_size"] >= value["max_wal_size"]
    assert 128 <= value["shm_size_mb"] <= max(given.memory_mb // 2, 128)
    if given.disk_mb >= 64 * given.wal_segment_mb:
        assert value["max_wal_size"] * 10 <= given.disk_mb


@settings(max_examples=300, deadline=None)
@given(inputs, st.dictionaries(st.sampled_from(MINIMUMS), st.integers(0, 262_143)))
def test_a_standby_has_no_less_than_its_primary(
    rules: Rules, given: Inputs, minimums: dict[str, int]
) -> None:
    standby = Inputs(
        **{**asdict(given), **{f"minimum_{name}": minimum for name, minimum in minimums.items()}}
    )
    value = numbers(evaluate(rules, standby))
    for name, minimum in minimums.items():
        assert value[name] >= minimum


def test_a_standby_that_is_too_small_says_so(rules: Rules) -> None:
    result = evaluate(rules, Inputs(512, 1, minimum_max_connections=1000))
    assert "give this host as much memory as the primary has" in result.warnings[0]


@pytest.mark.parametrize(
    ("memory", "workload", "connections"),
    [
        (512, "web", 40),
        (1023, "web", 40),
        (1024, "web", 80),
        (2047, "oltp", 120),
        (2048, "oltp", 210),
        (3072, "oltp", 300),
        (3072, "mixed", 120),
        (3072, "dw", 100),
        (1 << 20, "web", 200),
    ],
)
def test_connections_have_four_tiers(rules: Rules, memory: int, workload: str, connections: int) -> None:
    assert numbers(evaluate(rules, Inputs(memory, 4, workload=workload)))["max_connections"] == connections


@pytest.mark.parametrize(
    ("storage", "expected"),
    [("ssd", ("1.1", "200")), ("hdd", ("4.0", "2")), ("san", ("1.1", "1"))],
)
def test_storage(rules: Rules, storage: str, expected: tuple[str, str]) -> None:
    found = evaluate(rules, Inputs(1024, 2, storage=storage)).settings
    assert (found["random_page_cost"], found["effective_io_concurrency"]) == expected


def test_texts_are_those_of_postgresql_conf(rules: Rules) -> None:
    found = evaluate(rules, Inputs(1001, 2, workload="dw")).settings
    assert found["shared_buffers"] == "256256kB"
    assert found["min_wal_size"] == "256MB"
    assert found["checkpoint_timeout"] == "15min"
    assert found["default_statistics_target"] == "500"
    assert "shm_size_mb" not in found


def test_a_value_carries_its_explanation(rules: Rules) -> None:
    value = evaluate(rules, Inputs(2048, 2)).values["shared_buffers"]
    assert (value.value, value.text, value.inputs) == (524_288, "512MB", {"memory_mb": 2048})
    assert value.how == "min(memory_mb * 256, 33554432)"
    assert "25 %" in value.rule and value.why and value.source


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"memory_mb": 511}, "memory_mb is 511; a whole number from 512 to 67108864 MB is expected"),
        ({"memory_mb": 10**20}, "a whole number from 512 to 67108864 MB is expected"),
        ({"memory_mb": True}, "memory_mb is True"),
        ({"cpus": 0}, "cpus is 0; a whole number from 1 to 1024 is expected"),
        ({"preload_workers": 65}, "preload_workers is 65"),
        ({"workload": "olpt"}, "workload is 'olpt'; it is one of web, oltp, dw, mixed; did you mean 'oltp'?"),
        ({"storage": "nvme"}, "storage is 'nvme'; it is one of ssd, hdd, san"),
    ],
)
def test_bad_inputs_are_named(rules: Rules, change: dict[str, Any], message: str) -> None:
    given: dict[str, Any] = {"memory_mb": 1024, "cpus": 2, **change}
    with pytest.raises(AzaError) as caught:
        evaluate(rules, Inputs(**given))
    assert message in caught.value.msg
