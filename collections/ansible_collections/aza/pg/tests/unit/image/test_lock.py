# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from ansible_collections.aza.pg.plugins.module_utils.errors import AzaError
from ansible_collections.aza.pg.plugins.module_utils.image import lock as locking
from ansible_collections.aza.pg.plugins.module_utils.image.lock import Architecture, Lock, packages_from
from ansible_collections.aza.pg.tests.unit.image.samples import RECORDS, record, with_packages
from hypothesis import given
from hypothesis import strategies as st

NAMES = [entry["Package"] for entry in RECORDS]


def test_closure_holds_what_is_needed_and_nothing_else(lock: Lock) -> None:
    assert lock.closure("amd64", ["ext-a"]) == [
        "bash", "debconf", "ext-a", "libc6", "libpq5", "libshared", "perl", "server",
    ]  # fmt: skip


def test_what_is_given_is_left_out_with_what_only_it_needs(lock: Lock) -> None:
    assert lock.closure("amd64", ["debconf"], given=["perl"]) == ["debconf"]


def test_the_first_alternative_is_taken(lock: Lock) -> None:
    assert "tiny" in lock.closure("amd64", ["ext-b"])
    assert "big" not in lock.closure("amd64", ["ext-b"])


def test_an_alternative_that_is_there_anyway_is_taken(lock: Lock) -> None:
    assert "tiny" not in lock.closure("amd64", ["big", "ext-b"])


@given(roots=st.lists(st.sampled_from(NAMES), max_size=5))
def test_closure_is_closed_and_grows_with_its_roots(roots: list[str]) -> None:
    packages = packages_from(RECORDS)
    lock = Lock(
        "s",
        18,
        "forky",
        "i",
        "2026-01-01T00:00:00Z",
        "2026-01-01T00:00:00Z",
        {"amd64": Architecture((), packages)},
    )
    found = lock.closure("amd64", roots)
    assert set(roots) <= set(found)
    assert lock.closure("amd64", found) == found
    for name in found:
        assert all(set(clause.split("|")) & set(found) for clause in packages[name].depends)


def test_unknown_root_names_package_and_command(lock: Lock) -> None:
    with pytest.raises(
        AzaError, match=r"locks/debian-18.yml does not have the package ext-z .* playbooks/lock.yml"
    ) as raised:
        lock.closure("amd64", ["ext-z"])
    assert raised.value.reason == "lock_incomplete"


def test_a_package_deleted_from_the_lock_is_named(lock: Lock) -> None:
    broken = with_packages(lock, {"libpq5": None})
    with pytest.raises(AzaError, match=r"damaged: it lacks the package libpq5 .* playbooks/lock.yml"):
        broken.closure("amd64", ["ext-a"])


def test_unknown_architecture_is_refused(lock: Lock) -> None:
    with pytest.raises(AzaError, match="has nothing for riscv64, only for amd64, arm64"):
        lock.closure("riscv64", ["server"])


def test_unsatisfied_dependency_is_not_swallowed() -> None:
    with pytest.raises(AzaError, match="needs libmissing, which apt did not choose"):
        packages_from([record("a", Depends="libmissing")])


def test_a_package_may_satisfy_itself() -> None:
    assert packages_from([record("a", Depends="virtual", Provides="virtual")])["a"].depends == ()


def test_file_name_escapes_the_epoch() -> None:
    package = packages_from([record("procps", "2:4.0.7-1+b2")])["procps"]
    assert package.filename("procps") == "procps_2%3a4.0.7-1+b2_amd64.deb"


def test_written_lock_reads_back(lock: Lock, tmp_path: Path) -> None:
    (tmp_path / "locks").mkdir()
    path = locking.path_of(tmp_path, "debian", 18)
    path.write_text(locking.dump_lock(lock))
    assert locking.load_lock(tmp_path, "debian", 18) == lock
    assert locking.dump_lock(locking.load_lock(tmp_path, "debian", 18)) == path.read_text()
    assert lock.epoch == 1795381200


def test_versions_that_look_like_numbers_stay_text(lock: Lock, tmp_path: Path) -> None:
    (tmp_path / "locks").mkdir()
    odd = with_packages(lock, {"tiny": "18.6", "big": "1e5", "libpq5": "0x10"})
    locking.path_of(tmp_path, "debian", 18).write_text(locking.dump_lock(odd))
    assert locking.load_lock(tmp_path, "debian", 18) == odd


@pytest.mark.parametrize("text", ["", "source: debian\n", "[1, 2]\n", "a: [\n"])
def test_damaged_lock_says_how_to_mend_it(text: str, tmp_path: Path) -> None:
    (tmp_path / "locks").mkdir()
    locking.path_of(tmp_path, "debian", 18).write_text(text)
    with pytest.raises(AzaError, match=r"debian-18.yml is damaged .* playbooks/lock.yml"):
        locking.load_lock(tmp_path, "debian", 18)


def test_missing_lock_says_how_to_make_it(tmp_path: Path) -> None:
    with pytest.raises(
        AzaError,
        match=r"does not exist: make it with 'ansible-playbook playbooks/lock.yml -e image_major=18'",
    ):
        locking.load_lock(tmp_path, "debian", 18)


def test_difference_reads_well(lock: Lock) -> None:
    new = with_packages(lock, {"libpq5": "18.7-1", "tiny": None, "newcomer": "0.1-1"})
    difference = locking.compare(lock, new)
    assert difference.lines() == ["~ libpq5 18.6-3 → 18.7-1", "+ newcomer 0.1-1", "- tiny 1.0-1"]
    assert difference.summary == "packages: 1 changed, 1 added, 1 removed"


def test_difference_names_the_architecture_when_it_is_not_all(lock: Lock) -> None:
    changed = with_packages(lock, {"libpq5": "18.7-1"})
    new = replace(lock, architectures={**lock.architectures, "arm64": changed.architectures["arm64"]})
    assert locking.compare(lock, new).lines() == ["~ libpq5 18.6-3 → 18.7-1 (arm64)"]


def test_a_rebuild_under_the_same_version_is_told(lock: Lock) -> None:
    packages = dict(lock.architectures["amd64"].packages)
    packages["tiny"] = replace(packages["tiny"], sha256="f" * 64)
    new = replace(
        lock,
        architectures={
            **lock.architectures,
            "amd64": replace(lock.architectures["amd64"], packages=packages),
        },
    )
    assert locking.compare(lock, new).lines() == ["~ tiny 1.0-1 (same version, other facts) (amd64)"]


def test_an_unchanged_archive_does_not_change_the_lock(lock: Lock) -> None:
    again = replace(with_packages(lock, {}), architectures={
        name: replace(architecture, rootfs=None) for name, architecture in lock.architectures.items()
    })  # fmt: skip
    assert locking.carried_over(lock, again) is lock


def test_a_digest_outlives_a_lock_made_without_a_registry(lock: Lock) -> None:
    old = replace(lock, digest="sha256:" + "a" * 64)
    new = with_packages(lock, {"libpq5": "18.7-1"})
    assert locking.carried_over(old, new).digest == old.digest
    assert locking.carried_over(old, replace(new, image="debian:other")).digest is None


def test_a_new_extension_leaves_the_base_as_it_is(lock: Lock) -> None:
    new = locking.carried_over(lock, with_packages(lock, {"newcomer": "1-1"}))
    assert (new.resolved_at, new.base_at) == ("2026-11-23T00:00:00Z", lock.base_at)
    assert new.architectures["amd64"].rootfs == lock.architectures["amd64"].rootfs


def test_a_new_base_package_makes_a_new_base(lock: Lock) -> None:
    wanted = with_packages(lock, {"libc6": "2.44-1"})
    forgotten = {name: replace(facts, rootfs=None) for name, facts in wanted.architectures.items()}
    new = locking.carried_over(lock, replace(wanted, architectures=forgotten))
    assert new.base_at == "2026-11-23T00:00:00Z"
    assert new.architectures["amd64"].rootfs is None
