# SPDX-License-Identifier: Apache-2.0
"""The layers of module_utils: a package imports from its own layer's packages below, never from above."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PLUGINS = Path(__file__).parents[2] / "plugins"
PREFIX = "ansible_collections.aza.pg.plugins."

# From the lowest to the highest. A package may import from itself and from every line above it here.
LAYERS = (
    ("plain", "yaml_loader", "yaml_dumper", "yaml_values"),
    ("errors",),
    ("quantity",),
    ("planning",),
    ("model",),
    ("server",),
    ("host", "tls"),
    ("replication",),
    ("objects",),
    ("services",),
    ("instance", "tuning"),
    ("checks", "catalog"),
    ("image", "report", "docker_engine"),
    ("inventory",),
    ("monitoring",),
)
HEIGHT = {name: height for height, layer in enumerate(LAYERS) for name in layer}


def imports(path: Path) -> Iterator[str]:
    """The modules of the collection that a file imports, below ``plugins``."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(PREFIX):
            module = str(node.module).removeprefix(PREFIX)
            yield from (f"{module}.{item.name}" for item in node.names)


def packages() -> set[str]:
    root = PLUGINS / "module_utils"
    return {path.relative_to(root).parts[0].removesuffix(".py") for path in root.rglob("*.py")}


def test_every_package_has_a_layer() -> None:
    assert packages() == set(HEIGHT)


@pytest.mark.parametrize("package", sorted(HEIGHT))
def test_imports_never_run_upward(package: str) -> None:
    root = PLUGINS / "module_utils"
    upward = []
    for path in [*root.glob(f"{package}.py"), *(root / package).rglob("*.py")]:
        for name in imports(path):
            folder, _, rest = name.partition(".")
            other = rest.partition(".")[0]
            if folder != "module_utils" or (other != package and HEIGHT[other] >= HEIGHT[package]):
                upward.append(f"{path.relative_to(root)} imports {name}")
    assert not upward


@pytest.mark.parametrize("folder", ["plugin_utils", "lookup", "callback", "modules"])
def test_no_plugin_imports_an_action(folder: str) -> None:
    for path in (PLUGINS / folder).glob("*.py"):
        assert not [name for name in imports(path) if name.startswith("action.")]
        if folder == "modules":
            assert not [name for name in imports(path) if not name.startswith("module_utils.")]
