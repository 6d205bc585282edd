# SPDX-License-Identifier: Apache-2.0
"""What people do behind the inventory's back: each is red, and said as text. One instance, hurt once, inspected."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from . import browser
from .instance import CANARY, Instance, Run, docker

DECLARED: dict[str, Any] = {
    "postgres_password": CANARY,
    "postgres_allow_plain_passwords": True,
    "postgres_settings": {"work_mem": "8MB"},
    "postgres_roles": [{"name": "shop"}, {"name": "app", "connection_limit": 20}],
    "postgres_databases": [{"name": "shop", "owner": "shop", "extensions": ["hstore"]}],
}
NAUGHTY = "<b>x</b>"
# It clears the screen, turns the reading direction, adds a line and hides a character.
INJECTED = "in\x1b[2J\x9b2J\u202eje\u200bct\ned"
SHOWN = "in\\x1b[2J\\x9b2J\\u202eje\\u200bct"


@dataclass
class Checked:
    run: Run
    report: dict[str, Any]
    page: Path

    @property
    def findings(self) -> list[dict[str, str]]:
        return list(self.report["fleet"][0]["findings"])

    def tells(self, state: str, *words: str) -> bool:
        return any(
            item["state"] == state and all(word in f"{item['what']} {item['message']}" for word in words)
            for item in self.findings
        )


def check(instance: Instance, name: str, *arguments: str) -> Checked:
    data, page = instance.inventory.parent / f"{name}.json", instance.inventory.parent / f"{name}.html"
    run = instance.play("check", "-e", f"report_json={data}", "-e", f"report_html={page}", *arguments)
    assert data.is_file(), run.output
    return Checked(run, json.loads(data.read_text()), page)


@pytest.fixture(scope="module")
def well(instance: Instance) -> Checked:
    instance.declare(**DECLARED)
    instance.deploy()
    return check(instance, "well")


@pytest.fixture(scope="module")
def other_image(instance: Instance, well: Checked) -> Iterator[str]:
    """The same image under another digest, as a careless `docker commit` makes it."""
    name = f"{instance.cluster}/postgres:other"
    docker("commit", "--change", "LABEL other=yes", instance.container, name)
    yield name
    docker("image", "rm", "--force", name)


@pytest.fixture(scope="module")
def hurt(instance: Instance, well: Checked, other_image: str) -> Checked:
    compose = instance.directory / "compose.yml"
    compose.write_text(re.sub(r"(?m)^(    image:).*$", rf"\1 {other_image}", compose.read_text(), count=1))
    docker("compose", "--file", str(compose), "up", "--detach", "--wait", "--no-build", "postgres")
    for statement in (
        "alter system set work_mem = '64MB'",
        "create role mallory superuser login",
        f'create role "{NAUGHTY}"',
        f"comment on role shop is '{INJECTED}'",
        "alter role app password 'somebody else knows it'",
        "alter database shop owner to postgres",
    ):
        instance.sql(statement)
    docker(
        "exec",
        instance.container,
        "psql",
        "-qX",
        "-U",
        "postgres",
        "-d",
        "shop",
        "-c",
        "drop extension hstore",
    )
    (instance.directory / "secrets" / "postgres_password").write_text("somebody else's")
    (instance.directory / "postgres" / "tls" / "server.pem").write_text(expired_certificate())
    hba = instance.directory / "postgres" / "pg_hba.conf"
    hba.write_text(hba.read_text() + "host all all 0.0.0.0/0 trust\n")
    own = instance.directory / "postgres" / "conf.d" / "50-inventory.conf"
    own.write_text(own.read_text() + "max_connections = 77\n")
    instance.sql("select pg_reload_conf()")
    return check(instance, "hurt")


def expired_certificate() -> str:
    """A key and its certificate, whose time was over yesterday."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "expired")])
    now = datetime.now(timezone.utc)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=9))
        .not_valid_after(now - timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return (key.private_bytes(*form) + made.public_bytes(serialization.Encoding.PEM)).decode()


def test_before_all_is_green(well: Checked) -> None:
    assert well.run.code == 0
    assert {item["state"] for item in well.findings} == {"green"}, well.findings
    assert well.report["state"] == "green"
    assert well.report["summary"] in well.run.output


CASES = {
    "somebody's ALTER SYSTEM": ("drift", "work_mem", "64MB", "8MB", "ALTER SYSTEM"),
    "a stray superuser": ("undeclared", "role mallory", "superuser that is not declared"),
    "a role whose password was changed": ("drift", "password", "role app"),
    "an edited file": ("drift", "change secret secrets/postgres_password"),
    "an edited access rule": ("drift", "hba rule", "host all all 0.0.0.0/0 trust"),
    "an expired certificate": ("certificate", "it has expired"),
    "another image": ("image", "the container was recreated by hand, from another image"),
    "a dropped extension": ("drift", "create extension shop.hstore"),
    "a database with another owner": ("drift", "database shop", "owner postgres → shop"),
    "pending_restart": ("pending_restart", "max_connections", "not active"),
}


@pytest.mark.parametrize("title", CASES)
def test_red_and_in_words(title: str, well: Checked, hurt: Checked) -> None:
    assert not well.tells("red", *CASES[title])
    assert hurt.tells("red", *CASES[title]), json.dumps(hurt.findings, indent=1, ensure_ascii=False)


def test_red_fails_the_run_and_the_terminal_says_what_the_reports_say(hurt: Checked) -> None:
    assert hurt.run.code != 0
    assert hurt.run.recap["changed"] == 0
    printed = " ".join(hurt.run.output.split())
    for item in hurt.findings:
        assert " ".join(item["message"].split()) in printed
    assert hurt.report["summary"] in printed
    assert f"{hurt.report['findings']['red']} findings are red" in printed


def test_what_waits_is_yellow_and_says_what_for(hurt: Checked) -> None:
    waiting = [item for item in hurt.findings if item["what"] == "waiting"]
    assert {item["state"] for item in waiting} == {"yellow"}
    assert any("postgres_allow_recreate: true" in item["remedy"] for item in waiting)


def test_nothing_of_a_server_is_interpreted_by_a_terminal_or_a_page(
    instance: Instance, hurt: Checked
) -> None:
    planned = instance.play("deploy-single", "--check", "--diff", "-v")
    for text in (
        hurt.run.output,
        hurt.page.read_text(),
        json.dumps(hurt.report, ensure_ascii=False),
        planned.output,
    ):
        assert SHOWN in unescape(text).replace("\\\\", "\\"), text
        assert not [char for char in text if not char.isprintable() and char != "\n"]


def test_no_secret_is_in_a_report(hurt: Checked) -> None:
    kept = [hurt.run.output, hurt.page.read_text(), json.dumps(hurt.report)]
    assert not [text for text in kept if CANARY in text]


def test_the_page_in_a_browser(hurt: Checked, tmp_path: Path) -> None:
    """It is shown without a request, on a screen, a phone and in the dark; names in it are only names."""
    page = tmp_path / "report.html"
    page.write_bytes(hurt.page.read_bytes())
    assert browser.requests(page) == set()
    dom = browser.look(page, "--dump-dom")
    text = " ".join(unescape(re.sub(r"<[^>]+>", " ", dom)).split())
    for item in hurt.findings:
        assert " ".join(item["message"].split()) in text
    assert NAUGHTY in text and f"role {NAUGHTY}" not in dom
    assert browser.overflow(page, 1200) <= 0
    assert browser.overflow(page, 360) <= 0
    light = browser.screenshot(page, tmp_path / "light.png")
    dark = browser.screenshot(page, tmp_path / "dark.png", "--blink-settings=preferredColorScheme=0")
    assert min(len(light), len(dark)) > 20_000, "hardly anything is shown"
    assert light != dark


def test_a_deploy_repairs_it_and_what_nobody_declared_is_named_to_go(
    instance: Instance, hurt: Checked
) -> None:
    instance.deploy("-e", "postgres_allow_recreate=true")
    again = check(instance, "repaired")
    left = {item["what"] for item in again.findings if item["state"] != "green"}
    assert left == {"undeclared"}, again.findings
    gone = [{"name": name, "state": "absent"} for name in ("mallory", NAUGHTY)]
    instance.declare(postgres_roles=[*DECLARED["postgres_roles"], *gone])
    instance.deploy()
    after = check(instance, "clean")
    assert (after.run.code, after.report["state"]) == (0, "green"), after.findings


def test_a_container_that_somebody_changed_and_what_an_interrupted_recreate_left(
    instance: Instance, well: Checked
) -> None:
    """The hash label says nothing of either; and the same port on another address is no obstacle."""
    half_made = f"0123456789ab_{instance.container}"
    image = docker("inspect", "--format", "{{.Image}}", instance.exporter)
    docker("update", "--memory", "600m", "--memory-swap", "1200m", "--restart", "no", instance.container)
    docker("network", "connect", "bridge", instance.exporter)
    project = f"com.docker.compose.project=aza-pg-{instance.cluster}-single"
    service = "com.docker.compose.service=postgres"
    append = [
        "bash",
        "-c",
        "printf '%s\n' 'work_mem = 3MB' 'jit_above_cost = 7' 'ssl = off' >> $PGDATA/postgresql.conf",
    ]
    docker("exec", instance.container, *append)
    docker("create", "--name", half_made, "--label", project, "--label", service, image)
    found = check(instance, "changed")
    for words in (
        (instance.container, "memory limit is 600 MB", "restart policy is no"),
        (instance.exporter, "networks is", "bridge"),
        (half_made, "interrupted"),
    ):
        assert found.tells("red", *words), found.findings
    assert found.tells("red", "undeclared", "setting ssl", "postgresql.conf line", "the stack sets it")
    assert found.tells("yellow", "undeclared", "setting jit_above_cost", "postgresql.conf line")
    assert found.tells("red", "work_mem of postgres_settings is not in force")
    remove = ["bash", "-c", "sed -i '/^include_dir/q' $PGDATA/postgresql.conf"]
    docker("exec", instance.container, *remove)
    before = docker("inspect", "--format", "{{.Id}}", instance.container)
    instance.declare(postgres_publish_address="0.0.0.0", postgres_allow_from=["127.0.0.0/8"])
    waits = instance.deploy()
    assert "postgres_allow_recreate: true" in waits.output
    assert docker("inspect", "--format", "{{.Id}}", instance.container) == before
    names = docker("ps", "--all", "--format", "{{.Names}}", "--filter", f"label={project}").split()
    assert half_made not in names
    instance.deploy("-e", "postgres_allow_recreate=true")
    inspected = json.loads(docker("inspect", instance.container))[0]["HostConfig"]
    assert (inspected["Memory"], inspected["RestartPolicy"]["Name"]) == (512 * 2**20, "unless-stopped")
    assert inspected["PortBindings"]["5432/tcp"][0]["HostIp"] == "0.0.0.0"
    after = check(instance, "declared")
    assert (after.run.code, after.report["state"]) == (0, "green"), after.findings


def test_a_host_or_an_engine_that_is_gone_hides_no_other(
    instance: Instance, well: Checked, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = {"ansible_connection": "local", "ansible_python_interpreter": "{{ ansible_playbook_python }}"}
    gone = {"ansible_host": "127.0.0.1", "ansible_port": 1, "postgres_cluster": "elsewhere"}
    instance.write("hosts.yml", {"all": {"hosts": {"gone": gone, "here": here}}})
    found = check(instance, "gone")
    assert found.run.code != 0
    states = {one["host"]: one["state"] for one in found.report["fleet"]}
    assert states == {"gone": "red", "here": "green"}
    assert "it cannot be reached" in found.run.output
    instance.write("hosts.yml", {"all": {"hosts": {"here": here}}})
    with monkeypatch.context() as patched:
        patched.setenv("DOCKER_HOST", "tcp://127.0.0.1:1")
        down = check(instance, "down")
    assert down.run.code != 0
    assert [(item["what"], item["message"]) for item in down.findings] == [
        ("engine", "No Docker Engine answers on this host. Start it, or let the role docker_engine do it.")
    ]


def test_a_report_that_cannot_be_written_is_said(instance: Instance, well: Checked) -> None:
    run = instance.play("check", "-e", "report_html=/nowhere/at/all.html")
    assert run.code != 0
    assert "report_html: /nowhere/at/all.html cannot be written" in " ".join(run.output.split())
