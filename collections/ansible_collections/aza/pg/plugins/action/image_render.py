# SPDX-License-Identifier: Apache-2.0
"""Write the build context of the images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible_collections.aza.pg.plugins.module_utils.image import render
from ansible_collections.aza.pg.plugins.plugin_utils.image_action import (
    CHOICE_ARGUMENTS,
    SUPPLY_ARGUMENTS,
    ImageAction,
    chosen,
    rendered,
)


class ActionModule(ImageAction):
    ARGUMENTS = {**SUPPLY_ARGUMENTS, **CHOICE_ARGUMENTS, "dest": {"type": "path", "required": True}}  # noqa: RUF012

    def perform(self, given: dict[str, Any]) -> dict[str, Any]:
        image_dir, source, catalog, selection = chosen(given)
        tree = rendered(image_dir, source, catalog, selection)
        dest = Path(given["dest"])
        drift = render.drift(tree, dest)
        result: dict[str, Any] = {
            "changed": bool(drift),
            "files": drift.paths,
            "extensions": [entry.name for entry in selection.extensions],
            "left_out": selection.left_out,
        }
        if drift and self._task.diff:
            result["diff"] = {"prepared": render.text_diff(tree, dest) + "\n"}
        if drift and self.check_mode:
            result["msg"] = f"{dest} is not what image/ renders to: {', '.join(drift.paths)}"
        elif drift:
            render.write(tree, dest)
        return result
