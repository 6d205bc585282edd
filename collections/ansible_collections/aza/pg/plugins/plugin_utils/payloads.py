# SPDX-License-Identifier: Apache-2.0
"""What Ansible sends to a host to run a module of ours, kept from one run to the next.

Ansible packs a module with all that it imports into one archive, and parses each file to find out what that is: half a
second of processor time for ours. It keeps the archives in a directory of the run, so that it packs once for all hosts.
Here they are kept longer, for as long as no file has changed. Where Ansible looks elsewhere, nothing is lost but time.

What is kept holds Ansible's own files as byte code as well: a host that has the control node's version of Python need
not compile them in each call, which is a fifth of a second. Any other passes it over.
"""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import hashlib
import importlib.util
import io
import marshal
import os
import pickle
import shutil
import sys
import tempfile
import zipfile
from pathlib import Path

from ansible import constants
from ansible.executor import module_common
from ansible.release import __version__
from ansible_collections.aza.pg.plugins.module_utils import compiled

_PLUGINS = Path(__file__).parents[1]
_OURS = "ansible_collections.aza.pg.plugins.modules.*"
_OUR_FILES = "ansible_collections/aza/pg/plugins/module_utils/"
_UNFINISHED = ("-part", ".lock")


def seed() -> None:
    """Give this run what an earlier one packed."""
    with contextlib.suppress(OSError, KeyError):
        run = _of_this_run()
        run.mkdir(exist_ok=True)
        for payload in _kept().glob(_OURS):
            with contextlib.suppress(FileExistsError):
                (run / payload.name).symlink_to(payload)


def keep() -> None:
    """Keep for the next run what this one packed."""
    with contextlib.suppress(OSError, KeyError):
        fresh = [
            path
            for path in _of_this_run().glob(_OURS)
            if not path.is_symlink() and not path.name.endswith(_UNFINISHED)
        ]
        if not fresh:
            return
        kept = _kept()
        kept.mkdir(mode=0o700, exist_ok=True)
        for path in fresh:
            number, copy = tempfile.mkstemp(dir=kept)
            os.close(number)
            _copy(path, copy)
            Path(copy).rename(kept / path.name)


def _copy(path: Path, target: str) -> None:
    try:
        packed = module_common._CachedModule.load(str(path))
        with_code = dataclasses.replace(packed, zip_data=_with_code(packed.zip_data))
    except (
        pickle.PickleError,
        EOFError,
        AttributeError,
        TypeError,
        ValueError,
        SyntaxError,
        zipfile.BadZipFile,
    ):
        # Another Ansible, which packs in another way.
        shutil.copyfile(path, target)
    else:
        with_code.dump(target)


def _with_code(packed: bytes) -> bytes:
    """The archive (in base64) with the code of each file beside it, where Python looks first. Not of our own files:
    a host keeps that, for any version (``compiled``)."""
    archive = io.BytesIO(base64.b64decode(packed))
    with zipfile.ZipFile(archive, "a", zipfile.ZIP_DEFLATED) as whole:
        for name in whole.namelist():
            if name.endswith(".py") and not name.startswith(_OUR_FILES):
                source = whole.read(name)
                code = marshal.dumps(compile(source, name, "exec", dont_inherit=True))
                # PEP 552: it goes by a hash of the source, which is not looked at.
                kind = (1).to_bytes(4, "little")
                header = importlib.util.MAGIC_NUMBER + kind + importlib.util.source_hash(source)
                whole.writestr(f"{name}c", header + code)
    return base64.b64encode(archive.getvalue())


def _of_this_run() -> Path:
    return Path(constants.DEFAULT_LOCAL_TMP, "ansiballz_cache")


def _kept() -> Path:
    """Where there may be something. Raises OSError or KeyError when nothing can be kept."""
    # Files that somebody lets Ansible find before its own: rare, and not ours to read.
    instead = [path for path in constants.DEFAULT_MODULE_UTILS_PATH if Path(path).is_dir()]
    content = hashlib.sha256(
        f"{__version__}\0{sys.version}\0{instead}".encode() + Path(__file__).read_bytes()
    )
    for folder in ("module_utils", "modules"):
        for path in sorted(Path(_PLUGINS, folder).rglob("*.py")):
            content.update(f"\0{path.relative_to(_PLUGINS)}\0".encode() + path.read_bytes())
    root = compiled.cache()
    kept = root / f"payloads-{content.hexdigest()[:32]}"
    if kept.is_dir():
        compiled.own(kept)
        os.utime(kept)
    else:
        compiled.forget(root, "payloads-*")
    return kept
