# SPDX-License-Identifier: Apache-2.0
"""Catalogue + lock + templates → the build context (``image/build``): the same input gives the same bytes.

The context is complete: ``docker buildx build image/build`` needs nothing else of this project.
"""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
from ansible_collections.aza.pg.plugins.module_utils.catalog import Catalog, Selection, solve
from ansible_collections.aza.pg.plugins.module_utils.catalog.ordering import excludes
from ansible_collections.aza.pg.plugins.module_utils.errors import AzaError
from ansible_collections.aza.pg.plugins.module_utils.image.lock import Lock, file_name
from ansible_collections.aza.pg.plugins.module_utils.image.source import Source
from ansible_collections.aza.pg.plugins.module_utils.model import paths
from ansible_collections.aza.pg.plugins.module_utils.tuning.loader import load_rules
from ansible_collections.aza.pg.plugins.module_utils.tuning.shell import render_shell

GENERATED = (
    "Generated from image/ by 'ansible-playbook build.yml --tags render'; changes here are overwritten."
)
FACTS = "postgres/rootfs/usr/local/share/aza-pg"
AUTOTUNE = "postgres/rootfs/usr/local/lib/aza-pg/autotune.sh"
_HOME = "https://github.com/aza-pg/aza-pg"
_IMAGE_LICENSES = {"pgbouncer": "ISC", "exporter": "Apache-2.0 AND MIT"}


@dataclass(frozen=True)
class File:
    """One file of the context."""

    content: bytes
    executable: bool = False


Tree = dict[str, File]
"""Files by their path below the context."""


def render(image_dir: Path, catalog: Catalog, source: Source, lock: Lock, selection: Selection) -> Tree:
    """Return the build context for ``selection``."""
    plan = _Plan(catalog, source, lock, selection)
    templates = image_dir / "templates"
    tree: Tree = {}
    for path in _files(templates / "context"):
        tree[path.name] = _file(path)
    for name in ("common", *catalog.manifest.images):
        for architecture in lock.architectures:
            tree[f"{name}/locked/packages.{architecture}"] = File(
                plan.package_list(name, architecture).encode()
            )
    for key in source.keys:
        tree[f"keys/{key}"] = File((image_dir / "keys" / key).read_bytes())
    for image in plan.images:
        tree[f"{image['name']}/image.json"] = File(
            (json.dumps(image, indent=2, ensure_ascii=False) + "\n").encode()
        )
    tree["postgres/locked/files"] = File(plan.expected_files().encode())

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(templates),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,
    )
    variables = plan.template_variables()
    for path in _files(templates / "rootfs"):
        name = path.relative_to(templates).as_posix()
        target = f"postgres/{name.removesuffix('.j2')}"
        if name.endswith(".j2"):
            text = environment.get_template(name).render(variables)
            tree[target] = File(text.encode(), _executable(path))
        else:
            tree[target] = _file(path)
    for name, text in plan.facts().items():
        tree[f"{FACTS}/{name}"] = File(text.encode())
    tree[AUTOTUNE] = File(render_shell(load_rules(image_dir / "tuning.yml").of_major(plan.major)).encode())
    tree["Dockerfile"] = File(environment.get_template("Dockerfile.j2").render(variables).encode())
    return dict(sorted(tree.items()))


class _Plan:
    """What the templates need to know, computed from the inputs."""

    def __init__(self, catalog: Catalog, source: Source, lock: Lock, selection: Selection) -> None:
        self.catalog, self.source, self.lock, self.selection = catalog, source, lock, selection
        self.major = catalog.manifest.major
        self.roots = {
            name: [*source.companions, *image.packages[source.name]]
            for name, image in catalog.manifest.images.items()
        }
        # What all images have in common does not depend on the choice of extensions: the layer stays the same.
        self.common = {
            architecture: sorted(
                set.intersection(*(set(lock.closure(architecture, roots)) for roots in self.roots.values()))
                | set(lock.architectures[architecture].base)
            )
            for architecture in lock.architectures
        }
        self.roots["postgres"] = [*source.companions, *selection.packages]

    def packages(self, name: str, architecture: str) -> list[str]:
        """Return the packages that the layer ``name`` installs."""
        common = self.common[architecture]
        return common if name == "common" else self.lock.closure(architecture, self.roots[name], common)

    def package_list(self, name: str, architecture: str) -> str:
        locked = self.lock.architectures[architecture].packages
        lines = [
            f"{package} {locked[package].version} {locked[package].sha256} {locked[package].filename(package)}"
            for package in self.packages(name, architecture)
        ]
        # A layer's times are lowered to the lock's and never raised, so a cached layer that is older must not be used.
        locked_at = f"# Locked at {self.lock.resolved_at}."
        return "\n".join([f"# {GENERATED}", locked_at, *lines]) + "\n"

    def expected_files(self) -> str:
        lines = [
            f"{self._absolute(path)} {entry}"
            for entry, files in sorted(self.selection.files.items())
            for path in files
        ]
        return "\n".join([f"# {GENERATED}", *lines]) + "\n"

    def _absolute(self, path: str) -> str:
        if path.startswith("/"):
            return path
        if path.endswith(".so"):
            return f"{paths.libraries(self.major)}/{path}"
        return f"{paths.shared_files(self.major)}/{path}"

    def facts(self) -> dict[str, str]:
        """Return the files that the entrypoint reads."""
        chosen = self.selection

        def libraries(names: Iterable[str]) -> str:
            return "".join(f"{name} {chosen.preload_workers[name]}\n" for name in names)

        return {
            "preload": libraries(chosen.preload),
            "preload-available": libraries(chosen.opt_in_preload),
            "preload-order": "".join(f"{' '.join(line)}\n" for line in self._preload_order()),
            "output-plugins": "".join(f"{plugin}\n" for plugin in chosen.output_plugins),
            "create": "".join(f"{line}\n" for line in chosen.create),
            "image.json": json.dumps(self._description(), indent=2, ensure_ascii=False) + "\n",
        }

    def _preload_order(self) -> Iterable[list[str]]:
        """Yield every library that can be preloaded, in a right order, with those it must not be loaded with."""
        entries = {entry.preload.library: entry for entry in self.selection.extensions if entry.preload}
        for library in self.selection.preload_order:
            others = (name for name, other in entries.items() if excludes(entries[library], other))
            yield [library, *sorted(others)]

    def _description(self) -> dict[str, Any]:
        return {
            "postgresql": self._version(f"postgresql-{self.major}"),
            "source": self.source.name,
            "flavour": self.selection.flavour,
            "locked_at": self.lock.resolved_at,
            "extensions": [
                {"name": entry.name, "kind": entry.kind, "version": self._entry_version(entry)}
                for entry in self.selection.extensions
            ],
        }

    def _entry_version(self, entry: Any) -> str:
        package = getattr(entry.source_in(self.source.name), "package", f"postgresql-{self.major}")
        return self._version(package)

    def _version(self, package: str) -> str:
        """Return the package's version; architectures differ at most in a rebuild's suffix."""
        return next(iter(self.lock.architectures.values())).packages[package].version

    @property
    def images(self) -> list[dict[str, Any]]:
        """Return what each image is called and labelled with."""
        chosen = self.selection
        named = (text for entry in chosen.extensions for text in entry.license.split(" AND "))
        licenses = sorted({"PostgreSQL", *named})
        joined = " AND ".join(f"({text})" if " OR " in text else text for text in licenses)
        plain = solve(self.catalog, self.source.name, chosen.flavour)
        flavour = chosen.flavour if chosen.extensions == plain.extensions else f"{chosen.flavour}-custom"
        found = []
        for name, image in self.catalog.manifest.images.items():
            main = name == "postgres"
            version = self._version(image.packages[self.source.name][0]).rpartition(":")[2]
            upstream = version.rpartition("-")[0] or version
            labels = {
                "title": f"aza-pg {name}",
                "description": image.summary + (f" ({flavour})" if main else ""),
                "version": f"{version}-{flavour}" if main else version,
                "licenses": joined if main else _IMAGE_LICENSES[name],
                "vendor": "aza-pg",
                "source": _HOME,
                "documentation": f"{_HOME}/tree/main/docs",
                "base.name": self.source.base.image,
            }
            found.append(
                {
                    "name": name,
                    "tag": f"{self.major}-{flavour}" if main else upstream,
                    "flavour": flavour if main else None,
                    "major": self.major if main else None,
                    "labels": {f"org.opencontainers.image.{key}": value for key, value in labels.items()},
                }
            )
        return found

    def template_variables(self) -> dict[str, Any]:
        return {
            "generated": GENERATED,
            "source": self.source,
            "lock_file": file_name(self.lock.source, self.lock.major),
            "images": self.images,
            "major": self.major,
            "programs": paths.programs(self.major),
            "data_directory": paths.data_directory(self.major),
            "flavour": self.selection.flavour,
            "selection": self.selection,
        }


def _files(directory: Path) -> Iterator[Path]:
    return (path for path in sorted(directory.rglob("*")) if path.is_file())


def _executable(path: Path) -> bool:
    return bool(path.stat().st_mode & 0o100)


def _file(path: Path) -> File:
    return File(path.read_bytes(), _executable(path))


# --- the context on disk -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Drift:
    """How a directory differs from a tree."""

    missing: list[str]
    different: list[str]
    extra: list[str]

    def __bool__(self) -> bool:
        return bool(self.missing or self.different or self.extra)

    @property
    def paths(self) -> list[str]:
        """Every path that would be written or removed."""
        return sorted([*self.missing, *self.different, *self.extra])


def read_tree(directory: Path) -> Tree:
    """Return the context that stands in ``directory``."""
    return {path.relative_to(directory).as_posix(): _file(path) for path in _files(directory)}


def drift(tree: Tree, directory: Path) -> Drift:
    """Compare ``directory`` with what it should hold."""
    there = read_tree(directory)
    return Drift(
        missing=[path for path in tree if path not in there],
        different=[path for path, file in tree.items() if path in there and there[path] != file],
        extra=[path for path in there if path not in tree],
    )


def write(tree: Tree, directory: Path) -> None:
    """Make ``directory`` hold exactly ``tree``; files that are right are not touched."""
    found = drift(tree, directory)
    for name in found.extra:
        path = directory / name
        path.unlink()
        while not any((path := path.parent).iterdir()) and path != directory:
            path.rmdir()
    for name in (*found.missing, *found.different):
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(tree[name].content)
        path.chmod(0o755 if tree[name].executable else 0o644)


def text_diff(tree: Tree, directory: Path, limit: int = 400) -> str:
    """Return the drift as a unified diff, cut after ``limit`` lines."""
    there = read_tree(directory)
    lines: list[str] = []
    for name in drift(tree, directory).paths:
        before, after = (_lines(files.get(name)) for files in (there, tree))
        lines += difflib.unified_diff(before, after, f"{name} (is)", f"{name} (should be)", lineterm="")
    cut = [f"… {len(lines) - limit} more lines"] if len(lines) > limit else []
    return "\n".join(lines[:limit] + cut)


def _lines(file: File | None) -> list[str]:
    return file.content.decode(errors="replace").splitlines() if file else []


def fingerprint(tree: Mapping[str, File], image: str) -> str:
    """Return a hash of those files of the context that the image ``image`` is built from."""
    if "Dockerfile" not in tree:
        raise AzaError(
            "the build context is not there: make it with 'ansible-playbook build.yml --tags render'",
            reason="context_missing",
        )
    shared = {"Dockerfile", "install-packages.sh", "install-rootfs.sh"}
    return _hash(
        tree, [name for name in tree if name in shared or name.split("/")[0] in (image, "common", "keys")]
    )


def packages_fingerprint(tree: Mapping[str, File], image: str) -> str:
    """Return a hash of the packages that the image gets: while it is the same, no archive is asked for new ones."""
    return _hash(tree, [name for name in tree if name.startswith((f"{image}/locked/", "common/locked/"))])


def locked_versions(tree: Mapping[str, File], architecture: str) -> dict[str, str]:
    """Return every package that the images of the context get, with its version."""
    versions: dict[str, str] = {}
    for name, file in tree.items():
        if name.endswith(f"/locked/packages.{architecture}"):
            lines = (line.split() for line in file.content.decode().splitlines() if not line.startswith("#"))
            versions |= {package: version for package, version, *_ in lines}
    return versions


def _hash(tree: Mapping[str, File], names: Iterable[str]) -> str:
    digest = hashlib.sha256()
    for name in sorted(names):
        file = tree[name]
        digest.update(f"{name}\0{file.executable}\0{len(file.content)}\0".encode() + file.content)
    return digest.hexdigest()
