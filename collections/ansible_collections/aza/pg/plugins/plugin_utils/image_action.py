# SPDX-License-Identifier: Apache-2.0
"""What the actions of the image supply share. They run on the control node and never ask the target anything."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase
from ansible.utils.display import Display
from ansible_collections.aza.pg.plugins.module_utils.catalog import Catalog, Selection, load_catalog, solve
from ansible_collections.aza.pg.plugins.module_utils.errors import AzaError
from ansible_collections.aza.pg.plugins.module_utils.image.lock import load_lock
from ansible_collections.aza.pg.plugins.module_utils.image.render import Tree, render
from ansible_collections.aza.pg.plugins.module_utils.image.resolve import Question
from ansible_collections.aza.pg.plugins.module_utils.image.source import Source, load_source
from ansible_collections.aza.pg.plugins.module_utils.plain import plain

SUPPLY_ARGUMENTS: dict[str, dict[str, Any]] = {
    "image_dir": {"type": "path", "required": True},
    "source": {"type": "str", "default": "debian"},
    "major": {"type": "int", "default": 0},
}
"""Where the data is, and which source and PostgreSQL major it is used for."""
ARCHIVE_ARGUMENTS: dict[str, dict[str, Any]] = {
    "cache_dir": {"type": "path", "required": True},
    "mirrors": {"type": "dict", "default": {}},
    "base_image": {"type": "str", "default": ""},
}
"""What an action that asks package archives or registries needs."""
CHOICE_ARGUMENTS: dict[str, dict[str, Any]] = {
    "flavour": {"type": "str", "default": "standard"},
    "extensions": {"type": "list", "elements": "str", "default": []},
}
"""What goes into the postgres image."""


class ImageAction(ActionBase):
    """An action that turns AzaError into a failed result and tells what takes long."""

    _requires_connection = False
    ARGUMENTS: dict[str, dict[str, Any]]

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        started = time.monotonic()
        try:
            _, given = self.validate_argument_spec(argument_spec=self.ARGUMENTS)
            # Ansible's strings carry tags that neither JSON nor a process wants to see.
            result |= self.perform(json.loads(json.dumps(given)))
        except AzaError as error:
            return {**result, "failed": True, "msg": error.msg, "reason": error.reason, **error.details}
        return {**result, "seconds": round(time.monotonic() - started, 1)}

    def perform(self, given: dict[str, Any]) -> dict[str, Any]:
        """Do the work; return the task's result."""
        raise NotImplementedError

    @property
    def check_mode(self) -> bool:
        return bool(self._task.check_mode)

    def say(self, text: str) -> None:
        """Print a line at once."""
        Display().display(f"        {plain(text)}")


def rendered(image_dir: Path, source: Source, catalog: Catalog, selection: Selection) -> Tree:
    """Return the build context for what was chosen, from the lock that is there."""
    lock = load_lock(image_dir, source.name, catalog.manifest.major)
    return render(image_dir, catalog, source, lock, selection)


def chosen(given: dict[str, Any]) -> tuple[Path, Source, Catalog, Selection]:
    """Return the data directory, and what the arguments choose from it."""
    image_dir = Path(given["image_dir"])
    source = load_source(image_dir, given["source"])
    catalog = load_catalog(image_dir, given["major"])
    return image_dir, source, catalog, solve(catalog, source.name, given["flavour"], given["extensions"])


def question(given: dict[str, Any], source: Source) -> Question:
    """Return what the archives are to be asked."""
    return Question(
        image_dir=Path(given["image_dir"]),
        cache_dir=Path(given["cache_dir"]),
        source=source,
        mirrors=given["mirrors"],
        base_image=given["base_image"] or None,
    )
