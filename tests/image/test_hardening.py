# SPDX-License-Identifier: Apache-2.0
"""What must not be in the images, and what they must stand: all of them, as they were built."""

from __future__ import annotations

import json
import re
import secrets
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
RECORDS = ROOT / ".cache" / "dist" / "images.json"
IMAGES = ("postgres", "pgbouncer", "exporter")
# Everything that this machine, its archive or its builder could have left behind.
LEFTOVERS = (
    "/etc/apt/sources.list",
    "/etc/apt/sources.list.d/*",
    "/etc/apt/apt.conf.d/99mmdebstrap",
    "/etc/resolv.conf.*",
    "/run/build",
    "/run/secrets",
    "/usr/sbin/policy-rc.d",
    "/var/cache/aza-pg",
    "/var/cache/apt/*",
    "/var/cache/debconf/*",
    "/var/lib/apt/lists/*_*",
    "/var/log/*",
    "/var/lib/dpkg/*-old",
    "/etc/*-",
    "/tmp/*",
    "/usr/share/man/*",
    "/usr/lib/postgresql/*/lib/bitcode",
)


@pytest.fixture(scope="module", params=IMAGES)
def reference(request: pytest.FixtureRequest, image: str) -> str:
    """Return each image in turn; the postgres one may be another than was built last (AZA_TEST_IMAGE)."""
    if request.param == "postgres":
        return image
    if not RECORDS.is_file():
        pytest.fail("no image has been built: run `make build`")
    records: dict[str, dict[str, str]] = json.loads(RECORDS.read_text())
    if request.param not in records:
        pytest.skip(f"{request.param} was not built here")
    return records[request.param]["reference"]


@pytest.fixture(scope="module")
def inside(reference: str) -> Iterator[Any]:
    """Run a shell command as root in a container of the image; return what it printed."""
    name = f"azatest-{secrets.token_hex(4)}"
    start = [
        "docker",
        "run",
        "--detach",
        "--network=none",
        "--user=0",
        f"--name={name}",
        "--entrypoint=sleep",
    ]
    subprocess.run([*start, reference, "600"], check=True, capture_output=True)

    def run(command: str) -> str:
        done = subprocess.run(
            ["docker", "exec", name, "bash", "-c", command], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{command}: {done.stderr}"
        return done.stdout.strip()

    yield run
    subprocess.run(["docker", "rm", "--force", "--volumes", name], check=True, capture_output=True)


def config_of(reference: str) -> dict[str, Any]:
    shown = subprocess.run(
        ["docker", "image", "inspect", reference], capture_output=True, text=True, check=True
    ).stdout
    found: dict[str, Any] = json.loads(shown)[0]["Config"]
    return found


def test_nobody_is_root(reference: str) -> None:
    assert config_of(reference)["User"] == "999:999"


def test_no_file_gives_anyone_more_rights(inside: Any) -> None:
    assert inside("find / -xdev -type f -perm /6000") == ""


def test_only_root_can_write_what_runs(inside: Any) -> None:
    assert inside("find /usr /etc /opt -xdev \\( -type f -o -type d \\) -perm /002") == ""
    assert inside("find /usr -xdev -not -user root") == ""


def test_no_compilers_and_no_installers_helpers(inside: Any) -> None:
    tools = "gcc cc c++ clang ld as make cargo rustc go git curl wget gpg dirmngr sudo gosu su-exec systemctl"
    assert inside(f"for tool in {tools}; do type -P $tool; done; true") == ""


def test_nothing_is_left_behind(inside: Any) -> None:
    assert (
        inside(
            f"shopt -s nullglob; for path in {' '.join(LEFTOVERS)}; do [[ ! -e $path ]] || echo $path; done"
        )
        == ""
    )


def test_no_archive_and_no_proxy_is_named(inside: Any) -> None:
    assert inside("apt-config dump Acquire::http Acquire::https | grep -i proxy || true") == ""
    assert inside("apt-get indextargets") == ""
    assert "Check-Valid-Until" not in inside("apt-config dump")


def test_no_private_key_and_no_password(inside: Any) -> None:
    # Binaries that can read keys hold the words; -I leaves them out.
    places = "/etc /home /opt /root /run /srv /usr /var"
    keys = inside(f"LC_ALL=C grep -rlsIE -- '-----BEGIN ([A-Z]+ )?PRIVATE KEY' {places} || true")
    assert keys == ""
    assert inside("ls -A /etc/ssl/private") == ""
    assert inside("awk -F: '$2 !~ /^[!*]/' /etc/shadow") == ""
    assert (
        inside("find / -xdev \\( -name '.pgpass' -o -name '*.env' -o -name 'id_rsa*' -o -name '.netrc' \\)")
        == ""
    )


def test_the_build_machine_has_no_identity_here(inside: Any) -> None:
    assert inside("cat /etc/machine-id") == ""
    assert inside("cut -d: -f3 /etc/shadow | sort -u") == ""


def test_no_toolkit_is_inside(inside: Any) -> None:
    assert (
        inside("find / -xdev \\( -iname '*ansible*' -o -path '*/module_utils/*' \\) -not -path '/proc/*'")
        == ""
    )
    assert inside("find /usr/local -xdev -name '*.py*'") == ""


def test_every_installed_package_is_whole(inside: Any) -> None:
    assert inside("dpkg --audit") == ""
    assert inside("apt-get check 2>&1 | grep -E '^E:' || true") == ""


def test_labels_are_complete(reference: str) -> None:
    labels = config_of(reference)["Labels"]
    wanted = {
        "title", "description", "version", "revision", "created", "source", "documentation", "licenses", "vendor",
        "base.name", "base.digest",
    }  # fmt: skip
    assert {key.removeprefix("org.opencontainers.image.") for key in labels} == wanted
    assert all(labels.values()), labels
    assert re.fullmatch(r"sha256:[0-9a-f]{64}", labels["org.opencontainers.image.base.digest"])


def test_no_argument_reaches_the_environment(reference: str) -> None:
    names = {entry.partition("=")[0] for entry in config_of(reference)["Env"] or []}
    assert names <= {"PATH", "LANG", "PG_MAJOR", "PGDATA"}


def test_the_server_needs_no_rights_at_all(run_container: Any) -> None:
    """As every stack runs it: nothing writable but the data and tmpfs, no capability, no way to get one."""
    box = run_container(
        read_only=True,
        tmpfs={"/tmp": "", "/run/aza-pg": "mode=1777", "/var/run/postgresql": "mode=3777"},
        cap_drop=["ALL"],
        security_opt=["no-new-privileges"],
    )
    assert box.sql("SELECT count(*) > 0 FROM pg_available_extensions") == "t"
    status = box.check("cat", "/proc/1/status")
    assert re.search(r"^CapEff:\s+0+$", status, re.M)
    assert re.search(r"^Uid:\s+999\s+999\s+999\s+999$", status, re.M)


@pytest.mark.parametrize("program", ["prometheus-postgres-exporter", "prometheus-pgbouncer-exporter"])
def test_both_exporters_start(program: str) -> None:
    _runs("exporter", program, "--version")


def test_pgbouncer_starts() -> None:
    assert "PgBouncer" in _runs("pgbouncer", "pgbouncer", "--version")


def _runs(name: str, program: str, *arguments: str) -> str:
    records = json.loads(RECORDS.read_text()) if RECORDS.is_file() else {}
    if name not in records:
        pytest.skip(f"{name} was not built here")
    done = subprocess.run(
        [
            *("docker", "run", "--rm", "--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges"),
            *(
                f"--name=azatest-{secrets.token_hex(4)}",
                f"--entrypoint={program}",
                records[name]["reference"],
                *arguments,
            ),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr
