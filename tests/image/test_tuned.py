# SPDX-License-Identifier: Apache-2.0
"""Auto-configuration: the container reports what the toolkit predicts, and every setting of the user wins over it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.aza.pg.plugins.module_utils.tuning import Inputs, evaluate, load_rules
from ansible_collections.aza.pg.plugins.plugin_utils.prediction import Prediction

ROOT = Path(__file__).parents[2]
UNITS = {"kB": 1, "MB": 1024, "GB": 1024 * 1024, "TB": 1024**3}


def canonical(value: str) -> str:
    """Return a value so that 1GB and 1024MB, 4 and 4.0 compare equal."""
    if found := re.fullmatch(r"(\d+)(kB|MB|GB|TB)", value):
        return f"{int(found[1]) * UNITS[found[2]]}kB"
    return value.removesuffix(".0")


def preload_workers(box: Any) -> int:
    return sum(
        int(line.split()[1]) for line in box.check("cat", "/usr/local/share/aza-pg/preload").splitlines()
    )


SIZES = [
    ("1g", 2.0, {}),
    ("512m", 0.5, {"POSTGRES_WORKLOAD_TYPE": "oltp", "POSTGRES_STORAGE_TYPE": "hdd"}),
    ("2g", 1.0, {"POSTGRES_WORKLOAD_TYPE": "dw", "POSTGRES_STORAGE_TYPE": "san"}),
    ("3000m", 1.5, {"POSTGRES_WORKLOAD_TYPE": "mixed", "POSTGRES_SHARED_PRELOAD_LIBRARIES": "none"}),
]


@pytest.mark.parametrize(("memory", "cpus", "env"), SIZES, ids=[size[0] for size in SIZES])
def test_values_are_the_predicted_ones(
    run_container: Any, memory: str, cpus: float, env: dict[str, str]
) -> None:
    box = run_container(mem_limit=memory, nano_cpus=int(cpus * 1e9), env=env)
    blocks, size = box.check("stat", "-f", "-c", "%b %S", "/var/lib/postgresql/18/docker").split()
    inputs = Inputs(
        memory_mb=int(box.container.attrs["HostConfig"]["Memory"]) // 1048576,
        cpus=-int(-cpus // 1),
        disk_mb=int(blocks) * int(size) // 1048576,
        workload=env.get("POSTGRES_WORKLOAD_TYPE", "web"),
        storage=env.get("POSTGRES_STORAGE_TYPE", "ssd"),
        preload_workers=0 if "POSTGRES_SHARED_PRELOAD_LIBRARIES" in env else preload_workers(box),
    )
    rules = load_rules(ROOT / "image" / "tuning.yml")
    result = evaluate(rules, inputs)
    predicted = result.settings
    settings = box.settings()
    expected = {name: canonical(value) for name, value in predicted.items()}
    assert {name: canonical(settings[name]) for name in expected} == expected
    sources = f"SELECT DISTINCT sourcefile FROM pg_settings WHERE name IN {tuple(expected)}"
    assert box.sql(sources) == "/run/aza-pg/tuned.conf"
    for name in expected:
        assert re.search(rf"^  {name} ", box.logs(), re.M), f"{name} is not explained"
    shared_mb = Prediction(inputs.memory_mb, inputs.cpus, 0, result, rules).shared_mb({}, {})
    assert shared_mb * 0.85 < int(settings["shared_memory_size"].removesuffix("MB")) <= shared_mb


def test_later_settings_win(run_container: Any) -> None:
    """tuned < postgresql.conf < conf.d < ALTER SYSTEM < the command line."""
    names = ["work_mem", "maintenance_work_mem", "random_page_cost", "effective_cache_size", "jit"]
    # What stands in postgresql.conf itself: above the line that includes conf.d.
    script = (
        "#!/bin/bash\nset -e\nmine='work_mem = 101MB\\nmaintenance_work_mem = 101MB\\nrandom_page_cost = 3'\n"
    )
    script += 'sed -i "/^include_dir/i $mine" "$PGDATA/postgresql.conf"\n'
    files = {
        "/docker-entrypoint-initdb.d/1.sh": script,
        "/docker-entrypoint-initdb.d/2.sql": "ALTER SYSTEM SET random_page_cost = 5;\n"
        "ALTER SYSTEM SET effective_cache_size = '104MB';",
        "/etc/aza-pg/conf.d/10.conf": "maintenance_work_mem = 102MB\nrandom_page_cost = 4\n"
        "effective_cache_size = 103MB\n",
    }
    box = run_container("-c", "effective_cache_size=105MB", files=files)
    assert [box.show(name) for name in names] == ["101MB", "102MB", "5", "105MB", "off"]


def test_off_gives_stock_values(run_container: Any) -> None:
    """But for the preloaded libraries, which are what the image is, not how it is tuned."""
    box = run_container(mem_limit="1g", env={"POSTGRES_AUTOTUNE": "off"})
    settings = box.settings()
    stock = {
        "shared_buffers": "128MB",
        "max_connections": "100",
        "work_mem": "4MB",
        "max_wal_size": "1GB",
        "min_wal_size": "80MB",
        "random_page_cost": "4",
        "checkpoint_timeout": "5min",
    }
    assert {name: settings[name] for name in stock} == stock
    defaults = [line.split()[0] for line in box.check("cat", "/usr/local/share/aza-pg/preload").splitlines()]
    assert settings["shared_preload_libraries"].split(",") == defaults


def test_a_limit_that_changes_is_followed(run_container: Any) -> None:
    volume = run_container.volume()
    mounts = {volume: {"bind": "/var/lib/postgresql", "mode": "rw"}}
    small = run_container(mem_limit="1g", volumes=mounts)
    assert small.show("shared_buffers") == "256MB"
    small.container.stop(timeout=20)
    assert run_container(mem_limit="2g", volumes=mounts).show("shared_buffers") == "512MB"


def test_explicit_memory_and_cpus(run_container: Any) -> None:
    box = run_container(mem_limit="4g", env={"POSTGRES_MEMORY": "0512", "POSTGRES_CPUS": "4"})
    assert box.show("shared_buffers") == "128MB"
    assert "512 MB of memory (POSTGRES_MEMORY), 4 cores (POSTGRES_CPUS)" in box.logs()


@pytest.mark.parametrize("value", ["abc", "-1", "0", "2.5gb", "511", "100000000000000000000"])
def test_bad_memory_is_refused(run_container: Any, value: str) -> None:
    box = run_container(env={"POSTGRES_MEMORY": value}, wait="exit")
    assert box.exit_code() == 78
    assert f"aza-pg: POSTGRES_MEMORY is '{value}'" in box.logs()
    assert box.files("/var/lib/postgresql/18") == set()


@pytest.mark.parametrize(
    ("name", "value"),
    [("POSTGRES_CPUS", "two"), ("POSTGRES_WORKLOAD_TYPE", "olap"), ("POSTGRES_AUTOTUNE", "maybe")],
)
def test_other_bad_values_are_refused(run_container: Any, name: str, value: str) -> None:
    box = run_container(env={name: value}, wait="exit")
    assert box.exit_code() == 78
    assert f"{name} is '{value}'" in box.logs()


def test_too_small_a_container_is_refused(run_container: Any) -> None:
    box = run_container(mem_limit="256m", wait="exit")
    assert box.exit_code() == 78
    assert "at least 512 MB are needed" in box.logs()


def test_data_of_the_official_image_is_told(run_container: Any) -> None:
    """Its postgresql.conf knows nothing of ours: it is left alone, and the log says what to add."""
    box = run_container()
    conf = "/var/lib/postgresql/18/docker/postgresql.conf"
    box.check("sed", "-i", "/tuned.conf/d", conf)
    before = box.check("md5sum", conf)
    box.restart()
    assert "was not made by this image" in box.logs()
    assert box.check("md5sum", conf) == before
    assert json.loads(box.check("cat", "/usr/local/share/aza-pg/image.json"))["postgresql"].startswith("18")
