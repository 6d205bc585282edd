# SPDX-License-Identifier: Apache-2.0
"""The control node's half of aza.pg.instance: describe what should be, hand it over, report what happens."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleConnectionFailure
from ansible_collections.aza.pg.plugins.module_utils.errors import AzaError
from ansible_collections.aza.pg.plugins.module_utils.instance import findings, ownership
from ansible_collections.aza.pg.plugins.module_utils.model.variables import Variables
from ansible_collections.aza.pg.plugins.module_utils.quantity import seconds
from ansible_collections.aza.pg.plugins.module_utils.replication import topology as replication
from ansible_collections.aza.pg.plugins.module_utils.server import settings as pg
from ansible_collections.aza.pg.plugins.module_utils.tls import certificate as tls
from ansible_collections.aza.pg.plugins.modules import instance as documentation
from ansible_collections.aza.pg.plugins.plugin_utils.control_secrets import ADMINISTRATOR
from ansible_collections.aza.pg.plugins.plugin_utils.declare import Declare, Declared, Facts
from ansible_collections.aza.pg.plugins.plugin_utils.instance_action import SLICE_SECONDS, InstanceAction
from ansible_collections.aza.pg.plugins.plugin_utils.instance_arguments import arguments, confirm
from ansible_collections.aza.pg.plugins.plugin_utils.instance_variables import collect

ARGUMENTS = arguments(documentation.DOCUMENTATION)
# A plan may show something new once the server runs (its password, say); then it must be empty.
_ROUNDS = 3
# What a check returns.
_CHECKED = ("changed", "findings", "plan", "lines", "version", "replication", "pgbouncer")


class ActionModule(InstanceAction):
    def perform(self) -> dict[str, Any]:
        _, given = self.validate_argument_spec(argument_spec=ARGUMENTS)
        options = json.loads(json.dumps(given, default=str))
        variables = collect(self.task_vars, self.templar, given["variables"])
        if options["state"] == "present":
            return self._present(variables, options)
        if options["state"] == "checked":
            return self._checked(variables, options)
        if options["state"] == "absent":
            confirm(variables["postgres_cluster"], options["confirm"], options["remove_data"])
        return self._other(variables, options)

    # -- state: present -------------------------------------------------------------------------------

    def _present(self, variables: Variables, options: dict[str, Any]) -> dict[str, Any]:
        facts = self._facts(variables, options)
        # Nothing is written on the control node before the host has confirmed that the instance belongs to it.
        declared = Declare(self, variables, options, dry=True).all(facts)
        member = declared.declaration.member
        for note in member.notes if member else ():
            self.say(note)
        if not self.check_mode:
            if declared.makes:
                answer = self._apply(phase="plan", **_handed(declared, options, variables))
                declared.environment.keep(answer["environment"] or declared.environment.identity)
                declared = Declare(self, variables, options, dry=False).all(facts)
            declared.secrets.begin_to_write()
        handed = _handed(declared, options, variables)
        if options["state"] == "checked":
            return self._judge(declared, options, handed)
        result = self._converge(
            handed, declared, seconds("postgres_ready_timeout", variables["postgres_ready_timeout"])
        )
        return {**result, **self._summary(declared, facts, result)}

    def _judge(
        self, declared: Declared, options: Mapping[str, Any], handed: Mapping[str, Any]
    ) -> dict[str, Any]:
        member = declared.declaration.member
        answer = self._apply(
            phase="check",
            tuned=declared.prediction.to_dict()["values"],
            mark=options["mark"],
            delay=member.me.delay if member else 0,
            **handed,
        )
        if member is None:
            # Those of a cluster are with its members, which are judged together.
            answer["findings"] += answer.get("pgbouncer", {}).get("findings", [])
        return answer

    def _summary(self, declared: Declared, facts: Facts, result: Mapping[str, Any]) -> dict[str, Any]:
        """Return what a person needs after a deploy."""
        variables, wanted, bundle = declared.declaration.variables, declared.wanted, declared.bundle
        secrets, member = declared.secrets, declared.declaration.member
        passfile = secrets.settle(wanted.superuser, wanted.standby)
        kept, address = ADMINISTRATOR in secrets.kept, wanted.publish_address
        certificate = bundle.facts if bundle else {}
        return {
            "changed": result["changed"] or bool(secrets.created) or (bundle is not None and bundle.made),
            "certificate": {**certificate, "summary": tls.summary(certificate)},
            "connection": {
                "host": address,
                "port": wanted.port,
                "database": wanted.database,
                "user": wanted.superuser,
                "pool": "".join(
                    f"{item.publish_address} port {item.port}"
                    for item in wanted.services[1:]
                    if item.has_clients
                ),
                "password_file": str(secrets.store.path(ADMINISTRATOR)) if kept else "",
                "passfile": passfile if kept else "",
                "sslrootcert": bundle.root if bundle else "",
                "verifiable": bundle is not None and tls.covers(certificate["names"], address),
                "socket": wanted.socket_link or wanted.socket_dir,
                "container": wanted.container,
                "compose_file": f"{wanted.directory}/compose.yml",
                "psql": facts.host["psql"],
                "local": self._connection.transport == "local",
            },
            "tuning": {**declared.prediction.to_dict(), "own": pg.normalise(variables["postgres_settings"])},
            "notes": list(member.notes) if member else [],
            "role": (replication.REPLICA if member.standby else replication.PRIMARY) if member else "single",
        }

    def _checked(self, variables: Variables, options: dict[str, Any]) -> dict[str, Any]:
        """Findings, and never a failure: a host that cannot be judged must not hide the others."""
        try:
            answer = self._present(variables, options)
        except AzaError as error:
            answer = {"changed": False, "findings": [findings.failure(error).to_dict()]}
        except AnsibleConnectionFailure as error:
            why = str(error.message).removeprefix("Failed to connect to the host via ssh: ")
            unreachable = AzaError(f"it cannot be reached: {why}", reason="unreachable")
            answer = {"changed": False, "findings": [findings.failure(unreachable).to_dict()]}
        return {key: answer[key] for key in _CHECKED if key in answer}

    def _facts(self, variables: Variables, options: Mapping[str, Any]) -> Facts:
        """Return the facts that the role gathered, or gather them.

        :raises AzaError: no Docker Engine answers.
        """
        known = options["facts"] or self.on_target(
            "instance_host",
            cluster=variables["postgres_cluster"],
            stack=variables["postgres_stack"],
            base_dir=variables["postgres_base_dir"],
            user=variables["postgres_user"],
        )
        if known["engine_error"]:
            raise AzaError(known["engine_error"], reason="no_engine")
        return Facts(known["host"], known["engine"], known["member"])

    def _converge(self, handed: dict[str, Any], declared: Declared, timeout: float) -> dict[str, Any]:
        """Apply, wait and observe again until the plan is empty. ``timeout``: seconds until the server is ready."""
        result: dict[str, Any] = {"changed": False, "done": [], "diff": [], "ready_seconds": 0.0}
        for number in range(_ROUNDS):
            try:
                answer = self._apply(phase="apply", settle=SLICE_SECONDS, **handed)
            except AzaError as error:
                raise (error.after(result["done"]) if result["changed"] else error) from None
            if answer["awaits"]:
                # The plan stands, and nothing was done: what would be refused is refused before the long copy.
                archives = {
                    name: self.bring_archive(name, Path(declared.images[name]["archive"]))
                    for name in answer["awaits"]
                }
                answer = self._apply(phase="apply", settle=SLICE_SECONDS, archives=archives, **handed)
            if number == 0:
                result |= {key: answer[key] for key in ("plan", "lines", "directory")}
            if number == 0 or _texts(answer["plan"]) - _texts(result["plan"]):
                # What comes once the server runs was shown with the first plan already.
                self._tell(answer)
                result["diff"] += answer.get("diff", [])
            if self.check_mode:
                result["changed"] = answer["changed"]
                break
            result["changed"] |= answer["changed"]
            result["done"] += answer.get("done", [])
            if answer["answers"] and not answer["changed"]:
                break
            settled = answer.get("settled") or {"ready": False, "waited": 0.0}
            result["ready_seconds"] += settled["waited"]
            if not settled["ready"]:
                result["ready_seconds"] += self.wait_until_ready(
                    handed["desired"], timeout, answer["created"]
                )
            elif settled["after"]:
                answer = settled["after"]
                break
        else:
            raise AzaError(
                f"{declared.wanted.instance} does not converge: after {_ROUNDS} rounds the plan still has "
                f"{'; '.join(answer['lines'])}. Please report this.",
                reason="not_convergent",
            )
        result["held"] = answer["plan"]["held"]
        result["version"] = answer["version"]
        return result

    def _apply(self, **handed: Any) -> dict[str, Any]:
        return self.on_target("instance_apply", **handed)

    def _tell(self, answer: dict[str, Any]) -> None:
        """Show the plan as it is applied; with --diff Ansible prints the same lines itself."""
        if answer["lines"] and not ("diff" in answer and self._task.diff):
            for line in answer["lines"]:
                self.say(line)
        elif self.check_mode and not answer["lines"] and self._task.args.get("only") != [ownership.KIND]:
            self.say(answer["plan"]["summary"])

    # -- the other states -----------------------------------------------------------------------------

    def _other(self, variables: Variables, options: dict[str, Any]) -> dict[str, Any]:
        facts = self._facts(variables, options)
        declare = Declare(self, variables, options, dry=True)
        part, secrets = declare.part(facts.member), declare.secrets()
        if options["state"] == "absent":
            part.keep_the_data()
        if options["state"] == "started":
            part.refuse_start()
        wanted = declare.skeleton(facts.host).to_dict()
        answer = self._apply(
            phase="apply",
            desired=wanted,
            secrets={ADMINISTRATOR: secrets.get(ADMINISTRATOR)} if secrets.has(ADMINISTRATOR) else {},
            state=options["state"],
            remove_data=bool(options["remove_data"]),
            no_primary=part.no_primary() if options["state"] == "started" else "",
        )
        self._tell(answer)
        if (
            options["state"] == "started"
            and not self.check_mode
            and (answer["changed"] or not answer["answers"])
        ):
            timeout = seconds("postgres_ready_timeout", variables["postgres_ready_timeout"])
            self.wait_until_ready(wanted, timeout, created=False)
        return {
            key: answer[key]
            for key in ("changed", "plan", "lines", "directory", "diff", "done")
            if key in answer
        }


def _handed(declared: Declared, options: Mapping[str, Any], variables: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the module on the host gets."""
    return {
        "desired": declared.wanted.to_dict(),
        "state": "present",
        "secrets": dict(declared.values),
        "allow": [effect for effect in ("restart", "recreate") if variables[f"postgres_allow_{effect}"]],
        "only": options["only"],
        "no_primary": declared.part.no_primary(),
    }


def _texts(plan: dict[str, Any]) -> set[str]:
    return {change["text"] for change in plan["changes"]}
