#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Measure our tuning against others': the same server, data and container limits; only settings differ.

Not a test: it takes minutes and its numbers depend on the machine. It prints a table and can keep its samples.

  tests/bench/tuning.py [--image IMAGE] [--size 1g/1 --size 4g/2] [--rounds 3] [--samples samples.json]
  tests/bench/tuning.py --workload reads --rounds 12 [--huge-pages]
  tests/bench/tuning.py --report samples.json
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import json
import os
import random
import re
import secrets
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "collections"), str(ROOT / "tests")]

from ansible_collections.aza.pg.plugins.module_utils.host import huge_pages  # noqa: E402
from ansible_collections.aza.pg.plugins.module_utils.tuning import Inputs, evaluate, load_rules  # noqa: E402
from ansible_collections.aza.pg.plugins.module_utils.tuning.parse import parse_memory  # noqa: E402
from ansible_collections.aza.pg.plugins.plugin_utils.prediction import Prediction  # noqa: E402

from bench.peers import PEERS, Settings  # noqa: E402
from bench.report import CONTROL, OURS, Sample, Samples, report  # noqa: E402

BIN = "/usr/lib/postgresql/18/bin"
# pgbench's 100 branches are 1.5 GB: more than shared_buffers at every size, more than all memory at 1 GB; 30 are
# 450 MB, which a container of 1 GB can cache.
SCALE = 100
FACTS = 1_000_000
# Seconds. What is read at first is not counted: a new session maps shared_buffers page by page, which pooled sessions
# have behind them, and while the others had their turn a kernel that reclaims idle memory (DAMON) may have taken from
# this server what it had cached.
WARM_UP, SETTLE, READ, WRITE = 15, 8, 3, 10
PREPARE = f"""
create table facts as
  select i as id, (hashint4(i) & 2147483647) % 400000 as customer, (hashint4(i + 1) & 2147483647) % 1000 as product,
         hashint4(i + 2) as sorted_by, md5(i::text) as note, (i % 1000)::numeric / 7 as amount
  from generate_series(1, {FACTS}) i;
create table customers as
  select i as customer, md5((i + 7)::text) as name, i % 50 as region from generate_series(0, 399999) i;
vacuum analyze;
"""
ANALYTICS = {
    "sort": "select count(*) from (select id, note from facts order by note, sorted_by offset 0) s",
    "aggregate": "select count(*), max(s) from (select customer, sum(amount) s from facts group by customer) s",
    "join": "select region, count(distinct name), sum(amount) from facts join customers using (customer)"
    " group by region",
    "window": "select max(r) from (select row_number() over (partition by product order by sorted_by) r from facts) s",
    "index": "create index facts_note on facts (note, id)",
}
# Several such queries at once: where a tuner promised more memory than there is, the kernel ends the server here.
TOGETHER = ("aggregate", "join", "join", "aggregate")
WAL = "select wal_bytes from pg_stat_wal"
TEMP = "select temp_bytes from pg_stat_database where datname = 'postgres'"


def run(*command: str, check: bool = True, stdin: str = "") -> subprocess.CompletedProcess[str]:
    done = subprocess.run(command, input=stdin, text=True, capture_output=True, check=False)
    if check and done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr[-2000:]}")
    return done


def forget(directory: Path) -> None:
    """Drop these files from the page cache, so that the container's own limit decides what is cached."""
    os.sync()
    for path in directory.rglob("*"):
        if path.is_file():
            descriptor = os.open(path, os.O_RDONLY)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(descriptor)


class Server:
    """A PostgreSQL in a container with limits, on a copy of the prepared data."""

    def __init__(
        self, image: str, work: Path, memory_mb: int, cpus: int, settings: Settings, huge: bool = False
    ) -> None:
        self.name = f"azatest-bench-{secrets.token_hex(4)}"
        given = {
            **settings,
            "listen_addresses": "",
            "unix_socket_directories": "/tmp",
            "logging_collector": "off",
            "huge_pages": "on" if huge else "off",
        }
        options = [option for name, value in given.items() for option in ("-c", f"{name}={value}")]
        limits = ["-m", f"{memory_mb}m", "--memory-swap", f"{memory_mb}m", "--cpus", str(cpus)]
        # Others say nothing about /dev/shm, and parallel joins fail in the engine's 64 MB; so all get enough.
        limits += [
            "--shm-size",
            f"{memory_mb // 2}m",
            "-v",
            f"{work}:/bench",
            "--user",
            "postgres",
            "--no-healthcheck",
        ]
        run("docker", "run", "-d", "--name", self.name, *limits, "--entrypoint", f"{BIN}/postgres", image,
            "-D", "/bench/data", *options)  # fmt: skip

    def wait(self) -> None:
        for _ in range(300):
            if (
                run(
                    "docker", "exec", self.name, f"{BIN}/pg_isready", "-q", "-h", "/tmp", check=False
                ).returncode
                == 0
            ):
                return
            time.sleep(0.1)
        raise RuntimeError(run("docker", "logs", self.name).stderr[-2000:])

    def sql(self, text: str) -> None:
        run("docker", "exec", "-i", self.name, f"{BIN}/psql", "-qXh", "/tmp", "-U", "postgres", "-v", "ON_ERROR_STOP=1",
            stdin=text)  # fmt: skip

    def pgbench(self, seconds: int, *options: str) -> tuple[list[float], int]:
        """Transactions in each second, and in all."""
        command = (f"{BIN}/pgbench", "-h", "/tmp", "-U", "postgres", "-n", "-P", "1", "-T", str(seconds))
        done = run("docker", "exec", self.name, *command, *options)
        each = re.findall(r"^progress: .* s, ([0-9.]+) tps", done.stderr, re.MULTILINE)
        total = re.search(r"actually processed: (\d+)", done.stdout)
        assert total
        return [float(found) for found in each], int(total[1])

    def timed(self, *names: str) -> float:
        """Run queries, each in a session of its own, all at once; return the seconds until the last is done."""
        command = ["docker", "exec", "-i", self.name, f"{BIN}/psql", "-qXh", "/tmp", "-U", "postgres"]
        start = time.monotonic()
        running = [
            subprocess.Popen(
                [*command, "-v", "ON_ERROR_STOP=1", "-c", ANALYTICS[name]],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
            )
            for name in names
        ]
        failures = [process.communicate()[1] for process in running if process.wait()]
        if failures:
            raise RuntimeError(failures[0].splitlines()[0])
        return time.monotonic() - start

    def cpu_seconds(self) -> float:
        """What the container has used of the CPU so far: on a busy machine this says more than the clock."""
        shown = "cat /sys/fs/cgroup/cpu.stat 2>/dev/null || cat /sys/fs/cgroup/cpuacct/cpuacct.usage"
        words = run("docker", "exec", self.name, "sh", "-c", shown).stdout.split()
        return int(words[1]) / 1e6 if words[0] == "usage_usec" else int(words[0]) / 1e9

    def ask(self, query: str) -> float:
        asked = ("docker", "exec", self.name, f"{BIN}/psql", "-qXAth", "/tmp", "-U", "postgres", "-c", query)
        return float(run(*asked).stdout)

    def remove(self) -> None:
        run("docker", "rm", "-f", "-v", self.name, check=False)


def prepare(image: str, work: Path, scale: int) -> None:
    """Make the data once, with a server of its own."""
    work.chmod(0o777)
    initdb = f"{BIN}/initdb -D /bench/data -U postgres -A trust --no-instructions -k --no-sync"
    run(
        "docker",
        "run",
        "--rm",
        "-v",
        f"{work}:/bench",
        "--user",
        "postgres",
        "--entrypoint",
        "bash",
        image,
        "-c",
        initdb,
    )
    server = Server(image, work, 4096, 2, {"shared_buffers": "1GB", "max_wal_size": "8GB", "fsync": "off"})
    try:
        server.wait()
        run(
            "docker",
            "exec",
            server.name,
            f"{BIN}/pgbench",
            "-h",
            "/tmp",
            "-U",
            "postgres",
            "-qis",
            str(scale),
        )
        server.sql(PREPARE)
        run("docker", "stop", "-t", "60", server.name)
    finally:
        server.remove()


def predicted(memory_mb: int, cpus: int, disk_gb: int, workload: str) -> Prediction:
    rules = load_rules(ROOT / "image" / "tuning.yml")
    inputs = Inputs(memory_mb, cpus, workload, disk_mb=disk_gb * 1024)
    return Prediction(memory_mb, cpus, 0, evaluate(rules, inputs), rules)


@contextlib.contextmanager
def kept(megabytes: int) -> Iterator[None]:
    """So much of this machine in huge pages, as postgres_huge_pages has it."""
    if not megabytes:
        yield
        return
    seen = huge_pages.of_host()
    huge_pages.ask_kernel(seen["kernel"] + -(-megabytes * 1024 // seen["size_kb"]))
    try:
        yield
    finally:
        huge_pages.ask_kernel(seen["kernel"])


@contextlib.contextmanager
def serving(
    image: str, template: Path, size: tuple[int, int], tuner: str, workload: str, huge: bool
) -> Iterator[Server]:
    """A server with the settings of this tuner, on a copy of the data of its own. Huge pages, which the container's
    limit does not count, are taken off it, so that all have the same memory."""
    asked = (*size, 40 if size[0] <= 2048 else 80, workload)
    pages_mb = predicted(*asked).shared_mb({}, {}) if huge and tuner not in PEERS else 0
    settings = PEERS[tuner](*asked) if tuner in PEERS else predicted(*asked).settings
    with kept(pages_mb), tempfile.TemporaryDirectory(dir=template.parent, prefix="run-") as directory:
        work = Path(directory)
        work.chmod(0o777)
        run("cp", "-a", "--reflink=auto", str(template / "data"), str(work))
        forget(template)
        forget(work)
        server = Server(image, work, size[0] - pages_mb, size[1], settings, pages_mb > 0)
        try:
            server.wait()
            yield server
        finally:
            server.remove()


def warm_up_oltp(server: Server, cpus: int) -> None:
    """Long enough to fill shared_buffers: the first touch of a page of shared memory is not what is measured."""
    server.pgbench(WARM_UP, "-S", *_clients(cpus))


def warm_up_dw(server: Server, cpus: int) -> None:
    server.timed("aggregate", "join")


def _clients(cpus: int) -> tuple[str, ...]:
    return ("-M", "prepared", "-c", str(8 * cpus), "-j", str(cpus))


def reads(server: Server, cpus: int) -> dict[str, float]:
    """pgbench's single rows by key."""
    cpu = server.cpu_seconds()
    each, total = server.pgbench(SETTLE + READ, "-S", *_clients(cpus))
    return {
        "reads": statistics.mean(each[SETTLE:]),
        "reads cpu": (server.cpu_seconds() - cpu) * 1e6 / total,
    }


def writes(server: Server, cpus: int) -> dict[str, float]:
    """pgbench's TPC-B-like mix, from a checkpoint on, so that no server writes its pages in the time of another."""
    server.pgbench(SETTLE, "-S", *_clients(cpus))
    server.sql("checkpoint")
    cpu, wal = server.cpu_seconds(), server.ask(WAL)
    _, total = server.pgbench(WRITE, *_clients(cpus))
    found = {"writes": total / WRITE, "writes cpu": (server.cpu_seconds() - cpu) * 1e6 / total}
    found["wal"] = (server.ask(WAL) - wal) / total
    server.sql("checkpoint")
    return found


def long_queries(phase: str, *names: str) -> Phase:
    """These, all at once, as a part of the phase."""

    def measured(server: Server, cpus: int) -> dict[str, float]:
        cpu, temp = server.cpu_seconds(), server.ask(TEMP)
        found = {phase: server.timed(*names)}
        found[f"{phase} cpu"] = server.cpu_seconds() - cpu
        found["temp"] = (server.ask(TEMP) - temp) / 2**20
        if "index" in names:
            server.sql("drop index facts_note")
        return found

    return measured


Phase = Callable[[Server, int], dict[str, float]]


class Workload(NamedTuple):
    """What is measured on the same servers."""

    asked: str
    """The workload that each tuner is asked for."""
    warm_up: Callable[[Server, int], None]
    """Fills the caches."""
    phases: Sequence[Phase]
    """What is measured in each round: each of it on each server in turn."""


WORKLOADS = {
    "reads": Workload("oltp", warm_up_oltp, (reads,)),
    "writes": Workload("oltp", warm_up_oltp, (writes,)),
    "analytics": Workload(
        "dw",
        warm_up_dw,
        (*(long_queries("analytics", name) for name in ANALYTICS), long_queries("together", *TOGETHER)),
    ),
}


def side_by_side(
    image: str,
    template: Path,
    size: tuple[int, int],
    tuners: Sequence[str],
    rounds: int,
    workload: str,
    huge: bool,
) -> Samples:
    """The servers of all tuners are there from the beginning, and what is measured is measured on each of them in
    turn, so that a machine that is now fast and now slow is so to all of them."""
    asked, warm_up, phases = WORKLOADS[workload]
    found: Samples = {tuner: [{} for _ in range(rounds)] for tuner in tuners}
    with contextlib.ExitStack() as stack:
        servers = {
            tuner: stack.enter_context(serving(image, template, size, tuner, asked, huge)) for tuner in tuners
        }
        for server in servers.values():
            warm_up(server, size[1])
        for number in range(rounds):
            for phase in phases:
                for tuner in random.sample(tuners, len(tuners)):
                    add(found[tuner][number], phase, servers[tuner], size[1], workload)
            for tuner in tuners:
                show(tuner, found[tuner][number])
    return found


def add(sample: Sample, phase: Phase, server: Server, cpus: int, workload: str) -> None:
    """Add what the phase gives on this server; where the server fails, that it did."""
    if f"failed {workload}" in sample:
        return
    try:
        for name, value in phase(server, cpus).items():
            sample[name] = float(sample.get(name, 0.0)) + value
    except RuntimeError as error:
        sample[f"failed {workload}"] = str(error)


def show(tuner: str, sample: Sample) -> None:
    shown = {name: value if isinstance(value, str) else round(value, 1) for name, value in sample.items()}
    print(f"{tuner}: {shown}", file=sys.stderr, flush=True)


@contextlib.contextmanager
def alone(lock: Path | None) -> Iterator[None]:
    """Hold a lock file while tuners are compared, for machines on which others agree to do so too."""
    if lock is None:
        yield
        return
    with lock.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def built() -> str:
    """The image that `make build` made, if it did."""
    records = ROOT / ".cache" / "dist" / "images.json"
    return str(json.loads(records.read_text())["postgres"]["reference"]) if records.is_file() else ""


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--image", help="instead of the image that was built last")
    parser.add_argument("--size", action="append", help="memory/CPUs, as in 4g/2")
    parser.add_argument("--tuner", action="append", choices=[OURS, CONTROL, *PEERS])
    parser.add_argument("--workload", action="append", choices=list(WORKLOADS))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--scale", type=int, default=SCALE, help="pgbench's branches, 15 MB each")
    parser.add_argument(
        "--huge-pages", action="store_true", help="ours has some, as with postgres_huge_pages"
    )
    parser.add_argument("--samples", type=Path)
    parser.add_argument("--lock", type=Path)
    parser.add_argument(
        "--keep", type=Path, help="a directory for the prepared data, used again when it is there"
    )
    parser.add_argument("--report", type=Path)
    given = parser.parse_args()
    if given.report:
        print(report(json.loads(given.report.read_text())))
        return 0
    image = given.image or built()
    if not image:
        parser.error(
            "no image has been built (make build), so --image is needed: any with PostgreSQL 18 and pgbench"
        )
    base = given.keep or Path(tempfile.mkdtemp(prefix="azatest-bench-", dir="/var/tmp"))
    template = base / f"template-{given.scale}"
    if not template.is_dir():
        template.mkdir(parents=True)
        with alone(given.lock):
            prepare(image, template, given.scale)
    samples: dict[str, Samples] = {}
    tuners = given.tuner or [OURS, CONTROL, *PEERS]
    for size in given.size or ["1g/1", "4g/2"]:
        memory, _, cpus = size.partition("/")
        for workload in given.workload or list(WORKLOADS):
            with alone(given.lock):
                found = side_by_side(
                    image,
                    template,
                    (parse_memory(memory), int(cpus)),
                    tuners,
                    given.rounds,
                    workload,
                    given.huge_pages,
                )
            for tuner in tuners:
                before = samples.setdefault(size, {}).get(tuner) or [{}] * given.rounds
                samples[size][tuner] = [one | more for one, more in zip(before, found[tuner], strict=True)]
            if given.samples:
                given.samples.write_text(json.dumps(samples, indent=1))
    print(report(samples))
    if given.keep is None:
        shutil.rmtree(base)
    return 0


if __name__ == "__main__":
    sys.exit(main())
