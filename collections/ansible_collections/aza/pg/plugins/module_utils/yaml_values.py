# SPDX-License-Identifier: Apache-2.0
"""Read values that YAML or a command line may have given in another type. Pure."""

from __future__ import annotations

from typing import Any


def text(value: Any) -> str:
    """Return a name as text; empty for what cannot be a name."""
    return str(value) if isinstance(value, (str, int, float)) and not isinstance(value, bool) else ""


def truth(value: Any) -> bool:
    """Return whether Ansible would take the value for true."""
    return value is True or (
        isinstance(value, (str, int)) and str(value).lower() in ("yes", "true", "on", "1", "y", "t")
    )
