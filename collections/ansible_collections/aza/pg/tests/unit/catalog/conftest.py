# SPDX-License-Identifier: Apache-2.0
"""A small image directory to break, and the repository's own."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml
from ansible_collections.aza.pg.plugins.module_utils.catalog import Catalog, load_catalog
from ansible_collections.aza.pg.plugins.module_utils.errors import AzaError

REPOSITORY = Path(__file__).parents[7]

MANIFEST = {
    "postgresql": {"majors": [18]},
    "archives": {"debian": "Debian's own archive", "pgdg": "PostgreSQL's archive"},
    "flavours": {
        "minimal": {"summary": "What ships", "include": "bundled"},
        "standard": {"summary": "The default", "extends": "minimal", "extensions": ["vector"]},
        "full": {"summary": "Everything", "include": "all"},
    },
    "images": {"postgres": {"summary": "The server", "packages": {"debian": ["postgresql-{major}"]}}},
}


def entry(name: str, /, **fields: object) -> dict[str, object]:
    """Return a valid document of an extension that Debian packages; fields replace, None removes."""
    document: dict[str, object] = {
        "name": name,
        "kind": "extension",
        "summary": "Does what it is there for",
        "category": "development",
        "license": "PostgreSQL",
        "files": [f"extension/{name}.control", f"{name}.so"],
        "sources": [{"apt": {"source": "debian", "package": "postgresql-{major}-" + name.replace("_", "-")}}],
        "smoke": [{"sql": "select 1;", "expect": "1"}],
    }
    document.update(fields)
    return {key: value for key, value in document.items() if value is not None}


class Workbench:
    """An image directory below a temporary one."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory / "image"
        (self.directory / "extensions").mkdir(parents=True)
        for schema in (REPOSITORY / "image").glob("*.schema.json"):
            shutil.copy(schema, self.directory)
        self.manifest(MANIFEST)

    def manifest(self, document: object) -> None:
        (self.directory / "manifest.yml").write_text(yaml.safe_dump(document, sort_keys=False))

    def add(self, name: str, /, **fields: object) -> None:
        self.text(name, yaml.safe_dump(entry(name, **fields)))

    def text(self, stem: str, text: str) -> None:
        (self.directory / "extensions" / f"{stem}.yml").write_text(text)

    def load(self) -> Catalog:
        return load_catalog(self.directory)

    def problems(self) -> list[str]:
        """Return what load_catalog complains about."""
        with pytest.raises(AzaError) as caught:
            self.load()
        assert caught.value.reason == "catalog_invalid"
        found = caught.value.details["problems"]
        assert isinstance(found, list)
        for problem in found:
            assert problem in caught.value.msg
        return found


@pytest.fixture
def bench(tmp_path: Path) -> Workbench:
    workbench = Workbench(tmp_path)
    workbench.add("vector")
    return workbench


@pytest.fixture(scope="session")
def catalog() -> Catalog:
    """Return the repository's own catalogue."""
    return load_catalog(REPOSITORY / "image")
