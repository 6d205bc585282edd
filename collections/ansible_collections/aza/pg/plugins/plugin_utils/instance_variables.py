# SPDX-License-Identifier: Apache-2.0
"""The variables of an instance, read from a play and checked against the argument_specs, their one home."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, cast

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.aza.pg.plugins.module_utils.errors import AzaError
from ansible_collections.aza.pg.plugins.module_utils.inventory.check import check_value
from ansible_collections.aza.pg.plugins.module_utils.inventory.declared import written
from ansible_collections.aza.pg.plugins.module_utils.inventory.deprecated import old_names, renamed
from ansible_collections.aza.pg.plugins.module_utils.inventory.plain import plain
from ansible_collections.aza.pg.plugins.module_utils.inventory.specs import Option, load_specs
from ansible_collections.aza.pg.plugins.module_utils.model.variables import Variables
from ansible_collections.aza.pg.plugins.module_utils.services.registry import SERVICES
from ansible_collections.aza.pg.plugins.plugin_utils.inventory_sources import role_directories

ROLE = "instance"


def collect(task_vars: Mapping[str, Any], templar: Any, given: Mapping[str, Any]) -> Variables:
    """Return the variables of the host with their defaults.

    :param given: variables that a task gives itself; they win over those of the play.
    :raises AzaError: a value has the wrong type, or a required variable is missing.
    """
    specs = {name: option for name, option in load_specs(role_directories()).items() if option.role == ROLE}
    names = (*specs, *old_names(specs))
    values = renamed({name: templar.template(task_vars[name]) for name in names if name in task_vars}, specs)
    return validated({**values, **given}, specs)


def validated(values: Mapping[str, Any], specs: Mapping[str, Option]) -> Variables:
    """Return values with their declared types and defaults, as plain data.

    :raises AzaError: a value has the wrong type, or a required variable is missing.
    """
    if problems := list(_misfits(values, specs)):
        raise AzaError(f"{'; '.join(problems)}. Nothing was changed.", reason="bad_argument")
    validator = ArgumentSpecValidator({name: _argument(option) for name, option in specs.items()})
    result = validator.validate(dict(values))
    if result.error_messages:
        raise AzaError(f"{'; '.join(result.error_messages)}. Nothing was changed.", reason="bad_argument")
    # Ansible's strings carry tags, and YAML makes a date of what looks like one (valid_until: 2027-01-31).
    found: dict[str, Any] = json.loads(json.dumps(result.validated_parameters, default=str))
    for service in SERVICES:
        if specs.get(service.prefix, Option("", "str")).type == "bool":
            found[service.prefix] = service.is_declared(found)
    return cast(Variables, found)


def _misfits(values: Mapping[str, Any], specs: Mapping[str, Option]) -> Iterator[str]:
    """Return what cannot be text although text is expected: Ansible would take a number for the text of it.

    What roles, databases and rules contain, their kinds check.
    """
    for name, option in specs.items():
        is_text = option.type == "str" or (option.elements == "str" and not option.options)
        if is_text and values.get(name) is not None:
            for path, problem in check_value((name,), plain(values[name]), option):
                yield f"{written(path)}: {problem}"


def _argument(option: Option) -> dict[str, Any]:
    argument: dict[str, Any] = {"type": option.type, "required": option.required, "no_log": option.secret}
    if option.type == "list":
        # A dictionary may be written as its name alone, and its kind checks it.
        argument["elements"] = "raw" if option.options else option.elements or "raw"
    if option.choices:
        argument["choices"] = list(option.choices)
    if option.default is not None:
        argument["default"] = option.default
    return argument
