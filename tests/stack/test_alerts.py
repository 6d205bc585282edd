# SPDX-License-Identifier: Apache-2.0
"""Every alert rule, evaluated by promtool: when it fires, of whom, and when it does not."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from .instance import ROOT
from .prometheus import promtool

RULES = ROOT / "playbooks/files/alerts.yml"
# The instance that is unwell, and the same one on another host, which is well.
BAD = {"cluster": "shop", "instance": "shop-primary", "stack": "primary", "host": "db1"}
GOOD = {**BAD, "host": "db2"}
DAY = 86400
# What goes by: minutes, one value each.
LONG = 200


@dataclass(frozen=True)
class Case:
    """``sick`` and ``well``: series without the target's labels, with their values, as promtool writes them.

    The alert fires for what is broken, with ``labels`` in addition to those of the instance, not before its ``for``.
    """

    alert: str
    sick: dict[str, str]
    well: dict[str, str]
    labels: dict[str, str] = field(default_factory=dict)
    severity: str = "warning"
    # Labels of the target that the alert keeps.
    kept: tuple[str, ...] = ("cluster", "instance", "stack", "host")


def steady(value: float | str) -> str:
    return f"{value}x{LONG}"


_SECONDS = ("cluster", "instance", "host")
_SLOT = 'server="s",slot_name="second"'
_TX = 'datname="app",usename="shop",application_name="web",backend_type="%s",state="%s"'
_LIMITS = {
    "pg_settings_max_connections{}": steady(100),
    "pg_settings_superuser_reserved_connections{}": steady(3),
    "pg_settings_reserved_connections{}": steady(0),
}
_CLIENTS = 'pg_stat_activity_count{backend_type="client backend",state="%s"}'
_DISK = 'device="/dev/vda1",fstype="ext4",mountpoint="/"'
_DISK_LABELS = {"device": "/dev/vda1", "fstype": "ext4", "mountpoint": "/"}
_STREAMING = 'pg_stat_wal_receiver_last_msg_receipt_time{status="%s"}'

CASES = (
    Case(
        "PostgresExporterDown",
        {'up{job="pgbouncer"}': steady(0)},
        {'up{job="pgbouncer"}': steady(1)},
        {"job": "pgbouncer"},
        "critical",
    ),
    Case("PostgresDown", {"pg_up{}": steady(0)}, {"pg_up{}": steady(1)}, severity="critical"),
    Case("PgBouncerDown", {"pgbouncer_up{}": steady(0)}, {"pgbouncer_up{}": steady(1)}, severity="critical"),
    Case(
        "StandbyNotStreaming",
        {"pg_replication_is_replica{}": steady(1), _STREAMING % "waiting": steady(1)},
        {"pg_replication_is_replica{}": steady(1), _STREAMING % "streaming": steady(1)},
        severity="critical",
    ),
    Case(
        "ReplicationLagSeconds",
        {
            "pg_replication_lag_seconds{}": steady(40),
            "pg_settings_recovery_min_apply_delay_seconds{}": steady(0),
        },
        # As late as it is meant to be.
        {
            "pg_replication_lag_seconds{}": steady(3620),
            "pg_settings_recovery_min_apply_delay_seconds{}": steady(3600),
        },
        kept=_SECONDS,
    ),
    Case(
        "ReplicationLagBytes",
        {'pg_stat_replication_pg_wal_lsn_diff{application_name="b",slot_name="77"}': steady(3e8)},
        {'pg_stat_replication_pg_wal_lsn_diff{application_name="b",slot_name="77"}': steady(1e8)},
        {"application_name": "b"},
    ),
    Case(
        "ReplicationSlotInactive",
        {f"pg_replication_slots_active{{{_SLOT}}}": steady(0)},
        {f"pg_replication_slots_active{{{_SLOT}}}": steady(1)},
        {"server": "s", "slot_name": "second"},
    ),
    Case(
        "ReplicationSlotRetainsWal",
        {
            f"pg_replication_slots_pg_wal_lsn_diff{{{_SLOT}}}": steady(3e9),
            "pg_settings_max_wal_size_bytes{}": steady(2e9),
        },
        {
            f"pg_replication_slots_pg_wal_lsn_diff{{{_SLOT}}}": steady(3e9),
            "pg_settings_max_wal_size_bytes{}": steady(4e9),
        },
        {"server": "s", "slot_name": "second"},
    ),
    Case(
        "ReplicationSlotLosesWal",
        {'pg_replication_slot_wal_status{slot_name="a",wal_status="unreserved"}': steady(1)},
        {'pg_replication_slot_wal_status{slot_name="a",wal_status="extended"}': steady(1)},
        {"slot_name": "a", "wal_status": "unreserved"},
        "critical",
    ),
    Case(
        "PostgresConnectionsNearMax",
        {_CLIENTS % "idle": steady(60), _CLIENTS % "active": steady(30), **_LIMITS},
        {_CLIENTS % "idle": steady(50), _CLIENTS % "active": steady(30), **_LIMITS},
        kept=_SECONDS,
    ),
    Case(
        "PostgresWraparoundNear",
        {'pg_database_wraparound_age_datminmxid_seconds{datname="app"}': steady(1.1e9)},
        {'pg_database_wraparound_age_datfrozenxid_seconds{datname="app"}': steady(2.1e8)},
        {"datname": "app"},
    ),
    Case(
        "PostgresWraparoundImminent",
        {'pg_database_wraparound_age_datfrozenxid_seconds{datname="app"}': steady(1.9e9)},
        {'pg_database_wraparound_age_datfrozenxid_seconds{datname="app"}': steady(1.7e9)},
        {"datname": "app"},
        "critical",
    ),
    Case(
        "PostgresLongTransaction",
        {
            f"pg_stat_activity_max_tx_duration{{{_TX % ('client backend', 'idle in transaction')}}}": steady(
                4000
            )
        },
        # A session that is idle has none, and a copy of the database takes what it takes.
        {
            f"pg_stat_activity_max_tx_duration{{{_TX % ('client backend', 'idle')}}}": steady(4000),
            f"pg_stat_activity_max_tx_duration{{{_TX % ('client backend', 'active')}}}": steady(3000),
            f"pg_stat_activity_max_tx_duration{{{_TX % ('walsender', 'active')}}}": steady(9000),
        },
        {"datname": "app", "usename": "shop", "application_name": "web", "state": "idle in transaction"},
    ),
    Case(
        "PostgresDeadlocks",
        {'pg_stat_database_deadlocks{datname="app",datid="5"}': f"0+1x{LONG}"},
        {'pg_stat_database_deadlocks{datname="app",datid="5"}': f"7x{LONG}"},
        {"datname": "app"},
    ),
    Case(
        "PostgresArchivingFails",
        {'pg_stat_archiver_failed_count{server="s"}': f"0+2x{LONG}"},
        {'pg_stat_archiver_failed_count{server="s"}': f"9x{LONG}"},
        {"server": "s"},
        "critical",
    ),
    Case(
        "PgBouncerClientsWait",
        {'pgbouncer_pools_client_maxwait_seconds{database="app",user="shop"}': steady(8)},
        {'pgbouncer_pools_client_maxwait_seconds{database="app",user="shop"}': steady(2)},
        {"database": "app", "user": "shop"},
    ),
    Case(
        "PgBouncerClientsNearMax",
        {"pgbouncer_used_clients{}": steady(90), "pgbouncer_config_max_client_connections{}": steady(100)},
        {"pgbouncer_used_clients{}": steady(80), "pgbouncer_config_max_client_connections{}": steady(100)},
    ),
    Case(
        "DiskNearlyFull",
        {
            f"node_filesystem_avail_bytes{{{_DISK}}}": steady(5),
            f"node_filesystem_size_bytes{{{_DISK}}}": steady(100),
        },
        {
            f"node_filesystem_avail_bytes{{{_DISK}}}": steady(20),
            f"node_filesystem_size_bytes{{{_DISK}}}": steady(100),
            f"node_filesystem_avail_bytes{{{_DISK.replace('ext4', 'tmpfs')}}}": steady(0),
            f"node_filesystem_size_bytes{{{_DISK.replace('ext4', 'tmpfs')}}}": steady(100),
        },
        _DISK_LABELS,
        "critical",
    ),
    Case(
        "DiskFullInADay",
        {
            f"node_filesystem_avail_bytes{{{_DISK}}}": f"39000-40x{LONG}",
            f"node_filesystem_size_bytes{{{_DISK}}}": steady(100000),
        },
        # It falls as fast, but there is much; and it is as little, but does not fall.
        {
            f"node_filesystem_avail_bytes{{{_DISK}}}": f"90000-40x{LONG}",
            f"node_filesystem_size_bytes{{{_DISK}}}": steady(100000),
            f"node_filesystem_avail_bytes{{{_DISK.replace('vda1', 'vdb')}}}": steady(20000),
            f"node_filesystem_size_bytes{{{_DISK.replace('vda1', 'vdb')}}}": steady(100000),
        },
        _DISK_LABELS,
    ),
    Case(
        "CertificateExpiresSoon",
        {'probe_ssl_earliest_cert_expiry{job="certificate"}': steady(20 * DAY)},
        {'probe_ssl_earliest_cert_expiry{job="certificate"}': steady(25 * DAY)},
        {"job": "certificate"},
    ),
    Case(
        "CertificateExpires",
        {'probe_ssl_earliest_cert_expiry{job="certificate"}': steady(2 * DAY)},
        {'probe_ssl_earliest_cert_expiry{job="certificate"}': steady(4 * DAY)},
        {"job": "certificate"},
        "critical",
    ),
    Case(
        "CertificateNotShown",
        # As it is asked: four times an hour.
        {'probe_success{job="certificate"}': " ".join(["0" + " _" * 14] * 13)},
        {'probe_success{job="certificate"}': " ".join(["1" + " _" * 14] * 13)},
        {"job": "certificate"},
    ),
)
# Of a cluster, not of an instance: one that is unwell, and one that is well, by what its members say.
_ROLE = 'pg_replication_is_replica{cluster="%s",stack="%s",host="%s"}'


def rules() -> dict[str, dict[str, Any]]:
    document = yaml.safe_load(RULES.read_text(encoding="utf-8"))
    return {rule["alert"]: rule for group in document["groups"] for rule in group["rules"]}


def _series(series: dict[str, str], target: dict[str, str]) -> list[dict[str, str]]:
    labels = ",".join(f'{key}="{value}"' for key, value in target.items())
    found = []
    for written, values in series.items():
        name, _, own = written.removesuffix("}").partition("{")
        found.append({"series": f"{name}{{{own}{',' if own else ''}{labels}}}", "values": values})
    return found


def _check(path: Path, alert: str, series: list[dict[str, str]], fired: dict[str, str], minutes: int) -> None:
    """The alert is silent at the first minute, and at ``minutes`` fires with these labels and of nothing else."""
    document = yaml.safe_load(RULES.read_text(encoding="utf-8"))
    for group in document["groups"]:
        for rule in group["rules"]:
            del rule["annotations"]  # promtool would want them word for word
    (path / "alerts.yml").write_text(yaml.safe_dump(document))
    when = [(0, []), (minutes, [{"exp_labels": fired}])]
    test = {
        "rule_files": ["alerts.yml"],
        "evaluation_interval": "1m",
        "tests": [
            {
                "interval": "1m",
                "input_series": series,
                "alert_rule_test": [
                    {"alertname": alert, "eval_time": f"{minute}m", "exp_alerts": alerts}
                    for minute, alerts in when
                ],
            }
        ],
    }
    (path / "test.yml").write_text(yaml.safe_dump(test))
    promtool("test", "rules", "test.yml", cwd=path)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.alert)
def test_it_fires_of_what_is_sick_and_of_nothing_else(case: Case, tmp_path: Path) -> None:
    fired = {key: value for key, value in BAD.items() if key in case.kept} | case.labels
    series = _series(case.sick, BAD) + _series(case.well, GOOD)
    _check(tmp_path, case.alert, series, fired | {"severity": case.severity}, LONG - 20)


@pytest.mark.parametrize(
    ("alert", "sick"),
    [("ClusterWithoutPrimary", ("1", "1")), ("ClusterWithTwoPrimaries", ("0", "0"))],
)
def test_a_cluster_has_one_primary(alert: str, sick: tuple[str, str], tmp_path: Path) -> None:
    message = {
        _ROLE % ("shop", "primary", "db1"): sick[0],
        _ROLE % ("shop", "replica", "db2"): sick[1],
        _ROLE % ("blog", "primary", "db1"): "1",
        _ROLE % ("blog", "replica", "db2"): "0",
        # Each by itself.
        _ROLE % ("dev", "single", "a"): "0",
        _ROLE % ("dev", "single", "b"): "0",
    }
    series = [{"series": name, "values": steady(value)} for name, value in message.items()]
    _check(tmp_path, alert, series, {"cluster": "shop", "severity": "critical"}, 10)


def test_every_alert_is_tested() -> None:
    tested = [case.alert for case in CASES] + ["ClusterWithoutPrimary", "ClusterWithTwoPrimaries"]
    assert sorted(tested) == sorted(rules())


def test_promtool_accepts_the_rules() -> None:
    assert f"{len(rules())} rules found" in promtool("check", "rules", str(RULES))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.alert)
def test_an_alert_says_only_what_it_knows(case: Case) -> None:
    """A label that an alert does not have would leave a hole in its sentence."""
    text = " ".join(rules()[case.alert]["annotations"].values())
    # Node's targets are hosts, and belong to no instance.
    known = {"host"} if "Disk" in case.alert else set(case.kept)
    assert set(re.findall(r"\$labels\.(\w+)", text)) <= known | set(case.labels)
