"""The callback says which task still runs, and is silent where tasks are short."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

ROOT = Path(__file__).parents[7]
PLAY = """
- hosts: localhost
  connection: local
  gather_facts: false
  tasks:
    - name: A long one
      ansible.builtin.pause:
        seconds: 3
    - name: A short one
      ansible.builtin.meta: noop
"""


def test_only_a_long_task_is_announced(tmp_path):
    play = tmp_path / "play.yml"
    play.write_text(PLAY)
    done = subprocess.run(
        [Path(sys.executable).with_name("ansible-playbook"), "-i", "localhost,", play],
        env={**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "AZA_HEARTBEAT_INTERVAL": "2"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    told = re.findall(r"^ +\.\.\. (.*): (\d+) s$", done.stdout, re.MULTILINE)
    assert {name for name, _ in told} == {"A long one"}
    # On a busy machine it takes longer, and is told of again.
    assert all(int(later) - int(sooner) >= 2 for sooner, later in pairwise(["0", *(at for _, at in told)]))
