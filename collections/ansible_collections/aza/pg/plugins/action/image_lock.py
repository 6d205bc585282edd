# SPDX-License-Identifier: Apache-2.0
"""Write, or keep, the lock of an image source."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible_collections.aza.pg.plugins.module_utils.catalog import Catalog, Selection
from ansible_collections.aza.pg.plugins.module_utils.errors import AzaError
from ansible_collections.aza.pg.plugins.module_utils.image import base, engine, lock, records, resolve
from ansible_collections.aza.pg.plugins.module_utils.image.render import locked_versions, packages_fingerprint
from ansible_collections.aza.pg.plugins.module_utils.image.source import Source
from ansible_collections.aza.pg.plugins.plugin_utils import project
from ansible_collections.aza.pg.plugins.plugin_utils.image_action import (
    ARCHIVE_ARGUMENTS,
    CHOICE_ARGUMENTS,
    SUPPLY_ARGUMENTS,
    ImageAction,
    chosen,
    question,
    rendered,
)


class ActionModule(ImageAction):
    ARGUMENTS = {  # noqa: RUF012
        **SUPPLY_ARGUMENTS,
        **ARCHIVE_ARGUMENTS,
        **CHOICE_ARGUMENTS,
        "images": {"type": "list", "elements": "str", "default": ["postgres", "pgbouncer", "exporter"]},
        "dist_dir": {"type": "path", "required": True},
        "architectures": {"type": "list", "elements": "str", "default": []},
        "base": {"type": "str", "choices": ["auto", "bootstrap", "registry"], "default": "auto"},
        "refresh": {"type": "str", "choices": ["never", "auto", "always"], "required": True},
    }

    def perform(self, given: dict[str, Any]) -> dict[str, Any]:
        image_dir, source, catalog, selection = chosen(given)
        path = lock.path_of(image_dir, source.name, catalog.manifest.major)
        old = _existing(image_dir, source.name, catalog.manifest.major)
        because = "asked for"
        if given["refresh"] != "always":
            because = "" if given["refresh"] == "never" else self._why(given, source, catalog, selection, old)
            if not because:
                return {
                    "changed": False,
                    "path": str(path),
                    "because": "",
                    "summary": "not asked",
                    "difference": [],
                }
            self.say(f"lock: {because}; locking again")
        if project.find().is_installed(path):
            raise AzaError(
                f"{path}: the lock belongs to the installed collection, which is never changed ({because}). Install a "
                f"newer version of aza.pg, or copy {image_dir} into your project, set image_dir to the absolute path "
                "of the copy, and run the playbook again.",
                reason="installed_lock",
            )
        asked = question(given, source)
        if old and because == _DIGEST:
            new = resolve.with_digest(asked, old)
        else:
            new = resolve.resolve(asked, catalog, old, self.say)
            if new is not old and not self.check_mode:
                new = resolve.with_rootfs(asked, new, self.say)
        before = path.read_text(encoding="utf-8") if path.is_file() else ""
        after = lock.dump_lock(new)
        summary, lines = resolve.explain(old, new)
        result: dict[str, Any] = {
            "changed": before != after,
            "path": str(path),
            "because": because,
            "summary": summary,
            "difference": lines,
        }
        if result["changed"]:
            self.say(f"lock: {summary}")
            for line in lines if old else []:
                self.say(f"  {line}")
            if self._task.diff:
                result["diff"] = {"prepared": "\n".join(lines) + "\n"}
            if not self.check_mode:
                path.parent.mkdir(parents=True, exist_ok=True)
                partial = path.with_suffix(".partial")
                partial.write_text(after, encoding="utf-8")
                partial.rename(path)
        return result

    def _why(
        self,
        given: dict[str, Any],
        source: Source,
        catalog: Catalog,
        selection: Selection,
        old: lock.Lock | None,
    ) -> str:
        """Return why the lock has to be made again, or an empty string; asks the network only when a build is due."""
        if old is None:
            return "there is no usable lock"
        try:
            resolve.require_known(old, catalog, source)
            tree = rendered(Path(given["image_dir"]), source, catalog, selection)
        except AzaError as error:
            return error.msg
        past = records.read(Path(given["dist_dir"]))
        if all(
            past.get(name, {}).get("packages") == packages_fingerprint(tree, name) for name in given["images"]
        ):
            return ""
        if (
            old.digest is None
            and given["base"] != "bootstrap"
            and (given["base"] == "registry" or base.why_no_bootstrap())
        ):
            return _DIGEST
        architectures = given["architectures"] or [engine.host_architecture()]
        gone = resolve.out_of_date(
            question(given, source), {name: locked_versions(tree, name) for name in architectures}
        )
        return (
            f"the mirror no longer serves {len(gone)} of the locked packages ({', '.join(gone[:3])})"
            if gone
            else ""
        )


_DIGEST = "the digest of the base image is not known yet"


def _existing(image_dir: Path, source: str, major: int) -> lock.Lock | None:
    """Return the lock that is there; a missing or damaged one is what this action fixes."""
    try:
        return lock.load_lock(image_dir, source, major)
    except AzaError:
        return None
