# SPDX-License-Identifier: Apache-2.0
"""What explains a failure on a test host: logs of all containers, inspect, settings, disk, memory, processes.

Also a command:  diagnostics.py HOST DIRECTORY   (HOST is a container that runs an engine of its own)
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

_SETTINGS = (
    "select name, setting, unit, source, sourcefile, pending_restart from pg_settings order by source, name"
)

# File name → command on the host. The instance's secrets are not among them.
_COMMANDS = {
    "containers.txt": "docker ps -a --no-trunc; docker images --digests; docker volume ls; docker network ls",
    "inspect.json": "docker ps -aq | xargs -r docker inspect",
    "engine.txt": "docker info; docker version; tail -n 300 /var/log/dockerd.log",
    "disk.txt": "df -h; df -i; docker system df",
    "memory.txt": "free -m; cat /proc/meminfo; ps auxww --sort=-rss | head -40; dmesg | tail -50",
    "network.txt": "ss -ltnp; ip -brief address",
    "instances.txt": "ls -lRn /opt/aza-pg /run/aza-pg; "
    "find /opt/aza-pg -name compose.yml -o -name '*.conf' | xargs -r tail -n +1",
    "logs.txt": 'for name in $(docker ps -a --format "{{.Names}}"); do '
    'echo "===== $name"; docker logs --timestamps --tail 2000 $name 2>&1; done',
    "settings.txt": 'for name in $(docker ps --format "{{.Names}}" | grep -e -postgres$); do '
    f'echo "===== $name"; docker exec $name psql -X -U postgres -c "{_SETTINGS}"; done',
}


def collect(host: str, directory: Path) -> Path:
    """Each command may fail: what can be had is kept. Returns the folder."""
    folder = directory / host
    folder.mkdir(parents=True, exist_ok=True)
    own = subprocess.run(
        ["docker", "logs", "--tail", "500", host], capture_output=True, text=True, check=False
    )
    (folder / "host.log").write_text(own.stdout + own.stderr)
    for name, command in _COMMANDS.items():
        done = subprocess.run(
            ["docker", "exec", host, "sh", "-c", command],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=60,
            check=False,
        )
        (folder / name).write_text(done.stdout)
    return folder


if __name__ == "__main__":
    print(collect(sys.argv[1], Path(sys.argv[2])))
