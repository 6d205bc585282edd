# SPDX-License-Identifier: Apache-2.0
"""Which libraries the server preloads, and what depends on it: workers, and extensions at the first start."""

from __future__ import annotations

from typing import Any

import pytest

SHARE = "/usr/local/share/aza-pg"


def listed(box: Any, name: str) -> list[str]:
    return [line.split()[0] for line in box.check("cat", f"{SHARE}/{name}").splitlines()]


def loaded(box: Any) -> list[str]:
    return [name for name in box.show("shared_preload_libraries").split(",") if name]


def test_defaults_and_extensions(run_container: Any) -> None:
    """The flavour's libraries are loaded, and its extensions are made where the user works, not in postgres."""
    box = run_container(env={"POSTGRES_DB": "store"})
    assert loaded(box) == listed(box, "preload")
    assert set(listed(box, "create")) <= set(
        box.sql("SELECT extname FROM pg_extension", "store").splitlines()
    )
    assert box.sql("SELECT extname FROM pg_extension") == "plpgsql"


def test_replaced(run_container: Any) -> None:
    box = run_container(env={"POSTGRES_SHARED_PRELOAD_LIBRARIES": ' pg_stat_statements , "auto_explain" '})
    assert loaded(box) == ["pg_stat_statements", "auto_explain"]
    assert "(POSTGRES_SHARED_PRELOAD_LIBRARIES)" in box.logs()


def test_none(run_container: Any) -> None:
    """What needs its library is not created, and the log says so."""
    box = run_container(env={"POSTGRES_SHARED_PRELOAD_LIBRARIES": "none"})
    assert loaded(box) == []
    extensions = box.sql("SELECT extname FROM pg_extension").splitlines()
    for name in set(listed(box, "create")) & set(listed(box, "preload")):
        assert name not in extensions
        assert f"extension {name} is not created: its library is not preloaded" in box.logs()


def test_added_without_duplicates_in_the_images_order(run_container: Any) -> None:
    """What the image knows stands in its order (TimescaleDB wants to be first); what it does not know comes last."""
    wanted = ["plpgsql", "pg_stat_kcache", "timescaledb", "pg_stat_statements"]
    box = run_container(env={"POSTGRES_EXTRA_PRELOAD_LIBRARIES": ",".join(wanted)})
    found = loaded(box)
    assert sorted(found) == sorted({*listed(box, "preload"), *wanted})
    assert (found[0], found[-1]) == ("timescaledb", "plpgsql")
    assert found.index("pg_stat_statements") < found.index("pg_stat_kcache")


def test_libraries_that_break_each_other_are_refused(run_container: Any) -> None:
    order = {f"{SHARE}/preload-order": "auto_explain pg_prewarm\npg_prewarm auto_explain\n"}
    box = run_container(env={"POSTGRES_EXTRA_PRELOAD_LIBRARIES": "pg_prewarm"}, files=order, wait="exit")
    assert box.exit_code() == 78
    assert "'auto_explain' and 'pg_prewarm' must not be preloaded together" in box.logs()


def test_output_plugins_of_the_image_can_be_used(run_container: Any) -> None:
    """PostgreSQL 18.6 lets a slot use only the plugins that output_plugin_libraries names."""
    box = run_container("-c", "wal_level=logical")
    created = box.sql("SELECT slot_name FROM pg_create_logical_replication_slot('changes', 'wal2json')")
    assert created == "changes"


@pytest.mark.parametrize("name", ["POSTGRES_SHARED_PRELOAD_LIBRARIES", "POSTGRES_EXTRA_PRELOAD_LIBRARIES"])
def test_missing_library_is_named(run_container: Any, name: str) -> None:
    box = run_container(env={name: "pg_stat_statments"}, wait="exit")
    assert box.exit_code() == 78
    assert "the library 'pg_stat_statments' is to be preloaded, but this image does not have it" in box.logs()
    assert "It has: " in box.logs() and "pg_stat_statements" in box.logs()


def test_a_name_cannot_smuggle_settings(run_container: Any) -> None:
    box = run_container(env={"POSTGRES_EXTRA_PRELOAD_LIBRARIES": "x'\nport = 1 #"}, wait="exit")
    assert box.exit_code() == 78
    assert "cannot be the name of a library" in box.logs()


@pytest.mark.parametrize(
    "argument", [["-c", "shared_preload_libraries=auto_explain"], ["--shared-preload-libraries=auto_explain"]]
)
def test_arguments_win(run_container: Any, argument: list[str]) -> None:
    box = run_container(*argument, env={"POSTGRES_EXTRA_PRELOAD_LIBRARIES": "pg_stat_statements"})
    assert loaded(box) == ["auto_explain"]
    assert "from the server's own arguments" in box.logs()


def test_conf_d_wins(run_container: Any) -> None:
    """Also for the question which extensions can be created: the server is asked, not our own list."""
    box = run_container(files={"/etc/aza-pg/conf.d/p.conf": "shared_preload_libraries = 'auto_explain'\n"})
    assert loaded(box) == ["auto_explain"]
    assert "pg_stat_statements" not in box.sql("SELECT extname FROM pg_extension").splitlines()
