# SPDX-License-Identifier: Apache-2.0
"""What is sent to hosts is packed once, and packed anew when a file has changed."""

from __future__ import annotations

import base64
import importlib.util
import io
import pwd
import subprocess
import sys
import types
import zipfile
from pathlib import Path

import pytest
from ansible import constants
from ansible.executor.module_common import ModuleMetadataV1, _CachedModule
from ansible_collections.aza.pg.plugins.plugin_utils import payloads

_NAME = "ansible_collections.aza.pg.plugins.modules.stack_apply-ZIP_DEFLATED-none"


@pytest.fixture
def plugins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Files of ours, in whose place others can be written, and a home."""
    folder = tmp_path / "plugins"
    for name in ("modules", "module_utils"):
        (folder / name).mkdir(parents=True)
        (folder / name / "a.py").write_text("a = 1\n")
    (tmp_path / "home").mkdir()
    monkeypatch.setattr(payloads, "_PLUGINS", folder)
    monkeypatch.setattr(pwd, "getpwuid", lambda _: types.SimpleNamespace(pw_dir=str(tmp_path / "home")))
    return folder


@pytest.fixture
def run(plugins: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    return Run(tmp_path, monkeypatch)


class Run:
    def __init__(self, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.number, self.directory, self.monkeypatch = 0, directory, monkeypatch

    def begin(self) -> Path:
        """Ansible's directory of a run, and in it where it keeps what it packed."""
        self.number += 1
        local = self.directory / f"run{self.number}"
        local.mkdir()
        self.monkeypatch.setattr(constants, "DEFAULT_LOCAL_TMP", str(local))
        payloads.seed()
        return local / "ansiballz_cache"


def test_the_next_run_has_what_this_one_packed(run: Run) -> None:
    first = run.begin()
    (first / _NAME).write_text("packed")
    (first / f"{_NAME}.lock").write_text("")
    (first / f"{_NAME}-part").write_text("pa")
    (first / "ansible.modules.package-ZIP_DEFLATED-none").write_text("of Ansible's own")
    payloads.keep()
    second = run.begin()
    assert {path.name: path.read_text() for path in second.iterdir()} == {_NAME: "packed"}


def _pack(target: Path, files: dict[str, str]) -> None:
    """As Ansible does it."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as packed:
        for name, text in files.items():
            packed.writestr(name, text)
    metadata = ModuleMetadataV1(serialization_profile="legacy")
    data = base64.b64encode(archive.getvalue())
    _CachedModule(zip_data=data, metadata=metadata, source_mapping={"a": "b"}).dump(str(target))


def _archive(payload: Path) -> bytes:
    return base64.b64decode(_CachedModule.load(str(payload)).zip_data)


def test_hosts_with_this_python_need_not_compile_what_is_ansibles(run: Run, tmp_path: Path) -> None:
    """Others pass the code over. Ours goes without: what is kept of it on a host is of every version."""
    ours = "ansible_collections/aza/pg/plugins/module_utils/ours.py"
    files = {
        "ansible/__init__.py": "",
        "ansible/basic.py": "print('basic')",
        "ansible/data.txt": "no code",
        ours: "print('ours')",
    }
    _pack(run.begin() / _NAME, files)
    payloads.keep()
    kept = run.begin() / _NAME
    assert _CachedModule.load(str(kept)).source_mapping == {"a": "b"}
    archive = _archive(kept)
    with zipfile.ZipFile(io.BytesIO(archive)) as packed:
        assert set(packed.namelist()) == {*files, "ansible/__init__.pyc", "ansible/basic.pyc"}
        assert {name: packed.read(name).decode() for name in files} == files

    def imported(name: str, changed: bytes = b"", to: bytes = b"") -> tuple[str, str]:
        """What it prints, and what it was loaded from."""
        (tmp_path / "payload.zip").write_bytes(_rewritten(archive, changed, to))
        code = f"import sys; sys.path.insert(0, 'payload.zip'); import {name} as it; print(it.__file__)"
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
        )
        said, path = done.stdout.split()
        return said, path.rpartition(".")[2]

    assert imported("ansible.basic") == ("basic", "pyc")
    another = b"\x00\x0d" + importlib.util.MAGIC_NUMBER[2:]
    assert imported("ansible.basic", importlib.util.MAGIC_NUMBER, another) == ("basic", "py")


def _rewritten(archive: bytes, before: bytes, after: bytes) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(archive)) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            data = old.read(name)
            new.writestr(name, data.replace(before, after, 1) if name.endswith(".pyc") else data)
    return target.getvalue()


@pytest.mark.parametrize("changed", ["modules/a.py", "module_utils/a.py", "module_utils/new.py"])
def test_what_a_file_has_changed_for_is_packed_anew(run: Run, plugins: Path, changed: str) -> None:
    (run.begin() / _NAME).write_text("packed")
    payloads.keep()
    (plugins / changed).write_text("a = 2\n")
    assert not list(run.begin().iterdir())


def test_another_ansible_packs_for_itself(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    (run.begin() / _NAME).write_text("packed")
    payloads.keep()
    monkeypatch.setattr(payloads, "__version__", "2.99.0")
    assert not list(run.begin().iterdir())


def test_a_place_that_others_may_write_to_is_not_trusted(run: Run, tmp_path: Path) -> None:
    (run.begin() / _NAME).write_text("packed")
    payloads.keep()
    (kept,) = (tmp_path / "home/.cache/aza-pg").iterdir()
    kept.chmod(0o777)
    assert not list(run.begin().iterdir())


def test_without_a_home_runs_are_as_they_are(
    plugins: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        pwd, "getpwuid", lambda _: types.SimpleNamespace(pw_dir=str(tmp_path / "plugins/modules/a.py"))
    )
    fresh = Run(tmp_path, monkeypatch).begin()
    (fresh / _NAME).write_text("packed")
    payloads.keep()
    assert [path.name for path in fresh.iterdir()] == [_NAME]
