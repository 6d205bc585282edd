# SPDX-License-Identifier: Apache-2.0
"""Huge pages for what a server shares: who has how many, and what a host's kernel is asked for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.aza.pg.plugins.module_utils.errors import AzaError
from ansible_collections.aza.pg.plugins.module_utils.host import huge_pages
from ansible_collections.aza.pg.plugins.module_utils.host.docker import Docker
from ansible_collections.aza.pg.plugins.module_utils.host.huge_pages import Reservation, parse
from ansible_collections.aza.pg.plugins.module_utils.instance import verbs
from ansible_collections.aza.pg.plugins.module_utils.instance.apply import apply
from ansible_collections.aza.pg.plugins.module_utils.instance.context import Context
from ansible_collections.aza.pg.plugins.module_utils.model.desired import Desired
from ansible_collections.aza.pg.plugins.module_utils.model.observed import Observed
from ansible_collections.aza.pg.plugins.module_utils.model.service import ContainerSpec
from ansible_collections.aza.pg.plugins.module_utils.planning.plan import Plan
from hypothesis import given
from hypothesis import strategies as st

INSTANCE = "shop-single"
WANTED = Desired(
    instance=INSTANCE,
    cluster="shop",
    stack="single",
    project="aza-pg-shop-single",
    volume="v",
    network="n",
    services=(ContainerSpec("postgres", "aza-pg-shop-single-postgres", {"pinned": "x"}, config_hash="1"),),
    huge_pages_mb=300,
)
NOTHING_WANTED = replace(WANTED, huge_pages_mb=0)
SEEN = {"size_kb": 2048, "kernel": 0, "available_mb": 999, "text": "", "modified": 0.0, "permitted": True}
RUNS = {"state": "running", "config_hash": "1", "image": "i"}
numbers = st.integers(0, 10**7)
names = st.from_regex(r"[a-z][a-z0-9-]{0,20}", fullmatch=True).filter(lambda name: name != "others")


def server(status: str, needed: int, started: float = 1e9, huge_pages_setting: str = "try") -> dict[str, Any]:
    values = {
        "huge_pages_status": status,
        "shared_memory_size_in_huge_pages": str(needed),
        "huge_pages": huge_pages_setting,
    }
    return {"settings": {name: {"raw": value} for name, value in values.items()}, "started": started}


def found(now: dict[str, Any] | None = None, **seen: Any) -> Observed:
    return Observed(containers={"postgres": RUNS} if now else {}, server=now, huge_pages={**SEEN, **seen})


def kept(pages: int, others: int = 0) -> dict[str, Any]:
    """What the host shows once an instance has so many."""
    reservation = Reservation(others, {INSTANCE: pages})
    return {"text": reservation.render(), "kernel": reservation.total}


def message(wanted: Desired, now: Observed, renewed: bool = False) -> list[str]:
    return [change.text() for change in huge_pages.changes(wanted, now, renewed)]


@given(numbers, st.dictionaries(names, st.integers(1, 10**6), min_size=1))
def test_the_file_says_who_has_how_many(others: int, instances: dict[str, int]) -> None:
    reservation = Reservation(others, instances)
    assert parse(reservation.render(), 0) == reservation
    assert f"\nvm.nr_hugepages = {others + sum(instances.values())}\n" in reservation.render()


@given(numbers, st.dictionaries(names, st.integers(1, 10**6)), names, st.integers(1, 10**6))
def test_an_instance_comes_and_goes_and_nobody_else_notices(
    others: int, instances: dict[str, int], name: str, pages: int
) -> None:
    before = Reservation(others, {key: value for key, value in instances.items() if key != name})
    there = parse(before.having(name, pages).render(), before.total + pages)
    assert (there.of(name), there.total) == (pages, before.total + pages)
    assert there.having(name, 0) == before


def test_what_the_kernel_has_beyond_the_file_is_somebody_elses() -> None:
    assert parse("", 12) == Reservation(12, {})
    assert parse(Reservation(0, {INSTANCE: 5}).render(), 12) == Reservation(7, {INSTANCE: 5})
    # Fewer than the file says: they are missing, and were not given to anybody.
    assert parse(Reservation(4, {INSTANCE: 5}).render(), 2) == Reservation(4, {INSTANCE: 5})


@pytest.mark.parametrize(
    ("wanted", "now", "renewed", "words"),
    [
        (WANTED, found(), False, ["reserve huge pages shop-single  150 of 2 MB"]),
        (WANTED, found(size_kb=524288), False, ["reserve huge pages shop-single  1 of 512 MB"]),
        (WANTED, found(**kept(150)), False, []),
        # The server knows better: a library shares memory, too.
        (WANTED, found(server("off", 170), **kept(150)), False, ["reserve huge pages shop-single  150 → 170 of 2 MB"]),
        (WANTED, found(server("on", 170), **kept(170)), False, []),
        (WANTED, found(server("on", 140), **kept(170)), False, ["give back huge pages shop-single  170 → 150 of 2 MB"]),
        # As long as no one can say what the next one needs, nothing is given back.
        (WANTED, found(**kept(170)), False, []),
        (WANTED, found(server("on", 900), **kept(900)), True, []),
        (
            WANTED,
            found(**{**kept(150, others=9), "kernel": 20}),
            False,
            ["reserve huge pages shop-single  150 of 2 MB  because the host has 20 of 159"],
        ),
        (NOTHING_WANTED, found(**kept(150)), False, ["give back huge pages shop-single  150"]),
        (NOTHING_WANTED, Observed(), False, []),
    ],
)  # fmt: skip
def test_what_is_reserved(wanted: Desired, now: Observed, renewed: bool, words: list[str]) -> None:
    assert message(wanted, now, renewed) == words


@pytest.mark.parametrize(
    ("wanted", "now", "words"),
    [
        (WANTED, found(server("on", 295), **kept(300)), ["give back huge pages shop-single  300 → 150 of 2 MB"]),
        (WANTED, found(**kept(300)), ["give back huge pages shop-single  300 → 150 of 2 MB"]),
        (WANTED, found(server("on", 140), **kept(150)), []),
        # A library takes what is more than predicted, and may do so again.
        (WANTED, found(server("on", 300), **kept(300)), []),
        (WANTED, found(size_kb=0), []),
        (NOTHING_WANTED, found(server("on", 295), **kept(300)), []),
        (NOTHING_WANTED, Observed(), []),
    ],
)  # fmt: skip
def test_what_a_new_server_gives_back_is_said_before(
    wanted: Desired, now: Observed, words: list[str]
) -> None:
    assert [change.text() for change in huge_pages.afterwards(wanted, now)] == words


@pytest.mark.parametrize(
    ("now", "restart"),
    [
        (server("off", 140, started=5), True),
        (server("on", 140, started=5), False),
        (server("off", 140, started=5, huge_pages_setting="off"), False),
        # It had its chance: another restart would change nothing.
        (server("off", 140, started=15), False),
        (server("off", 170, started=15), True),
    ],
)
def test_a_server_without_its_pages_is_restarted_when_that_helps(now: dict[str, Any], restart: bool) -> None:
    seen = found(now, **kept(150), modified=10.0)
    assert huge_pages.restarts(WANTED, seen) is restart


@pytest.mark.parametrize(
    ("seen", "words"),
    [
        ({}, []),
        ({"permitted": False}, ["postgres_huge_pages is true and this user may not reserve memory of the host"]),
        ({"available_mb": 299}, ["postgres_huge_pages reserves 300 MB and this host has 299 MB to spare"]),
        ({"available_mb": 299, **kept(150)}, []),
        ({"permitted": False, **kept(150)}, []),
        ({"size_kb": 0}, ["postgres_huge_pages is true and the kernel of this host has no huge pages"]),
    ],
)  # fmt: skip
def test_what_the_host_cannot_do_is_said_first(seen: dict[str, Any], words: list[str]) -> None:
    problems = list(huge_pages.problems(WANTED, found(**seen), renewed=False))
    assert len(problems) == len(words)
    assert all(problem.startswith(word) for problem, word in zip(problems, words))


@pytest.mark.parametrize(
    ("now", "states"),
    [
        (server("on", 140), ["green"]),
        (server("off", 140, huge_pages_setting="off"), ["yellow"]),
        (server("off", 140), ["yellow"]),
        # The plan says it already.
        (server("off", 140, started=5), []),
    ],
)
def test_whether_the_server_has_them_is_a_finding(now: dict[str, Any], states: list[str]) -> None:
    seen = found(now, **kept(150), modified=10.0)
    assert [finding.state for finding in huge_pages.findings(WANTED, seen)] == states


# -- the host, as files ----------------------------------------------------------------------------


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """A host with 7 pages whose kernel has no more than it is told."""
    kernel, most = tmp_path / "nr_hugepages", [10**6]
    kernel.write_text("7")
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemAvailable:  1024000 kB\nHugePages_Total:     99\nHugepagesize:     2048 kB\n")
    monkeypatch.setattr(huge_pages, "PATH", tmp_path / "60-huge-pages.conf")
    monkeypatch.setattr(huge_pages, "KERNEL", kernel)
    monkeypatch.setattr(huge_pages, "_COMPACT", tmp_path / "none")
    monkeypatch.setattr(huge_pages, "_MEMINFO", meminfo)

    def ask(number: int) -> int:
        kernel.write_text(str(min(number, most[0])))
        return int(kernel.read_text())

    monkeypatch.setattr(huge_pages, "_ask", ask)

    def limit(number: int) -> None:
        most[0] = number

    return limit


def carry_out(wanted: Desired) -> list[str]:
    seen = Observed(huge_pages=huge_pages.observe(wanted))
    plan = Plan(tuple(huge_pages.changes(wanted, seen, renewed=False)))
    return apply(plan, Context(wanted, Docker()))


def test_two_instances_share_the_number_and_give_it_back(host: Any) -> None:
    other = replace(WANTED, instance="blog-single", huge_pages_mb=100)
    assert carry_out(WANTED) and carry_out(other)
    assert huge_pages.KERNEL.read_text() == "207"
    assert "vm.nr_hugepages = 207" in huge_pages.PATH.read_text()
    assert carry_out(WANTED) == carry_out(other) == []
    carry_out(NOTHING_WANTED)
    assert huge_pages.KERNEL.read_text() == "57"
    assert "shop" not in huge_pages.PATH.read_text()
    carry_out(replace(other, huge_pages_mb=0))
    assert (huge_pages.KERNEL.read_text(), huge_pages.PATH.exists()) == ("7", False)
    assert carry_out(NOTHING_WANTED) == []


def test_a_removal_gives_them_back(host: Any) -> None:
    carry_out(WANTED)
    skeleton = replace(NOTHING_WANTED, memory_mb=0)
    seen = Observed(huge_pages=huge_pages.observe(skeleton))
    apply(verbs.absent(skeleton, seen, remove_data=False), Context(skeleton, Docker()))
    assert (huge_pages.KERNEL.read_text(), huge_pages.PATH.exists()) == ("7", False)


def test_what_the_kernel_cannot_find_leaves_everything_as_it_was(host: Any) -> None:
    carry_out(replace(WANTED, huge_pages_mb=100))
    before = huge_pages.PATH.read_text()
    host(80)
    with pytest.raises(AzaError, match=r"the kernel allocated 80 of 157 huge pages.*Done before: 0"):
        carry_out(WANTED)
    assert (huge_pages.KERNEL.read_text(), huge_pages.PATH.read_text()) == ("57", before)


def test_a_host_that_is_nothing_to_it_is_not_described(host: Any) -> None:
    assert huge_pages.observe(NOTHING_WANTED) == {}
    assert huge_pages.observe(WANTED)["kernel"] == 7
