# SPDX-License-Identifier: Apache-2.0
"""Declarations for tests: a small single server without other services, unless a test asks for more."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import yaml
from ansible_collections.aza.pg.plugins.module_utils.instance import describe as describing
from ansible_collections.aza.pg.plugins.module_utils.inventory.specs import load_specs
from ansible_collections.aza.pg.plugins.module_utils.model.desired import Desired
from ansible_collections.aza.pg.plugins.module_utils.services.declaration import Declaration, Host, Tuned
from ansible_collections.aza.pg.plugins.plugin_utils.instance_variables import validated

ROOT = next(parent for parent in Path(__file__).resolve().parents if (parent / "ansible.cfg").is_file())
SPECS = {name: option for name, option in load_specs([ROOT / "roles"]).items() if option.role == "instance"}
IMAGES = {
    name: {
        "reference": f"aza-pg/{name}:1",
        "digest": f"sha256:{mark * 64}",
        "archive": f"/{name}.tar",
        "pinned": f"aza-pg/{name}@sha256:{mark * 64}",
    }
    for name, mark in (("postgres", "a"), ("pgbouncer", "b"), ("exporter", "c"))
}
_SMALL = {"cluster": "shop", "stack": "single", "tls": False, "exporter": False, "pgbouncer": False}
_FIELDS = {item.name for item in fields(Declaration)}
_TUNED = {item.name for item in fields(Tuned)}


def declaration(uid: int = 0, home: str = "/home/me", **given: Any) -> Declaration:
    """``given``: variables without their prefix, fields of ``Declaration``, and fields of ``Tuned``."""
    known = {key: given.pop(key) for key in list(given) if key in _FIELDS}
    tuned = {key: given.pop(key) for key in list(given) if key in _TUNED}
    variables = {f"postgres_{name}": value for name, value in {**_SMALL, **given}.items()}
    return Declaration(
        **{
            "variables": validated(variables, SPECS),
            "host": Host(uid, uid, home),
            "images": IMAGES,
            "tuned": Tuned(**{"memory_mb": 1024, "shm_size_mb": 128, **tuned}),
            "libraries": tuple(given.get("extra_preload_libraries", ())),
            **known,
        }
    )


def describe(uid: int = 0, **given: Any) -> Desired:
    """Return the whole instance of a declaration."""
    return describing.describe(declaration(uid, **given), yaml.safe_dump)
