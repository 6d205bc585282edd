# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import base64
import json
import subprocess
from pathlib import Path

import pytest
from ansible_collections.aza.pg.plugins.module_utils.errors import AzaError
from ansible_collections.aza.pg.plugins.module_utils.image import base, build, engine, process, records
from ansible_collections.aza.pg.plugins.module_utils.image.lock import Lock
from ansible_collections.aza.pg.plugins.module_utils.image.progress import BuildEvents, short
from ansible_collections.aza.pg.plugins.module_utils.image.source import Source
from ansible_collections.aza.pg.tests.unit.image.samples import with_packages

# --- which base -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wanted", "digest", "no_bootstrap", "expected"),
    [
        ("auto", None, None, "bootstrap"),
        ("auto", "sha256:1", None, "bootstrap"),
        ("auto", "sha256:1", "no root", "registry"),
        ("registry", "sha256:1", None, "registry"),
        ("bootstrap", None, None, "bootstrap"),
    ],
)
def test_the_base_is_chosen(wanted: str, digest: str | None, no_bootstrap: str | None, expected: str) -> None:
    assert base.choose(wanted, digest, no_bootstrap) == expected


def test_an_impossible_bootstrap_says_what_else_would_do() -> None:
    with pytest.raises(AzaError, match=r"needs root.*image_base: registry"):
        base.choose("bootstrap", "sha256:1", "mmdebstrap needs root, or uidmap")


@pytest.mark.parametrize("wanted", ["auto", "registry"])
def test_no_base_at_all_names_both_ways(wanted: str) -> None:
    with pytest.raises(AzaError, match=r"mmdebstrap is not installed.*no digest.*playbooks/lock.yml"):
        base.choose(wanted, None, "mmdebstrap is not installed")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("debian:forky-slim", "docker.io/library/debian:forky-slim"),
        ("me/debian:1", "docker.io/me/debian:1"),
        ("127.0.0.1:5000/debian:1", "127.0.0.1:5000/debian:1"),
        ("registry.example/debian", "registry.example/debian"),
        ("localhost/debian", "localhost/debian"),
    ],
)
def test_references_are_spelled_out(given: str, expected: str) -> None:
    assert base.canonical(given) == expected


def test_a_base_with_other_packages_is_a_stale_lock(lock: Lock) -> None:
    base.require_locked({"bash": "1.0-1", "libc6": "2.43-1"}, lock, "amd64")
    with pytest.raises(
        AzaError, match=r"libc6 \(locked 2.43-1, served 2.44-1\).*playbooks/lock.yml"
    ) as raised:
        base.require_locked({"bash": "1.0-1", "libc6": "2.44-1"}, lock, "amd64")
    assert raised.value.reason == "lock_stale"
    with pytest.raises(AzaError, match=r"extra \(locked not at all, served 1\)"):
        base.require_locked({"bash": "1.0-1", "libc6": "2.43-1", "extra": "1"}, lock, "amd64")


def test_the_bases_key_follows_what_it_is_made_from(lock: Lock) -> None:
    key = base.base_key(lock, ["amd64"])
    assert base.base_key(with_packages(lock, {"libpq5": "19-1"}, at=lock.base_at), ["amd64"]) == key
    assert base.base_key(with_packages(lock, {"libc6": "3-1"}, at=lock.base_at), ["amd64"]) != key
    assert base.base_key(with_packages(lock, {}), ["amd64"]) != key


# --- what a build says ----------------------------------------------------------------------------------------------


def event(**fields: object) -> str:
    return json.dumps(fields)


def log(vertex: str, text: str) -> str:
    return event(logs=[{"vertex": vertex, "data": base64.b64encode(text.encode()).decode()}])


def events_of(*lines: str) -> tuple[BuildEvents, list[str]]:
    told: list[str] = []
    events = BuildEvents(told.append, lambda _line: None)
    for line in lines:
        events.feed(line)
    return events, told


RUN = "[postgres 1/2] RUN --mount=type=bind,source=a,target=/b     --mount=type=tmpfs,target=/c     /run/b/install.sh"


def test_steps_are_told_without_noise() -> None:
    _, told = events_of(
        event(vertexes=[{"digest": "i", "name": "[internal] load build definition", "started": "t"}]),
        event(vertexes=[{"digest": "c", "name": "[context debian] load metadata", "started": "t"}]),
        event(vertexes=[{"digest": "v", "name": RUN}]),
        event(vertexes=[{"digest": "v", "name": RUN, "started": "t"}]),
        event(
            statuses=[
                {"id": "transferring context:", "vertex": "x"},
                {"id": "exporting layers", "vertex": "x"},
            ]
        ),
    )
    assert told == ["[postgres 1/2] RUN /run/b/install.sh", "exporting layers"]


def test_cached_steps_are_counted() -> None:
    events, _ = events_of(
        event(vertexes=[{"digest": "a", "name": "x", "started": "t", "completed": "t", "cached": True}]),
        event(vertexes=[{"digest": "b", "name": "y", "started": "t", "completed": "t"}]),
    )
    assert (events.done, events.cached) == (2, 1)


def failing(*output: str) -> BuildEvents:
    events, _ = events_of(
        event(vertexes=[{"digest": "v", "name": RUN, "started": "t"}]),
        log("v", "\n".join(output)),
        event(
            vertexes=[{"digest": "v", "name": RUN, "started": "t", "completed": "t", "error": "exit code: 1"}]
        ),
        "ERROR: failed to build",
    )
    return events


def test_a_failure_gives_our_own_words_when_there_are_any() -> None:
    events = failing(
        "Setting up a", "aza-pg: missing after the installation:", "aza-pg: file /x.so, of the extension x"
    )
    assert events.failed_step == "[postgres 1/2] RUN /run/b/install.sh"
    assert events.reasons() == [
        "aza-pg: missing after the installation:",
        "aza-pg: file /x.so, of the extension x",
    ]


def test_a_line_may_come_in_pieces() -> None:
    """apt writes "E:", a blank and the rest with one system call each, and BuildKit makes an event of each."""
    pieces = ("E:", " ", "Version '0.0-1' for 'libxslt1.1' was not", " found", "\n", "aza-pg: cannot")
    events, _ = events_of(*(log("v", piece) for piece in pieces))
    assert events.not_served() == ["libxslt1.1 (locked 0.0-1)"]


def test_a_failure_gives_apts_errors_else_the_last_lines() -> None:
    assert failing("Setting up a", "E: Unmet dependencies.", "bye").reasons() == ["E: Unmet dependencies."]
    assert failing("one", "two").reasons() == ["one", "two"]


def test_a_failure_before_any_step_gives_what_was_printed() -> None:
    events, _ = events_of("ERROR: no such host")
    assert (events.failed_step, events.reasons()) == ("the build", ["ERROR: no such host"])


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("E: Version '18.6-3' for 'postgresql-18' was not found", "postgresql-18 (locked 18.6-3)"),
        ("E: Unable to locate package libgone1", "libgone1"),
        (
            "E: Failed to fetch http://m.example/pool/main/p/procps/procps_2%3a4.0-1_amd64.deb  404  Not Found",
            "procps (locked 2:4.0-1)",
        ),
    ],
)
def test_a_version_that_is_gone_is_recognised(line: str, expected: str) -> None:
    assert failing(line).not_served() == [expected]


def test_a_long_step_is_cut() -> None:
    assert len(short("RUN " + "x" * 500)) == 90


# --- a sign of life -------------------------------------------------------------------------------------------------


def test_progress_tells_changes_at_once_and_silence_with_its_length() -> None:
    told: list[str] = []
    clock = [0.0]
    progress = process.Progress(told.append, silence=10, clock=lambda: clock[0])
    progress.step("a")
    progress.step("a")
    for second in range(1, 26):
        clock[0] = second
        progress.tick()
        if second == 18:
            progress.detail("Unpacking libicu78")
    progress.step("b")
    assert told == ["a", "a · 10 s", "a · 20 s · Unpacking libicu78", "b"]


def test_stream_gives_lines_log_and_exit_code(tmp_path: Path) -> None:
    lines: list[str] = []
    code = process.stream(
        ["sh", "-c", "echo one; echo two >&2; printf three; exit 3"],
        tmp_path / "x" / "log",
        line=lines.append,
        tick=lambda: None,
    )
    assert (code, lines) == (3, ["one", "two", "three"])
    assert (tmp_path / "x" / "log").read_text() == "one\ntwo\nthree"


def test_a_missing_program_is_named(tmp_path: Path) -> None:
    with pytest.raises(AzaError, match="nonesuch is not installed"):
        process.stream(["nonesuch"], tmp_path / "log", line=print, tick=lambda: None)


# --- the record, and what it saves -----------------------------------------------------------------------------------


def test_no_record_says_how_to_build(tmp_path: Path) -> None:
    with pytest.raises(AzaError, match=r"no image has been built: run 'ansible-playbook build.yml'"):
        records.find(tmp_path, "postgres")


def test_records_are_added_and_found(tmp_path: Path) -> None:
    records.store(tmp_path, {"postgres": {"digest": "a"}})
    records.store(tmp_path, {"exporter": {"digest": "b"}})
    assert records.find(tmp_path, "postgres") == {"digest": "a"}
    with pytest.raises(
        AzaError,
        match=r"'postgers' has not been built; did you mean 'postgres'\?; built are: exporter, postgres",
    ):
        records.find(tmp_path, "postgers")


def test_a_damaged_record_counts_as_none(tmp_path: Path) -> None:
    records.path_of(tmp_path).write_text("{")
    assert records.read(tmp_path) == {}


@pytest.fixture
def order(source: Source, lock: Lock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> build.Order:
    context = tmp_path / "build"
    for name, text in {
        "Dockerfile": "FROM x\n",
        "common/locked/packages.amd64": "# generated\nlibc6 2.43-1 0 f\n",
        "postgres/locked/packages.amd64": "# generated\nserver 18.6-3 0 f\n",
        "postgres/image.json": json.dumps(
            {"tag": "18-minimal", "labels": {}, "flavour": "minimal", "major": 18}
        ),
        "exporter/image.json": json.dumps({"tag": "0.19", "labels": {}, "flavour": None, "major": None}),
    }.items():
        path = context / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    monkeypatch.setattr(base, "why_no_bootstrap", lambda: None)
    monkeypatch.setattr(engine, "image_id", lambda _reference: "sha256:id")
    return build.Order(
        build_dir=context,
        cache_dir=tmp_path / "cache",
        dist_dir=tmp_path / "dist",
        source=source,
        lock=lock,
        images=["postgres"],
        architectures=["amd64"],
        vcs_ref="abc",
    )


def record_of(order: build.Order, **changes: str) -> None:
    """Note a build of the order as it is now."""
    order.dist_dir.mkdir(exist_ok=True)
    archive = order.dist_dir / "a.tar"
    archive.touch()
    task = build.plan(order).tasks[0]
    record = {
        "reference": task.tag,
        "id": "sha256:id",
        "digest": "d",
        "inputs": task.inputs,
        "archive": str(archive),
    }
    records.store(order.dist_dir, {"postgres": {**record, **changes}})


def action(order: build.Order) -> str:
    return build.plan(order).tasks[0].action


def test_the_first_time_is_a_build(order: build.Order) -> None:
    assert action(order) == "build"
    assert build.plan(order).tasks[0].tag == "aza-pg/postgres:18-minimal"


def test_nothing_is_done_twice(order: build.Order) -> None:
    record_of(order)
    assert not build.plan(order).changed


def test_an_image_that_the_engine_lost_is_loaded(order: build.Order, monkeypatch: pytest.MonkeyPatch) -> None:
    record_of(order)
    monkeypatch.setattr(engine, "image_id", lambda _reference: None)
    assert action(order) == "load"


def test_a_tag_that_was_moved_is_put_back(order: build.Order) -> None:
    record_of(order, id="sha256:other")
    assert action(order) == "load"


def test_a_lost_archive_is_built_again(order: build.Order) -> None:
    record_of(order, archive="/nonexistent.tar")
    assert action(order) == "build"


@pytest.mark.parametrize(
    "name", ["Dockerfile", "common/locked/packages.amd64", "postgres/locked/packages.amd64"]
)
def test_a_changed_context_is_built(name: str, order: build.Order) -> None:
    record_of(order)
    (order.build_dir / name).write_text("# other\n")
    assert action(order) == "build"


def test_another_images_files_do_not_matter(order: build.Order) -> None:
    record_of(order)
    (order.build_dir / "exporter" / "new").write_text("x")
    assert action(order) == "none"


def test_an_executable_bit_matters(order: build.Order) -> None:
    record_of(order)
    (order.build_dir / "Dockerfile").chmod(0o755)
    assert action(order) == "build"


def test_a_new_base_is_built(order: build.Order) -> None:
    record_of(order)
    assert (
        action(build.Order(**{**vars(order), "lock": with_packages(order.lock, {"libc6": "9-1"})})) == "build"
    )


def test_an_unknown_image_gets_a_suggestion(order: build.Order) -> None:
    with pytest.raises(AzaError, match="no image 'postgers'; did you mean 'postgres'"):
        build.plan(build.Order(**{**vars(order), "images": ["postgers"]}))


def test_a_context_that_was_not_rendered_is_an_error(order: build.Order) -> None:
    (order.build_dir / "Dockerfile").unlink()
    with pytest.raises(AzaError, match="the build context is not there"):
        build.plan(order)


def test_revision_is_the_contexts_own(tmp_path: Path) -> None:
    def git(*arguments: str) -> None:
        identity = ["-c", "user.name=t", "-c", "user.email=t@example"]
        subprocess.run(["git", "-C", str(tmp_path), *identity, *arguments], check=True, capture_output=True)

    context = tmp_path / "build"
    context.mkdir()
    assert build.vcs_ref(context) == "unknown"
    (context / "Dockerfile").write_text("a")
    git("init", "-q")
    git("add", ".")
    git("commit", "-qm", "one")
    first = build.vcs_ref(context)
    assert len(first) == 40
    (tmp_path / "elsewhere").write_text("b")
    git("add", ".")
    git("commit", "-qm", "two")
    assert build.vcs_ref(context) == first
    (context / "Dockerfile").write_text("c")
    assert build.vcs_ref(context) == f"{first}-dirty"
