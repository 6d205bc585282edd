# SPDX-License-Identifier: Apache-2.0
"""The build itself, with the real engine and the real archive: it repeats, and it fails when anything is missing."""

from __future__ import annotations

import json
import re
import secrets
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.aza.pg.plugins.module_utils.catalog import load_catalog, solve
from ansible_collections.aza.pg.plugins.module_utils.errors import AzaError
from ansible_collections.aza.pg.plugins.module_utils.image import base, build, engine, mirror, records, render
from ansible_collections.aza.pg.plugins.module_utils.image.lock import load_lock
from ansible_collections.aza.pg.plugins.module_utils.image.process import Progress
from ansible_collections.aza.pg.plugins.module_utils.image.source import load_source

from support.registry import serve

ROOT = Path(__file__).parents[2]
IMAGE = ROOT / "image"
CACHE = ROOT / ".cache"


@cache
def mirrors() -> dict[str, str]:
    """Where this machine gets the source's packages from: apt takes seconds to say it."""
    return mirror.mirrors(load_source(IMAGE, "debian"), {})


class Workshop:
    """A rendered context of the minimal flavour, to be changed and built under a name of its own."""

    def __init__(self, folder: Path) -> None:
        self.context, self.folder = folder / "build", folder
        catalog = load_catalog(IMAGE)
        self.source = load_source(IMAGE, "debian")
        self.lock = load_lock(IMAGE, "debian", catalog.manifest.major)
        render.write(
            render.render(IMAGE, catalog, self.source, self.lock, solve(catalog, "debian", "minimal")),
            self.context,
        )
        self.repository = f"azatest-{secrets.token_hex(4)}"
        self.architecture = engine.host_architecture()
        self.message: list[str] = []

    def order(self, **options: Any) -> build.Order:
        defaults: dict[str, Any] = {
            "build_dir": self.context,
            "cache_dir": CACHE,
            "dist_dir": self.folder / "dist",
            "source": self.source,
            "lock": self.lock,
            "images": ["postgres"],
            "architectures": [self.architecture],
            "repository": self.repository,
            "mirrors": mirrors(),
            "vcs_ref": "0" * 40,
        }
        return build.Order(**{**defaults, **options})

    def build(self, **options: Any) -> records.Record:
        order = self.order(**options)
        with build.alone(CACHE, self.message.append):
            done, _ = build.execute(order, build.plan(order), self.message.append)
        return done[order.images[0]]

    def edit(self, name: str, change: Callable[[str], str]) -> None:
        path = self.context / name
        before = path.read_text()
        path.write_text(change(before))
        assert path.read_text() != before

    @property
    def packages(self) -> str:
        return f"postgres/locked/packages.{self.architecture}"


@pytest.fixture
def workshop(tmp_path: Path) -> Iterator[Workshop]:
    made = Workshop(tmp_path)
    yield made
    forget(made.repository)


def forget(repository: str) -> None:
    """Remove its images. By name: one that was built twice may have another name too, which others use."""
    listing = ["docker", "images", "--format", "{{.Repository}}:{{.Tag}}", f"{repository}/*"]
    found = subprocess.run(listing, capture_output=True, text=True, check=True)
    for name in found.stdout.split():
        subprocess.run(["docker", "image", "rm", "--force", name], capture_output=True, check=False)


def failure(workshop: Workshop) -> AzaError:
    with pytest.raises(AzaError) as raised:
        workshop.build()
    return raised.value


def test_two_builds_of_one_lock_have_one_digest(workshop: Workshop) -> None:
    """The one that `make build` made, whatever it had in its cache, and one without a cache."""
    first = json.loads((CACHE / "dist/images.json").read_text())["postgres"]
    inspect = ["docker", "image", "inspect", "--format", "{{json .Config.Labels}}", first["reference"]]
    labels = json.loads(subprocess.run(inspect, capture_output=True, text=True, check=True).stdout)
    same = {
        "build_dir": IMAGE / "build",
        "build_date": labels["org.opencontainers.image.created"],
        "vcs_ref": labels["org.opencontainers.image.revision"],
    }
    second = workshop.build(**same, no_cache=True)
    assert first["digest"] == second["digest"]
    assert second["steps"]["cached"] <= 1, "only the base may come from the cache"
    assert second["sizes"]["compressed"] < second["sizes"]["unpacked"]
    assert any("install-packages.sh" in line for line in workshop.message), workshop.message
    # The engine knows the image by that digest, and nothing is left to do.
    assert engine.image_id(f"{second['reference']}@{second['digest']}")
    assert not build.plan(workshop.order(**same)).changed


def test_a_package_that_the_list_lacks_is_named(workshop: Workshop) -> None:
    workshop.edit(workshop.packages, lambda text: re.sub(r"(?m)^libxslt1\.1 .*\n", "", text))
    error = failure(workshop)
    assert error.reason == "build_failed"
    assert "not in the lock, but needed by what is:" in error.msg
    assert "libxslt1.1" in error.msg
    assert Path(str(error.details["log"])).is_file()


def test_a_version_that_is_gone_names_the_command(workshop: Workshop) -> None:
    workshop.edit(workshop.packages, lambda text: re.sub(r"(?m)^libxslt1\.1 \S+", "libxslt1.1 0.0-1", text))
    error = failure(workshop)
    assert error.reason == "lock_stale"
    assert "libxslt1.1 (locked 0.0-1)" in error.msg
    assert "ansible-playbook playbooks/lock.yml" in error.msg


def test_a_package_with_another_checksum_is_refused(workshop: Workshop) -> None:
    workshop.edit(
        workshop.packages, lambda text: re.sub(r"(?m)^(libxslt1\.1 \S+) \S+", rf"\1 {'0' * 64}", text)
    )
    error = failure(workshop)
    assert "not what was locked:" in error.msg
    assert "libxslt1.1_" in error.msg


def test_a_missing_file_names_its_extension(workshop: Workshop) -> None:
    name = "/usr/share/postgresql/18/extension/nonesuch.control"
    workshop.edit("postgres/locked/files", lambda text: f"{text}{name} nonesuch\n")
    assert f"file {name}, of the extension nonesuch" in failure(workshop).msg


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        ("rm /usr/lib/*/libxslt.so.1", ["shared libraries are missing:", "pgxml.so", "libxslt.so.1"]),
        (
            "dpkg --purge --force-depends libxslt1.1",
            ["missing after the installation:", "package libxslt1.1: locked"],
        ),
        (
            "rm /usr/share/postgresql/18/extension/pg_trgm.control",
            ["missing after the installation:", "extension/pg_trgm.control, of the extension pg_trgm"],
        ),
        ("true", []),
    ],
)
def test_the_proof_finds_what_is_missing(
    damage: str, expected: list[str], image: str, tmp_path: Path
) -> None:
    """The same proof that ends a build, in the finished image, after something was taken away."""
    catalog, source = load_catalog(IMAGE), load_source(IMAGE, "debian")
    lock = load_lock(IMAGE, "debian", catalog.manifest.major)
    render.write(render.render(IMAGE, catalog, source, lock, solve(catalog, "debian", "minimal")), tmp_path)
    done = subprocess.run(
        [
            *("docker", "run", "--rm", "--user=0", "--network=none", "--entrypoint=bash"),
            *(f"--name=azatest-{secrets.token_hex(4)}", f"--volume={tmp_path}:/run/build:ro", image, "-c"),
            f"set -e; {damage}; /run/build/install-packages.sh verify /run/build/postgres/locked",
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == (1 if expected else 0), done.stderr
    for text in expected:
        assert text in done.stderr


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[str]:
    with serve(tmp_path) as address:
        yield address
    forget(address)  # the base, which the build pulled into the engine


def test_the_base_may_come_from_a_registry(workshop: Workshop, registry: str, tmp_path: Path) -> None:
    """The same context, the base by digest: the packages come out the same."""
    with build.alone(CACHE, workshop.message.append):
        context, _ = base.layout(
            CACHE,
            workshop.source,
            workshop.lock,
            [workshop.architecture],
            mirrors(),
            Progress(workshop.message.append),
        )
    name = f"{registry}/debian:forky-slim"
    (tmp_path / "Dockerfile").write_text("FROM debian:forky-slim\nRUN echo another base >/etc/motd\n")
    subprocess.run(
        [
            *(
                "docker",
                "buildx",
                "build",
                "--quiet",
                "--provenance=false",
                f"--build-context={context.argument}",
            ),
            *(
                f"--output=type=registry,name={name}",
                "--file",
                str(tmp_path / "Dockerfile"),
                str(workshop.context),
            ),
        ],
        check=True,
        capture_output=True,
    )
    digest = base.registry_digest(name)
    assert digest and digest.startswith("sha256:")
    lock = replace(workshop.lock, digest=digest)
    record = workshop.build(lock=lock, base="registry", base_image=name, images=["pgbouncer"])
    labels = subprocess.run(
        ["docker", "image", "inspect", "--format", "{{json .Config.Labels}}", record["reference"]],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert digest in labels
    motd = ["docker", "run", "--rm", f"--name=azatest-{secrets.token_hex(4)}", "--entrypoint=cat"]
    told = subprocess.run(
        [*motd, record["reference"], "/etc/motd"], capture_output=True, text=True, check=True
    ).stdout
    assert told == "another base\n"
