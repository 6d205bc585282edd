# SPDX-License-Identifier: Apache-2.0
"""A copy of the repository for each file of runbooks, and the machines that its pages are about."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .machines import Machines
from .workplace import Workplace, checkout, create_host, lend_environment


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workplace]:
    with checkout(tmp_path_factory.mktemp("checkout")) as place:
        yield place


@pytest.fixture(scope="module")
def here(workplace: Workplace) -> Workplace:
    """The reader's own machine, and another host."""
    create_host(workplace)
    return workplace


@pytest.fixture(scope="module")
def machines(workplace: Workplace) -> Iterator[Machines]:
    """Those of the shipped inventory prod, which is changed in the copy to name them and to be small."""
    made = Machines(workplace.directory, workplace.cluster)
    lend_environment(workplace)
    try:
        made.create()
        yield made
    finally:
        made.remove()
