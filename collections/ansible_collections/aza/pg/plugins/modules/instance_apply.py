#!/usr/bin/python
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

DOCUMENTATION = r"""
module: instance_apply
short_description: The host's half of M(aza.pg.instance)
version_added: 0.1.0
author: aza-pg maintainers (@aza-pg)
description:
  - Observes an instance, plans what has to change, and carries it out. M(aza.pg.instance) calls it with what it
    rendered on the control node. Not meant for playbooks.
options:
  phase:
    description:
      - C(plan) only plans, C(apply) carries the plan out, C(ready) waits for readiness for some seconds.
      - C(check) plans, tries a first write, and judges what was found.
    type: str
    choices: [plan, apply, check, ready]
    default: apply
  desired:
    description: What the instance should be, as M(aza.pg.instance) rendered it.
    type: dict
    required: true
  state:
    description: Which plan to make.
    type: str
    choices: [present, stopped, started, absent]
    default: present
  secrets:
    description: Name and value of each secret.
    type: dict
    default: {}
  archives:
    description: Service and the archive of its image on this host, for those that were brought here.
    type: dict
    default: {}
  allow:
    description: The effects that are permitted.
    type: list
    elements: str
    choices: [restart, recreate]
    default: []
  only:
    description: Kinds of changes that count, also with their action (V(restart container)). All when it is empty.
    type: list
    elements: str
    default: []
  remove_data:
    description: Whether O(state=absent) removes the volume as well.
    type: bool
    default: false
  no_primary:
    description:
      - Why no server may be started here that would be a primary, as far as the cluster's members are known. Empty when
        it may. It does not matter to a server that writes already.
    type: str
    default: ""
  tuned:
    description: Name and value of each setting that the image's rules predict, for O(phase=check).
    type: list
    elements: dict
    default: []
  clock:
    description: What the control node's clock says, in seconds since 1970, for V(present). Zero compares nothing.
    type: float
    default: 0
  mark:
    description: For O(phase=check) of a cluster's member, the text of the row that the primary writes. Empty for none.
    type: str
    default: ""
  delay:
    description: Seconds by which the replica is delayed on purpose, for O(phase=check).
    type: float
    default: 0
  who:
    description: The person and the control node, for a second run that has to wait for this one.
    type: str
    default: ""
  seconds:
    description: How long O(phase=ready) may wait in this call.
    type: float
    default: 2
  created:
    description: Whether this deploy made the data, so that the extensions of the image must be there.
    type: bool
    default: false
  want_log:
    description: Whether a call that ends without readiness brings the log lines that matter.
    type: bool
    default: false
  settle:
    description:
      - For O(phase=apply), how many seconds a call that changed something may wait for readiness. When it is there it
        looks again, and saves the control node a call for each of both.
    type: float
    default: 0
attributes:
  check_mode:
    description: The plan is made and nothing is done.
    support: full
  diff_mode:
    description: The plan, then the text of each changed file.
    support: full
"""

EXAMPLES = r"""
# Use aza.pg.instance.
"""

RETURN = r"""
plan:
  description: Changes with their effect, those that wait for a permission, and a summary.
  returned: phase apply
  type: dict
lines:
  description: The plan as a person reads it.
  returned: phase apply
  type: list
  elements: str
awaits:
  description: Services whose image's archive has to be brought first. Nothing was done then.
  returned: phase apply
  type: list
  elements: str
replication:
  description: As M(aza.pg.replication_check) returns it.
  returned: phase check, of a member of a cluster whose server answers
  type: dict
pgbouncer:
  description: As M(aza.pg.pgbouncer_check) returns it.
  returned: phase check, where there is a PgBouncer and its server answers
  type: dict
answers:
  description: Whether the server answered when it was observed.
  returned: phase apply
  type: bool
created:
  description: Whether the data volume was made by this call.
  returned: phase apply
  type: bool
environment:
  description: The identity of the environment that the instance belongs to, if the control node has yet to keep it.
  returned: phase apply
  type: str
version:
  description: Version of the server, empty when it did not answer.
  returned: phase apply
  type: str
findings:
  description: What a check has to say, each with C(what), C(state), C(message) and, where something helps, C(remedy).
  returned: phase check
  type: list
  elements: dict
settled:
  description:
    - Whether the server is C(ready), after C(waited) seconds. C(after) is what a second look found, as this module
      would return it, when nothing is left to do; otherwise it is empty.
  returned: phase apply, when something was changed and O(settle) is not 0
  type: dict
readiness:
  description: The first stage that is not reached yet, and what was said there.
  returned: phase ready
  type: dict
"""

import time
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.aza.pg.plugins.module_utils.errors import AzaError
from ansible_collections.aza.pg.plugins.module_utils.host.docker import Docker
from ansible_collections.aza.pg.plugins.module_utils.instance import apply as applying
from ansible_collections.aza.pg.plugins.module_utils.instance import deploy_lock as lock
from ansible_collections.aza.pg.plugins.module_utils.instance import (
    findings,
    image_preflight,
    location,
    ownership,
    preflight,
    verbs,
)
from ansible_collections.aza.pg.plugins.module_utils.instance import plan as planning
from ansible_collections.aza.pg.plugins.module_utils.instance import readiness as ready
from ansible_collections.aza.pg.plugins.module_utils.instance.context import Context
from ansible_collections.aza.pg.plugins.module_utils.instance.observe import observe
from ansible_collections.aza.pg.plugins.module_utils.model.desired import Desired
from ansible_collections.aza.pg.plugins.module_utils.model.details import (
    ServiceDetail,
    SettingDetail,
    path_of,
)
from ansible_collections.aza.pg.plugins.module_utils.model.observed import Observed
from ansible_collections.aza.pg.plugins.module_utils.plain import plain_data
from ansible_collections.aza.pg.plugins.module_utils.planning.plan import Plan
from ansible_collections.aza.pg.plugins.module_utils.replication import standby
from ansible_collections.aza.pg.plugins.module_utils.server import connection as server
from ansible_collections.aza.pg.plugins.module_utils.server import settings as pg
from ansible_collections.aza.pg.plugins.module_utils.services.registry import SERVICES


def make_plan(given: dict[str, Any], wanted: Desired, found: Observed) -> Plan:
    state = given["state"]
    location.refuse(wanted, found)
    ownership.refuse(wanted, found)
    if state == "stopped":
        return verbs.stopped(wanted, found)
    if state == "started":
        return verbs.started(wanted, found)
    if state == "absent":
        return verbs.absent(wanted, found, given["remove_data"])
    if given.get("clock"):
        found = replace(found, host={**found.host, "skew": found.host["time"] - given["clock"]})
    preflight.refuse(wanted, found)
    whole = planning.plan(wanted, found, tuple(given["allow"]))
    only = given.get("only")
    if not only:
        return whole
    if not found.files:
        if set(only) == {ownership.KIND}:
            return Plan()  # it has no owner yet
        raise AzaError(f"{wanted.instance} was never deployed here. Deploy it first.", reason="not_deployed")
    return Plan(
        tuple(
            change
            for change in whole.changes
            if change.kind in only or f"{change.action} {change.kind}" in only
        )
    )


def refuse_primary(why: str, wanted: Desired, found: Observed, plan: Plan, docker: Docker) -> None:
    """:raises AzaError: the plan would start a primary's server that must not be, and that does not write already."""
    starts = any(
        change.kind == "container" and change.name == wanted.container and change.action != "remove"
        for change in plan.changes
    )
    writes = found.server is not None and not found.server["in_recovery"]
    if why and starts and not writes:
        # Only here, because few plans start a server.
        from ansible_collections.aza.pg.plugins.module_utils.host import data_volume

        volume = data_volume.observe(docker, wanted.volume, wanted.container)
        data_volume.refuse_primary(volume, wanted.standby, why)


def file_diffs(plan: Plan, wanted: Desired, found: Observed) -> list[dict[str, str]]:
    """The text of changed files for ``--diff``; secrets have none."""
    texts = {item.path: item.text for item in wanted.files if item.text is not None}
    touched = {path_of(change) or "" for change in plan.changes if change.kind not in ("directory", "secret")}
    touched.discard("")
    changed = {
        change.name: change.detail.value
        for change in plan.changes
        if isinstance(change.detail, SettingDetail)
    }
    if changed:
        # Only those that are applied: what waits for a permission is not written.
        values = pg.parse(str(found.files[pg.PATH].get("text", "")))
        kept = {name: value for name, value in sorted({**values, **changed}.items()) if value is not None}
        texts[pg.PATH] = pg.render(kept)
        touched.add(pg.PATH)
    return [
        {
            "before": str(found.files.get(path, {}).get("text", "")),
            "after": texts.get(path) or "",
            "before_header": f"{wanted.directory}/{path}",
            "after_header": f"{wanted.directory}/{path}",
        }
        for path in sorted(touched)
    ]


def awaited(plan: Plan, archives: Mapping[str, str]) -> list[str]:
    """Services whose image has to come from the control node first. Copying takes long, so it is done only if "
    "needed."""
    loads = [change for change in plan.changes if change.kind == "image" and change.action == "load"]
    services = [change.detail_as(ServiceDetail).service for change in loads]
    return [service for service in services if service not in archives]


def gather(given: dict[str, Any], wanted: Desired, docker: Docker, settings: Iterable[str] = ()) -> Observed:
    """Return what is observed. ``settings``: further settings of the server to read."""
    return image_preflight.with_locales(wanted, observe(wanted, docker, given["secrets"], settings), docker)


def gather_again(given: dict[str, Any], wanted: Desired, docker: Docker) -> Observed:
    """Return what is observed now. If a restart is allowed, it includes what smaller values of a standby wait for."""
    found = gather(given, wanted, docker)
    return standby.observe_minimums(wanted, found, docker) if given["allow"] else found


def run_apply(module: AnsibleModule, wanted: Desired, docker: Docker) -> dict[str, Any]:
    given = module.params
    found = gather(given, wanted, docker)
    only_plan = module.check_mode or given["phase"] == "plan"
    if given["state"] in ("present", "started") and (found.running or not only_plan):
        server.require_psycopg()
    if given["allow"] and given["state"] == "present" and not only_plan:
        found = standby.replayed(wanted, found, docker)
    plan = make_plan(given, wanted, found)
    tries = given["state"] == "present" and image_preflight.needed(plan)
    if tries and found.image:
        image_preflight.check(wanted, found, docker)
    result: dict[str, Any] = {
        "changed": bool(plan),
        "plan": plan.to_dict(),
        "lines": plan.lines(),
        "answers": found.server is not None,
        "server_error": found.server_error,
        "created": not found.volume,
        "directory": wanted.directory,
        "version": (found.server or {}).get("version", ""),
        "environment": ownership.restored(wanted, found),
        "awaits": [] if only_plan else awaited(plan, given["archives"]),
    }
    if result["awaits"]:
        return {**result, "changed": False}
    if module._diff and plan:
        result["diff"] = [{"prepared": "\n".join(plan.lines()) + "\n"}, *file_diffs(plan, wanted, found)]
    if plan and not only_plan:
        with lock.held(wanted, given["who"]):
            # A user else may have worked here before the lock was ours.
            found = gather_again(given, wanted, docker)
            plan = make_plan(given, wanted, found)
            refuse_primary(given["no_primary"], wanted, found, plan, docker)
            context = Context(wanted, docker, given["secrets"], given["archives"])
            result["done"] = []
            if tries and not found.image:
                # What can be tried only once the image is here is tried before anything else is done with it.
                images = tuple(change for change in plan.changes if change.kind == "image")
                result["done"] += applying.apply(Plan(images), context)
                preflight.refuse(wanted, gather_again(given, wanted, docker))
                image_preflight.check(
                    wanted, found, docker, "Nothing was changed except that the image was loaded"
                )
                plan = Plan(tuple(change for change in plan.changes if change not in images), plan.held)
            result["done"] += applying.apply(plan, context)
            if given["state"] == "absent":
                lock.path_of(Path(wanted.directory)).unlink()
        if given["settle"]:
            result["settled"] = settle(given, wanted, docker, result["created"])
    return result


def settle(given: dict[str, Any], wanted: Desired, docker: Docker, created: bool) -> dict[str, Any]:
    """Wait for the server and look again. What goes wrong is said by the next call, after what was done here."""
    start = time.monotonic()
    result: dict[str, Any] = {"ready": False, "waited": 0.0, "after": {}}
    try:
        result["ready"] = ready.wait(wanted, docker, given["settle"], created).ready
        result["waited"] = time.monotonic() - start
        if result["ready"]:
            found = gather_again(given, wanted, docker)
            # The control node read its clock before all this.
            plan = make_plan({**given, "clock": 0}, wanted, found)
            if found.server and not plan:
                version = found.server["version"]
                result["after"] = {"plan": plan.to_dict(), "answers": True, "version": version}
    except AzaError:
        pass
    return result


def run_check(module: AnsibleModule, wanted: Desired, docker: Docker) -> dict[str, Any]:
    """One look for everything. What keeps a plan from being made is a finding, and the rest is judged all the same."""
    given = module.params
    found = gather(given, wanted, docker, [value["name"] for value in given["tuned"]])
    if found.running:
        server.require_psycopg()
    probes = {item.name: item.probe(wanted, found) for item in SERVICES if wanted.service(item.name)}
    found = replace(found, probes=probes)
    plan, problems = None, []
    try:
        plan = make_plan(given, wanted, found)
        if found.image and image_preflight.needed(plan):
            image_preflight.check(wanted, found, docker)
    except AzaError as error:
        problems.append(findings.failure(error))
        if error.reason in ownership.REASONS:
            # Nothing else of it is judged: it is compared with a declaration that is not its own.
            empty = {"changed": False, "plan": Plan().to_dict(), "lines": [], "version": ""}
            return {**empty, "findings": [item.to_dict() for item in problems]}
    # A server that was stopped is only that; one that ended by itself has a reason.
    restarting = (found.container or {}).get("state") == "restarting"
    now = ready.probe(wanted, docker) if found.running or restarting or failed(found) else None
    message = [*problems, *findings.judge(wanted, found, plan, now, given["tuned"])]
    result = {
        "changed": False,
        "plan": (plan or Plan()).to_dict(),
        "lines": (plan or Plan()).lines(),
        "findings": [item.to_dict() for item in message],
        "version": (found.server or {}).get("version", ""),
    }
    if found.server:
        # Only here, because a deploy has no use for it.
        from ansible_collections.aza.pg.plugins.module_utils.checks.proof import prove

        mark = "" if module.check_mode else given["mark"]
        result |= prove(wanted, found.host["root"], given["secrets"], mark, given["delay"])
    return result


def failed(found: Observed) -> bool:
    """Whether the server's container ended by itself, or was not started by the engine."""
    here = found.container or {}
    return bool(here.get("exit_code") or here.get("error") or here.get("oom_killed"))


def run_ready(module: AnsibleModule, wanted: Desired, docker: Docker) -> dict[str, Any]:
    server.require_psycopg()
    now = ready.wait(wanted, docker, module.params["seconds"], module.params["created"])
    log = []
    if not now.ready and (now.hopeless or module.params["want_log"]):
        log = ready.telling_lines(docker.logs(wanted.container))
    return {"changed": False, "readiness": {**now.to_dict(), "log": log}}


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "phase": {"type": "str", "choices": ["plan", "apply", "check", "ready"], "default": "apply"},
            "desired": {"type": "dict", "required": True},
            "state": {
                "type": "str",
                "choices": ["present", "stopped", "started", "absent"],
                "default": "present",
            },
            "secrets": {"type": "dict", "default": {}, "no_log": True},
            "archives": {"type": "dict", "default": {}},
            "allow": {"type": "list", "elements": "str", "choices": ["restart", "recreate"], "default": []},
            "only": {"type": "list", "elements": "str", "default": []},
            "remove_data": {"type": "bool", "default": False},
            "no_primary": {"type": "str", "default": ""},
            "tuned": {"type": "list", "elements": "dict", "default": []},
            "clock": {"type": "float", "default": 0},
            "mark": {"type": "str", "default": ""},
            "delay": {"type": "float", "default": 0},
            "who": {"type": "str", "default": ""},
            "seconds": {"type": "float", "default": 2},
            "created": {"type": "bool", "default": False},
            "want_log": {"type": "bool", "default": False},
            "settle": {"type": "float", "default": 0},
        },
        supports_check_mode=True,
    )
    wanted = Desired.from_dict(module.params["desired"])
    run = {"ready": run_ready, "check": run_check}.get(module.params["phase"], run_apply)
    try:
        module.exit_json(**plain_data(run(module, wanted, Docker())))
    except AzaError as error:
        module.fail_json(**{"msg": error.msg, "reason": error.reason, **error.details})


if __name__ == "__main__":
    main()
