# SPDX-License-Identifier: Apache-2.0
"""All paths in the server's image that contain PostgreSQL's major version: their one home. Pure.

The layout is that of the official image (data) and of Debian's packages (programs, libraries, shared files).
"""

from __future__ import annotations

# Where the data volume is mounted.
VOLUME = "/var/lib/postgresql"


def layout(major: int | str) -> str:
    """Return the data directory relative to the root of the volume."""
    return f"{major}/docker"


def data_directory(major: int | str) -> str:
    """Return PGDATA."""
    return f"{VOLUME}/{layout(major)}"


def programs(major: int | str) -> str:
    """Return the directory of PostgreSQL's programs."""
    return f"/usr/lib/postgresql/{major}/bin"


def libraries(major: int | str) -> str:
    """Return the directory of the libraries that the server loads."""
    return f"/usr/lib/postgresql/{major}/lib"


def shared_files(major: int | str) -> str:
    """Return the directory of the extensions' control files and scripts."""
    return f"/usr/share/postgresql/{major}"
