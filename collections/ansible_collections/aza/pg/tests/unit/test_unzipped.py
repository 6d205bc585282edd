# SPDX-License-Identifier: Apache-2.0
"""Modules come out of Ansible's archive before they are loaded."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

from ansible_collections.aza.pg.plugins.module_utils import unzipped

_PROGRAM = """
import sys
sys.path.insert(0, sys.argv[1])
from package.utils import unzipped
from package.utils.part import inner
print(inner.__file__)
"""


def test_what_follows_is_loaded_from_a_directory(tmp_path: Path) -> None:
    archive = tmp_path / "payload.zip"
    with zipfile.ZipFile(archive, "w") as whole:
        for directory in ("package", "package/utils", "package/utils/part"):
            whole.writestr(f"{directory}/__init__.py", "")
        whole.writestr("package/utils/part/inner.py", "")
        whole.writestr("package/other.py", "")
        whole.writestr("package/utils/unzipped.py", Path(unzipped.__file__).read_text())
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM, str(archive)], capture_output=True, text=True, check=True
    )
    assert Path(done.stdout.strip()) == tmp_path / "package" / "utils" / "part" / "inner.py"
    # No more than is needed, and nothing that would stay.
    assert {path.name for path in tmp_path.rglob("*.py")} == {"__init__.py", "inner.py", "unzipped.py"}
    assert not list(tmp_path.rglob("*.pyc"))


def test_nothing_happens_where_nothing_is_zipped() -> None:
    before = list(sys.modules[unzipped.__package__].__path__)
    unzipped.unpack(unzipped.__package__)
    assert list(sys.modules[unzipped.__package__].__path__) == before
