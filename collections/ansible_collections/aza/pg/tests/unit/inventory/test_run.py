# SPDX-License-Identifier: Apache-2.0
"""The whole check, as a playbook runs it: real inventories, real templates, the exact lines."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = next(parent for parent in Path(__file__).resolve().parents if (parent / "ansible.cfg").is_file())
PLAYBOOK = """
- hosts: all
  gather_facts: false
  tasks:
    - aza.pg.inventory_validate:
      run_once: true
"""
HOSTS = """
all:
  hosts:
    db1: {postgres_cluster: shop, shop_password: hush from elsewhere}
    db2: {postgres_cluster: crm, postgres_port: 5433, ansible_host: db2.example.com}
    other: {}
"""
# Encrypted for the password `x`.
VAULTED = "!vault |\n        $ANSIBLE_VAULT;1.1;AES256\n        3030"


@pytest.fixture
def inventory(tmp_path: Path) -> Path:
    write(tmp_path, "playbooks/check.yml", PLAYBOOK)
    write(tmp_path, "prod/hosts.yml", HOSTS)
    return tmp_path


def write(directory: Path, name: str, text: str) -> None:
    path = directory / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def check(directory: Path, *arguments: str) -> tuple[int, list[str]]:
    """The exit code, and the lines of what was found."""
    done = subprocess.run(
        ["ansible-playbook", "-i", "prod", "playbooks/check.yml", *arguments],
        cwd=directory,
        env={
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
            "ANSIBLE_HOME": str(directory / ".ansible"),
            "ANSIBLE_NOCOLOR": "1",
        },
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "hush" not in done.stdout + done.stderr
    lines = (done.stdout + done.stderr).splitlines()
    start = [number for number, line in enumerate(lines) if "no host was touched" in line]
    if not start:
        assert done.returncode == 0, done.stdout + done.stderr
        return 0, []
    found = []
    for line in lines[start[0] + 1 :]:
        if line.startswith(("Origin", "fatal")) or not line:
            break
        found.append(line)
    return done.returncode, found


def test_a_good_inventory(inventory: Path) -> None:
    write(
        inventory,
        "prod/group_vars/all.yml",
        "postgres_roles:\n"
        "  - {name: shop, valid_until: 2027-01-31, member_of: [pg_monitor]}\n"
        "  - {name: app, password: \"{{ shop_password | default('one of db2') ~ 12345 }}\"}\n"
        "postgres_databases: [{name: shop, owner: shop, extensions: [hstore]}]\n"
        "postgres_port: '{{ 5000 + 432 }}'\n"
        "postgres_tls_names: \"{{ groups.all | map('extract', hostvars, 'inventory_hostname') | list }}\"\n",
    )
    assert check(inventory) == (0, [])


def test_all_problems_at_once_with_file_line_and_key(inventory: Path) -> None:
    write(
        inventory,
        "prod/group_vars/all.yml",
        "postgres_password: hush in plain text\n"
        "postgres_roles:\n"
        "  - name: shop\n"
        "    member_of: [{role: pg_monitor, admn: true}]\n"
        "  - name: app\n"
        f"    password: {VAULTED}\n"
        "    comment: '{{ nobody_knows }}'\n"
        "postgres_databases:\n"
        "  - name: shop\n"
        "    owner: shpo\n"
        "    extensions:\n"
        "      - hstore\n"
        "      - {name: vector, shema: api}\n"
        "postgres_memory: 2g\n"
        "postgres_memory: 4g\n",
    )
    write(inventory, "prod/host_vars/db2/main.yml", "---\npostgres_exporter_port: 5433\n")
    code, lines = check(inventory, "-e", "postgres_workload=wbe")
    assert code != 0
    there = "prod/group_vars/all.yml"
    plain = (
        "this password is readable in the file; encrypt it (ansible-vault encrypt_string), leave it out "
        "to have one made, or allow it with postgres_allow_plain_passwords: true"
    )
    assert lines == [
        "command line: postgres_workload: 'wbe' is not one of web, oltp, dw, mixed; did you mean 'web'?",
        f"{there}:1: postgres_password: {plain} (host db1, db2)",
        f"{there}:4: postgres_roles[0].member_of[0].admn: unknown key; did you mean 'admin'? Valid keys: admin, "
        "inherit, role, set",
        f"{there}:6: postgres_roles[1].password: the value cannot be resolved: Error rendering template: Attempt to "
        "use undecryptable variable: Attempting to decrypt but no vault secrets found.",
        f"{there}:9: postgres_roles[1].comment: the value cannot be resolved: 'nobody_knows' is undefined",
        f"{there}:12: postgres_databases[0].owner: the role 'shpo' is not declared in postgres_roles; did you mean "
        "'shop'? (host db1, db2)",
        f"{there}:15: postgres_databases[0].extensions[1].shema: unknown key; did you mean 'schema'? Valid keys: name, "
        "schema, state, version",
        f"{there}:17: postgres_memory: the key is given twice, first at {there}:16; leave one of the two out",
        "prod/host_vars/db2/main.yml:2: postgres_exporter_port: 5433 is the port of the server (postgres_port); give "
        "the exporter another one (host db2)",
    ]


def test_numbers_that_are_read_as_others_than_the_written_ones(inventory: Path) -> None:
    write(
        inventory,
        "prod/group_vars/all.yml",
        "postgres_allow_plain_passwords: true\n"
        "postgres_port: 05432\n"
        "postgres_stop_grace_period: 1:30\n"
        "postgres_password: 0123456701234567\n"
        "postgres_settings:\n"
        "  log_file_mode: 0640\n"
        "  random_page_cost: 1.10\n"
        "  myapp.version: 1.10\n"
        "  cluster_name: 0123\n"
        "postgres_roles:\n"
        "  - name: shop\n"
        "    valid_until: 2027-01-31 18:00:00\n"
        "    comment: on\n"
        "    settings: {statement_timeout: 1_000, myapp.since: 2027-01-31T18:00:00Z}\n"
        "postgres_databases: [{name: 0x10}]\n",
    )
    there, quotes = "prod/group_vars/all.yml", "put it in quotes"
    because = f"{quotes}, because YAML converts text that looks like a number, a date or a boolean (0123 becomes 83)"
    mend = "write the number that is meant, without leading zeros"
    assert check(inventory)[1] == [
        f"{there}:2: postgres_port: 05432 is read by YAML as 2842; {mend}",
        f"{there}:3: postgres_stop_grace_period: 1:30 is read by YAML as 90; {mend}",
        f"{there}:4: postgres_password: the value (not shown) is a number; expected text: {because}",
        f"{there}:8: postgres_settings.myapp.version: 1.10 is read by YAML as 1.1; {quotes}",
        f"{there}:9: postgres_settings.cluster_name: 0123 is read by YAML as 83; {quotes}",
        f"{there}:13: postgres_roles[0].comment: True is true or false; expected text: {because}",
        f"{there}:14: postgres_roles[0].settings.myapp.since: 2027-01-31T18:00:00Z is read by YAML as 2027-01-31 "
        f"18:00:00+00:00; {quotes}",
        f"{there}:15: postgres_databases[0].name: 16 is a number; expected text: {because}",
    ]


def test_hosts_that_are_one_machine(inventory: Path) -> None:
    write(
        inventory,
        "prod/hosts.yml",
        "all:\n"
        "  vars: {postgres_exporter: false}\n"
        "  hosts:\n"
        "    a: {ansible_host: 10.0.0.1, postgres_cluster: a}\n"
        "    b: {ansible_host: 10.0.0.1, postgres_cluster: b}\n"
        "    c: {ansible_host: 10.0.0.1, postgres_cluster: c, ansible_port: 2222}\n"
        "    d: {ansible_connection: local, postgres_cluster: d}\n"
        "    e: {ansible_connection: local, postgres_cluster: e}\n",
    )
    message = "5432 is taken on that machine by the host"
    mend = "of this inventory; give one of them another port"
    assert check(inventory)[1] == [
        f"host b: postgres_port: {message} a {mend} (host b)",
        f"host e: postgres_port: {message} d {mend} (host e)",
    ]


def test_a_plain_password_that_is_allowed(inventory: Path) -> None:
    write(inventory, "prod/group_vars/all.yml", "postgres_password: hush in plain text\n")
    write(inventory, "prod/host_vars/db1.yml", "postgres_allow_plain_passwords: true\n")
    (line,) = check(inventory)[1]
    assert line.endswith("(host db2)")
    assert check(inventory, "-e", "postgres_allow_plain_passwords=true") == (0, [])


def test_an_inventory_in_the_other_form(inventory: Path) -> None:
    (inventory / "prod/hosts.yml").unlink()
    write(
        inventory,
        "prod/hosts.ini",
        "db1 postgres_cluster=shop postgres_port=99999\n\n[all:vars]\npostgres_storage=sdd\n",
    )
    assert check(inventory)[1] == [
        "prod/hosts.ini:1: postgres_port: 99999 is not between 1 and 65535",
        "prod/hosts.ini:4: postgres_storage: 'sdd' is not one of ssd, hdd, san; did you mean 'ssd'?",
    ]


@pytest.mark.parametrize(
    "text",
    ["postgres_roles: &a\n  - *a\n", "postgres_settings: &a {x: *a}\n", f"postgres_port: {'1' * 200}\n"],
)
def test_what_contains_itself_or_is_too_large_is_a_mistake_like_others(inventory: Path, text: str) -> None:
    write(inventory, "prod/group_vars/all.yml", text)
    code, (line,) = check(inventory)
    assert code != 0 and line.startswith("prod/group_vars/all.yml:1: postgres_")


def with_old_names(inventory: Path, variables: str) -> tuple[int, str]:
    """Check an inventory while two variables have old names. Return the exit code and the output on one line."""
    spec = """
argument_specs:
  main:
    options:
      postgres_new_name:
        type: int
        default: 7
        deprecated_aliases: [{name: postgres_old_name, version: 2.0.0}]
      postgres_new_password:
        type: str
        no_log: true
        deprecated_aliases: [{name: postgres_old_password, version: 2.0.0}]
"""
    write(inventory, "playbooks/roles/own/meta/argument_specs.yml", spec)
    write(inventory, "prod/group_vars/all.yml", variables)
    done = subprocess.run(
        ["ansible-playbook", "-i", "prod", "playbooks/check.yml"],
        cwd=inventory,
        env={
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
            "ANSIBLE_HOME": str(inventory / ".ansible"),
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_ROLES_PATH": str(inventory / "playbooks/roles"),
        },
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )
    return done.returncode, " ".join((done.stdout + done.stderr).split())


def test_a_deprecated_variable_warns_with_file_line_and_key(inventory: Path) -> None:
    code, output = with_old_names(inventory, "postgres_old_name: 5\n")
    assert code == 0, output
    assert (
        "prod/group_vars/all.yml:1: postgres_old_name: deprecated variable; use postgres_new_name" in output
    )


def test_a_mistake_under_an_old_name_has_its_file_and_line(inventory: Path) -> None:
    code, output = with_old_names(
        inventory, "postgres_old_name: many\npostgres_old_password: hush-hush-hush\n"
    )
    assert code != 0 and "prod/group_vars/all.yml:1: postgres_old_name: 'many' is text" in output
    assert "prod/group_vars/all.yml:2: postgres_old_password: this password is readable in the file" in output
    assert "hush-hush-hush" not in output


def test_an_old_and_a_new_name_together_are_refused(inventory: Path) -> None:
    code, output = with_old_names(inventory, "postgres_new_name: 5\npostgres_old_name: 6\n")
    assert code != 0
    assert "prod/group_vars/all.yml:2: postgres_old_name: postgres_new_name is set as well" in output
