# SPDX-License-Identifier: Apache-2.0
"""A small archive, as apt would describe it, and locks made from it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ansible_collections.aza.pg.plugins.module_utils.image.lock import Lock

ROOT = Path(__file__).parents[7]


def record(name: str, version: str = "1.0-1", **fields: str) -> dict[str, str]:
    """Return a package's record as the archive has it; ``Pre_Depends`` stands for Pre-Depends."""
    return {
        "Package": name,
        "Version": version,
        "Architecture": "amd64",
        "SHA256": f"{abs(hash((name, version))):064x}"[:64],
        "Size": "100",
        **{key.replace("_", "-"): value for key, value in fields.items()},
    }


RECORDS = [
    record("libc6", "2.43-1"),
    record("bash", Depends="libc6 (>= 2.40)"),
    record("perl", "5.42.2-1", Depends="libc6", Provides="libencode-perl (= 3.21), libfoo"),
    record("libencode-perl", "3.24-1", Depends="perl"),
    record(
        "server",
        "18.6-3",
        Depends="libpq5 (= 18.6-3), debconf (>= 0.5) | debconf-2.0, libc6",
        Pre_Depends="bash",
    ),
    record("libpq5", "18.6-3", Depends="libc6"),
    record("debconf", Depends="perl"),
    record("ext-a", Depends="server, libshared:any"),
    record("ext-b", Depends="server, tiny | big"),
    record("tiny"),
    record("big", Depends="libshared"),
    record("libshared", Architecture="all", Depends="libc6"),
]


def with_packages(lock: Lock, changes: dict[str, str | None], at: str = "2026-11-23T00:00:00Z") -> Lock:
    """Return the lock with other versions (None removes) on every architecture."""
    architectures = {}
    for name, architecture in lock.architectures.items():
        packages = dict(architecture.packages)
        for package, version in changes.items():
            if version is None:
                del packages[package]
            else:
                packages[package] = replace(packages.get(package, packages["libc6"]), version=version)
        architectures[name] = replace(architecture, packages=packages)
    return replace(lock, architectures=architectures, resolved_at=at, base_at=at)
