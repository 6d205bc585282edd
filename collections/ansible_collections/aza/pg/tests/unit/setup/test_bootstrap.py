"""scripts/bootstrap picks the newest Python that can make an environment, or says what is missing in one sentence."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

BOOTSTRAP = Path(__file__).parents[7] / "scripts" / "bootstrap"
TOOLS = ["sh", "dirname", "sed", "sort", "tr", "grep", "id", "cat", "cksum", "rm"]


@pytest.fixture
def machine(tmp_path):
    """A machine whose search path holds nothing but the tools of a bare Debian and the Pythons a test puts there."""
    binaries = tmp_path / "bin"
    binaries.mkdir()
    for tool in TOOLS:
        (binaries / tool).symlink_to(shutil.which(tool))
    home = tmp_path / "checkout" / "scripts"
    home.mkdir(parents=True)
    shutil.copy(BOOTSTRAP, home)
    return Machine(tmp_path, binaries, home / "bootstrap")


class Machine:
    def __init__(self, root: Path, binaries: Path, script: Path) -> None:
        self.root, self.binaries, self.script = root, binaries, script

    def program(self, path: str, words: str, rc: int = 0) -> str:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"#!/bin/sh\necho '{words}'\nexit {rc}\n")
        file.chmod(0o755)
        return str(file)

    def python(self, path: str, minor: int) -> str:
        """A Python of a version that does: it answers the probe as a real one would."""
        return self.program(path, f"{minor} {self.root / path}")

    def run(self, *argv: str, **env: str) -> subprocess.CompletedProcess[str]:
        clean = {
            "PATH": str(self.binaries),
            "HOME": str(self.root),
            "PYENV_ROOT": str(self.root / "pyenv"),
            **env,
        }
        return subprocess.run([self.script, *argv], capture_output=True, text=True, check=False, env=clean)


def test_the_newest_wins_wherever_it_is(machine):
    machine.python("bin/python3", 11)
    machine.python("bin/python3.12", 12)
    newest = machine.python("pyenv/versions/3.13.0/bin/python3", 13)
    # pyenv's shim of a version that is not active: there, executable, and failing.
    machine.program("bin/python3.14", "pyenv: python3.14: command not found", rc=127)
    assert machine.run("--python").stdout.strip() == newest


def test_one_that_lacks_a_module_is_passed_over(machine):
    machine.program("bin/python3.13", "no module named ensurepip", rc=1)
    good = machine.python("bin/python3.11", 11)
    assert machine.run("--python").stdout.strip() == good


def test_the_system_behind_a_failing_shim_is_found(machine):
    machine.program("shims/python3", "pyenv: no version is set", rc=127)
    good = machine.python("bin/python3", 11)
    done = machine.run("--python", PATH=f"{machine.root}/shims:{machine.binaries}")
    assert done.stdout.strip() == good


def test_an_active_environment_is_never_built_upon(machine):
    """Also not our own, which comes first in the search path and is about to be made again."""
    real = Path(sys._base_executable).resolve()  # type: ignore[attr-defined]
    subprocess.run([real, "-m", "venv", "--without-pip", machine.root / "old"], check=True)
    found = machine.run("--python", PATH=f"{machine.root}/old/bin:{machine.binaries}").stdout.strip()
    assert Path(found).resolve() == real
    assert not found.startswith(str(machine.root))


def test_the_users_choice_is_the_only_one(machine):
    machine.python("bin/python3.13", 13)
    chosen = machine.python("opt/python", 11)
    assert machine.run("--python", PYTHON=chosen).stdout.strip() == chosen
    old = machine.program("opt/old", "version 3.9", rc=1)
    refused = machine.run("--python", PYTHON=old)
    assert refused.returncode == 1
    assert len(refused.stderr.splitlines()) == 1
    assert f"PYTHON={old} does not do (version 3.9): Python 3.11 or newer" in refused.stderr


def test_only_older_ones_is_one_sentence(machine):
    machine.program("bin/python3", "version 3.9", rc=1)
    done = machine.run()
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "Python 3.11 or newer is needed" in done.stderr


@pytest.mark.parametrize("root", [True, False])
def test_debian_without_the_venv_package(machine, root):
    (machine.binaries / "id").unlink()
    machine.program("bin/id", "0" if root else "1000")
    machine.program("bin/python3", "no module named ensurepip", rc=1)
    # The package brings the module: from then on the same Python does.
    apt = machine.binaries / "apt-get"
    apt.write_text(
        f'#!/bin/sh\necho "apt-get $*"\necho \'#!/bin/sh\necho "11 $0"\' > {machine.binaries}/python3\n'
    )
    apt.chmod(0o755)
    done = machine.run("--python")
    if root:
        assert done.stdout.strip() == str(machine.binaries / "python3")
        assert "installing python3-venv" in done.stderr
    else:
        assert done.returncode == 1
        assert "as root: apt-get install python3-venv" in done.stderr


def test_a_second_call_finds_the_environment_ready(machine, tmp_path):
    checkout = tmp_path / "checkout"
    (checkout / "requirements.txt").write_text("ansible-core==2.21.5\n")
    machine.python("checkout/.venv/bin/python", 13)
    locks = (checkout / "requirements.txt").read_bytes()
    total = subprocess.run(["cksum"], input=locks, capture_output=True, check=True).stdout.decode()
    (checkout / ".venv/.stamp-run").write_text(f"{checkout}\n{total}")
    assert (machine.run().returncode, machine.run().stderr) == (0, "")
    # Another lock: it has to be made again, and this machine has no Python for that.
    (checkout / "requirements.txt").write_text("ansible-core==2.21.6\n")
    assert "Python 3.11 or newer is needed" in machine.run().stderr


def test_an_environment_whose_python_vanished_is_not_trusted(machine, tmp_path):
    checkout = tmp_path / "checkout"
    (checkout / "requirements.txt").write_text("")
    (checkout / ".venv").mkdir()
    total = subprocess.run(["cksum"], input=b"", capture_output=True, check=True).stdout.decode()
    (checkout / ".venv/.stamp-run").write_text(f"{checkout}\n{total}")
    assert "Python 3.11 or newer is needed" in machine.run().stderr
    assert not (checkout / ".venv/.stamp-run").exists()


def test_the_locks_hold_hashes_and_no_address():
    root = BOOTSTRAP.parents[1]
    for name in ("requirements.txt", "requirements-dev.txt", "requirements-collections.txt"):
        text = (root / name).read_text()
        assert "--hash=sha256:" in text
        assert "://" not in text
        assert os.fspath(root) not in text
