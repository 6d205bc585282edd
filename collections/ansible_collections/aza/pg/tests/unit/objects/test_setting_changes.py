# SPDX-License-Identifier: Apache-2.0
"""What a plan says of the server's settings: values, effects, and what a user set around the inventory."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.aza.pg.plugins.module_utils.model.desired import Desired
from ansible_collections.aza.pg.plugins.module_utils.model.observed import Observed
from ansible_collections.aza.pg.plugins.module_utils.objects import settings
from ansible_collections.aza.pg.plugins.module_utils.planning.change import Change
from ansible_collections.aza.pg.plugins.module_utils.server import settings as pg

TUNED = {"elsewhere_file": settings.TUNED_FILE}
KNOWN = {
    "work_mem": {
        "vartype": "integer",
        "unit": "kB",
        "context": "user",
        "raw": "4096",
        "elsewhere": "4MB",
        **TUNED,
    },
    "shared_buffers": {
        "vartype": "integer",
        "unit": "8kB",
        "context": "postmaster",
        "raw": "16384",
        "elsewhere": "128MB",
        **TUNED,
    },
    "log_connections": {"vartype": "string", "context": "superuser-backend", "raw": "", "default": ""},
    "port": {
        "vartype": "integer",
        "context": "postmaster",
        "raw": "5432",
        "default": "5432",
        "source": "command line",
    },
}


def changes(
    written: dict[str, str],
    wanted: dict[str, str],
    automatic: dict[str, str] | None = None,
    text: str = "",
    **known: Any,
) -> list[Change]:
    desired = Desired(
        "i",
        "c",
        "single",
        "p",
        "v",
        "n",
        (),
        settings=wanted,
        origins={"postgres_settings": "all.yml: postgres_settings"},
    )
    server = {"settings": {**KNOWN, **known}, "automatic": automatic or {}, "pending_restart": []}
    file = {"type": "file", "text": text or pg.render(written)}
    return list(settings.changes(desired, Observed(files={pg.PATH: file}, server=server)))


def lines(*given: Any, **more: Any) -> list[str]:
    return [
        change.line().replace("  (all.yml: postgres_settings)", " *") for change in changes(*given, **more)
    ]


@pytest.mark.parametrize(
    ("written", "wanted", "message"),
    [
        ({"work_mem": "4MB"}, {"work_mem": "16MB"}, "setting work_mem  4MB → 16MB  reload *"),
        ({"work_mem": "4MB"}, {"work_mem": "16384"}, "setting work_mem  4MB → 16MB  reload *"),
        ({}, {"work_mem": "16MB"}, "setting work_mem  4MB → 16MB  reload *"),
        ({}, {"work_mem": "4096"}, "setting work_mem  4MB (tuned) → 4MB  reload *"),
        ({"work_mem": "16MB"}, {}, "setting work_mem  16MB → 4MB (tuned)  reload *"),
        ({}, {"shared_buffers": "256MB"}, "setting shared_buffers  128MB → 256MB  restart *"),
        # What is in force already needs no restart.
        ({}, {"shared_buffers": "16384"}, "setting shared_buffers  128MB (tuned) → 128MB  reload *"),
        ({"shared_buffers": "1GB"}, {}, "setting shared_buffers  1GB → 128MB (tuned)  reload *"),
        ({}, {"log_connections": "all"}, "setting log_connections  '' → all  reload *"),
        ({"log_connections": "all"}, {}, "setting log_connections  all → '' (default)  reload *"),
        ({}, {"shop.tenant": "5"}, "setting shop.tenant  unset → 5  reload *"),
        ({"shop.tenant": "5"}, {}, "setting shop.tenant  5 → unset  reload *"),
    ],
)
def test_a_setting_in_words(written: dict[str, str], wanted: dict[str, str], message: str) -> None:
    assert lines(written, wanted) == [message]


@pytest.mark.parametrize(
    ("written", "wanted"),
    [
        ({"work_mem": "16MB"}, {"work_mem": "16384kB"}),
        ({"shared_buffers": "1024MB"}, {"shared_buffers": "1GB"}),
        ({"shared_buffers": "131072"}, {"shared_buffers": "1GB"}),
        ({}, {}),
    ],
)
def test_the_same_value_is_no_change(written: dict[str, str], wanted: dict[str, str]) -> None:
    assert not changes(written, wanted)


def test_a_line_that_somebody_added_is_taken_out() -> None:
    text = pg.render({"work_mem": "16MB"}) + "work_mem = 99MB\n"
    assert lines({}, {"work_mem": "16MB"}, text=text) == ["setting work_mem  99MB → 16MB  reload *"]
    text = pg.render({"work_mem": "16MB"}) + "# mine\n"
    (change,) = changes({}, {"work_mem": "16384"}, text=text)
    assert (change.kind, change.effect, change.why) == (
        "file",
        "reload",
        "only its text changed, no value",
    )


def test_what_alter_system_set_is_reset() -> None:
    why = "because it was set by ALTER SYSTEM, which overrides the inventory"
    assert lines({}, {}, {"work_mem": "8MB"}) == [f"reset setting work_mem  8MB → 4MB (tuned)  {why}  reload"]
    assert lines({"work_mem": "16MB"}, {"work_mem": "16MB"}, {"work_mem": "8MB"}) == [
        f"reset setting work_mem  8MB → 16MB  {why}  reload *"
    ]
    assert lines({"work_mem": "8MB"}, {"work_mem": "8MB"}, {"work_mem": "8192"}) == [
        f"reset setting work_mem  8MB  {why}  reload *"
    ]
    # In force since a restart: only another restart ends it. Not yet in force: it need never be.
    started_with = {**KNOWN["shared_buffers"], "raw": "32768"}
    assert lines({}, {}, {"shared_buffers": "256MB"}, shared_buffers=started_with) == [
        f"reset setting shared_buffers  256MB → 128MB (tuned)  {why}  restart"
    ]
    assert lines({}, {}, {"shared_buffers": "256MB"}) == [
        f"reset setting shared_buffers  256MB → 128MB (tuned)  {why}  reload"
    ]
    # What the container's arguments say wins over both.
    assert lines({}, {}, {"port": "6000"}) == [f"reset setting port  6000 → 5432 (default)  {why}  reload"]


def test_a_declared_value_that_alter_system_beats_needs_only_the_reset_to_restart() -> None:
    started_with = {**KNOWN["shared_buffers"], "raw": "32768"}
    message = changes(
        {}, {"shared_buffers": "512MB"}, {"shared_buffers": "256MB"}, shared_buffers=started_with
    )
    assert [(change.action, change.effect) for change in message] == [
        ("change", "reload"),
        ("reset", "restart"),
    ]


def test_a_file_that_wins_is_a_finding() -> None:
    desired = Desired("i", "c", "single", "p", "v", "n", (), settings={"work_mem": "1MB", "port": "1"})

    def findings(file: str, text: str = "work_mem = '1MB'") -> list[str]:
        server = {"settings": {"work_mem": {"last_file": file}}}
        assert settings.KIND.findings
        files = {pg.PATH: {"text": text}}
        return [
            item.message for item in settings.KIND.findings(desired, Observed(files=files, server=server))
        ]

    assert "postgresql.conf" in findings("/var/lib/postgresql/18/docker/postgresql.conf")[0]
    assert not findings(f"/etc/aza-pg/conf.d/{pg.NAME_OF_FILE}")
    # A plan speaks of these.
    assert not findings("/var/lib/postgresql/18/docker/postgresql.conf", "")
    assert not findings("/var/lib/postgresql/18/docker/postgresql.auto.conf")
    assert not findings("/etc/aza-pg/conf.d/99-mine.conf")
