# SPDX-License-Identifier: Apache-2.0
"""The control node's half of aza.pg.instance: render what should be, hand it over, tell what happens."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleConnectionFailure, AnsibleError
from ansible.plugins.loader import lookup_loader
from ansible_collections.aza.pg.plugins.module_utils.errors import AzaError
from ansible_collections.aza.pg.plugins.module_utils.instance import describe as describing
from ansible_collections.aza.pg.plugins.module_utils.instance import findings, ownership
from ansible_collections.aza.pg.plugins.module_utils.model.names import identity
from ansible_collections.aza.pg.plugins.module_utils.model.service import (
    EXPORTER,
    PGBOUNCER,
    PGBOUNCER_EXPORTER,
    SERVER,
    container_name,
)
from ansible_collections.aza.pg.plugins.module_utils.quantity import seconds
from ansible_collections.aza.pg.plugins.module_utils.replication import topology as replication
from ansible_collections.aza.pg.plugins.module_utils.server import settings as pg
from ansible_collections.aza.pg.plugins.module_utils.services.pgbouncer.service import PgBouncer
from ansible_collections.aza.pg.plugins.module_utils.services.pgbouncer_exporter import PgBouncerExporter
from ansible_collections.aza.pg.plugins.module_utils.services.postgres_exporter import Exporter
from ansible_collections.aza.pg.plugins.module_utils.tls import certificate as tls
from ansible_collections.aza.pg.plugins.module_utils.yaml_dumper import dump
from ansible_collections.aza.pg.plugins.plugin_utils import (
    certificates,
    cluster,
    handed_secrets,
    instance_images,
)
from ansible_collections.aza.pg.plugins.plugin_utils.control_secrets import (
    ADMINISTRATOR,
    InstanceSecrets,
    SecretStore,
)
from ansible_collections.aza.pg.plugins.plugin_utils.environment import Environment
from ansible_collections.aza.pg.plugins.plugin_utils.instance_action import SLICE_SECONDS, StackAction
from ansible_collections.aza.pg.plugins.plugin_utils.instance_arguments import (
    ARGUMENTS,
    confirm,
    misfits,
    pooled,
)
from ansible_collections.aza.pg.plugins.plugin_utils.inventory_sources import origins
from ansible_collections.aza.pg.plugins.plugin_utils.prediction import predict
from ansible_collections.aza.pg.plugins.plugin_utils.preload import preload

# A plan may show something new once the server runs (its password, say); then it must be empty.
_ROUNDS = 3
_OBJECTS = ("roles", "databases", "hba", "ident", "undeclared", "allow_loss")


class ActionModule(StackAction):
    def perform(self) -> dict[str, Any]:
        if said := list(misfits(self._task.args)):
            raise AzaError(f"{'; '.join(said)}. Nothing was changed.", reason="bad_argument")
        _, given = self.validate_argument_spec(argument_spec=ARGUMENTS)
        given["pgbouncer"] = pooled(given)
        # Ansible's strings carry tags that neither YAML nor a comparison of plans has a use for.
        # And YAML makes a date of what looks like one (valid_until: 2027-01-31): it is text here.
        given = json.loads(json.dumps(given, default=str))
        if given["state"] == "present":
            return self._present(given)
        if given["state"] == "checked":
            return self._checked(given)
        if given["state"] == "absent":
            confirm(given)
        return self._other(given)

    # -- state: present -------------------------------------------------------------------------------

    def _present(self, given: dict[str, Any]) -> dict[str, Any]:
        images = {SERVER: self._image("image", given, "postgres")}
        if given["exporter"]:
            images[EXPORTER] = self._image("exporter_image", given, "exporter")
        if given["pgbouncer"]:
            images[PGBOUNCER] = self._image("pgbouncer_image", given, "pgbouncer")
            if given["exporter"]:
                images[PGBOUNCER_EXPORTER] = images[EXPORTER]
        host, engine, member = self._look(given)
        part = self._part(given, member)
        role = part.role()
        if role is not None:
            part.refuse(role)
        for note in role.notes if role and not given.get("admitted") else ():
            self.say(note)
        pinned = {name: instance_images.pinned(image, engine) for name, image in images.items()}
        # Nothing is written on the control node before the host has said that the instance is this environment's.
        dry = self.check_mode or not given.get("admitted")
        environment = Environment(self.task_vars.get("inventory_dir"), dry)
        secrets = self._secrets(given, dry)
        bundle = self._certificate(given, host, role, dry) if given["tls"] else None
        if role and not member.get("data") and given["take_over"] != given["cluster"]:
            environment.refuse_foreign_members(self.task_vars, given["cluster"], self.host)
        if role and bundle and not bundle.authority:
            raise AzaError(
                "postgres_tls_certificate: it does not end with the root that signed it, so the members of the cluster "
                "could not verify each other. Give the whole chain, the root's certificate last.",
                reason="bad_certificate",
            )
        address = published(given["publish_address"], role)
        pool_address = given["pgbouncer_publish_address"] or address
        basedir = Path(self._loader.get_basedir())
        libraries = preload(basedir, given["databases"], given["extra_preload_libraries"])
        given = {**given, "extra_preload_libraries": libraries["declared"]}
        prediction = predict(given, engine, basedir)
        floor = part.floor(role) if role else {}
        wanted = describing.describe(
            describing.Parameters(
                cluster=given["cluster"],
                stack=given["stack"],
                image=images[SERVER],
                memory_mb=prediction.memory_mb,
                shm_size_mb=prediction.shm_size_mb,
                cpus=given["cpus"],
                huge_pages_mb=prediction.shared_mb(pg.normalise(given["settings"]), floor)
                if given["huge_pages"]
                else 0,
                workload=given["workload"],
                storage=given["storage"],
                autotune=given["autotune"],
                port=given["port"],
                publish_address=address,
                allow_from=given["allow_from"],
                database=given["database"],
                user=given["user"],
                settings=given["settings"],
                extra_preload_libraries=given["extra_preload_libraries"],
                initdb_args=given["initdb_args"],
                base_dir=given["base_dir"],
                stop_seconds=seconds("postgres_stop_grace_period", given["stop_grace_period"]),
                log_max_size=given["log_max_size"],
                log_max_files=given["log_max_files"],
                origins=self._origins(),
                objects={key: given[key] for key in _OBJECTS} | {"preload": libraries},
                exporter=Exporter(
                    images[EXPORTER] | {"pinned": pinned[EXPORTER]},
                    given["exporter_port"],
                    given["exporter_publish_address"],
                )
                if given["exporter"]
                else None,
                pgbouncer=PgBouncer(
                    images[PGBOUNCER] | {"pinned": pinned[PGBOUNCER]},
                    given["pgbouncer_port"],
                    pool_address,
                    given["pgbouncer_settings"],
                    prediction.setting("max_connections", 100),
                    bundle.authority if bundle else "",
                )
                if given["pgbouncer"]
                else None,
                pgbouncer_exporter=PgBouncerExporter(
                    images[PGBOUNCER_EXPORTER] | {"pinned": pinned[PGBOUNCER_EXPORTER]},
                    given["pgbouncer_exporter_port"],
                    given["pgbouncer_exporter_publish_address"],
                )
                if PGBOUNCER_EXPORTER in images
                else None,
                tls=given["tls"],
                certificate={**bundle.facts, "replace": given["replace_authority"]} if bundle else {},
                ca=bundle.authority if bundle else "",
                role=role,
                floor=floor,
            ),
            describing.Host(
                uid=host["uid"],
                gid=host["gid"],
                home=host["home"],
                image_reference=pinned[SERVER],
            ),
            dump,
        )
        values = handed_secrets.values(given, wanted, secrets, bundle)
        signs = bundle is not None and (not given["only"] or tls.KIND in given["only"])
        claim = environment.claim(
            # Once the host has agreed, what was made just now is no longer missing.
            made=secrets.created if dry else (),
            authorities=tls.fingerprints(bundle.authority.encode())
            if bundle and not given["tls_certificate"]
            else (),
            new_authority=bool(dry and signs and bundle and bundle.new_authority),
            take_over=given["take_over"] == given["cluster"],
        )
        handed = {
            "desired": replace(wanted, claim=claim).to_dict(),
            "state": "present",
            "secrets": values,
            "allow": [effect for effect in ("restart", "recreate") if given[f"allow_{effect}"]],
            "only": given["only"],
            "no_primary": part.no_primary(),
        }
        makes = environment.fresh or secrets.created or (signs and bundle and bundle.made)
        if dry and makes and not self.check_mode:
            environment.keep(self._apply(phase="plan", **handed)["environment"] or environment.identity)
            return self._present({**given, "admitted": True})
        if not self.check_mode:
            secrets.begin_to_write()
        if given["state"] == "checked":
            answer = self._apply(
                phase="check",
                tuned=prediction.to_dict()["values"],
                mark=given["mark"],
                delay=role.me.delay if role else 0,
                **handed,
            )
            if role is None:
                # Those of a cluster stand with its members, which are judged together.
                answer["findings"] += answer.get("pgbouncer", {}).get("findings", [])
            return answer
        result = self._converge(handed, images, given)
        pool = [given["pgbouncer_port"]] if given["pgbouncer"] else []
        passfile = secrets.settle(given["user"], wanted.standby)
        result["changed"] |= bool(secrets.created) or (bundle is not None and bundle.made)
        facts = bundle.facts if bundle else {}
        result["certificate"] = {**facts, "told": tls.told(facts)}
        kept = ADMINISTRATOR in secrets.kept
        result["connection"] = {
            "host": address,
            "port": given["port"],
            "database": given["database"],
            "user": given["user"],
            "pool": f"{pool_address} port {pool[0]}" if pool else "",
            "password_file": str(secrets.store.path(ADMINISTRATOR)) if kept else "",
            "passfile": passfile if kept else "",
            "sslrootcert": bundle.root if bundle else "",
            "verifiable": bundle is not None and tls.covers(bundle.facts["names"], address),
            "socket": wanted.socket_link or wanted.socket_dir,
            "container": wanted.container,
            "compose_file": f"{wanted.directory}/compose.yml",
            "psql": host["psql"],
            "local": self._connection.transport == "local",
        }
        result["tuning"] = {**prediction.to_dict(), "own": pg.normalise(given["settings"])}
        result["notes"] = list(role.notes) if role else []
        result["role"] = (replication.REPLICA if role.standby else replication.PRIMARY) if role else "single"
        return result

    def _image(self, option: str, given: Mapping[str, Any], built: str) -> instance_images.Record:
        """The declared image, or the one of that name that was built last."""
        image = given[option]
        if image in ("", None):
            lookup = lookup_loader.get("aza.pg.image", loader=self._loader, templar=self._templar)
            (image,) = lookup.run([built], variables=self.task_vars)
        return instance_images.record(f"postgres_{option}", image)

    def _part(self, given: dict[str, Any], member: Mapping[str, Any]) -> cluster.Part:
        return cluster.Part(self.task_vars, self.host, given, member, bool(self._task.check_mode))

    def _checked(self, given: dict[str, Any]) -> dict[str, Any]:
        """Findings, and never a failure: one host that cannot be judged must not hide the others."""
        try:
            answer = self._present(given)
        except AzaError as error:
            answer = {"changed": False, "findings": [findings.failure(error).to_dict()]}
        except AnsibleConnectionFailure as error:
            said = str(error.message).removeprefix("Failed to connect to the host via ssh: ")
            unreachable = AzaError(f"it cannot be reached: {said}", reason="unreachable")
            answer = {"changed": False, "findings": [findings.failure(unreachable).to_dict()]}
        keys = (
            "changed",
            "findings",
            "plan",
            "lines",
            "version",
            "replication",
            "pgbouncer",
        )
        return {key: answer[key] for key in keys if key in answer}

    def _look(self, given: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        """The host, its engine and what its instance is to the cluster: as the role saw it, or by a look of our own."""
        info = self._seen(given)
        if info["engine_error"]:
            raise AzaError(info["engine_error"], reason="no_engine")
        return info["host"], info["engine"], info["member"]

    def _seen(self, given: dict[str, Any]) -> dict[str, Any]:
        seen: dict[str, Any] = given["look"] or self.on_target(
            "instance_host", **{key: given[key] for key in ("cluster", "stack", "base_dir", "user")}
        )
        return seen

    def _secrets(self, given: dict[str, Any], dry: bool = True) -> InstanceSecrets:
        inventory, cluster = self.task_vars.get("inventory_dir"), given["cluster"]
        secrets = InstanceSecrets(
            given["password"], given["roles"], lambda: SecretStore(inventory, cluster, dry)
        )
        if given["rotating"] and self.check_mode:
            secrets.foretell(given["rotating"])
        return secrets

    def _certificate(
        self, given: dict[str, Any], host: dict[str, Any], role: replication.Role | None, dry: bool
    ) -> certificates.Bundle:
        """The server's certificate for every name that this host and its instance are known to go by."""
        dry = dry or (bool(given["only"]) and tls.KIND not in given["only"])
        names = identity(given["cluster"], given["stack"], "", host["uid"])
        reached = [
            str(self._templar.template(self.task_vars.get("ansible_host") or self.host)),
            published(given["publish_address"], role),
            *([role.me.address] if role else []),
            *given["tls_names"],
        ]
        derived = ["localhost", "127.0.0.1", "::1", SERVER, container_name(names["project"], SERVER)]
        wish = certificates.Wish(
            host=self.host.replace("/", "_"),
            names=tls.names([host["hostname"], self.host, *reached, *derived]),
            expected=tuple(name for name in tls.names(reached) if not tls.is_loopback(name)),
            certificate=given["tls_certificate"],
            key=given["tls_key"],
            ca_certificate=given["tls_ca_certificate"],
            ca_key=given["tls_ca_key"],
            renew=given["renew_certificate"],
        )
        # Of a certificate of one's own nothing is kept, so there need not be a place for it.
        inventory = self.task_vars.get("inventory_dir")
        root = Path() if wish.certificate else SecretStore(inventory, given["cluster"], dry).root
        return certificates.Certificates(
            root, given["cluster"], certificates.now(), self._file_of_the_operator, dry
        ).server(wish)

    def _file_of_the_operator(self, path: str) -> str:
        """A file on the control node, encrypted with Ansible Vault or not; a path begins at the inventory."""
        given = Path(path).expanduser()
        beside = Path(self.task_vars.get("inventory_dir") or ".") / given
        found = beside if beside.exists() else given
        try:
            return Path(self._loader.get_real_file(str(found.absolute()))).read_text(encoding="utf-8")
        except (OSError, AnsibleError) as error:
            raise AzaError(
                f"{path} cannot be read on the control node: {getattr(error, 'strerror', None) or error}. Give the "
                "path of a PEM file, or its text.",
                reason="unreadable_file",
            ) from None

    def _origins(self) -> dict[str, str]:
        return origins(self.task_vars, self._loader, prefix="postgres_")

    def _bring_archive(self, name: str, archive: Path) -> str:
        """The image's archive on the target. Where the target is the control node, it is there already;
        elsewhere it lies in the task's temporary directory, which Ansible removes when the task is over."""
        if self._connection.transport == "local":
            return str(archive)
        self.say(f"receives the image {name} ({archive.stat().st_size // 2**20} MB), once for this version")
        directory = self._make_tmp_path()
        remote: str = self._connection._shell.join_path(directory, "image.tar")
        self._transfer_file(str(archive), remote)
        self._fixup_perms2((directory, remote))
        return remote

    def _converge(
        self, handed: dict[str, Any], images: dict[str, instance_images.Record], given: dict[str, Any]
    ) -> dict[str, Any]:
        result: dict[str, Any] = {"changed": False, "done": [], "diff": [], "ready_seconds": 0.0}
        for number in range(_ROUNDS):
            try:
                answer = self._apply(phase="apply", settle=SLICE_SECONDS, **handed)
            except AzaError as error:
                raise (error.after(result["done"]) if result["changed"] else error) from None
            if answer["awaits"]:
                # The plan stands, and nothing was done: what would be refused is refused before the long copy.
                archives = {
                    name: self._bring_archive(name, Path(images[name]["archive"]))
                    for name in answer["awaits"]
                }
                answer = self._apply(phase="apply", settle=SLICE_SECONDS, archives=archives, **handed)
            if number == 0:
                result |= {key: answer[key] for key in ("plan", "lines", "directory")}
            if number == 0 or _texts(answer["plan"]) - _texts(result["plan"]):
                # What comes once the server runs was said with the first plan already.
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
                    handed["desired"],
                    seconds("postgres_ready_timeout", given["ready_timeout"]),
                    answer["created"],
                )
            elif settled["after"]:
                answer = settled["after"]
                break
        else:
            raise AzaError(
                f"{handed['desired']['instance']} does not come to rest: after {_ROUNDS} rounds the plan still says "
                f"{'; '.join(answer['lines'])}. Please report this.",
                reason="not_convergent",
            )
        result["held"] = answer["plan"]["held"]
        result["version"] = answer["version"]
        return result

    def _apply(self, **handed: Any) -> dict[str, Any]:
        return self.on_target("instance_apply", **handed)

    def _tell(self, answer: dict[str, Any]) -> None:
        """The plan as it is carried out; with --diff Ansible prints the same lines itself."""
        if answer["lines"] and not ("diff" in answer and self._task.diff):
            for line in answer["lines"]:
                self.say(line)
        elif self.check_mode and not answer["lines"] and self._task.args.get("only") != [ownership.KIND]:
            self.say(answer["plan"]["summary"])

    # -- the other states -----------------------------------------------------------------------------

    def _other(self, given: dict[str, Any]) -> dict[str, Any]:
        host, _, member = self._look(given)
        part = self._part(given, member)
        if given["state"] == "absent":
            part.keep_the_data()
        if given["state"] == "started":
            part.refuse_start()
        skeleton = describing.skeleton(
            given["cluster"], given["stack"], given["base_dir"], host, given["user"]
        )
        environment, secrets = Environment(self.task_vars.get("inventory_dir"), True), self._secrets(given)
        claim = environment.claim(take_over=given["take_over"] == given["cluster"])
        wanted = replace(skeleton, claim=claim).to_dict()
        wanted["database"] = given["database"]
        wanted["stop_seconds"] = seconds("postgres_stop_grace_period", given["stop_grace_period"])
        answer = self.on_target(
            "instance_apply",
            phase="apply",
            desired=wanted,
            secrets={ADMINISTRATOR: secrets.get(ADMINISTRATOR)} if secrets.has(ADMINISTRATOR) else {},
            state=given["state"],
            remove_data=bool(given["remove_data"]),
            no_primary=part.no_primary() if given["state"] == "started" else "",
        )
        self._tell(answer)
        if given["state"] == "started" and not self.check_mode:
            timeout = seconds("postgres_ready_timeout", given["ready_timeout"])
            if answer["changed"] or not answer["answers"]:
                self.wait_until_ready(wanted, timeout, created=False)
        return {
            key: answer[key]
            for key in ("changed", "plan", "lines", "directory", "diff", "done")
            if key in answer
        }


def published(given: str, role: replication.Role | None) -> str:
    """Where the server is reached: by the host alone, but in a cluster by its other members too."""
    return given or (role.me.address if role else "127.0.0.1")


def _texts(plan: dict[str, Any]) -> set[str]:
    return {change["text"] for change in plan["changes"]}
