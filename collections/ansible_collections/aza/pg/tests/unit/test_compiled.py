# SPDX-License-Identifier: Apache-2.0
"""What a run loads is compiled once: on a host what came in Ansible's archive, on the control node its own files."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest
from ansible_collections.aza.pg.plugins.module_utils import compiled

# A module as Ansible runs it. Whose home it is cannot be told by a variable, so the program says it.
_PROGRAM = """
import pwd, sys, types
pwd.getpwuid = lambda _: types.SimpleNamespace(pw_dir=sys.argv[2])
sys.path.insert(0, sys.argv[1])
from package.utils import compiled
from package.utils.part import inner
print(inner.__file__, inner.NUMBER)
"""

# The file that an error in it would be said to be in.
_TRACE = (
    sys.executable,
    "-c",
    "import marshal, sys; print(marshal.loads(open(sys.argv[1], 'rb').read()[16:]).co_filename)",
)


def archive(directory: Path, number: int = 1) -> Path:
    path = directory / "payload.zip"
    with zipfile.ZipFile(path, "w") as whole:
        for name in ("package", "package/utils", "package/utils/part"):
            whole.writestr(f"{name}/__init__.py", "")
        whole.writestr("package/utils/part/inner.py", f"NUMBER = {number}\n")
        whole.writestr("package/other.py", "")
        whole.writestr("package/utils/compiled.py", Path(compiled.__file__).read_text())
    return path


def run(path: Path, home: Path) -> tuple[Path, int]:
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM, str(path), str(home)],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
    )
    file, number = done.stdout.split()
    return Path(file), int(number)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    made = tmp_path / "home"
    made.mkdir()
    return made


def test_a_host_compiles_once(tmp_path: Path, home: Path) -> None:
    path = archive(tmp_path)
    file, _ = run(path, home)
    cache = home / ".cache/aza-pg"
    assert cache in file.parents and cache.stat().st_mode & 0o777 == 0o700
    # No more than is needed.
    assert {found.name for found in cache.rglob("*.py")} == {"__init__.py", "inner.py", "compiled.py"}
    (code,) = file.parent.glob("__pycache__/inner.*.pyc")
    # What was compiled is what counts, as long as the content is the same: the archive is another one each time.
    file.write_text("NUMBER = 0\n")
    assert run(archive(tmp_path), home) == (file, 1)
    assert str(file) in subprocess.run([*_TRACE, code], capture_output=True, text=True, check=True).stdout
    assert [found.name for found in tmp_path.iterdir() if found.is_dir()] == ["home"]


def test_another_version_is_not_mistaken_for_the_one_that_is_kept(tmp_path: Path, home: Path) -> None:
    first, _ = run(archive(tmp_path), home)
    second, number = run(archive(tmp_path, 2), home)
    assert (second != first, number) == (True, 2)
    # What nobody used for a month goes when something new comes.
    old = time.time() - 31 * 86400
    os.utime(first.parents[3], (old, old))
    run(archive(tmp_path, 3), home)
    assert second.exists() and not first.exists()


@pytest.mark.parametrize("trouble", ["others may write", "no directory"])
def test_where_nothing_can_be_kept_it_goes_with_the_archive(tmp_path: Path, home: Path, trouble: str) -> None:
    cache = home / ".cache/aza-pg"
    if trouble == "no directory":
        home.joinpath(".cache").write_text("")
    else:
        cache.mkdir(parents=True)
        cache.chmod(0o777)
    file, _ = run(archive(tmp_path), home)
    assert file == tmp_path / "package/utils/part/inner.py"
    assert not list(tmp_path.rglob("*.pyc"))


def test_the_control_node_finds_files(tmp_path: Path) -> None:
    """Before Ansible's loader, which keeps nothing; what is not ours is left to it."""
    inner = tmp_path / "inner.py"
    inner.write_text("")
    finder = compiled.Files(("package.utils", "package.more"))
    found = finder.find_spec("package.utils.inner", [str(tmp_path)])
    assert found is not None and found.origin == str(inner) and found.cached
    assert finder.find_spec("package.utils.absent", [str(tmp_path)]) is None
    assert finder.find_spec("package.inner", [str(tmp_path)]) is None
    assert finder.find_spec("package.utils", None) is None


def test_ansible_uses_them() -> None:
    """In a process of its own, whose loader is Ansible's."""
    program = (
        "from ansible.plugins.loader import init_plugin_loader, action_loader; init_plugin_loader()\n"
        "assert action_loader.find_plugin('aza.pg.stack')\n"
        "from ansible_collections.aza.pg.plugins.action import stack\n"
        "from ansible_collections.aza.pg.plugins.module_utils.model import desired\n"
        "print(desired.__cached__)"
    )
    root = Path(__file__).parents[6]
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        cwd=root,
        env={**os.environ, "ANSIBLE_CONFIG": str(root / "ansible.cfg")},
    )
    assert done.stdout.strip().endswith(".pyc")


def test_nothing_happens_where_python_loads_by_itself() -> None:
    package = compiled.__package__
    before = (list(sys.modules[package].__path__), list(sys.meta_path))
    compiled.unpack(package)
    compiled.find(package)
    assert (list(sys.modules[package].__path__), list(sys.meta_path)) == before
