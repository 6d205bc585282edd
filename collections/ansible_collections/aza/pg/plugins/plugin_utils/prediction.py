# SPDX-License-Identifier: Apache-2.0
"""What the container will find and tune itself to, before it exists."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from ansible_collections.aza.pg.plugins.module_utils.stack.quantity import megabytes


@dataclass(frozen=True)
class Prediction:
    memory_mb: int
    cpus: int
    shm_size_mb: int
    values: tuple[Mapping[str, str], ...] = ()

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def predict(given: Mapping[str, Any], engine: Mapping[str, Any], image: Mapping[str, Any]) -> Prediction:
    memory = megabytes("postgres_memory", given["memory"])
    shm = megabytes("postgres_shm_size", given["shm_size"]) if given["shm_size"] else max(64, memory // 4)
    return Prediction(memory_mb=memory, cpus=int(given["cpus"]) or engine["cpus"], shm_size_mb=shm)
