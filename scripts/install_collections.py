#!/usr/bin/env python3
"""Install the collections of requirements.yml without Galaxy.

The `ansible` wheel on the package index carries them. It is downloaded at its locked hash, and only the named
collections and those they depend on are unpacked. ansible-galaxy then checks their versions against requirements.yml,
so that file stays the one place that says what is needed.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parent.parent
TARGET = ROOT / ".collections"


def download(folder: str) -> Path:
    """Fetch the locked wheel with pip, which knows this machine's package index, and return its path."""
    pip = [sys.executable, "-m", "pip", "download", "-qq", "--disable-pip-version-check", "--no-deps"]
    lock = ["--only-binary", ":all:", "--require-hashes", "-r", str(ROOT / "requirements-collections.txt")]
    subprocess.run([*pip, *lock, "--dest", folder], check=True)
    return next(Path(folder).glob("ansible-*.whl"))


def unpack(wheel: zipfile.ZipFile, names: list[str]) -> list[str]:
    """Unpack the named collections and what they depend on; return all of them."""
    files = wheel.namelist()
    wanted, done = list(names), []
    while wanted:
        name = wanted.pop()
        if name in done:
            continue
        prefix = f"ansible_collections/{name.replace('.', '/')}/"
        members = [f for f in files if f.startswith(prefix)]
        if not members:
            raise SystemExit(
                f"requirements.yml: the wheel of requirements-collections.txt has no collection '{name}'"
            )
        wheel.extractall(TARGET, members)
        manifest = json.loads(wheel.read(prefix + "MANIFEST.json"))
        wanted += manifest["collection_info"]["dependencies"]
        done.append(name)
    return done


def main() -> None:
    requirements = yaml.safe_load((ROOT / "requirements.yml").read_text())
    names = [entry["name"] for entry in requirements["collections"]]
    with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(download(folder)) as wheel:
        unpack(wheel, names)
    # "Nothing to do" when every version satisfies requirements.yml; an error that names the collection when not.
    galaxy = Path(sys.executable).with_name("ansible-galaxy")
    check = subprocess.run(
        [galaxy, "collection", "install", "-r", ROOT / "requirements.yml", "-p", TARGET, "--offline"],
        capture_output=True,
        text=True,
    )
    if check.returncode != 0:
        raise SystemExit(
            f"the collections of the wheel do not satisfy requirements.yml:\n{check.stdout}{check.stderr}"
        )


if __name__ == "__main__":
    main()
