# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from ansible_collections.aza.pg.plugins.module_utils.errors import AzaError
from ansible_collections.aza.pg.plugins.module_utils.image import apt, mirror
from ansible_collections.aza.pg.plugins.module_utils.image.source import Source, deb822, load_source
from ansible_collections.aza.pg.tests.unit.image.samples import ROOT

TARGETS = """\
http://mirror.example/debian/|Debian|Debian|bookworm|main
http://mirror.example/debian-security/|Debian|Debian-Security|bookworm-security|main
http://other.example/debian/|Debian|Debian|forky|main
https://tools.example/apt/|Tools|$(LABEL)|nodistro|main
"""
NO_LISTS = """\
http://mirror.example/debian/|$(ORIGIN)|$(LABEL)|$(CODENAME)|main
http://mirror.example/debian-security/|$(ORIGIN)|$(LABEL)|$(CODENAME)|main
"""


def test_the_suite_itself_is_preferred(source: Source) -> None:
    assert (
        mirror.find_mirror(mirror.parse_targets(TARGETS), source.repositories[0])
        == "http://other.example/debian/"
    )


def test_any_suite_of_the_archive_gives_its_address(source: Source) -> None:
    targets = mirror.parse_targets("\n".join(TARGETS.splitlines()[:2]))
    assert mirror.find_mirror(targets, source.repositories[0]) == "http://mirror.example/debian/"


def test_before_an_update_the_path_tells(source: Source) -> None:
    assert (
        mirror.find_mirror(mirror.parse_targets(NO_LISTS), source.repositories[0])
        == "http://mirror.example/debian/"
    )


def test_another_distribution_has_no_mirror_of_ours(source: Source) -> None:
    assert (
        mirror.find_mirror(
            mirror.parse_targets("http://u.example/ubuntu/|Ubuntu|Ubuntu|noble|main"), source.repositories[0]
        )
        is None
    )


def test_a_missing_mirror_names_the_variable(source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mirror, "output", lambda *_args, **_kwargs: (127, "", ""))
    with pytest.raises(AzaError, match=r"image_mirrors: \{debian: ADDRESS\}"):
        mirror.mirrors(source, {})


def test_a_given_mirror_needs_no_apt(source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mirror, "output", lambda *_args, **_kwargs: pytest.fail("asked apt"))
    assert mirror.mirrors(source, {"debian": "http://x.example/d"}) == {"debian": "http://x.example/d"}


def test_a_mirror_for_an_unknown_archive_is_refused(source: Source) -> None:
    with pytest.raises(AzaError, match="has no archive 'pgdg', only debian"):
        mirror.mirrors(source, {"pgdg": "http://x.example"})


def test_sources_file_for_apt(source: Source) -> None:
    extra = replace(source.repositories[0], name="extra", suite="forky-extra", keyring=None, key="extra.asc")
    text = deb822(
        replace(source, repositories=(*source.repositories, extra)),
        {"debian": "http://a.example/", "extra": "http://b.example/"},
        keys="/run/build/keys",
    )
    assert text.split("\n\n") == [
        "Types: deb\nURIs: http://a.example/\nSuites: forky\nComponents: main\n"
        "Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg",
        "Types: deb\nURIs: http://b.example/\nSuites: forky-extra\nComponents: main\n"
        "Signed-By: /run/build/keys/extra.asc\n",
    ]


def test_expired_archives_are_accepted_only_when_the_source_says_so(
    source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(apt, "network_options", lambda: "")
    assert "Check-Valid-Until" in apt.build_options(source)
    assert "Check-Valid-Until" not in apt.build_options(replace(source, check_valid_until=True))


def test_versions_that_are_gone_are_found_in_apts_words() -> None:
    text = (
        "E: Version '18.6-3' for 'postgresql-18' was not found\n"
        "E: Version '2:4.0-1' for 'procps:amd64' was not found\n"
        "E: Unable to locate package libgone1\n"
    )
    versions = {"postgresql-18": "18.6-3", "procps": "2:4.0-1", "libgone1": "1", "libc6": "2.43"}
    assert apt.missing_versions(text, versions) == {
        "postgresql-18": "18.6-3",
        "procps": "2:4.0-1",
        "libgone1": "1",
    }


def test_paragraphs_are_read() -> None:
    text = "Package: a\nVersion: 1:2\nDescription: x\n long text\nTag: y\n\n\nPackage: b\nDepends: c:any (>= 1)\n"
    assert list(apt.paragraphs(text)) == [
        {"Package": "a", "Version": "1:2", "Description": "x", "Tag": "y"},
        {"Package": "b", "Depends": "c:any (>= 1)"},
    ]


def test_the_projects_own_source_is_valid() -> None:
    found = load_source(ROOT / "image", "debian")
    assert found.repositories[0].suite == "forky"
    assert found.companions


def test_a_source_for_postgresqls_own_archive_is_data_alone(tmp_path: Path) -> None:
    (tmp_path / "sources").mkdir()
    (tmp_path / "source.schema.json").write_text((ROOT / "image" / "source.schema.json").read_text())
    (tmp_path / "sources" / "pgdg.yml").write_text(
        """
name: pgdg
summary: Debian stable with PostgreSQL's own archive
base: {image: "debian:trixie-slim"}
repositories:
  - {name: debian, suite: trixie, components: [main], origin: Debian, label: Debian, keyring: debian.gpg}
  - {name: pgdg, suite: trixie-pgdg, components: [main], origin: apt.example, label: PostgreSQL, key: pgdg.asc}
architectures: [amd64]
"""
    )
    found = load_source(tmp_path, "pgdg")
    assert found.keys == ["pgdg.asc"]
    assert found.check_valid_until


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("name: x\n", "summary: missing"),
        ("name: x\nsummary: s\nbase: {image: i}\nrepositories: []\narchitectures: [amd64]\nmirrors: 1\n",
         "mirrors: unknown key"),
        ("name: y\nsummary: s\nbase: {image: i}\nrepositories: [{name: d, suite: forky, components: [main], origin: D, "
         "label: D, keyring: k}]\narchitectures: [amd64]\n", "name: is 'y', but the file is called x.yml"),
    ],
)  # fmt: skip
def test_a_wrong_source_is_explained(text: str, expected: str, tmp_path: Path) -> None:
    (tmp_path / "sources").mkdir()
    (tmp_path / "source.schema.json").write_text((ROOT / "image" / "source.schema.json").read_text())
    (tmp_path / "sources" / "x.yml").write_text(text)
    with pytest.raises(AzaError, match=expected):
        load_source(tmp_path, "x")


def test_an_unknown_source_gets_a_suggestion() -> None:
    with pytest.raises(AzaError, match="unknown source 'debain'; did you mean 'debian'"):
        load_source(ROOT / "image", "debain")
