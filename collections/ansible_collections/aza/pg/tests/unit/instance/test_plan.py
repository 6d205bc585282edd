# SPDX-License-Identifier: Apache-2.0
"""The plan on simulated hosts: applied once it is empty, in order, with the effect it will have."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.aza.pg.plugins.module_utils.errors import AzaError
from ansible_collections.aza.pg.plugins.module_utils.host import huge_pages
from ansible_collections.aza.pg.plugins.module_utils.instance import plan as planning
from ansible_collections.aza.pg.plugins.module_utils.instance import preflight, server_objects, verbs
from ansible_collections.aza.pg.plugins.module_utils.model.desired import Desired
from ansible_collections.aza.pg.plugins.module_utils.model.details import ResetDetail
from ansible_collections.aza.pg.plugins.module_utils.model.observed import Observed
from ansible_collections.aza.pg.plugins.module_utils.model.service import SERVER
from ansible_collections.aza.pg.plugins.module_utils.objects import hba, roles
from ansible_collections.aza.pg.plugins.module_utils.objects.kind import Kind
from ansible_collections.aza.pg.plugins.module_utils.planning.change import Change
from ansible_collections.aza.pg.plugins.module_utils.planning.plan import Plan
from ansible_collections.aza.pg.plugins.module_utils.server import settings as pg
from ansible_collections.aza.pg.tests.unit import declarations
from hypothesis import given
from hypothesis import strategies as st

POSTMASTER = ("max_connections", "shared_buffers", "wal_level")
SIGHUP = ("work_mem", "log_line_prefix", "autovacuum_naptime")
HOST = {"uid": 0, "gid": 0, "home": "/root", "memory_mb": 65536, "cpus": 64, "disk_free_mb": 99999}
EVERYTHING = ("restart", "recreate")
EXPORTER = "exporter"
# A user else on the host has 7 huge pages.
PAGES = {"size_kb": 2048, "kernel": 7, "available_mb": 9999, "text": "", "modified": 0.0, "permitted": True}
EMPTY = Observed(host=HOST, huge_pages=PAGES)
RUNS = {"state": "running", "volumes": []}


def _objects(wanted: Desired, found: Observed) -> Iterator[Change]:
    """What the real kinds would say of a password and a database; these have tests of their own."""
    server: dict[str, Any] = {"databases": [wanted.database], **(found.answers or {"password_matches": {}})}
    if server["password_matches"].get(wanted.superuser) is False:
        yield Change("role", wanted.superuser, "set the password of", effect="sql")
    if wanted.database not in server["databases"]:
        yield Change("database", wanted.database, "create", effect="sql")


@pytest.fixture(scope="module", autouse=True)
def _few_kinds() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(server_objects, "KINDS", (ROLE, DATABASE, hba.KIND))
        yield


ROLE = Kind(
    "role",
    _objects,
    declared=roles.KIND.declared,
    apply=lambda *_: None,
    simulate=lambda _wanted, server, _: {**server, "password_matches": {"postgres": True}},
)
DATABASE = Kind(
    "database",
    apply=lambda *_: None,
    simulate=lambda _wanted, server, change: {
        **server,
        "databases": {**server["databases"], change.name: {}},
    },
)


def describe(uid: int = 0, **changes: Any) -> Desired:
    return declarations.describe(uid, **changes)


def running(wanted: Desired, **server: Any) -> Observed:
    """A host on which exactly this was deployed."""
    found = planning.simulate(planning.plan(wanted, EMPTY, EVERYTHING), wanted, EMPTY)
    contexts = dict.fromkeys(POSTMASTER, "postmaster") | dict.fromkeys(SIGHUP, "sighup")
    facts = {
        "settings": {
            name: {
                "context": context,
                "vartype": "string",
                "raw": wanted.settings.get(name, "tuned"),
                "elsewhere": "tuned",
                "elsewhere_file": "/run/aza-pg/tuned.conf",
            }
            for name, context in contexts.items()
        },
        "automatic": {},
        "pending_restart": [],
        "config_loaded": 1e6,
        "password_matches": {"postgres": True},
        "databases": {"postgres": {}, wanted.database: {}},
    }
    return replace(found, server={**facts, **server})


values = st.text(st.characters(exclude_characters="\n\r\0", exclude_categories=["Cs"]), max_size=12)
some_settings = st.dictionaries(st.sampled_from(POSTMASTER + SIGHUP), values, max_size=5)
some_parameters = st.fixed_dictionaries(
    {},
    optional={
        "settings": some_settings,
        "memory_mb": st.sampled_from((512, 1024, 4096)),
        "cpus": st.sampled_from((0, 1.5, 4)),
        "huge_pages_mb": st.sampled_from((0, 300, 1200)),
        "port": st.integers(1024, 65535),
        "allow_from": st.lists(st.sampled_from(("10.0.0.0/8", "192.168.1.0/24")), unique=True),
        "workload": st.sampled_from(("web", "dw")),
        "database": st.sampled_from(("postgres", "shop")),
        "extra_preload_libraries": st.lists(st.sampled_from(("set_user", "x")), unique=True),
        "exporter": st.booleans(),
        "exporter_port": st.sampled_from((9187, 9188)),
        "pgbouncer": st.booleans(),
    },
)


@given(some_parameters)
def test_a_new_host_needs_one_plan_and_disconnects_nobody(given_now: dict[str, Any]) -> None:
    wanted, empty = describe(**given_now), EMPTY
    plan = planning.plan(wanted, empty)
    assert not plan.held
    assert {change.effect for change in plan.changes} == {"none"}
    assert not planning.plan(wanted, planning.simulate(plan, wanted, empty))


@given(some_parameters, some_parameters)
def test_from_any_state_to_any_other_one_plan_is_enough(
    before: dict[str, Any], after: dict[str, Any]
) -> None:
    found = running(describe(**before))
    wanted = describe(**after)
    plan = planning.plan(wanted, found, EVERYTHING)
    then = planning.simulate(plan, wanted, found)
    assert planning.plan(wanted, then, EVERYTHING) == Plan()
    assert not any(change.effect == "data" for change in plan.changes)


@given(some_parameters, some_parameters)
def test_without_permission_nobody_is_disconnected_and_nothing_is_done_twice(
    before: dict[str, Any], after: dict[str, Any]
) -> None:
    found = running(describe(**before))
    wanted = describe(**after)
    plan = planning.plan(wanted, found)
    assert not {"restart", "recreate", "data"} & {change.effect for change in plan.changes}
    again = planning.plan(wanted, planning.simulate(plan, wanted, found))
    assert not again.changes
    assert again.held == plan.held


@given(some_parameters, st.lists(st.integers(0, 40), max_size=4))
def test_an_interrupted_apply_is_continued(given_now: dict[str, Any], cuts: list[int]) -> None:
    wanted, found = describe(**given_now), EMPTY
    for cut in cuts:
        plan = planning.plan(wanted, found, EVERYTHING)
        found = planning.simulate(Plan(plan.changes[:cut]), wanted, found)
    found = planning.simulate(planning.plan(wanted, found, EVERYTHING), wanted, found)
    assert not planning.plan(wanted, found, EVERYTHING)


@given(some_parameters, some_settings, st.booleans())
def test_every_alter_system_is_found_and_taken_back_or_waits(
    given_now: dict[str, Any], automatic: dict[str, str], allowed: bool
) -> None:
    wanted = describe(**given_now)
    found = running(wanted, automatic=automatic)
    plan = planning.plan(wanted, found, EVERYTHING if allowed else ())
    resets = [change for change in (*plan.changes, *plan.held) if isinstance(change.detail, ResetDetail)]
    assert sorted(change.name for change in resets) == sorted(automatic)
    assert not [change for change in plan.held if allowed]
    again = planning.plan(wanted, planning.simulate(plan, wanted, found), EVERYTHING if allowed else ())
    assert not again.changes
    assert again.held == plan.held


@pytest.mark.parametrize("path", ["postgres/pg_hba.conf", "postgres/pg_ident.conf"])
def test_an_edit_of_the_rules_is_told_line_by_line(path: str) -> None:
    wanted = describe()
    found = running(wanted)
    text = found.files[path]["text"] + "local all mallory trust\n"
    edited = {**found.files[path], "text": text, "sha256": "0", "modified": 2e6}
    plan = planning.plan(wanted, replace(found, files={**found.files, path: edited}))
    (change,) = plan.changes
    assert (change.action, change.before, change.effect) == ("remove", "local all mallory trust", "reload")


def test_every_kind_that_is_planned_can_be_applied() -> None:
    wanted = describe(settings={"work_mem": "1MB", "wal_level": "logical"}, database="shop")
    found = running(
        describe(),
        password_matches={"postgres": False},
        databases={"postgres": {}},
        pending_restart=["max_connections"],
    )
    kinds = {change.kind for change in planning.plan(wanted, found, EVERYTHING).changes}
    kinds |= {change.kind for change in planning.plan(wanted, Observed(host=HOST)).changes}
    kinds |= {change.kind for change in verbs.absent(wanted, found, remove_data=True).changes}
    assert kinds <= {kind for part in planning.PARTS for kind in part.kinds}
    assert {"setting", "role", "database", "server", "container", "file", "secret", "volume"} <= kinds


def test_order_files_before_container_before_sql() -> None:
    wanted = describe(memory_mb=2048, settings={"work_mem": "1MB"}, database="shop")
    kinds = [
        c.kind
        for c in planning.plan(wanted, running(describe(), databases={"postgres": {}}), EVERYTHING).changes
    ]
    assert kinds == ["setting", "container", "database"]
    kinds = [change.kind for change in planning.plan(wanted, Observed(host=HOST)).changes]
    assert kinds.index("image") < kinds.index("file") < kinds.index("volume") < kinds.index("container")


@pytest.mark.parametrize(
    ("changed", "kind", "effect"),
    [
        ({"settings": {"work_mem": "16MB"}}, "setting", "reload"),
        ({"settings": {"max_connections": "300"}}, "setting", "restart"),
        ({"settings": {"pgaudit.log": "all"}}, "setting", "reload"),
        ({"allow_from": ["10.0.0.0/8"]}, "hba rule", "reload"),
        ({"ident": [{"map": "ops", "system": "anna", "role": "x"}]}, "ident line", "reload"),
        ({"memory_mb": 2048}, "container", "recreate"),
        ({"port": 6000}, "container", "recreate"),
    ],
)
def test_effects(changed: dict[str, Any], kind: str, effect: str) -> None:
    plan = planning.plan(describe(**changed), running(describe()), EVERYTHING)
    assert [(c.kind, c.effect) for c in plan.changes if c.effect != "none"] == [(kind, effect)]


@pytest.mark.parametrize(
    "less", [{"memory_mb": 512}, {"memory_mb": 1024, "settings": {"shared_buffers": "64MB"}}]
)
def test_what_a_smaller_server_gives_back_comes_last_and_waits_with_it(less: dict[str, Any]) -> None:
    found = running(describe(memory_mb=1024, huge_pages_mb=600))
    wanted = describe(huge_pages_mb=300, **less)
    last = planning.plan(wanted, found, EVERYTHING).changes[-1]
    assert (last.kind, last.action, last.before, last.after) == (
        huge_pages.KIND,
        "give back",
        "300",
        "150 of 2 MB",
    )
    assert not [c for c in planning.plan(wanted, found).changes if c.kind == huge_pages.KIND]


def with_metrics(**changes: Any) -> Desired:
    return describe(exporter=True, **changes)


def message(plan: Plan) -> list[tuple[str, str, str]]:
    return [
        (change.action, getattr(change.detail, "service", change.name), change.effect)
        for change in plan.changes
        if change.kind == "container"
    ]


def test_the_exporter_comes_changes_and_goes_without_asking() -> None:
    """No one is connected to it, so nothing waits, and the server's container is not touched."""
    alone = running(describe())
    found = running(with_metrics())
    assert message(planning.plan(with_metrics(), alone)) == [("create", EXPORTER, "none")]
    assert message(planning.plan(with_metrics(exporter_port=9188), found)) == [("recreate", EXPORTER, "none")]
    newer = replace(found, images={**found.images, EXPORTER: "sha256:newer"})
    assert message(planning.plan(with_metrics(), newer)) == [("recreate", EXPORTER, "none")]
    off = replace(found, orphans={f"{describe().project}-exporter": RUNS})
    assert message(planning.plan(describe(), off)) == [("remove", f"{describe().project}-exporter", "none")]


def test_what_shares_compose_yml_with_a_container_that_waits_waits_too() -> None:
    both = describe(memory_mb=2048, exporter=True, exporter_port=9188)
    plan = planning.plan(both, running(with_metrics()))
    assert [(change.kind, change.name) for change in plan.held] == [
        ("container", both.container),
        ("container", both.services[1].container),
    ]
    assert not plan.changes


def test_another_password_of_the_exporter_restarts_it() -> None:
    wanted = with_metrics()
    found = running(wanted)
    path = "secrets/exporter_password"
    since = {**found.containers[EXPORTER], "since": 1e6}
    found = replace(found, containers={**found.containers, EXPORTER: since})
    for state in ({"matches": False}, {"modified": 1e6 + 1}):
        files = {**found.files, path: {**found.files[path], **state}}
        assert message(planning.plan(wanted, replace(found, files=files))) == [("restart", EXPORTER, "none")]
    assert not planning.plan(wanted, found)


def test_two_services_on_one_port_are_refused() -> None:
    (said_once,) = preflight.problems(with_metrics(exporter_port=5432), Observed(host=HOST))
    assert "postgres_port and postgres_exporter_port are both 5432" in said_once
    apart = with_metrics(exporter_port=5432, exporter_publish_address="127.0.0.2")
    assert not preflight.problems(apart, Observed(host=HOST))


def test_an_image_that_two_services_share_is_brought_once() -> None:
    wanted = describe(exporter=True)
    shared = replace(wanted, services=(*wanted.services, replace(wanted.services[1], name="another")))
    brought = [c.name for c in planning.plan(shared, Observed(host=HOST)).changes if c.kind == "image"]
    assert brought == ["aza-pg/postgres:1", "aza-pg/exporter:1"]


def test_the_reason_of_a_new_container_is_the_line_that_changed() -> None:
    plan = planning.plan(describe(memory_mb=2048), running(describe()), EVERYTHING)
    assert "mem_limit: 1024m → mem_limit: 2048m" in plan.changes[-1].why
    assert "config-hash" not in plan.changes[-1].why


def test_drift_is_found() -> None:
    wanted = describe(settings={"work_mem": "1MB"})
    found = running(wanted)

    def edited(path: str, **state: Any) -> Observed:
        return replace(found, files={**found.files, path: {**found.files.get(path, {}), **state}})

    cases = {
        "change file compose.yml": edited("compose.yml", sha256="0", text="x"),
        "set rights of secret secrets/postgres_password": edited("secrets/postgres_password", mode=0o644),
        "change secret secrets/postgres_password": edited("secrets/postgres_password", matches=False),
        "remove file postgres/conf.d/99-mine.conf": edited(
            "postgres/conf.d/99-mine.conf", foreign=True, type="file", modified=0
        ),
        "reload server shop-single": edited("postgres/pg_hba.conf", modified=2e6),
        "remove container stray": replace(found, orphans={"stray": RUNS}),
        "start container aza-pg-shop-single-postgres": replace(
            found, server=None, containers={SERVER: {**(found.container or {}), "state": "exited"}}
        ),
        "set the password of role postgres": replace(
            found, server={**(found.server or {}), "password_matches": {"postgres": False}}
        ),
    }
    for message, now in cases.items():
        texts = [change.text() for change in planning.plan(wanted, now, EVERYTHING).changes]
        assert any(text.startswith(message) for text in texts), (message, texts)


def test_a_setting_that_somebody_edited_in_the_file_is_put_back() -> None:
    wanted = describe(settings={"work_mem": "1MB"})
    found = running(wanted)
    text = pg.render({"work_mem": "9MB"})
    found = replace(
        found, files={**found.files, pg.PATH: {**found.files[pg.PATH], "text": text, "sha256": "0"}}
    )
    plan = planning.plan(wanted, found)
    assert [(c.name, c.before, c.after) for c in plan.changes] == [("work_mem", "9MB", "1MB")]


@pytest.mark.parametrize(
    ("found", "words"),
    [
        ({"port_problems": {SERVER: "taken"}}, "postgres_port"),
        ({"port_problems": {EXPORTER: "taken"}}, "postgres_exporter_port"),
        ({"port_problems": {SERVER: "no_address"}}, "postgres_publish_address"),
        ({"port_problems": {EXPORTER: "no_address"}}, "postgres_exporter_publish_address"),
        ({"host": {**HOST, "memory_mb": 512}}, "postgres_memory"),
        ({"host": {**HOST, "disk_free_mb": 100}}, "make room"),
        ({"containers": {SERVER: {"project": "other", "state": "running"}}}, "exists already"),
        ({"containers": {EXPORTER: {"project": "other", "state": "running"}}}, "exists already"),
        ({"server_error": 'FATAL: role "postgres" does not exist'}, "postgres_user"),
    ],
)
def test_refusals_name_the_variable_and_change_nothing(found: dict[str, Any], words: str) -> None:
    with pytest.raises(AzaError, match=words) as caught:
        preflight.refuse(describe(exporter=True), Observed(**{"host": HOST, **found}))
    assert "Nothing was changed." in caught.value.msg


def test_all_refusals_at_once() -> None:
    host = {**HOST, "memory_mb": 100, "cpus": 1}
    assert (
        len(preflight.problems(describe(cpus=2), Observed(host=host, port_problems={SERVER: "taken"}))) == 3
    )
    assert preflight.problems(describe(), Observed(host=HOST)) == []


def test_a_long_path_is_refused_before_linux_does() -> None:
    long = describe(base_dir="/" + "x" * 90)
    assert "postgres_base_dir" in preflight.problems(long, Observed(host=HOST))[0]


def test_a_file_where_a_directory_should_be() -> None:
    found = Observed(host=HOST, files={"run": {"type": "other", "mode": 0, "uid": 0, "gid": 0}})
    with pytest.raises(AzaError, match="Move it away"):
        planning.plan(describe(), found)


def test_desired_survives_json() -> None:
    wanted = describe(settings={"work_mem": "1MB"})
    assert Desired.from_dict(wanted.to_dict()) == wanted


@pytest.mark.parametrize(
    ("data", "image", "refused"),
    [("17", "18", True), ("18", "18", False), ("", "18", False), ("17", "", False)],
)
def test_data_of_another_major_version_is_refused(data: str, image: str, refused: bool) -> None:
    found = Observed(host=HOST, volume=True, data_major=data, image_major=image)
    problems = preflight.problems(describe(), found)
    assert bool(problems) is refused
    assert not refused or "PostgreSQL 17" in problems[0]
