"""The machine's apt configuration is read in every form that Debian's tools write it."""

from __future__ import annotations

import pytest
from ansible_collections.aza.pg.plugins.module_utils.docker_engine import apt

MIRROR = "http://mirror.example/debian/"
LISTING = f"""Vendor|bookworm|main|http://vendor.example/|/etc/apt/sources.list:7
Debian|bookworm-updates|main|{MIRROR}|/etc/apt/sources.list.d/debian.sources:1
Debian|bookworm|contrib|{MIRROR}|/etc/apt/sources.list.d/debian.sources:1
Debian|bookworm|main|{MIRROR}|/etc/apt/sources.list.d/debian.sources:1
E: a word of apt's that is no target
"""
TARGET = apt.Target("Debian", "bookworm", "main", MIRROR, "/etc/apt/sources.list.d/debian.sources")
BLOCK = "\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n mQINBF\n -----END PGP PUBLIC KEY BLOCK-----"


def test_targets_are_parsed_and_the_suites_own_main_is_found():
    targets = apt.parse_targets(LISTING)
    assert len(targets) == 4
    assert apt.find_target(targets, "bookworm") == TARGET
    assert apt.find_target(targets, "forky") is None


@pytest.mark.parametrize(
    ("entry", "keys"),
    [
        (f"Types: deb\nURIs: {MIRROR}\nSuites: bookworm\nComponents: main\nSigned-By: /k.gpg\n", "/k.gpg"),
        # Another suite's stanza first, a comment, no slash at the end, folded suites.
        (
            "Types: deb\nURIs: http://security.example/\nSuites: bookworm-security\nSigned-By: /other.gpg\n\n"
            "# frozen on a day\nTypes: deb\nURIs: http://mirror.example/debian\nSuites:\n bookworm\n bookworm-updates\n"
            "Signed-By: /k.gpg\n",
            "/k.gpg",
        ),
        (f"Types: deb\nURIs: {MIRROR}\nSuites: bookworm\nSigned-By:{BLOCK}\n", BLOCK),
        (f"Types: deb\nURIs: {MIRROR}\nSuites: bookworm\n", ""),
        ("deb [arch=amd64 signed-by=/k.gpg] http://mirror.example/debian bookworm main\n", "/k.gpg"),
        ("# deb [signed-by=/old.gpg] http://mirror.example/debian bookworm main\n", ""),
        ("deb http://mirror.example/debian bookworm main\n", ""),
    ],
)
def test_keys_are_those_of_the_machines_own_entry(entry, keys):
    assert apt.signed_by(entry, TARGET) == keys


@pytest.mark.parametrize("keys", ["", "/k.gpg", BLOCK])
def test_the_later_suites_source_says_what_its_neighbour_says(keys):
    text = apt.render_source(TARGET, "forky", keys)
    later = apt.Target("Debian", "forky", "main", MIRROR, "")
    assert apt.signed_by(text, later) == keys
    assert "Check-Valid-Until" not in text
    assert "Check-Valid-Until: no\n" in apt.render_source(TARGET, "forky", keys, check_valid_until=False)


def test_only_the_engine_comes_from_the_later_suite():
    pins = apt.render_pins("forky", ["docker.io", "containerd"], own_source=True)
    assert "Package: *\nPin: release n=forky\nPin-Priority: 1\n" in pins
    assert "Package: docker.io containerd\nPin: release n=forky\nPin-Priority: 500\n" in pins
    assert "Package: *" not in apt.render_pins("forky", ["docker.io"], own_source=False)
