# SPDX-License-Identifier: Apache-2.0
"""What the inventory declares of the server: there, usable over TLS by whom it is for, kept, repaired, rotated."""

from __future__ import annotations

import base64
import json
import shlex
from collections.abc import Callable

import pytest

from support.checks import (
    assert_check_mode_is_exact,
    assert_second_run_changes_nothing,
    assert_secret_is_nowhere,
)
from support.instances import Instance
from support.playbooks import Run
from support.plugin import INVENTORY
from support.waiting import until

Playbook = Callable[..., Run]
Instances = dict[str, Instance]
# The host whose inventory declares roles and databases.
DECLARED = "azatest-debian13"

_CLIENT = """
import base64, json, psycopg, sys
password, root, *statements = json.loads(base64.b64decode(sys.stdin.read()))
with open("/tmp/azatest-ca.crt", "w") as file:
    file.write(root)
with psycopg.connect(host="localhost", port={port}, user={user!r}, dbname={database!r}, password=password,
                     sslmode={mode!r}, sslrootcert="/tmp/azatest-ca.crt") as connection:
    for statement in statements:
        print(connection.execute(statement).fetchone())
"""


@pytest.fixture
def shop(instances: Instances) -> Instance:
    return instances[DECLARED]


def secret(instance: Instance, name: str) -> str:
    return (INVENTORY / "secrets" / instance.cluster / name).read_text().rstrip("\n")


def authority() -> str:
    return (INVENTORY / "secrets/ca/ca.crt").read_text()


def client(
    instance: Instance, user: str, *statements: str, mode: str = "verify-full", password: str = ""
) -> tuple[int, str]:
    """What a client on the host, who knows the authority and a password, gets: exit code and output."""
    script = _CLIENT.format(port=instance.port, user=user, database="shop", mode=mode)
    given = json.dumps([password or secret(instance, f"roles/{user}"), authority(), *statements])
    encoded = base64.b64encode(given.encode()).decode()
    done = instance.host.run(f"echo {encoded} | python3 -c {shlex.quote(script)}")
    return done.rc, done.stdout + done.stderr


def test_roles_are_as_declared(shop: Instance) -> None:
    rows = shop.sql(
        "select rolname, rolcanlogin, rolsuper, rolconnlimit, rolvaliduntil is not null from pg_roles "
        "where rolname in ('shop', 'shop_app', 'reporting', 'team') order by 1"
    )
    assert rows.splitlines() == ["reporting|t|f|-1|t", "shop|t|f|-1|f", "shop_app|t|f|20|f", "team|f|f|-1|f"]
    assert shop.sql("select pg_has_role('reporting', 'pg_read_all_stats', 'member')") == "t"


def test_database_is_as_declared(shop: Instance) -> None:
    assert shop.sql("select pg_get_userbyid(datdba) from pg_database where datname = 'shop'") == "shop"
    there = shop.sql(
        "select extname, nspname from pg_extension join pg_namespace n on n.oid = extnamespace",
        database="shop",
    ).splitlines()
    assert {"pg_trgm|public", "hstore|api"} <= set(there)
    assert shop.sql("show timezone", database="shop") == "UTC"


def test_access_is_what_was_declared_and_no_more(shop: Instance) -> None:
    """The owner makes a table afterwards: who reads and writes may at once, who reads may not write."""
    made = "with made as (select 1) select 1 from made"
    code, message = client(shop, "shop", made)
    assert code == 0, message
    shop.sql("set role shop; create table if not exists items (id int primary key)", database="shop")
    assert (
        client(shop, "shop_app", "insert into items values (1) on conflict do nothing returning id")[0] == 0
    )
    assert client(shop, "reporting", "select count(*) from items")[0] == 0
    code, message = client(shop, "reporting", "delete from items returning id")
    assert code != 0 and "permission denied" in message
    assert client(shop, "team", "select 1", password=secret(shop, "roles/shop"))[0] != 0, "it may not log in"


def test_session_settings_reach_the_client_over_tls(shop: Instance) -> None:
    code, message = client(
        shop,
        "shop_app",
        "show statement_timeout",
        "select ssl, version from pg_stat_ssl where pid = pg_backend_pid()",
    )
    assert code == 0, message
    assert "30s" in message and "TLSv1." in message


def test_without_tls_nobody_comes_in(shop: Instance) -> None:
    code, message = client(shop, "shop_app", "select 1", mode="disable")
    assert code != 0 and "no encryption" in message


def test_exporter_sees_the_server(instance: Instance) -> None:
    until(lambda: instance.says_up(instance.exporter_port, "pg"), "the exporter sees the server")
    rights = instance.sql(
        "select rolsuper, array(select roleid::regrole::text from pg_auth_members where member = r.oid) "
        "from pg_roles r where rolname = 'aza_monitor'"
    )
    assert rights == "f|{pg_monitor}"


def test_declaration_is_changed_as_predicted(
    instances: Instances, shop: Instance, playbook: Playbook
) -> None:
    identity = shop.identity()
    request = {
        "postgres_roles": [
            {"name": "shop"},
            {"name": "shop_app", "connection_limit": 5},
            {"name": "reporting"},
            {"name": "team", "state": "absent"},
            {"name": "auditor", "login": False, "member_of": ["pg_monitor"]},
        ],
        "postgres_databases": [
            {
                "name": "shop",
                "owner": "shop",
                "extensions": ["pg_trgm", "unaccent"],
                "access": {"read_only": ["reporting"]},
            },
            {"name": "archive", "owner": "shop"},
        ],
    }

    def deploy(*words: str) -> Run:
        return playbook("deploy-single.yml", *words, extra=request, limit=[DECLARED])

    predicted, _ = assert_check_mode_is_exact(deploy, {DECLARED: shop}, INVENTORY / "secrets")
    assert {change["effect"] for change in predicted.plan(DECLARED)} == {"sql"}
    assert_second_run_changes_nothing(deploy, {DECLARED: shop}, most_tasks=8)
    assert shop.sql("select count(*) from pg_roles where rolname = 'team'") == "0"
    assert shop.sql("select count(*) from pg_database where datname = 'archive'") == "1"
    assert shop.identity() == identity


def test_back_to_what_the_inventory_says(instances: Instances, shop: Instance, playbook: Playbook) -> None:
    """What the change above made in addition to stays, as a finding; with data in it nothing is removed unasked."""
    shop.sql("create table kept_rows as select 1", database="archive")
    playbook("deploy-single.yml")
    assert_second_run_changes_nothing(lambda: playbook("deploy-single.yml"), instances, most_tasks=8)
    message = playbook("check.yml").output
    assert "archive" in message and "auditor" in message

    gone = {
        "postgres_roles": [*shop.variables["postgres_roles"], {"name": "auditor", "state": "absent"}],
        "postgres_databases": [*shop.variables["postgres_databases"], {"name": "archive", "state": "absent"}],
    }
    run = playbook("deploy-single.yml", extra=gone, limit=[DECLARED])
    assert "kept_rows" in run.output and "postgres_allow_loss" in run.output
    assert shop.sql("select count(*) from kept_rows", database="archive") == "1"
    playbook(
        "deploy-single.yml", extra={**gone, "postgres_allow_loss": ["database archive"]}, limit=[DECLARED]
    )
    assert shop.sql("select count(*) from pg_database where datname = 'archive'") == "0"
    assert_second_run_changes_nothing(lambda: playbook("deploy-single.yml"), instances, most_tasks=8)


def test_damage_to_objects_is_found_in_words_and_repaired(
    instances: Instances, shop: Instance, playbook: Playbook
) -> None:
    shop.sql("alter role shop_app superuser connection limit 7 password 'somebody-elses-1'")
    shop.sql("alter database shop owner to postgres")
    shop.sql("alter system set log_connections = 'all'")
    shop.sql("drop extension pg_trgm", database="shop")
    shop.sql("revoke select on items from reporting", database="shop")
    found = playbook("check.yml", expect_failure=True).output
    for words in ("shop_app", "superuser", "password", "owner", "log_connections", "pg_trgm", "reporting"):
        assert words in found, found
    assert_check_mode_is_exact(lambda *words: playbook("deploy-single.yml", *words), instances)
    playbook("check.yml")
    assert client(shop, "shop_app", "select count(*) from items")[0] == 0


def test_secrets_of_roles_are_nowhere(shop: Instance, playbook: Playbook) -> None:
    shop.sql("alter role shop_app password null")
    loud = playbook("deploy-single.yml", "-vvv", "--diff", limit=[DECLARED])
    canary = secret(shop, "roles/shop_app")
    assert_secret_is_nowhere(
        canary,
        {
            "Ansible's output with -vvv --diff": loud.output,
            "Ansible's results": json.dumps([dict(task.result) for task in loud.of(DECLARED)]),
            "docker inspect": shop.run("docker ps -aq | xargs docker inspect"),
            "the containers' logs": shop.run("for c in $(docker ps -aq); do docker logs $c 2>&1; done"),
            "processes and their environment": shop.run(
                "ps auxwwe; cat /proc/[0-9]*/environ 2>/dev/null | tr '\\0' '\\n'"
            ),
            "files of the instance": shop.run(
                f"find {shop.directory} -path '*/secrets' -prune -o -type f -print0 | xargs -0 tail -n +1"
            ),
            "pg_stat_activity": shop.sql("select query from pg_stat_activity"),
            "pg_stat_statements": shop.sql(
                "select coalesce(string_agg(query, ';'), '-') from pg_stat_statements", database=shop.database
            ),
        },
    )  # fmt: skip
