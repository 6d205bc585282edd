# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.aza.pg.plugins.module_utils.tuning import Rules, load_rules, render_shell

IMAGE_DIR = Path(__file__).resolve().parents[7] / "image"


@pytest.fixture(scope="session")
def rules() -> Rules:
    return load_rules(IMAGE_DIR / "tuning.yml")


@pytest.fixture(scope="session")
def library(rules: Rules, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bash library as the image gets it."""
    path = tmp_path_factory.mktemp("shell") / "autotune.sh"
    path.write_text(render_shell(rules), encoding="utf-8")
    return path
