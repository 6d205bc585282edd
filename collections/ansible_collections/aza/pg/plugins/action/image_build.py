# SPDX-License-Identifier: Apache-2.0
"""Build the images from the build context, put them into the engine, and note them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible_collections.aza.pg.plugins.module_utils.catalog import load_manifest
from ansible_collections.aza.pg.plugins.module_utils.image import build, engine
from ansible_collections.aza.pg.plugins.module_utils.image.lock import load_lock
from ansible_collections.aza.pg.plugins.module_utils.image.source import load_source
from ansible_collections.aza.pg.plugins.plugin_utils.image_action import (
    ARCHIVE_ARGUMENTS,
    SUPPLY_ARGUMENTS,
    ImageAction,
)


class ActionModule(ImageAction):
    ARGUMENTS = {  # noqa: RUF012
        **SUPPLY_ARGUMENTS,
        **ARCHIVE_ARGUMENTS,
        "build_dir": {"type": "path", "required": True},
        "dist_dir": {"type": "path", "required": True},
        "images": {"type": "list", "elements": "str", "default": ["postgres", "pgbouncer", "exporter"]},
        "architectures": {"type": "list", "elements": "str", "default": []},
        "repository": {"type": "str", "default": "aza-pg"},
        "base": {"type": "str", "choices": ["auto", "bootstrap", "registry"], "default": "auto"},
        "build_date": {"type": "str", "default": ""},
        "vcs_ref": {"type": "str", "default": ""},
        "no_cache": {"type": "bool", "default": False},
    }

    def perform(self, given: dict[str, Any]) -> dict[str, Any]:
        engine.require()
        image_dir = Path(given["image_dir"])
        order = build.Order(
            build_dir=Path(given["build_dir"]),
            cache_dir=Path(given["cache_dir"]),
            dist_dir=Path(given["dist_dir"]),
            source=load_source(image_dir, given["source"]),
            lock=load_lock(image_dir, given["source"], load_manifest(image_dir, given["major"]).major),
            images=given["images"],
            architectures=given["architectures"] or [engine.host_architecture()],
            repository=given["repository"],
            base=given["base"],
            base_image=given["base_image"] or None,
            mirrors=given["mirrors"],
            build_date=given["build_date"] or None,
            vcs_ref=given["vcs_ref"] or None,
            no_cache=given["no_cache"],
        )
        with build.alone(order.cache_dir, self.say):
            return self._carry_out(order)

    def _carry_out(self, order: build.Order) -> dict[str, Any]:
        planned = build.plan(order)
        actions = {task.image: task.action for task in planned.tasks}
        result: dict[str, Any] = {"changed": planned.changed, "actions": actions, "base": planned.base}
        if self._task.diff and planned.changed:
            result["diff"] = {
                "prepared": "".join(
                    f"{task.tag}: {task.action}\n" for task in planned.tasks if task.action != "none"
                )
            }
        if self.check_mode:
            return {**result, "images": {task.image: task.record for task in planned.tasks if task.record}}
        images, notices = build.execute(order, planned, self.say)
        return {**result, "images": images, "warnings": notices} if notices else {**result, "images": images}
