# SPDX-License-Identifier: Apache-2.0
"""The directories of the control node: what describes the image, and where files are written.

In a checkout of the repository, both are the checkout. An installed collection is never written to: it has the image's
data, and files are written below the directory in which ansible-playbook was started.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from ansible_collections.aza.pg.plugins.module_utils.image.render import FACTS

COLLECTION = Path(__file__).resolve().parents[2]
ROLES = COLLECTION / "roles"


@dataclass(frozen=True)
class Project:
    """``root``: below it files are written. ``image``: catalogue, lock and templates of the image."""

    root: Path
    image: Path
    is_checkout: bool

    @property
    def cache(self) -> Path:
        """What can be made again: the base, the archives, the record of the last build."""
        return self.root / ".cache"

    @property
    def build(self) -> Path:
        """Where the build context is written."""
        return self.cache / "build" if self.is_installed(self.image) else self.image / "build"

    @cached_property
    def facts(self) -> Path:
        """What the build context that was written last says of the postgres image."""
        written = self.build / FACTS
        return written if written.is_dir() else self.image / "build" / FACTS

    def is_installed(self, path: Path) -> bool:
        """Whether the path belongs to an installed collection."""
        return not self.is_checkout and path.resolve().is_relative_to(COLLECTION)


def find(image_dir: object = None) -> Project:
    """Return the directories of this run.

    :param image_dir: the variable of this name; by default the image data of the collection.
    """
    # The links in the root of a checkout lead into the collection.
    root = COLLECTION.joinpath("..", "..", "..", "..").resolve()
    is_checkout = (root / "image").resolve() == COLLECTION / "image"
    own = root / "image" if is_checkout else COLLECTION / "image"
    given = Path(str(image_dir)) if image_dir else own
    return Project(root if is_checkout else Path.cwd(), given if given.is_absolute() else own, is_checkout)
