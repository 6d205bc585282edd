# SPDX-License-Identifier: Apache-2.0
"""To be imported before the rest: what follows is then loaded in three quarters of the time.

Ansible sends a module as a zip archive, and Python compiles each file of an archive twice, once to find it and once to
load it. So our own files are unpacked beside the archive, in the directory that Ansible removes when the module ends.
Where nothing is zipped, as on the control node, this does nothing.
"""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path


def unpack(package: str) -> None:
    """Have the modules of ``package`` that are not loaded yet come from a directory."""
    path = sys.modules[package].__path__
    archive, zipped, inside = path[0].partition(".zip/")
    if not zipped:
        return
    directory = Path(archive).parent
    with zipfile.ZipFile(f"{archive}.zip") as whole:
        whole.extractall(directory, [name for name in whole.namelist() if name.startswith(f"{inside}/")])
    path[:] = [str(directory / inside)]
    # They are gone in a moment; to keep their code would be for nothing.
    sys.dont_write_bytecode = True


unpack(__package__)
