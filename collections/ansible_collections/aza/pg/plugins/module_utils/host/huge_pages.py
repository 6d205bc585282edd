# SPDX-License-Identifier: Apache-2.0
"""Huge pages that a host keeps for what its servers share (``postgres_huge_pages``).

The kernel knows one number for the whole host, ``vm.nr_hugepages``. Which instance has how many of them stands in one
file, which is also what brings them back when the host starts. A server takes all that it needs at its start, or none.
"""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ansible_collections.aza.pg.plugins.module_utils.errors import AzaError
from ansible_collections.aza.pg.plugins.module_utils.model.desired import Desired
from ansible_collections.aza.pg.plugins.module_utils.model.observed import Observed
from ansible_collections.aza.pg.plugins.module_utils.planning.change import Change, Detail
from ansible_collections.aza.pg.plugins.module_utils.planning.finding import Finding

KIND = "huge pages"
VARIABLE = "postgres_huge_pages"
PATH = Path("/etc/sysctl.d/60-aza-pg-huge-pages.conf")
KERNEL = Path("/proc/sys/vm/nr_hugepages")
# What the kernel can put together again of scattered memory: https://docs.kernel.org/admin-guide/sysctl/vm.html
_COMPACT = Path("/proc/sys/vm/compact_memory")
_MEMINFO = Path("/proc/meminfo")

_HEAD = "# Written by aza-pg: huge pages for the servers of this host, and for other programs that had some before.\n"
_OTHERS = "others"
_ENTRY = re.compile(r"^# (\S+): ([0-9]+)$", re.MULTILINE)


@dataclass(frozen=True)
class Reservation:
    """How many pages are for which instance, and for all others on the host."""

    others: int = 0
    instances: Mapping[str, int] = field(default_factory=dict)

    @property
    def total(self) -> int:
        return self.others + sum(self.instances.values())

    def of(self, instance: str) -> int:
        return self.instances.get(instance, 0)

    def having(self, instance: str, pages: int) -> Reservation:
        """The same with so many pages for an instance, with 0 without it."""
        rest = {name: number for name, number in self.instances.items() if name != instance}
        return Reservation(self.others, rest | ({instance: pages} if pages else {}))

    def render(self) -> str:
        """The file; nothing where no instance has any."""
        if not self.instances:
            return ""
        lines = [f"# {name}: {pages}\n" for name, pages in sorted(self.instances.items())]
        return f"{_HEAD}# {_OTHERS}: {self.others}\n{''.join(lines)}vm.nr_hugepages = {self.total}\n"


def parse(text: str, kernel: int) -> Reservation:
    """Return the file. Pages of the kernel beyond it (``kernel`` in all) were reserved by other programs."""
    instances = {name: int(pages) for name, pages in _ENTRY.findall(text)}
    others = instances.pop(_OTHERS, 0)
    return Reservation(max(others, kernel - sum(instances.values())), instances)


def of_host() -> dict[str, Any]:
    """What the host has: ``size_kb`` of a page, ``kernel`` pages in all, the file's ``text`` and when it was
    ``modified``, memory that is ``available_mb``, and whether this user may ask for more (``permitted``)."""
    lines = (line.partition(":") for line in _MEMINFO.read_text(encoding="ascii").splitlines())
    memory = {name: int(value.split()[0]) for name, _, value in lines}
    try:
        text, modified = PATH.read_text(encoding="utf-8"), PATH.stat().st_mtime
    except FileNotFoundError:
        text, modified = "", 0.0
    size = memory.get("Hugepagesize", 0)  # a kernel without huge pages has none
    return {
        "size_kb": size,
        # Not HugePages_Total: in that is what a server still uses after it was given back.
        "kernel": int(KERNEL.read_text(encoding="ascii")) if size else 0,
        "available_mb": memory.get("MemAvailable", 0) // 1024,
        "text": text,
        "modified": modified,
        "permitted": os.access(KERNEL, os.W_OK),
    }


def observe(wanted: Desired) -> dict[str, Any]:
    """The same where it matters to an instance: it should have some, or has some."""
    seen = of_host()
    return seen if wanted.huge_pages_mb or parse(seen["text"], 0).of(wanted.instance) else {}


def questions(wanted: Desired) -> tuple[str, ...]:
    """Settings that the server is asked for."""
    asked = ("huge_pages", "huge_pages_status", "shared_memory_size_in_huge_pages")
    return asked if wanted.huge_pages_mb else ()


def _known(found: Observed, name: str) -> str:
    settings: Mapping[str, Any] = (found.server or {}).get("settings") or {}
    return str((settings.get(name) or {}).get("raw") or "")


def _needed(found: Observed) -> int:
    """What the server that runs says that it needs; 0 where none answers."""
    message = _known(found, "shared_memory_size_in_huge_pages")
    return int(message) if message.isdigit() else 0


def _predicted(wanted: Desired, found: Observed) -> int:
    """How many what the server will share takes, by its settings."""
    return -(-wanted.huge_pages_mb * 1024 // int(found.huge_pages["size_kb"]))


def _mine(wanted: Desired, found: Observed) -> int:
    return parse(found.huge_pages["text"], found.huge_pages["kernel"]).of(wanted.instance)


def pages(wanted: Desired, found: Observed, renewed: bool) -> int:
    """How many the instance should have: what is predicted, or more where the server says that it needs more.

    If no server reports it (it is about to be ``renewed``), it keeps what it has: pages are given back once no server
    uses them.
    """
    if not wanted.huge_pages_mb:
        return 0
    needed = _needed(found)
    return max(_predicted(wanted, found), _mine(wanted, found) if renewed or not needed else needed)


def afterwards(wanted: Desired, found: Observed) -> Iterator[Change]:
    """What a renewed server gives back once it answers and says that it needs no more.

    Where the one that runs needs all that it has, a library shares memory, and how much is not known before.
    """
    if not wanted.huge_pages_mb or not found.huge_pages.get("size_kb"):
        return
    predicted, mine = _predicted(wanted, found), _mine(wanted, found)
    if mine > max(predicted, _needed(found)):
        yield _change(wanted, found, mine, predicted, once_ready=True)


@dataclass(frozen=True)
class PagesDetail(Detail):
    """``pages``: how many the instance has afterwards."""

    pages: int


def changes(wanted: Desired, found: Observed, renewed: bool) -> Iterator[Change]:
    if not found.huge_pages.get("size_kb"):
        return
    seen = found.huge_pages
    now, should = parse(seen["text"], seen["kernel"]), pages(wanted, found, renewed)
    mine = now.of(wanted.instance)
    # The kernel may have found fewer when the host started, or an administrator has taken some back.
    missing = should > 0 and seen["kernel"] < now.total
    if should != mine or missing:
        why = f"the host has {seen['kernel']} of {now.total}" if missing else ""
        yield _change(wanted, found, mine, should, why)


def _change(
    wanted: Desired, found: Observed, mine: int, should: int, why: str = "", once_ready: bool = False
) -> Change:
    return Change(
        KIND,
        wanted.instance,
        "reserve" if should > mine or why else "give back",
        before=f"{mine}" if mine and should != mine else "",
        after=f"{should} of {found.huge_pages['size_kb'] // 1024} MB" if should else "",
        why=why,
        origin=wanted.origin(VARIABLE),
        once_ready=once_ready,
        detail=PagesDetail(should),
    )


def restarts(wanted: Desired, found: Observed) -> bool:
    """Whether the running server would take its pages if it were started again."""
    started = float((found.server or {}).get("started") or 0)
    return (
        bool(found.huge_pages)
        and _known(found, "huge_pages_status") == "off"
        and _known(found, "huge_pages") != "off"
        # One that was started since, and has none, would have none again.
        and (started < found.huge_pages["modified"] or any(changes(wanted, found, renewed=False)))
    )


def problems(wanted: Desired, found: Observed, renewed: bool) -> Iterator[str]:
    seen = found.huge_pages
    if not seen["size_kb"]:
        yield f"{VARIABLE} is true and the kernel of this host has no huge pages; set it to false"
        return
    change = next(changes(wanted, found, renewed), None)
    if change is None:
        return
    if not seen["permitted"]:
        yield (
            f"{VARIABLE} is true and this user may not reserve memory of the host ({KERNEL}); deploy as root "
            "(become: true), or set it to false"
        )
    now = parse(seen["text"], seen["kernel"]).having(wanted.instance, change.detail_as(PagesDetail).pages)
    more = (now.total - seen["kernel"]) * seen["size_kb"] // 1024
    if more > seen["available_mb"]:
        yield (
            f"{VARIABLE} reserves {more} MB and this host has {seen['available_mb']} MB to spare; give postgres_memory "
            f"less, or set {VARIABLE} to false"
        )


def findings(wanted: Desired, found: Observed) -> Iterator[Finding]:
    """Whether the server has what is kept for it. What is not kept as it should be, the plan says."""
    status, needed = _known(found, "huge_pages_status"), _needed(found)
    if not found.huge_pages or not status:
        return
    size = found.huge_pages["size_kb"] // 1024
    if status == "on":
        yield Finding(KIND, "green", f"the server's shared memory uses {needed} pages of {size} MB")
    elif _known(found, "huge_pages") == "off":
        remedy = f"take huge_pages out of postgres_settings, or set {VARIABLE}: false"
        yield Finding(KIND, "yellow", "huge pages are reserved, but huge_pages is off", remedy)
    elif not restarts(wanted, found):
        message = f"the server needs {needed} pages of {size} MB and started without them, although they are reserved"
        remedy = (
            "find what uses them (grep Huge /proc/meminfo), then restart the server (stop.yml, start.yml)"
        )
        yield Finding(KIND, "yellow", message, remedy)


# -- the kernel ------------------------------------------------------------------------------------


@contextmanager
def held() -> Iterator[None]:
    """One at a time: instances of a host that are deployed side by side share the number."""
    PATH.parent.mkdir(exist_ok=True)
    handle = os.open(PATH.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def ask_kernel(number: int) -> None:
    """Have the kernel keep so many pages in all, or as many as before and an error."""
    before = int(KERNEL.read_text(encoding="ascii"))
    got = _ask(number)
    if got < number and _COMPACT.exists():
        _COMPACT.write_text("1", encoding="ascii")
        got = _ask(number)
    if got < number:
        _ask(before)
        raise AzaError(
            f"the kernel allocated {got} of {number} huge pages, because the memory of this host is full or "
            f"fragmented; deploy again after a reboot of the host, or set {VARIABLE} to false",
            reason="no_huge_pages",
        )


def _ask(number: int) -> int:
    KERNEL.write_text(str(number), encoding="ascii")
    return int(KERNEL.read_text(encoding="ascii"))
