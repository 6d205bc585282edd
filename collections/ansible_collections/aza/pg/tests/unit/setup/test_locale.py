# SPDX-License-Identifier: Apache-2.0
"""make gives its commands a UTF-8 locale, which Ansible needs, and keeps one that the user has."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[7]
PROBE = "probe: ; @locale charmap; echo $${LC_ALL-unset}; ansible-playbook --version"


def probe(**environment: str) -> list[str]:
    """Return what a command of make sees: its character set, LC_ALL, Ansible's first words."""
    done = subprocess.run(
        ["make", "--no-print-directory", f"--eval={PROBE}", "probe"],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "HOME": os.environ["HOME"], **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.splitlines()[:3]


@pytest.mark.parametrize("given", [{"LC_ALL": "C"}, {"LANG": "xx_YY.UTF-8"}, {}])
def test_ansible_starts_in_any_locale(given: dict[str, str]) -> None:
    charset, _, ansible = probe(**given)
    assert charset == "UTF-8"
    assert ansible.startswith("ansible-playbook [core")


def test_a_locale_that_does_is_kept() -> None:
    assert probe(LANG="C.UTF-8")[1] == "unset"
