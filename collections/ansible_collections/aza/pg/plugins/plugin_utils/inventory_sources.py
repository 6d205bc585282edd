# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations
from typing import Any


def origins(task_vars: dict[str, Any], prefix: str) -> dict[str, str]:
    return {}
