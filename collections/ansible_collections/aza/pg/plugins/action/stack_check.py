# SPDX-License-Identifier: Apache-2.0
"""Findings about one instance: readiness, drift, image, tuning."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from ansible_collections.aza.pg.plugins.module_utils.errors import AzaError
from ansible_collections.aza.pg.plugins.module_utils.stack import findings
from ansible_collections.aza.pg.plugins.module_utils.stack.desired import skeleton
from ansible_collections.aza.pg.plugins.plugin_utils.stack_action import StackAction


class ActionModule(StackAction):
    def perform(self) -> dict[str, Any]:
        _, given = self.validate_argument_spec(
            argument_spec={
                "result": {"type": "dict", "required": True},
                "cluster": {"type": "str", "required": True},
                "stack": {"type": "str", "default": "single"},
                "base_dir": {"type": "str", "default": ""},
                "user": {"type": "str", "default": "postgres"},
                "database": {"type": "str", "default": "postgres"},
            }
        )
        given = json.loads(json.dumps(given))
        return {"changed": False, "findings": list(self._findings(given))}

    def _findings(self, given: Mapping[str, Any]) -> Iterator[dict[str, str]]:
        planned = given["result"]
        tuned = (planned.get("tuning") or {}).get("values") or []
        try:
            info = self.on_target(
                "stack_info",
                cluster=given["cluster"],
                stack=given["stack"],
                base_dir=given["base_dir"],
                user=given["user"],
                settings=[value["name"] for value in tuned],
            )
            observed = info["observed"]
            if observed is None:
                yield findings.finding("engine", "red", info["engine_error"])
                return
            if not (observed["container"] or observed["volume"] or observed["files"]):
                yield findings.finding("instance", "red", "it was never deployed here")
                return
            if planned.get("failed"):
                yield findings.finding("plan", "red", str(planned.get("msg", "no plan could be made")))
            else:
                yield from findings.drift(planned["plan"])
            yield from findings.container(observed)
            if observed["container"] and observed["container"]["state"] == "running":
                yield self._readiness(given, info["host"], observed)
                yield from findings.tuning(tuned, observed["server"])
        except AzaError as error:
            yield findings.finding("host", "red", error.msg)

    def _readiness(
        self, given: Mapping[str, Any], host: Mapping[str, Any], observed: Mapping[str, Any]
    ) -> dict[str, str]:
        wanted = skeleton(given["cluster"], given["stack"], given["base_dir"], host, given["user"]).to_dict()
        wanted["database"] = given["database"]
        now = self.on_target("stack_apply", phase="ready", desired=wanted, seconds=0)["readiness"]
        if now["ready"]:
            version = (observed["server"] or {}).get("version", "").split(" ")[0]
            return findings.finding(
                "ready", "green", f"PostgreSQL {version} passed every stage up to a first write"
            )
        return findings.finding("ready", "red", f"stage '{now['stage']}' is not reached: {now['said']}")
