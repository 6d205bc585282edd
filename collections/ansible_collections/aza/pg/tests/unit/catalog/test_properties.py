# SPDX-License-Identifier: Apache-2.0
"""What holds for every catalogue: closed, ordered, the same every time."""

from __future__ import annotations

from dataclasses import replace

from ansible_collections.aza.pg.plugins.module_utils.catalog import (
    Catalog,
    Extension,
    Manifest,
    Selection,
    solve,
)
from ansible_collections.aza.pg.plugins.module_utils.catalog.loading import contradictions
from ansible_collections.aza.pg.plugins.module_utils.catalog.model import (
    Apt,
    Build,
    Bundled,
    Flavour,
    Git,
    Image,
    Preload,
    Smoke,
    Source,
)
from ansible_collections.aza.pg.plugins.module_utils.catalog.smoke import plan
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

_ELSEWHERE = Git(repo="https://example.org/x.git", commit="a" * 40, build=Build(type="pgxs"))


# A busy machine is no failure.
patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


@st.composite
def catalogs(draw: st.DrawFn) -> Catalog:
    """Draw a catalogue as load_catalog would let it pass: references point to earlier names, so no circles."""
    count = draw(st.integers(1, 12))
    # The order of the names must not be the order of the dependencies, or the alphabet would hide a wrong sort.
    stems = draw(st.permutations([f"e{number:02}" for number in range(count)]))
    first = draw(st.sampled_from([None, stems[0]]))
    entries: dict[str, Extension] = {}
    loadable: list[str] = []
    for number, name in enumerate(stems):
        earlier = stems[:number]
        choices: list[Source] = [Bundled(), Apt("debian", f"postgresql-18-{name}"), _ELSEWHERE]
        source = draw(st.sampled_from(choices))
        preload = None
        if name == first or draw(st.booleans()):
            some = st.lists(st.sampled_from(loadable), unique=True, max_size=3) if loadable else st.just([])
            preload = Preload(
                library=f"lib{name}",
                default=draw(st.booleans()),
                workers=draw(st.integers(0, 8)),
                first=name == first,
                after=tuple(draw(some)),
                conflicts=tuple(draw(some)) if draw(st.integers(0, 5)) == 0 else (),
            )
            loadable.append(name)
        entry = Extension(
            name=name,
            kind="extension",
            summary="drawn",
            category="development",
            license="PostgreSQL",
            sources=(source,),
            create=draw(st.booleans()),
            requires=tuple(draw(st.lists(st.sampled_from(earlier), unique=True, max_size=3)))
            if earlier
            else (),
            preload=preload,
            settings=draw(
                st.dictionaries(st.sampled_from(["wal_level", "x.y"]), st.sampled_from(["a", "b"]))
            ),
            smoke=(Smoke(expect="1", sql="select 1;", preload=preload is not None and draw(st.booleans())),),
        )
        # load_catalog refuses an entry that cannot live with what it requires.
        apart = any(True for _ in contradictions(entry, entries | {name: entry}))
        entries[name] = replace(entry, requires=()) if apart else entry
    manifest = Manifest(
        majors=(18,),
        major=18,
        archives={"debian": ""},
        flavours={
            "full": Flavour("full", "", include="all"),
            "minimal": Flavour("minimal", "", include="bundled"),
        },
        images={"postgres": Image("postgres", "", {"debian": ("postgresql-18",)})},
    )
    return Catalog(manifest, {name: entries[name] for name in draw(st.permutations(stems))})


def selections(catalog: Catalog) -> list[Selection]:
    """Return what can be selected: a drawn catalogue may make default preloads conflict, which is refused."""
    from ansible_collections.aza.pg.plugins.module_utils.errors import AzaError

    found = []
    for flavour in catalog.manifest.flavours:
        try:
            found.append(solve(catalog, "debian", flavour))
        except AzaError as error:
            assert error.reason == "preload_conflict"
    return found


@patient
@given(catalogs())
def test_closed_and_ordered(catalog: Catalog) -> None:
    for selection in selections(catalog):
        position = {entry.name: number for number, entry in enumerate(selection.extensions)}
        for entry in selection.extensions:
            assert all(position[required] < position[entry.name] for required in entry.requires)
            assert entry.source_in("debian")
        created = selection.create
        wanted = {entry.name for entry in selection.extensions if entry.create}
        assert wanted <= set(created)
        assert all(set(catalog.extensions[name].requires) <= set(created) for name in created)
        assert created == sorted(created, key=position.__getitem__)
        assert set(position) | set(selection.left_out) == set(catalog.members(selection.flavour)) | set(
            position
        )


@patient
@given(catalogs())
def test_preload_order(catalog: Catalog) -> None:
    for selection in selections(catalog):
        order = {library: number for number, library in enumerate(selection.preload_order)}
        assert set(order) == {e.preload.library for e in selection.extensions if e.preload}
        for entry in selection.extensions:
            if not entry.preload:
                continue
            here = order[entry.preload.library]
            assert not entry.preload.first or here == 0
            for name in entry.preload.after:
                assert f"lib{name}" not in order or order[f"lib{name}"] < here
        assert (
            sorted(selection.preload + selection.opt_in_preload, key=order.__getitem__)
            == selection.preload_order
        )
        assert set(selection.preload_workers) == set(order)


@patient
@given(catalogs(), st.randoms())
def test_the_same_every_time(catalog: Catalog, random: object) -> None:
    shuffled = list(catalog.extensions.items())
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    again = Catalog(catalog.manifest, dict(shuffled))
    assert selections(catalog) == selections(again)
    assert [plan(s) for s in selections(catalog)] == [plan(s) for s in selections(again)]


@patient
@given(catalogs())
def test_every_entry_is_proven_once_in_a_server_without_conflicts(catalog: Catalog) -> None:
    by_library = {e.preload.library: e.preload for e in catalog.extensions.values() if e.preload}
    for selection in selections(catalog):
        servers = plan(selection)
        proven = [database.extension for server in servers for database in server.databases]
        assert sorted(proven) == sorted(entry.name for entry in selection.extensions)
        for server in servers:
            for library in server.preload:
                assert not {f"lib{name}" for name in by_library[library].conflicts} & set(server.preload)
            assert server.preload == sorted(server.preload, key=selection.preload_order.index)
            for database in server.databases:
                entry = catalog.extensions[database.extension]
                assert all(server.settings[key] == value for key, value in entry.settings.items())
                if entry.preload and any(step.preload for step in entry.smoke):
                    assert entry.preload.library in server.preload
