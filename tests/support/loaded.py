# SPDX-License-Identifier: Apache-2.0
"""``ansible-playbook``, loaded once for all runs of a test process.

To load Ansible takes more than a second, in hundreds of runs. Here a process that has loaded it waits, and each run is
a fork of it: Python's fork server. The command as a person types it is what the runbooks' tests and Molecule run.
"""

from __future__ import annotations

import multiprocessing
import multiprocessing.forkserver
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

# Longer than any playbook takes, and short enough to fail before any user that runs the tests gives up.
TIMEOUT_SECONDS = 300

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(
    [
        "pytest",
        __name__,
        "ansible.cli.playbook",
        "ansible.executor.module_common",
        f"{__package__}.preloaded",
    ]
)
_START = threading.Lock()
_loaded_with: dict[str, str] = {}


def ansible_playbook(arguments: Sequence[str], cwd: Path, environment: Mapping[str, str]) -> tuple[int, str]:
    """The exit code and all that was printed."""
    with tempfile.NamedTemporaryFile("r", encoding="utf-8") as output:
        command = ["ansible-playbook", *arguments]
        if not _is_loaded(environment):
            with Path(output.name).open("w", encoding="utf-8") as target:
                done = subprocess.run(
                    command,
                    cwd=cwd,
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    stdout=target,
                    stderr=subprocess.STDOUT,
                    timeout=TIMEOUT_SECONDS,
                    check=False,
                )
            return done.returncode, output.read()
        run = _CONTEXT.Process(target=_run, args=(command, str(cwd), dict(environment), output.name))
        run.start()
        run.join(TIMEOUT_SECONDS)
        if run.exitcode is None:
            os.killpg(run.pid or 0, signal.SIGKILL)
            run.join()
            raise TimeoutError(f"{command} was not over after {TIMEOUT_SECONDS} s:\n{output.read()}")
        return run.exitcode, output.read()


def _is_loaded(environment: Mapping[str, str]) -> bool:
    """With what this environment says: Ansible reads its configuration as it is loaded, when this is first asked."""
    wanted = {key: value for key, value in environment.items() if key.startswith("ANSIBLE_") or key == "HOME"}
    with _START:
        if not _loaded_with:
            before = dict(os.environ)
            os.environ.update(wanted)
            try:
                multiprocessing.forkserver.ensure_running()
            finally:
                os.environ.clear()
                os.environ.update(before)
            _loaded_with.update(wanted)
    return wanted == _loaded_with


def _run(command: list[str], cwd: str, environment: dict[str, str], output: str) -> None:
    from ansible.cli.playbook import PlaybookCLI

    os.setsid()
    target = os.open(output, os.O_WRONLY)
    for number in (1, 2):
        os.dup2(target, number)
    # Python's fork server closed the one that this still names.
    sys.__stdin__ = sys.stdin  # type: ignore[assignment, misc]
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = command
    PlaybookCLI.cli_executor(command)
