# SPDX-License-Identifier: Apache-2.0
"""Ask the archives with apt itself, in a root of its own: no privileges, nothing of this machine is touched or counts.

Only what reaches the network is taken from the machine's apt: proxies, certificates, retries.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from ansible_collections.aza.pg.plugins.module_utils.errors import AzaError
from ansible_collections.aza.pg.plugins.module_utils.image.process import output
from ansible_collections.aza.pg.plugins.module_utils.image.source import SYSTEM_KEYRINGS, Source, deb822

BASE_ROOTS = ("?essential", "?priority(required)", "apt")
"""What mmdebstrap's variant minbase consists of, as apt patterns."""

_NETWORK = ("Acquire::http", "Acquire::https", "Acquire::ftp", "Acquire::Retries")
_NOT_FOUND = re.compile(r"E: Version '(?P<version>[^']+)' for '(?P<name>[^':]+)(?::\w+)?' was not found")
_NO_PACKAGE = re.compile(r"E: (?:Unable to locate package|No packages found) ?(?P<name>[^:\s]*)")


def network_options() -> str:
    """Return the machine's apt settings that reach the network, in apt.conf syntax."""
    lines = []
    for subtree in _NETWORK:
        code, text, _ = output(
            ["apt-config", "dump", "--no-empty", "--format", '%F "%v";%n', subtree], timeout=20
        )
        if code == 0:
            lines.append(text)
    return "".join(lines)


def build_options(source: Source) -> str:
    """Return the apt.conf that every apt of a lock or a build reads."""
    valid = "" if source.check_valid_until else 'Acquire::Check-Valid-Until "false";\n'
    return f'Acquire::Languages "none";\nAPT::Install-Recommends "false";\n{valid}{network_options()}'


class Apt:
    """apt for one architecture of one source.

    :param directory: where its lists are kept; an update is cheap when they are fresh.
    """

    def __init__(
        self, directory: Path, source: Source, uris: Mapping[str, str], architecture: str, keys: Path
    ) -> None:
        self.source, self.architecture = source, architecture
        self._uris = dict(uris)
        root = directory.absolute() / f"{source.name}-{architecture}"
        for folder in ("etc/preferences.d", "state/lists/partial", "cache/archives/partial"):
            (root / folder).mkdir(parents=True, exist_ok=True)
        (root / "status").write_text("")
        (root / "apt.sources").write_text(deb822(source, uris, keys=str(keys)))
        self._require_keys(keys)
        (root / "apt.conf").write_text(
            f'Dir "{root}/";\nDir::Etc "{root}/etc";\n'
            'Dir::Etc::main "/dev/null";\nDir::Etc::parts "/dev/null";\nDir::Etc::sourceparts "/dev/null";\n'
            f'Dir::Etc::sourcelist "{root}/apt.sources";\nDir::State "{root}/state";\n'
            f'Dir::State::status "{root}/status";\nDir::Cache "{root}/cache";\n'
            f'APT::Architecture "{architecture}";\nAPT::Architectures {{ "{architecture}"; }};\n'
            'APT::Sandbox::User "";\n' + build_options(source)
        )
        self._env = {"APT_CONFIG": str(root / "apt.conf")}

    def _require_keys(self, keys: Path) -> None:
        for repository in self.source.repositories:
            path = (
                keys / repository.key if repository.key else Path(SYSTEM_KEYRINGS, repository.keyring or "")
            )
            if not path.is_file():
                raise AzaError(
                    f"the archive '{repository.name}' is signed by a key of {path}, which is not on this machine",
                    reason="keyring_missing",
                )

    def update(self) -> None:
        """Fetch the lists; an archive that cannot be read or whose signature is wrong is an error."""
        code, _, errors = output(
            ["apt-get", "update", "-qq", "-o", "APT::Update::Error-Mode=any"], env=self._env, timeout=600
        )
        if code == 127:
            raise AzaError(
                "locking asks the archive with apt, which this machine does not have: run it on a Debian or Ubuntu "
                "machine or in a container of one (ansible-playbook playbooks/lock.yml) and commit the lock",
                reason="apt_missing",
            )
        if code:
            raise AzaError(
                f"apt cannot read the archives of the source '{self.source.name}' "
                f"({', '.join(self._uris.values())}): {_first_error(errors)}",
                reason="archive_unreadable",
            )

    def resolve(self, roots: Iterable[str]) -> list[str]:
        """Return every package that an empty system needs for ``roots``, themselves included, sorted."""
        code, plan, errors = output(["apt-get", "--simulate", "install", *roots], env=self._env)
        if code:
            raise AzaError(
                f"apt finds no solution for the packages of the source '{self.source.name}' on "
                f"{self.architecture}: {_first_error(errors or plan)}",
                reason="unsolvable",
                output=(plan + errors)[-4000:],
            )
        return sorted({line.split()[1] for line in plan.splitlines() if line.startswith("Inst ")})

    def describe(self, names: Iterable[str]) -> list[dict[str, str]]:
        """Return the archive's record of the candidate of each package."""
        code, text, errors = output(["apt-cache", "show", "--no-all-versions", *names], env=self._env)
        if code:
            raise AzaError(
                f"apt cannot describe the packages: {_first_error(errors)}", reason="archive_unreadable"
            )
        return list(paragraphs(text))

    def not_served(self, versions: Mapping[str, str]) -> dict[str, str]:
        """Return those of ``versions`` (name to version) that the archive does not have, or no longer."""
        wanted = [f"{name}={version}" for name, version in versions.items()]
        return missing_versions(
            output(["apt-get", "--simulate", "--no-install-recommends", "install", *wanted], env=self._env)[
                2
            ],
            versions,
        )


def missing_versions(text: str, versions: Mapping[str, str]) -> dict[str, str]:
    """Return which of ``versions`` apt complained about in ``text`` as not to be had."""
    missing = {match["name"]: match["version"] for match in _NOT_FOUND.finditer(text)}
    for match in _NO_PACKAGE.finditer(text):
        if match["name"] in versions:
            missing[match["name"]] = versions[match["name"]]
    return missing


def paragraphs(text: str) -> Iterator[dict[str, str]]:
    """Read Debian control paragraphs; continuation lines are dropped, nothing here needs them."""
    for block in re.split(r"\n\s*\n", text.strip()):
        fields = (line.split(":", 1) for line in block.splitlines() if line[:1].strip() and ":" in line)
        paragraph = {key: value.strip() for key, value in fields}
        if paragraph:
            yield paragraph


def _first_error(text: str) -> str:
    lines = [line.removeprefix("E: ") for line in text.splitlines() if line.startswith("E: ")]
    unmet = [line.strip() for line in text.splitlines() if " : Depends:" in line or "Conflicts:" in line]
    return "; ".join((unmet or lines)[:3]) or text.strip()[-300:] or "no message"
