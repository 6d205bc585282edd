# SPDX-License-Identifier: Apache-2.0
"""The modules where there is no server: they say so, and do not fail. With servers: tests/stack."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.aza.pg.plugins.module_utils.checks import member, pool
from ansible_collections.aza.pg.plugins.module_utils.server import connection as server
from ansible_collections.aza.pg.plugins.modules import pgbouncer_check, replication_check

CANARY = "canary-password-0123456789"


def run(module: Any, capsys: pytest.CaptureFixture[str], **arguments: Any) -> dict[str, Any]:
    with patch_module_args(arguments), pytest.raises(SystemExit):
        module.main()
    output = capsys.readouterr().out
    assert CANARY not in output
    return dict(json.loads(output))


def test_a_member_that_does_not_answer(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = run(replication_check, capsys, socket_dir=str(tmp_path), sentinel="x")
    assert (told["changed"], told["facts"], told.get("failed")) == (False, {}, None)
    assert told["error"].startswith("its server does not answer: ")


def test_a_pool_that_does_not_answer(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = {
        "host": str(tmp_path),  # libpq takes a directory for a socket's
        "user": "shop",
        "password": CANARY,
        "sslmode": "disable",
        "databases": ["a", "b"],
        "socket_dir": str(tmp_path),
        "declared": {"config": {"pool_mode": "session"}},
    }
    told = run(pgbouncer_check, capsys, **given)
    states = {(item["what"], item["state"]) for item in told["findings"]}
    assert states == {
        ("pool", "red"),
        ("pool password", "yellow"),
        ("pool console", "red"),
    }
    assert not told["changed"]


@pytest.mark.parametrize("module", [replication_check, pgbouncer_check])
def test_a_host_without_psycopg_is_told_what_to_install(
    module: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "driver", lambda: None)
    asked = (
        {"socket_dir": "/nowhere"}
        if module is replication_check
        else {"host": "x", "user": "x", "password": "x"}
    )
    told = run(module, capsys, **asked)
    assert told["failed"]
    assert "python3-psycopg" in told["msg"]


def test_a_client_shows_no_password() -> None:
    assert CANARY not in repr(pool.Client("shop", CANARY))


def test_free_bytes_of_what_is_visible(tmp_path: Path) -> None:
    assert (member.disk_free(str(tmp_path)) or 0) > 0
    assert member.disk_free("") is None
    assert member.disk_free("/nowhere/at/all") is None
