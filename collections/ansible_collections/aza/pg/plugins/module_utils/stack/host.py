# SPDX-License-Identifier: Apache-2.0
"""Who deploys on a host, where, and with what. Apart from the rest, so that a look at it loads next to nothing."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import sys
import time
from pathlib import Path
from typing import Any

from ansible_collections.aza.pg.plugins.module_utils.stack import server


def host_facts() -> dict[str, Any]:
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
        "psycopg": server.psycopg_version(),
        "system_python": sys.executable.startswith("/usr/bin/"),
        "psql": shutil.which("psql") or "",
        "hostname": socket.gethostname(),
        "time": time.time(),
        "systemd": Path("/run/systemd/system").is_dir(),
    }
