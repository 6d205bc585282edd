# SPDX-License-Identifier: Apache-2.0
"""The variables of an instance.

Generated from roles/instance/meta/argument_specs.yml by `make docs`.
"""

from __future__ import annotations

from typing import Any, TypedDict


class Variables(TypedDict):
    postgres_cluster: str
    postgres_stack: str
    postgres_image: Any
    postgres_memory: str
    postgres_cpus: float
    postgres_workload: str
    postgres_storage: str
    postgres_autotune: bool
    postgres_huge_pages: bool
    postgres_shm_size: str
    postgres_port: int
    postgres_publish_address: str
    postgres_address: str
    postgres_replicate_from: str
    postgres_replay_delay: str
    postgres_synchronous_replicas: int
    postgres_allow_from: list[str]
    postgres_database: str
    postgres_user: str
    postgres_password: str
    postgres_settings: dict[str, Any]
    postgres_extra_preload_libraries: list[str]
    postgres_initdb_args: str
    postgres_base_dir: str
    postgres_stop_grace_period: str
    postgres_ready_timeout: str
    postgres_log_max_size: str
    postgres_log_max_files: int
    postgres_allow_restart: bool
    postgres_allow_recreate: bool
    postgres_allow_plain_passwords: bool
    postgres_roles: list[Any]
    postgres_databases: list[Any]
    postgres_hba: list[Any]
    postgres_ident: list[Any]
    postgres_hooks: dict[str, Any]
    postgres_undeclared: dict[str, Any]
    postgres_allow_loss: list[str]
    postgres_tls: bool
    postgres_tls_certificate: str
    postgres_tls_key: str
    postgres_tls_ca_certificate: str
    postgres_tls_ca_key: str
    postgres_tls_names: list[str]
    postgres_pgbouncer: bool
    postgres_pgbouncer_port: int
    postgres_pgbouncer_publish_address: str
    postgres_pgbouncer_settings: dict[str, Any]
    postgres_pgbouncer_exporter_port: int
    postgres_pgbouncer_exporter_publish_address: str
    postgres_pgbouncer_image: Any
    postgres_exporter: bool
    postgres_exporter_port: int
    postgres_exporter_publish_address: str
    postgres_exporter_image: Any
