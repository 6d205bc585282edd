# SPDX-License-Identifier: Apache-2.0
"""The parts of the actions that need no Ansible run."""

from __future__ import annotations

import io
import json
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.aza.pg.plugins.action import instance_summary
from ansible_collections.aza.pg.plugins.action.instance import ARGUMENTS
from ansible_collections.aza.pg.plugins.module_utils.errors import AzaError
from ansible_collections.aza.pg.plugins.plugin_utils import answers, instance_images, project
from ansible_collections.aza.pg.plugins.plugin_utils.image_archive import config_digest
from ansible_collections.aza.pg.plugins.plugin_utils.instance_variables import validated
from ansible_collections.aza.pg.plugins.plugin_utils.prediction import predict
from ansible_collections.aza.pg.tests.unit.declarations import SPECS, declaration
from psycopg.conninfo import conninfo_to_dict

DIGEST = "sha256:" + "a" * 64
WHERE = {
    "host": "127.0.0.1",
    "port": 5432,
    "database": "shop",
    "user": "me",
    "passfile": "/a/pgpass",
    "password_file": "/a/postgres_password",
    "socket": "/run/aza-pg/shop-single",
    "container": "c",
    "psql": "/usr/bin/psql",
    "local": True,
    "sslrootcert": "",
    "verifiable": False,
}


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({}, 'psql "host=127.0.0.1 port=5432 dbname=shop user=me passfile=/a/pgpass"'),
        (
            {"passfile": "/a b/it's", "user": "x y"},
            "psql \"host=127.0.0.1 port=5432 dbname=shop user='x y' passfile='/a b/it\\'s'\"",
        ),
        (
            {"sslrootcert": "/a/ca.crt", "verifiable": True},
            'psql "host=127.0.0.1 port=5432 dbname=shop user=me passfile=/a/pgpass sslmode=verify-full '
            'sslrootcert=/a/ca.crt"',
        ),
        (
            {"sslrootcert": "system"},
            'psql "host=127.0.0.1 port=5432 dbname=shop user=me passfile=/a/pgpass sslmode=require"',
        ),
        ({"psql": ""}, "docker exec -it c psql -U me -d shop"),
        ({"passfile": ""}, "psql -h /run/aza-pg/shop-single -U me -d shop"),
        ({"local": False}, "on the host:  psql -h /run/aza-pg/shop-single -U me -d shop"),
        ({"local": False, "psql": ""}, "on the host:  docker exec -it c psql -U me -d shop"),
    ],
)
def test_the_line_to_paste(changes: dict[str, Any], line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda _: "/usr/bin/psql")
    assert instance_summary.connect_line({**WHERE, **changes}) == line


@pytest.mark.parametrize("database", ["sh$op", 'a"b', "a`id`b", "it's", "a\\$b", "hi!there", "a=b"])
@pytest.mark.parametrize("changes", [{}, {"passfile": ""}])
def test_the_line_reaches_the_database_of_any_name(
    database: str, changes: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.which", lambda _: "/usr/bin/psql")
    line = instance_summary.connect_line({**WHERE, **changes, "database": database})
    script = f"set -- {line}; printf '%s\\n' \"$@\""
    words = subprocess.run(
        ["bash", "-c", script], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    message = words[1] if len(words) == 2 else words[words.index("-d") + 1]
    is_string = len(words) == 2 or "=" in message
    assert (conninfo_to_dict(message)["dbname"] if is_string else message) == database


def test_from_elsewhere_when_the_port_is_published(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda _: "/usr/bin/psql")
    assert "host=10.0.0.1" in instance_summary.connect_line({**WHERE, "local": False, "host": "10.0.0.1"})


def test_images_are_pinned_by_digest() -> None:
    given = f"registry.example:5000/pg/postgres:18@{DIGEST}"
    image = instance_images.record("postgres_image", given)
    pinned = f"registry.example:5000/pg/postgres@{DIGEST}"
    assert instance_images.names(image) == [pinned]
    assert instance_images.pinned(image, {"containerd_store": False}) == pinned
    with pytest.raises(AzaError, match=r"postgres_exporter_image: .* a tag can move"):
        instance_images.record("postgres_exporter_image", "postgres:18")


def test_the_record_of_a_build_tells_the_major() -> None:
    built = {"reference": "x:17", "digest": DIGEST, "archive": "", "major": 17}
    assert instance_images.record("postgres_image", built)["major"] == "17"
    # Records of other images and of earlier builds have none; a registry's image is only known once it is there.
    for given in ({**built, "major": None}, {**built, "major": ""}, f"x:17@{DIGEST}"):
        assert instance_images.record("postgres_image", given)["major"] == ""


def archive(path: Path) -> Path:
    documents = {
        "index.json": {
            "manifests": [
                {"digest": "sha256:att", "platform": {"architecture": "unknown"}},
                {"digest": "sha256:man", "platform": {"architecture": "amd64"}},
            ]
        },
        "blobs/sha256/man": {"config": {"digest": "sha256:conf"}},
    }
    with tarfile.open(path, "w") as tar:
        for name, document in documents.items():
            content = json.dumps(document).encode()
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path


def test_an_engine_without_the_containerd_store_knows_the_configuration(tmp_path: Path) -> None:
    path = archive(tmp_path / "x.tar")
    record = {"reference": "x:18", "digest": DIGEST, "archive": str(path), "layers": []}
    image = instance_images.record("postgres_image", record)
    assert config_digest(path) == "sha256:conf"
    assert instance_images.pinned(image, {"containerd_store": True}) == f"x@{DIGEST}"
    assert instance_images.pinned(image, {"containerd_store": False}) == "sha256:conf"


def test_a_damaged_archive_says_how_to_get_a_new_one(tmp_path: Path) -> None:
    (tmp_path / "x.tar").write_text("no tar")
    with pytest.raises(AzaError, match=r"build\.yml"):
        config_digest(tmp_path / "x.tar")


def test_options_and_secrets() -> None:
    assert ARGUMENTS["state"]["choices"] == ["present", "checked", "stopped", "started", "absent"]
    # Passwords and keys are variables: no option of the task holds one.
    assert not [name for name in ARGUMENTS if "password" in name or name.endswith("_key")]
    assert all(SPECS[f"postgres_{name}"].secret for name in ("password", "tls_key", "tls_ca_key"))


def test_a_number_where_text_is_expected_is_refused() -> None:
    with pytest.raises(AzaError, match=r"postgres_password: the value .not shown. is a number"):
        validated({"postgres_cluster": "shop", "postgres_password": 12345678901234}, SPECS)
    with pytest.raises(AzaError, match="postgres_port"):
        validated({"postgres_cluster": "shop", "postgres_port": "many"}, SPECS)
    with pytest.raises(AzaError, match="postgres_cluster"):
        validated({}, SPECS)


def test_variables_have_their_types_and_defaults() -> None:
    found = validated({"postgres_cluster": "shop", "postgres_port": "5433"}, SPECS)
    assert (found["postgres_port"], found["postgres_memory"], found["postgres_pgbouncer"]) == (
        5433,
        "1g",
        False,
    )
    member = validated({"postgres_cluster": "shop", "postgres_stack": "replica"}, SPECS)
    assert member["postgres_pgbouncer"] is True


GIVEN: dict[str, Any] = {"memory": "2g", "cpus": 2.0}


def test_prediction_reads_the_rules_and_what_the_image_preloads() -> None:
    engine = {"cpus": 8, "disk_mb": 100_000}
    found = predict(declaration(**GIVEN).variables, (), engine, project.find())
    assert (found.memory_mb, found.cpus) == (2048, 2)
    assert found.shm_size_mb >= 64
    assert {value["name"] for value in found.to_dict()["values"]} >= {"shared_buffers", "work_mem"}
    assert predict(declaration(**{**GIVEN, "cpus": 0}).variables, (), engine, project.find()).cpus == 8
    assert (
        predict(declaration(**{**GIVEN, "shm_size": "1g"}).variables, (), engine, project.find()).shm_size_mb
        == 1024
    )
    assert (
        predict(declaration(**{**GIVEN, "autotune": False}).variables, (), engine, project.find()).to_dict()[
            "values"
        ]
        == []
    )


@pytest.mark.parametrize(
    ("changes", "declared", "minimum", "least"),
    [
        ({}, {}, {}, 512),
        ({"autotune": False}, {}, {}, 144),
        # What is declared wins, in every way that PostgreSQL has to write it.
        ({}, {"shared_buffers": "1GB"}, {}, 1024),
        ({}, {"shared_buffers": "131072"}, {}, 1024),
        ({}, {"shared_buffers": 131072, "wal_buffers": "64MB"}, {}, 1088),
        # A standby has what its primary has: 10,000 connections with 77 kB each.
        ({}, {"max_connections": 20}, {"max_connections": 10000}, 512 + 750),
    ],
)
def test_what_the_server_will_share(
    changes: dict[str, Any], declared: dict[str, Any], minimum: dict[str, int], least: int
) -> None:
    found = predict(
        declaration(**{**GIVEN, **changes}).variables, (), {"cpus": 8, "disk_mb": 100_000}, project.find()
    )
    assert least < found.shared_mb(declared, minimum) < least * 1.15


def test_what_nobody_can_read_is_left_to_the_server() -> None:
    """It refuses such a value before anything is reserved."""
    found = predict(declaration(**GIVEN).variables, (), {"cpus": 8, "disk_mb": 0}, project.find())
    assert found.shared_mb({"shared_buffers": "much", "max_connections": "1GB"}, {}) == found.shared_mb(
        {}, {}
    )


def test_a_value_of_the_inventory_is_not_called_tuned() -> None:
    names = ("shared_buffers", "work_mem", "max_connections", "jit")
    tuning = {
        "memory_mb": 1024,
        "budget_mb": 800,
        "cpus": 2,
        "values": [{"name": name, "value": "tuned", "rule": "a rule"} for name in names],
        "own": {"work_mem": "64MB", "log_statement": "ddl"},
    }
    lines = list(instance_summary._tuning(tuning))
    assert [line.split()[0] for line in lines if "a rule" in line] == ["shared_buffers", "max_connections"]
    assert "and 1 more" in " ".join(lines)
    assert "work_mem 64MB" in lines[-1] and "log_statement" not in lines[-1]
    assert not any("Not tuned" in line for line in instance_summary._tuning({**tuning, "own": {}}))


SILENT = {"failed": True, "msg": "No start of json char found", "module_stdout": "", "rc": 1}


@pytest.mark.parametrize(
    ("answer", "silent", "message"),
    [
        ({**SILENT, "module_stderr": "a warning\nNo such container: db1\n"}, True, "No such container: db1"),
        ({**SILENT, "module_stderr": ""}, True, "returned no output"),
        ({**SILENT, "module_stderr": "", "module_stdout": "Welcome!\nno shell\n"}, False, "no shell"),
        ({"failed": True, "msg": "no psycopg", "reason": "no_psycopg"}, False, "no psycopg"),
        ({"failed": True}, False, "did not answer"),
    ],
)
def test_a_host_that_did_not_run_a_module(answer: dict[str, Any], silent: bool, message: str) -> None:
    assert answers.silent(answer) is silent
    assert message in answers.complaint(answer) and "json" not in answers.complaint(answer)
