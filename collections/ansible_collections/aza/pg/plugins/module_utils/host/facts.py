# SPDX-License-Identifier: Apache-2.0
"""What a deploy begins with: who deploys on a host and with what, and its engine.

Apart from the rest, so that a first look loads next to nothing.
"""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import socket
import sys
import time
from pathlib import Path

from ansible_collections.aza.pg.plugins.module_utils.host.docker import Docker
from ansible_collections.aza.pg.plugins.module_utils.model.facts import HostFacts


def host_facts() -> HostFacts:
    """Who deploys, where, and with what. Needs no engine."""
    uid = os.geteuid()
    try:
        home = pwd.getpwuid(uid).pw_dir
    except KeyError:
        home = os.environ.get("HOME", "")
    return {
        "uid": uid,
        "gid": os.getegid(),
        "home": home,
        # Looked for, not loaded: that takes longer than all the rest.
        "psycopg": importlib.util.find_spec("psycopg") is not None,
        "system_python": sys.executable.startswith("/usr/bin/"),
        "psql": shutil.which("psql") or "",
        "hostname": socket.gethostname(),
        "time": time.time(),
        "systemd": Path("/run/systemd/system").is_dir(),
    }


def engine_facts(docker: Docker) -> HostFacts:
    info = docker.info()
    root = Path(str(info["root"]))
    try:
        disk = shutil.disk_usage(root)
    except OSError:
        disk = None  # an ordinary user, or an engine elsewhere: not ours to see
    return {
        "memory_mb": int(info["memory"]) // 2**20,
        "cpus": int(info["cpus"]),
        "root": str(root),
        "disk_mb": disk.total // 2**20 if disk else None,
        "disk_free_mb": disk.free // 2**20 if disk else None,
        "engine": info["version"],
        "containerd_store": any("containerd" in str(value) for _, value in info["store"] or []),
    }
