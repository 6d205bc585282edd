# SPDX-License-Identifier: Apache-2.0
"""Auto-configuration: rules (data) and inputs in; values, explanation, memory budget, and the image's bash out.

Evaluation runs on targets too, where PyYAML and jsonschema are missing: what needs them is imported when called.
"""

from __future__ import annotations

from pathlib import Path

from ansible_collections.aza.pg.plugins.module_utils.tuning.evaluate import Inputs, Result, Value, evaluate
from ansible_collections.aza.pg.plugins.module_utils.tuning.rules import Rules, build_rules
from ansible_collections.aza.pg.plugins.module_utils.tuning.shell import render_shell

__all__ = ["Inputs", "Result", "Rules", "Value", "build_rules", "evaluate", "load_rules", "render_shell"]


def load_rules(path: Path) -> Rules:
    """Return the checked rules of ``image/tuning.yml`` (control node only)."""
    from ansible_collections.aza.pg.plugins.module_utils.tuning import loader

    return loader.load_rules(path)
