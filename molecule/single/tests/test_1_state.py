# SPDX-License-Identifier: Apache-2.0
"""What a fresh deploy leaves on a host, seen from outside, for each host."""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Callable

import pytest

from support.instances import Instance
from support.playbooks import ROOT, Run
from support.plugin import INVENTORY


def test_containers_are_healthy(instance: Instance) -> None:
    for container in (instance.container, instance.exporter):
        deadline = time.monotonic() + 30
        while (state := instance.inspect(container)["State"])["Health"]["Status"] == "starting":
            assert time.monotonic() < deadline, container
            time.sleep(1)
        assert (state["Status"], state["Health"]["Status"]) == ("running", "healthy")


def test_only_loopback_is_published(instance: Instance) -> None:
    listening = instance.run("ss -Hltn").split()
    for container, inside, port in (
        (instance.container, 5432, instance.port),
        (instance.exporter, 9187, instance.exporter_port),
    ):
        ports = instance.inspect(container)["HostConfig"]["PortBindings"]
        assert ports == {f"{inside}/tcp": [{"HostIp": "127.0.0.1", "HostPort": str(port)}]}
        assert f"127.0.0.1:{port}" in listening
        assert not [where for where in listening if where.endswith(f":{port}") and "127.0.0.1" not in where]


def test_the_exporter_has_no_rights_to_spare(instance: Instance) -> None:
    found = instance.inspect(instance.exporter)
    host = found["HostConfig"]
    assert host["ReadonlyRootfs"]
    assert (host["CapDrop"], host["CapAdd"], host["Privileged"]) == (["ALL"], None, False)
    assert host["Memory"] == 128 * 2**20
    assert [option.split(":")[0] for option in host["SecurityOpt"]] == ["no-new-privileges"]
    assert instance.run(f"docker exec {instance.exporter} id -u").strip() == "9187"
    mounts = {mount["Destination"]: mount["RW"] for mount in found["Mounts"]}
    assert mounts.pop("/var/run/postgresql") is False
    assert list(mounts) == ["/run/secrets/exporter_password"]


def test_container_has_no_rights_to_spare(instance: Instance) -> None:
    found = instance.inspect()
    host = found["HostConfig"]
    assert host["ReadonlyRootfs"]
    assert host["CapDrop"] == ["ALL"]
    assert not host["CapAdd"]
    assert [option.split(":")[0] for option in host["SecurityOpt"]] == ["no-new-privileges"]
    assert not host["Privileged"]
    inside = f"docker exec {instance.container}"
    assert instance.run(f"{inside} id -u").strip() == "999"
    assert instance.run(f"{inside} grep ^Cap /proc/1/status").count("0000000000000000") >= 4
    assert instance.run(f"{inside} sh -c 'find / -xdev -perm /6000 -type f 2>/dev/null; :'") == ""
    assert instance.host.run(f"{inside} touch /etc/written").rc != 0


def test_limits_are_those_that_were_declared(instance: Instance) -> None:
    host = instance.inspect()["HostConfig"]
    memory_mb = 768 if instance.cluster == "busy" else 1024
    assert host["Memory"] == memory_mb * 2**20
    assert host["NanoCpus"] == (10**9 if instance.cluster == "busy" else 0)
    assert host["ShmSize"] >= 64 * 2**20
    assert host["RestartPolicy"]["Name"] == "unless-stopped"
    assert instance.inspect()["Config"]["StopTimeout"] == 120


def test_logs_rotate(instance: Instance) -> None:
    config = instance.inspect()["HostConfig"]["LogConfig"]
    assert config["Config"] == {"max-size": "20m", "max-file": "5"}


def test_files_of_the_instance(instance: Instance) -> None:
    secret = instance.host.file(f"{instance.directory}/secrets/postgres_password")
    assert (secret.mode, secret.uid, secret.gid) == (0o400, 999, 999)
    key = instance.host.file(f"{instance.directory}/postgres/tls/server.pem")
    assert (key.mode, key.uid, key.gid) == (0o400, 999, 999)
    password = instance.host.file(f"{instance.directory}/secrets/exporter_password")
    assert (password.mode, password.uid, password.gid) == (0o400, 9187, 9187)
    folder = instance.host.file(f"{instance.directory}/secrets")
    assert (folder.mode, folder.uid) == (0o700, 0)
    for path in ("compose.yml", "postgres/pg_hba.conf", "postgres/pg_ident.conf"):
        file = instance.host.file(f"{instance.directory}/{path}")
        assert (file.mode, file.uid) == (0o644, 0), path
    link = instance.host.file(instance.socket)
    assert link.is_symlink
    assert link.linked_to == f"{instance.directory}/run"


def test_image_is_the_one_that_was_built(instance: Instance) -> None:
    built = json.loads((ROOT / ".cache/dist/images.json").read_text())["postgres"]
    inside = f"docker exec {instance.container} cat /usr/local/share/aza-pg/image.json"
    assert json.loads(instance.run(inside))["flavour"] == built["flavour"]
    reference = instance.inspect()["Config"]["Image"]
    assert "@sha256:" in reference or reference.startswith("sha256:"), "a tag can move"


def test_compose_works_by_hand(instance: Instance) -> None:
    ps = f"docker compose -f {instance.directory}/compose.yml ps --format json"
    assert instance.container in instance.run(ps)
    assert instance.run(f"docker compose -f {instance.directory}/compose.yml config --quiet") == ""


_ASK = """
import psycopg
with psycopg.connect(host={socket!r}, user="postgres", dbname={database!r}) as connection:
    print(connection.execute("select current_user, inet_client_addr() is null, current_database()").fetchone())
"""


def test_root_of_the_host_needs_no_password(instance: Instance) -> None:
    script = _ASK.format(socket=instance.socket, database=instance.database)
    assert instance.run(f"python3 -c {shlex.quote(script)}").strip() == str(
        ("postgres", True, instance.database)
    )
    if instance.host.exists("psql"):
        line = f"psql -h {instance.socket} -U postgres -d {instance.database} -qAtX -c 'select 1'"
        assert instance.run(line).strip() == "1"


def test_other_users_of_the_host_get_nothing(instance: Instance) -> None:
    script = _ASK.format(socket=instance.socket, database="postgres")
    drop = f"import os; os.setgid(65534); os.setuid(65534)\n{script}"
    done = instance.host.run(f"python3 -c {shlex.quote(drop)}")
    assert done.rc != 0
    assert "peer" in done.stderr.lower()


def test_password_opens_the_published_port(instance: Instance) -> None:
    """With the very characters that the control node keeps, and with no other ones."""
    script = (
        "import psycopg, sys\n"
        f"with psycopg.connect(host='127.0.0.1', port={instance.port}, user='postgres', dbname='{instance.database}',"
        " password=sys.stdin.read().rstrip('\\n')) as connection:\n"
        "    print(connection.execute('select 1').fetchone()[0])\n"
    )
    file = f"{instance.directory}/secrets/postgres_password"
    assert instance.run(f"python3 -c {shlex.quote(script)} < {file}").strip() == "1"
    kept = (INVENTORY / "secrets" / instance.cluster / "postgres_password").read_text().rstrip("\n")
    assert instance.host.file(file).content.decode().rstrip("\n") == kept
    refused = instance.host.run(f"echo wrong-password | python3 -c {shlex.quote(script)}")
    assert refused.rc != 0
    assert "password authentication failed" in refused.stderr


_VERIFY = """
import psycopg, sys, tempfile
password, ca = sys.stdin.read().split("\\n", 1)
with tempfile.NamedTemporaryFile("w") as file:
    file.write(ca)
    file.flush()
    with psycopg.connect(host={host!r}, hostaddr="127.0.0.1", port={port}, user="postgres", dbname="postgres",
                         password=password, sslmode={mode!r}, sslrootcert=file.name) as connection:
        print(connection.execute("select ssl from pg_stat_ssl where pid = pg_backend_pid()").fetchone()[0])
"""


def test_clients_verify_the_server_and_nothing_else_is_let_in(instance: Instance) -> None:
    folder = INVENTORY / "secrets"
    secret = (folder / instance.cluster / "postgres_password").read_text().rstrip("\n")
    given = shlex.quote(f"{secret}\n{(folder / 'ca/ca.crt').read_text()}")

    def client(host: str, mode: str) -> str:
        script = _VERIFY.format(host=host, port=instance.port, mode=mode)
        return f"printf %s {given} | python3 -c {shlex.quote(script)}"

    for name in (instance.name, "localhost"):
        assert instance.run(client(name, "verify-full")).strip() == "True"
    foreign = instance.host.run(client("other.example.org", "verify-full"))
    assert foreign.rc != 0 and "does not match host name" in foreign.stderr
    clear = instance.host.run(client("localhost", "disable"))
    assert clear.rc != 0 and "no encryption" in clear.stderr


@pytest.fixture(scope="module")
def run(playbook: Callable[..., Run]) -> Run:
    return playbook("deploy-single.yml", "--check")


def test_settings_are_the_predicted_ones(instance: Instance, run: Run) -> None:
    """What aza.pg.instance predicts for this limit is what the server has."""
    tuning = next(task.result["tuning"] for task in run.of(instance.name) if task.result.get("tuning"))
    names = [value["name"] for value in tuning["values"]]
    assert "shared_buffers" in names and "work_mem" in names
    # The server normalises units, so let it do that for both sides.
    rows = ", ".join(f"('{value['name']}', '{value['value']}')" for value in tuning["values"])
    wrong = instance.sql(
        "select name, value, current_setting(name) as have "
        f"from (values {rows}) as wanted(name, value) "
        "where not case when current_setting(name) ~ '^[0-9]+[kMGT]?B$' "
        "then pg_size_bytes(current_setting(name)) = pg_size_bytes(value) "
        "else current_setting(name) = value end"
    )
    assert wrong == ""


def test_own_settings_win(instance: Instance) -> None:
    expected = "250ms" if instance.cluster == "busy" else "-1"
    assert instance.sql("show log_min_duration_statement") == expected


def test_declared_database_is_there(instance: Instance) -> None:
    assert instance.sql("select current_database()", database=instance.database) == instance.database


def test_extensions_of_the_image_are_created(instance: Instance) -> None:
    lines = instance.run(f"docker exec {instance.container} cat /usr/local/share/aza-pg/create").splitlines()
    expected = {line.split()[0] for line in lines if line.strip()}
    assert expected
    there = instance.sql("select extname from pg_extension", database=instance.database).splitlines()
    assert expected <= set(there)
