# SPDX-License-Identifier: Apache-2.0
"""What the actions of the stack share: speaking with the target, and telling people what is going on."""

from __future__ import annotations

import getpass
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleConnectionFailure
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display
from ansible_collections.aza.pg.plugins.module_utils.errors import AzaError
from ansible_collections.aza.pg.plugins.module_utils.instance.readiness import STAGES
from ansible_collections.aza.pg.plugins.module_utils.plain import plain
from ansible_collections.aza.pg.plugins.plugin_utils import answers

# How long one call to the target may wait, and after how long the same stage is named again.
SLICE_SECONDS = 3
_REPEAT_SECONDS = 10


class InstanceAction(ActionBase):
    """An action that turns AzaError into a failed result, and runs modules on the host."""

    _requires_connection = True
    task_vars: dict[str, Any]

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result = super().run(tmp, task_vars)
        self.task_vars = task_vars or {}
        try:
            return {**result, **self.perform()}
        except AzaError as error:
            return {**result, "failed": True, "msg": error.msg, "reason": error.reason, **error.details}

    def perform(self) -> dict[str, Any]:
        raise NotImplementedError

    @property
    def host(self) -> str:
        return str(self.task_vars.get("inventory_hostname", "?"))

    @property
    def check_mode(self) -> bool:
        """Whether nothing may be changed."""
        return bool(self._task.check_mode) or self._task.args.get("state") == "checked"

    @property
    def in_check_mode(self) -> bool:
        """Whether the task runs in check mode; a check that changes nothing by itself does not count."""
        return bool(self._task.check_mode)

    @property
    def templar(self) -> Any:
        return self._templar

    @property
    def loader(self) -> Any:
        return self._loader

    def bring_archive(self, name: str, archive: Path) -> str:
        """Return the path of an image's archive on the target, and copy it there if the target is another machine.

        It is in the task's temporary directory, which Ansible removes when the task ends.
        """
        if self._connection.transport == "local":
            return str(archive)
        self.say(f"receives the image {name} ({archive.stat().st_size // 2**20} MB), once for this version")
        directory = self._make_tmp_path()
        remote: str = self._connection._shell.join_path(directory, "image.tar")
        self._transfer_file(str(archive), remote)
        self._fixup_perms2((directory, remote))
        return remote

    def say(self, text: str) -> None:
        Display().display(plain(f"[{self.host}] {text}"))

    def on_target(self, module: str, **arguments: Any) -> dict[str, Any]:
        """Run one of our modules there; its failure becomes ours, word for word."""
        if module == "instance_apply":
            arguments = {"who": who(), "clock": time.time(), **arguments}
        answer: dict[str, Any] = self._execute_module(
            module_name=f"aza.pg.{module}", module_args=arguments, task_vars=self.task_vars
        )
        if answers.silent(answer):
            raise AnsibleConnectionFailure(
                f"{answers.complaint(answer)}. Start the host, or correct its connection variables."
            )
        if answer.get("failed"):
            details = {
                key: answer[key] for key in ("done", "not_done", "problems", "exception") if answer.get(key)
            }
            raise AzaError(
                answers.complaint(answer),
                reason=str(answer.get("reason", "module_failed")),
                **details,
            )
        return answer

    def wait_until_ready(self, desired: Mapping[str, Any], timeout: float, created: bool) -> float:
        """Ask the host stage by stage, in short calls, and say which one we wait for. Returns the seconds.

        ``timeout``: seconds, counted again whenever a step that can take hours makes progress.
        """
        start = moved = time.monotonic()
        shown, shown_at, progress = "", start, ""
        while True:
            left = timeout - (time.monotonic() - moved)
            last = left <= SLICE_SECONDS
            now = self.on_target(
                "instance_apply",
                phase="ready",
                desired=dict(desired),
                seconds=max(0.0, min(SLICE_SECONDS, left)),
                created=created,
                want_log=last,
            )["readiness"]
            waited = time.monotonic() - start
            if now["ready"]:
                return waited
            if now["progress"] != progress:
                progress, moved, last = now["progress"], time.monotonic(), False
            if now["hopeless"] or last:
                raise self._not_ready(desired, now, waited)
            if now["stage"] != shown or time.monotonic() - shown_at > _REPEAT_SECONDS:
                number = STAGES.index(now["stage"]) + 1
                self.say(
                    f"waits for stage {number} of {len(STAGES)}, {now['stage']}, {waited:.0f} s: {now['message']}"
                )
                shown, shown_at = now["stage"], time.monotonic()

    def _not_ready(self, desired: Mapping[str, Any], now: Mapping[str, Any], waited: float) -> AzaError:
        log = "".join(f"\n  {line}" for line in now["log"])
        remedy = f" {now['remedy']}\n" if now["remedy"] else ""
        return AzaError(
            f"{desired['instance']} is not ready: it did not reach the stage '{now['stage']}' in {waited:.0f} s: "
            f"{now['message']}.{remedy}" + (f" The log says:{log}" if log else " The log is empty."),
            reason="not_ready",
            stage=now["stage"],
            cause=now["cause"],
            log=now["log"],
        )


def who() -> str:
    """Return the user and the control node, for another run that has to wait."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError):
        name = "unknown"  # a user without a name, in a container
    return f"{name}@{socket.gethostname()}"
