#!/usr/bin/env python3
"""Write what is generated from data: the reference pages and the images' build context.

generate.py            write what differs, and say which
generate.py --check    write nothing; fail where something differs
"""

from __future__ import annotations

import difflib
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "collections"), str(ROOT / "tests")]

# The path has to be there first.
from ansible_collections.aza.pg.plugins.module_utils.catalog import load_catalog, solve  # noqa: E402
from ansible_collections.aza.pg.plugins.module_utils.catalog.docs import render_extensions_page  # noqa: E402
from ansible_collections.aza.pg.plugins.module_utils.catalog.documents import read_yaml  # noqa: E402
from ansible_collections.aza.pg.plugins.module_utils.errors import AzaError  # noqa: E402
from ansible_collections.aza.pg.plugins.module_utils.image import render  # noqa: E402
from ansible_collections.aza.pg.plugins.module_utils.image.lock import load_lock  # noqa: E402
from ansible_collections.aza.pg.plugins.module_utils.image.source import load_source  # noqa: E402
from ansible_collections.aza.pg.plugins.module_utils.inventory import generated  # noqa: E402
from ansible_collections.aza.pg.plugins.module_utils.inventory.docs import render_settings_page  # noqa: E402
from ansible_collections.aza.pg.plugins.module_utils.inventory.schema import render_schema  # noqa: E402
from ansible_collections.aza.pg.plugins.module_utils.inventory.specs import load_specs  # noqa: E402
from ansible_collections.aza.pg.plugins.module_utils.monitoring import dashboards  # noqa: E402
from ansible_collections.aza.pg.plugins.module_utils.tuning import load_rules  # noqa: E402
from ansible_collections.aza.pg.plugins.module_utils.tuning.docs import render_tuning_page  # noqa: E402

from objects import tables  # noqa: E402

IMAGE = ROOT / "image"
CONTEXT = IMAGE / "build"
# The committed context is the one that every user's first build makes.
SOURCE, FLAVOUR = "debian", "standard"

ROLE = "instance"
VARIABLES = generated.of_role(load_specs([ROOT / "roles"]), ROLE)

PAGES: dict[str, Callable[[], str]] = {
    f"roles/{ROLE}/defaults/main.yml": lambda: generated.render_defaults(VARIABLES, ROLE),
    "collections/ansible_collections/aza/pg/plugins/module_utils/model/variables.py": lambda: (
        generated.render_record(VARIABLES, ROLE)
    ),
    "docs/reference/settings.md": lambda: render_settings_page(ROOT / "roles"),
    "docs/reference/inventory.schema.json": lambda: render_schema(ROOT / "roles"),
    "docs/reference/extensions.md": lambda: render_extensions_page(load_catalog(IMAGE)),
    "docs/reference/tuning.md": lambda: render_tuning_page(load_rules(IMAGE / "tuning.yml")),
    **{
        f"docs/reference/objects/{path.stem}.md": partial(lambda table: tables.page(tables.load(table)), path)
        for path in tables.paths()
    },
    **{
        f"docs/monitoring/{name}.json": partial(dashboards.render, name, dashboard)
        for name, dashboard in read_yaml(ROOT / "docs/monitoring/dashboards.yml").items()
    },
}


def context() -> render.Tree:
    """The build context, as `ansible-playbook build.yml` writes it with the defaults."""
    catalog = load_catalog(IMAGE)
    selection = solve(catalog, SOURCE, FLAVOUR, None)
    lock = load_lock(IMAGE, SOURCE, catalog.manifest.major)
    return render.render(IMAGE, catalog, load_source(IMAGE, SOURCE), lock, selection)


def page_difference(path: Path, wanted: str) -> str:
    """A unified diff from the page that is there to the wanted one; empty when they are equal."""
    found = path.read_text(encoding="utf-8") if path.is_file() else ""
    name = str(path.relative_to(ROOT))
    lines = difflib.unified_diff(
        found.splitlines(), wanted.splitlines(), name, f"{name} (generated)", n=1, lineterm=""
    )
    return "\n".join(list(lines)[:40])


def main() -> int:
    check = sys.argv[1:] == ["--check"]
    differences = []
    for name, page in PAGES.items():
        path, text = ROOT / name, page()
        difference = page_difference(path, text)
        if difference:
            differences.append(difference if check else f"wrote {name}")
            if not check:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text, encoding="utf-8")
    tree = context()
    drift = render.drift(tree, CONTEXT)
    if drift:
        differences.append(
            render.text_diff(tree, CONTEXT, 40) if check else f"wrote {', '.join(drift.paths)}"
        )
        if not check:
            render.write(tree, CONTEXT)
    print("\n".join(differences) or "generated files are what their source says")
    if check and differences:
        print(
            "these differ from what image/ and the argument specs say; write them with: make docs",
            file=sys.stderr,
        )
    return int(check and bool(differences))


if __name__ == "__main__":
    try:
        sys.exit(main())
    except AzaError as error:
        sys.exit(error.msg)
