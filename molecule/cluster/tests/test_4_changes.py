# SPDX-License-Identifier: Apache-2.0
"""Changes of a cluster: each does exactly what check mode said, on each member, and no password is seen meanwhile."""

from __future__ import annotations

import functools
import json
import time
from collections.abc import Callable
from typing import Any

from support.checks import assert_check_mode_is_exact, assert_secret_is_nowhere
from support.clients import ask
from support.instances import Instance
from support.members import SECRETS, Members, pool, slot, streaming, until_says, until_streaming
from support.playbooks import Run
from support.waiting import until

Deploy = Callable[..., Run]
PRIMARY, MIDDLE, LAST = "azatest-db1", "azatest-db2", "azatest-db3"
DELAY_SECONDS = 5
# Of one host, of one host, and of all that belong to the cluster.
ARRANGEMENT = {
    "postgres_replicate_from": f"{{{{ '{MIDDLE}' if inventory_hostname == '{LAST}' else '' }}}}",
    "postgres_replay_delay": f"{{{{ '{DELAY_SECONDS}s' if inventory_hostname == '{LAST}' else '' }}}}",
    "postgres_synchronous_replicas": "{{ 1 if postgres_cluster == 'shop' else 0 }}",
}
STARTED = "select extract(epoch from pg_postmaster_start_time())"


def _changes(shop: Members) -> dict[str, Any]:
    """A role with a database, a rule for it, a setting that a reload brings, and one that needs a restart."""
    variables = shop[PRIMARY].variables
    return {
        "postgres_roles": [*variables["postgres_roles"], {"name": "reports"}],
        "postgres_databases": [*variables["postgres_databases"], {"name": "ledger", "owner": "reports"}],
        "postgres_hba": [{"databases": ["ledger"], "roles": ["reports"], "addresses": ["10.99.0.0/24"]}],
        "postgres_settings": {"log_min_duration_statement": "750ms", "max_connections": 90},
    }


def _kinds(plan: list[dict[str, Any]]) -> set[tuple[str, str]]:
    return {(change["kind"], change["effect"]) for change in plan}


def test_objects_a_rule_and_settings(
    shop: Members, blog: Instance, deploy: Deploy, declared: dict[str, Any]
) -> None:
    """No one is disconnected: what needs a restart waits, and the run says so. The other cluster is not touched."""
    identity, beside = {name: found.identity() for name, found in shop.items()}, blog.facts()
    declared.update(_changes(shop))
    predicted, made = assert_check_mode_is_exact(deploy, shop, SECRETS)
    names = {change["name"] for change in predicted.plan(PRIMARY)}
    assert {"reports", "ledger", "log_min_duration_statement"} <= names, names
    assert {change["effect"] for change in predicted.plan(PRIMARY)} <= {"sql", "reload", "none"}
    for name, found in shop.items():
        assert [change["name"] for change in made.held(name)] == ["max_connections"]
        assert "10.99.0.0" in found.sql("select string_agg(address, ' ') from pg_hba_file_rules")
        assert found.sql("show log_min_duration_statement") == "750ms"
        assert found.sql("show max_connections") == "80"
        assert found.identity() == identity[name]
    assert "postgres_allow_restart" in made.output
    assert blog.facts() == beside
    until_streaming(shop[PRIMARY], {name: found for name, found in shop.items() if name != PRIMARY})
    for found in shop.values():
        with pool(found, "reports", "ledger") as client:
            assert ask(client, "select session_user::text") == "reports"


def test_more_connections_with_permission_standbys_first(shop: Members, deploy: Deploy) -> None:
    """And a run that says all that Ansible can say shows no password, on the hosts neither."""
    identity = {name: found.identity() for name, found in shop.items()}

    def run(*words: str) -> Run:
        loud = () if "--check" in words else ("-vvv",)
        return deploy(*words, *loud, extra={"postgres_allow_restart": True})

    predicted, made = assert_check_mode_is_exact(run, shop, SECRETS)
    for name, found in shop.items():
        assert ("setting", "restart") in _kinds(predicted.plan(name))
        assert not made.held(name)
        assert found.sql("show max_connections") == "90"
        container, started = found.identity()
        assert container == identity[name][0] and started != identity[name][1]
    replicas = {name: found for name, found in shop.items() if name != PRIMARY}
    first = float(shop[PRIMARY].sql(STARTED))
    assert all(float(found.sql(STARTED)) < first for found in replicas.values()), (
        "a standby may at no moment have less than its primary"
    )
    until_streaming(shop[PRIMARY], replicas)
    for name, found in shop.items():
        _assert_no_secret_is_seen(name, found, made)


def test_fewer_connections_the_primary_first(shop: Members, deploy: Deploy, declared: dict[str, Any]) -> None:
    """Without permission all of them wait. With it, each standby is waited for until it has replayed the primary's:
    these look for their primary again no sooner than after a quarter of a minute, and would not start before."""
    changed = {"max_connections": 85, "wal_retrieve_retry_interval": "15s"}
    declared["postgres_settings"] = {**declared["postgres_settings"], **changed}
    made = deploy()
    for name, found in shop.items():
        assert [change["name"] for change in made.held(name)] == ["max_connections"]
        assert found.sql("show max_connections") == "90"
    deploy(extra={"postgres_allow_restart": True})
    first = float(shop[PRIMARY].sql(STARTED))
    for name, found in shop.items():
        assert found.sql("show max_connections") == "85"
        assert name == PRIMARY or float(found.sql(STARTED)) > first
        assert "not 85 as it is set" not in found.run(f"docker logs {found.container} 2>&1"), (
            "it did not wait"
        )
    until_streaming(shop[PRIMARY], {name: found for name, found in shop.items() if name != PRIMARY})
    del declared["postgres_settings"]["wal_retrieve_retry_interval"]


def test_a_cascade_a_delay_and_a_quorum_by_one_variable_each(
    shop: Members, playbook: Deploy, deploy: Deploy, declared: dict[str, Any]
) -> None:
    """No one is disconnected on the way there and back."""
    primary, middle, last = (shop[name] for name in (PRIMARY, MIDDLE, LAST))
    identity = {name: found.identity() for name, found in shop.items()}
    predicted, _ = assert_check_mode_is_exact(functools.partial(deploy, extra=ARRANGEMENT), shop, SECRETS)
    for name in shop:
        assert {change["effect"] for change in predicted.plan(name)} <= {"sql", "reload", "none"}, name
    until(lambda: streaming(middle) == {slot(LAST)}, "the last follows the middle one")
    state = "select string_agg(application_name || ' ' || sync_state, ', ') from pg_stat_replication"
    until_says(primary, state, f"{slot(MIDDLE)} quorum")
    with pool(primary) as client:
        client.execute("insert into items values ('in good time')")
    written = time.monotonic()
    arrived = "select count(*) from items where name = 'in good time'"
    until_says(middle, arrived, "1", "shop")
    until_says(last, arrived, "1", "shop")
    assert time.monotonic() - written > DELAY_SECONDS - 1
    check = playbook("check.yml", extra=declared | ARRANGEMENT, limit=["shop"])
    assert " 0 red" in check.output, check.output
    deploy()
    until_streaming(primary, {name: found for name, found in shop.items() if name != PRIMARY})
    # A slot keeps data for a user: no one drops one unasked.
    slots = "select string_agg(slot_name, ' ') from pg_replication_slots"
    assert middle.sql(slots) == slot(LAST)
    deploy(extra={"postgres_allow_loss": [f"slot {slot(LAST)}"]})
    assert middle.sql(slots) == ""
    assert slot(LAST) in primary.sql(slots)
    assert primary.sql("show synchronous_standby_names") == ""
    assert {name: found.identity() for name, found in shop.items()} == identity


def _assert_no_secret_is_seen(name: str, found: Instance, loud: Run) -> None:
    containers = (found.container, found.pgbouncer, found.exporter, found.pool_exporter)
    everywhere = functools.partial("; ".join)
    places = {
        "Ansible's output with -vvv --diff": loud.output,
        "Ansible's results": json.dumps([dict(task.result) for task in loud.of(name)]),
        "docker inspect": found.run("docker ps -aq | xargs docker inspect"),
        "the containers' logs": found.run(
            everywhere(f"docker logs {container} 2>&1" for container in containers)
        ),
        "the processes and their environment": found.run(
            "ps auxwwe; cat /proc/[0-9]*/environ 2>/dev/null | tr '\\0' '\\n'"
        ),
        "the files of the instance": found.run(
            f"find {found.directory} \\( -path '*/secrets' -o -name server.pem -o -name userlist.txt "
            "-o -name replication.pgpass \\) -prune -o -type f -print0 | xargs -0 tail -n +1"
        ),
        "the server's settings": found.sql("select name, setting from pg_settings"),
    }
    kept = SECRETS / found.cluster
    for path in (kept / "postgres_password", *(kept / "roles").iterdir()):
        assert_secret_is_nowhere(path.read_text(encoding="utf-8").rstrip("\n"), places)
