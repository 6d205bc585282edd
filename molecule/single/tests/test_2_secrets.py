# SPDX-License-Identifier: Apache-2.0
"""No secret is seen where people and programs look."""

from __future__ import annotations

from collections.abc import Callable

from support.checks import assert_secret_is_nowhere
from support.instances import Instance
from support.playbooks import Run
from support.plugin import INVENTORY


def test_password_is_nowhere(instances: dict[str, Instance], playbook: Callable[..., Run]) -> None:
    # A run that has something to do, and says all that Ansible can say: the password's own file is rewritten.
    for found in instances.values():
        found.run(f"echo spoilt > {found.directory}/secrets/postgres_password")
    loud = playbook("deploy-single.yml", "-vvv", "--diff")
    for name, found in instances.items():
        folder = INVENTORY / "secrets" / found.cluster
        secret = (folder / "postgres_password").read_text().rstrip("\n")
        assert found.run(f"cat {found.directory}/secrets/postgres_password").rstrip("\n") == secret
        project = f"{found.directory}/compose.yml"
        pem = (folder / f"tls/{name}.pem").read_text()
        assert found.run(f"cat {found.directory}/postgres/tls/server.pem") == pem
        monitor = (folder / "roles/aza_monitor").read_text().rstrip("\n")
        places = {
            "Ansible's output with -vvv --diff": loud.output,
            "Ansible's results": str(loud.of(name)),
            "docker inspect of the containers": found.run("docker ps -aq | xargs docker inspect"),
            "docker inspect of the images": found.run("docker images -q | xargs docker inspect"),
            "docker compose config": found.run(f"docker compose -f {project} config"),
            "the server's log": found.run(f"docker logs {found.container} 2>&1"),
            "the exporter's log": found.run(f"docker logs {found.exporter} 2>&1"),
            "the processes and their environment": found.run(
                "ps auxwwe; cat /proc/[0-9]*/environ 2>/dev/null | tr '\\0' '\\n'"
            ),
            "the files of the instance": found.run(
                f"find {found.directory} \\( -path '*/secrets' -o -name server.pem \\) -prune -o -type f -print0 "
                "| xargs -0 tail -n +1"
            ),
            "the server's settings": found.sql("select name, setting from pg_settings"),
        }
        for hidden in (secret, monitor, pem.splitlines()[1]):
            assert_secret_is_nowhere(hidden, places)


def test_secrets_of_the_control_node_are_private(instances: dict[str, Instance]) -> None:
    for found in instances.values():
        folder = INVENTORY / "secrets" / found.cluster
        assert folder.stat().st_mode & 0o777 == 0o700
        for path in [*folder.rglob("*"), *(INVENTORY / "secrets/ca").iterdir()]:
            assert path.stat().st_mode & 0o777 == (0o700 if path.is_dir() else 0o600), path
