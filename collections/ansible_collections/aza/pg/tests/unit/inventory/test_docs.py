# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

from ansible_collections.aza.pg.plugins.module_utils.inventory.docs import render_settings_page
from ansible_collections.aza.pg.plugins.module_utils.inventory.specs import load_specs

ROLES = next(
    parent / "roles" for parent in Path(__file__).resolve().parents if (parent / "ansible.cfg").is_file()
)


def test_every_variable_has_one_row() -> None:
    page = render_settings_page(ROLES)
    for name in load_specs([ROLES]):
        assert page.count(f"\n| `{name}` |") == 1


def test_markup_defaults_and_choices(tmp_path: Path) -> None:
    path = tmp_path / "some" / "meta" / "argument_specs.yml"
    path.parent.mkdir(parents=True)
    path.write_text("""
argument_specs:
  main:
    short_description: Some role
    description: One sentence.
    options:
      aza_a: {type: str, required: true, description: "Either C(x) or V(a|b), see M(aza.pg.instance)."}
      aza_b: {type: list, elements: str, choices: [one, two], default: [one], description: B}
      aza_c: {type: list, elements: dict, description: C, options: {name: {type: bool, default: false}}}
""")
    rows = [line for line in render_settings_page(tmp_path).splitlines() if line.startswith("| `")]
    assert rows == [
        "| `aza_a` | str | **required** | Either `x` or `a\\|b`, see `aza.pg.instance`. |",
        "| `aza_b` | list of `one` or `two` | `one` | B |",
        "| `aza_c` | list of dict | – | C |",
        "| `aza_c[].name` | bool | `false` |  |",
    ]
