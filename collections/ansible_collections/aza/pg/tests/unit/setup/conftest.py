# SPDX-License-Identifier: Apache-2.0
"""The scripts of the repository, which are no package, as modules."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

ROOT = next(
    parent for parent in Path(__file__).resolve().parents if (parent / "scripts" / "lint.py").is_file()
)


@pytest.fixture(scope="module")
def script() -> Callable[[str], ModuleType]:
    """Return a function that loads a script by its name."""

    def load(name: str) -> ModuleType:
        spec = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
        assert spec and spec.loader
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return load
