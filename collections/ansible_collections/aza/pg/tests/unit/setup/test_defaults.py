# SPDX-License-Identifier: Apache-2.0
"""One default for each option: the module's documentation, what the module itself takes, and the role that calls it."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.aza.pg.plugins.module_utils.inventory.specs import load_specs

ROOT = next(parent for parent in Path(__file__).resolve().parents if (parent / "ansible.cfg").is_file())
SPECS = load_specs([ROOT / "roles"])
# Derived where they are left out, in the role by a template and in the module by its action.
DERIVED = {
    "image_dir",
    "image_build_dir",
    "image_cache_dir",
    "image_dist_dir",
}


def documented(module: str) -> dict[str, dict[str, Any]]:
    found = importlib.import_module(f"ansible_collections.aza.pg.plugins.modules.{module}")
    options: dict[str, dict[str, Any]] = yaml.safe_load(found.DOCUMENTATION)["options"]
    return options


def tasks(given: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    for task in given or ():
        for key, value in task.items():
            if key == "block":
                yield from tasks(value)
            elif key.startswith("aza.pg.") and value:
                yield key.removeprefix("aza.pg."), value


def passed() -> Iterator[tuple[str, str, str]]:
    """Module, its option, and the role's variable that is handed over as it is."""
    for path in sorted(ROOT.glob("roles/*/tasks/*.yml")):
        for module, arguments in tasks(yaml.safe_load(path.read_text())):
            for option, text in arguments.items():
                found = re.fullmatch(r"\{\{ (\w+)(?: if \w+ else '')? \}\}", str(text))
                if found and found[1] in SPECS:
                    yield module, option, found[1]


PASSED = sorted(set(passed()))


def test_the_roles_hand_over_what_they_declare() -> None:
    used = {variable for _, _, variable in PASSED}
    assert len(PASSED) > 30 and {"postgres_cluster", "image_source", "docker_engine_config"} <= used


@pytest.mark.parametrize(("module", "option", "variable"), PASSED)
def test_the_default_of_a_module_is_that_of_the_role(module: str, option: str, variable: str) -> None:
    of_module, of_role = documented(module)[option], SPECS[variable]
    if of_module.get("required"):
        assert "default" not in of_module
    elif variable in DERIVED:
        assert of_module.get("default", "") == "" and of_role.default is None
    else:
        assert of_module.get("default") == of_role.default
    assert of_module["type"] == of_role.type or {of_module["type"], of_role.type} <= {"str", "path"}


@pytest.mark.parametrize("role", ["instance", "image", "docker_engine"])
def test_the_defaults_of_a_role_are_those_that_are_documented(role: str) -> None:
    defaults = yaml.safe_load((ROOT / f"roles/{role}/defaults/main.yml").read_text())
    declared = {name: option for name, option in SPECS.items() if option.role == role and not option.required}
    # A variable of an instance without a default is derived by the toolkit, not by the role.
    without = {name for name, option in declared.items() if role == "instance" and option.default is None}
    assert set(defaults) == set(declared) - without
    for name in set(defaults) - DERIVED:
        assert defaults[name] == declared[name].default


def test_what_a_module_takes_is_what_it_documents(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of those modules that do not read their documentation themselves."""

    class _Taken(Exception):  # noqa: N818, it is the way out
        pass

    def take(**given: Any) -> None:
        raise _Taken(given["argument_spec"])

    for path in sorted((ROOT / "collections/ansible_collections/aza/pg/plugins/modules").glob("*.py")):
        module = importlib.import_module(f"ansible_collections.aza.pg.plugins.modules.{path.stem}")
        if not hasattr(module, "main"):
            continue
        monkeypatch.setattr(module, "AnsibleModule", take)
        with pytest.raises(_Taken) as caught:
            module.main()
        options = yaml.safe_load(module.DOCUMENTATION).get("options") or {}
        spec: dict[str, Any] = caught.value.args[0]
        assert {name: one.get("default") for name, one in spec.items()} == {
            name: one.get("default") for name, one in options.items()
        }, path.stem
