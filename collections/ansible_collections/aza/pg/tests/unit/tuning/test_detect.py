# SPDX-License-Identifier: Apache-2.0
"""What the bash library finds in control groups and /proc, as different kernels and engines show them."""

from __future__ import annotations

from pathlib import Path

import pytest

from .shell import Machine, bash


@pytest.fixture
def machine(tmp_path: Path, library: Path) -> Machine:
    return Machine(tmp_path, library)


def test_no_limit_is_the_machine_with_a_warning(machine: Machine) -> None:
    found = machine.detect()
    assert (found.memory_mb, found.memory_source) == (16384, "machine, no limit")
    assert (found.cpus, found.cpus_source) == (8, "machine, no limit")
    assert (found.workload, found.storage) == ("web", "ssd")
    assert "no memory limit" in found.message and "POSTGRES_MEMORY" in found.message


class TestMemoryV2:
    def test_limit(self, machine: Machine) -> None:
        machine.groups(["0::/"])
        machine.write("cgroup/memory.max", "1073741824\n")
        found = machine.detect()
        assert (found.memory_mb, found.memory_source, found.message) == (1024, "cgroup v2 limit", "")

    def test_max(self, machine: Machine) -> None:
        machine.groups(["0::/"])
        machine.write("cgroup/memory.max", "max\n")
        assert machine.detect().memory_mb == 16384

    def test_the_least_of_the_groups_above_counts(self, machine: Machine) -> None:
        machine.groups(["0::/pod/container/init"])
        machine.write("cgroup/memory.max", "8589934592\n")
        machine.write("cgroup/pod/memory.max", "2147483648\n")
        machine.write("cgroup/pod/container/memory.max", "4294967296\n")
        machine.write("cgroup/pod/container/init/memory.max", "max\n")
        assert machine.detect().memory_mb == 2048

    def test_a_path_outside_the_namespace(self, machine: Machine) -> None:
        machine.groups(["0::/../../other"])
        machine.write("cgroup/memory.max", "1073741824\n")
        assert machine.detect().memory_mb == 1024

    def test_a_file_without_a_newline(self, machine: Machine) -> None:
        machine.write("cgroup/memory.max", "1073741824")
        assert machine.detect().memory_mb == 1024

    @pytest.mark.parametrize("text", ["", "abc\n", "-1\n", "0x400\n", "99999999999999999999\n"])
    def test_nonsense_is_no_limit(self, machine: Machine, text: str) -> None:
        machine.write("cgroup/memory.max", text)
        found = machine.detect()
        assert (found.code, found.memory_mb) == (0, 16384)

    def test_a_limit_above_the_machine_is_none(self, machine: Machine) -> None:
        machine.write("cgroup/memory.max", f"{64 << 30}\n")
        found = machine.detect()
        assert (found.memory_mb, found.memory_source) == (16384, "machine, no limit")

    def test_too_little(self, machine: Machine) -> None:
        machine.write("cgroup/memory.max", f"{511 << 20}\n")
        found = machine.detect()
        assert found.code == 78
        assert found.message.count("\n") == 0
        assert "511 MB of memory (cgroup v2 limit)" in found.message and "docker run -m 512m" in found.message


class TestMemoryV1:
    PATH = "/docker/0123"

    def test_limit_in_a_container(self, machine: Machine) -> None:
        """The file system shows the container's own group at its top, the path is the host's."""
        machine.groups([f"4:memory:{self.PATH}", "0::/"])
        machine.write("cgroup/memory/memory.limit_in_bytes", "2147483648\n")
        found = machine.detect()
        assert (found.memory_mb, found.memory_source, found.message) == (2048, "cgroup v1 limit", "")

    def test_unlimited_is_a_huge_number(self, machine: Machine) -> None:
        machine.groups([f"4:memory:{self.PATH}"])
        machine.write("cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n")
        machine.write("cgroup/memory/memory.stat", "cache 1\nhierarchical_memory_limit 9223372036854771712\n")
        found = machine.detect()
        assert (found.memory_mb, found.memory_source) == (16384, "machine, no limit")

    def test_a_limit_that_cannot_be_seen_from_inside(self, machine: Machine) -> None:
        machine.groups([f"4:memory:{self.PATH}"])
        machine.write("cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n")
        machine.write("cgroup/memory/memory.stat", "cache 1\nhierarchical_memory_limit 1073741824\n")
        assert machine.detect().memory_mb == 1024

    def test_nested(self, machine: Machine) -> None:
        machine.groups(["4:memory:/a/b"])
        machine.write("cgroup/memory/a/memory.limit_in_bytes", "1073741824\n")
        machine.write("cgroup/memory/a/b/memory.limit_in_bytes", "4294967296\n")
        assert machine.detect().memory_mb == 1024

    def test_hybrid_has_an_empty_v2_tree(self, machine: Machine) -> None:
        machine.groups([f"4:memory:{self.PATH}", f"0::{self.PATH}"])
        machine.write("cgroup/unified/cgroup.procs", "1\n")
        machine.write("cgroup/memory/memory.limit_in_bytes", "1073741824\n")
        assert machine.detect().memory_source == "cgroup v1 limit"


class TestCpus:
    @pytest.mark.parametrize(
        ("text", "cpus"),
        [
            ("max 100000", 8),
            ("50000 100000", 1),
            ("100000 100000", 1),
            ("150000 100000", 2),
            ("400000 100000", 4),
            ("3200000 100000", 8),
            ("0 100000", 8),
            ("abc", 8),
            ("100000 0", 8),
        ],
    )
    def test_quota_v2(self, machine: Machine, text: str, cpus: int) -> None:
        machine.write("cgroup/cpu.max", f"{text}\n")
        found = machine.detect()
        assert (found.code, found.cpus) == (0, cpus)
        assert (found.cpus_source == "cgroup v2 quota") == (cpus < 8)

    def test_the_least_quota_of_the_groups_above_counts(self, machine: Machine) -> None:
        machine.groups(["0::/a/b"])
        machine.write("cgroup/a/cpu.max", "200000 100000\n")
        machine.write("cgroup/a/b/cpu.max", "400000 100000\n")
        assert machine.detect().cpus == 2

    @pytest.mark.parametrize("controllers", ["cpu", "cpu,cpuacct"])
    def test_quota_v1(self, machine: Machine, controllers: str) -> None:
        machine.groups([f"2:{controllers}:/docker/0123"])
        machine.write(f"cgroup/{controllers}/cpu.cfs_quota_us", "250000\n")
        machine.write(f"cgroup/{controllers}/cpu.cfs_period_us", "100000\n")
        found = machine.detect()
        assert (found.cpus, found.cpus_source) == (3, "cgroup v1 quota")

    def test_no_quota_v1(self, machine: Machine) -> None:
        machine.write("cgroup/cpu/cpu.cfs_quota_us", "-1\n")
        machine.write("cgroup/cpu/cpu.cfs_period_us", "100000\n")
        assert machine.detect().cpus == 8

    @pytest.mark.parametrize(("allowed", "cpus"), [("0-1", 2), ("0,2,5-6", 4), ("7", 1), ("3,9-12", 1)])
    def test_cpuset(self, machine: Machine, allowed: str, cpus: int) -> None:
        machine.cores(allowed)
        found = machine.detect()
        assert (found.cpus, found.cpus_source) == (cpus, "cpuset")

    def test_cores_that_are_not_plugged_in_do_not_count(self, machine: Machine) -> None:
        machine.cores("0-127")
        found = machine.detect()
        assert (found.cpus, found.cpus_source) == (8, "machine, no limit")

    def test_quota_above_the_cpuset(self, machine: Machine) -> None:
        machine.cores("0-1")
        machine.write("cgroup/cpu.max", "400000 100000\n")
        found = machine.detect()
        assert (found.cpus, found.cpus_source) == (2, "cpuset")

    def test_nothing_can_be_read(self, machine: Machine) -> None:
        (machine.root / "proc/self/status").unlink()
        (machine.root / "sys/devices/system/cpu/online").unlink()
        assert machine.detect().cpus == 1


class TestVariables:
    def test_memory_and_cpus(self, machine: Machine) -> None:
        machine.write("cgroup/memory.max", f"{4 << 30}\n")
        found = machine.detect(POSTGRES_MEMORY="2gb ", POSTGRES_CPUS="1.5")
        assert (found.memory_mb, found.memory_source, found.message) == (2048, "POSTGRES_MEMORY", "")
        assert (found.cpus, found.cpus_source) == (2, "POSTGRES_CPUS")

    def test_blank_is_not_set(self, machine: Machine) -> None:
        found = machine.detect(POSTGRES_MEMORY=" ", POSTGRES_CPUS="", POSTGRES_WORKLOAD_TYPE=" ")
        assert (found.memory_mb, found.cpus, found.workload) == (16384, 8, "web")

    def test_more_than_the_machine_has(self, machine: Machine) -> None:
        found = machine.detect(POSTGRES_MEMORY="32g")
        assert found.memory_mb == 32768
        assert "POSTGRES_MEMORY is 32768 MB, but this machine has 16384 MB" in found.message

    def test_more_than_the_container_may_have(self, machine: Machine) -> None:
        machine.write("cgroup/memory.max", f"{1 << 30}\n")
        assert "the container's limit is 1024 MB" in machine.detect(POSTGRES_MEMORY="2g").message

    def test_words_in_any_case(self, machine: Machine) -> None:
        found = machine.detect(POSTGRES_WORKLOAD_TYPE="OLTP", POSTGRES_STORAGE_TYPE="Hdd ")
        assert (found.workload, found.storage) == ("oltp", "hdd")

    @pytest.mark.parametrize(
        ("name", "text", "choices"),
        [
            ("POSTGRES_WORKLOAD_TYPE", "olpt", "web, oltp, dw or mixed"),
            ("POSTGRES_STORAGE_TYPE", "nvme", "ssd, hdd or san"),
            ("POSTGRES_WAL_LEVEL", "minimal", "replica or logical"),
            ("POSTGRES_IO_METHOD", "uring", "worker, io_uring, sync or auto"),
        ],
    )
    def test_a_word_that_is_none_of_the_choices(
        self, machine: Machine, name: str, text: str, choices: str
    ) -> None:
        found = machine.detect(**{name: text})
        assert (found.code, found.message) == (78, f"aza-pg: {name} is '{text}'; choose {choices}")

    def test_segment_size_of_initdb(self, machine: Machine) -> None:
        assert machine.detect().wal_segment_mb == 16
        assert machine.detect(POSTGRES_INITDB_ARGS="--data-checksums --wal-segsize=64").wal_segment_mb == 64
        assert machine.detect(POSTGRES_INITDB_ARGS="--wal-segsize 128 -k").wal_segment_mb == 128

    def test_neither_limit_nor_meminfo(self, machine: Machine) -> None:
        (machine.root / "proc/meminfo").unlink()
        found = machine.detect()
        assert found.code == 78 and "set POSTGRES_MEMORY" in found.message


def test_the_disk_is_that_of_the_nearest_directory(machine: Machine, library: Path, tmp_path: Path) -> None:
    script = 'source "$1"; tune_pgdata=$2/none/18/docker; _tune_detect_disk; echo "$tune_disk_mb $tune_disk_source"'
    size, source = bash(script, str(library), str(tmp_path)).stdout.split()
    assert int(size) > 0 and source == str(tmp_path)


@pytest.mark.parametrize("value", ["abc", "-1", "65", "99999999999999999999"])
def test_what_the_entrypoint_sets_is_checked_too(machine: Machine, library: Path, value: str) -> None:
    script = 'source "$1"; tune_preload_workers=$2; _tune_whole tune_preload_workers 64'
    done = bash(script, str(library), value)
    assert done.returncode == 78 and f"tune_preload_workers is '{value}'" in done.stderr
