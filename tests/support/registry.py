# SPDX-License-Identifier: Apache-2.0
"""A container registry on this machine: that of the distribution's own package, which is not installed for it."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from .programs import program
from .waiting import until


def _answers(address: str, process: subprocess.Popen[bytes], log: Path) -> bool:
    assert process.poll() is None, log.read_text(encoding="utf-8")
    try:
        urllib.request.urlopen(f"http://{address}/v2/", timeout=1).close()
    except OSError:
        return False
    return True


@contextlib.contextmanager
def serve(directory: Path) -> Iterator[str]:
    """Its address, ``127.0.0.1:PORT``: one that every engine takes without TLS. It keeps its data in ``directory``."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    config, log = directory / "registry.yml", directory / "registry.log"
    config.write_text(
        f"version: 0.1\nstorage: {{filesystem: {{rootdirectory: {directory}/data}}}}\nhttp: {{addr: '{address}'}}\n"
    )
    with log.open("w") as stream:
        process = subprocess.Popen(
            [program("docker-registry"), "serve", config],
            stdout=stream,
            stderr=subprocess.STDOUT,
        )
    try:
        until(lambda: _answers(address, process, log), "the registry answers")
        yield address
    finally:
        process.terminate()
        process.wait(10)
